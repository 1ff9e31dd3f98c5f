"""etcd on a voter: start anew in a birth, go on with a directory that is still a member's, or take the seat anew.

A directory counts only on the volume it was written on and while the cluster lists its member. It is removed only after
a healthy majority of the others was seen.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from node_agent import files
from node_agent.database import make_folder
from node_agent.errors import HoldError
from node_agent.etcd_data import identity
from node_agent.membership import (
    Member,
    holds_seat,
    initial_cluster,
    majority_without,
    peer_url,
    promote,
    require_majority,
    take_seat,
)
from node_agent.render import etcd as render
from node_agent.setup.context import Setup

FOLDER = Path(render.DATA_DIR)
ENVIRONMENT = Path("/etc/default/etcd")
USER = "etcd"
ASK_AROUND_S = 3.0
CATCH_UP_S = 120.0


class Seat(StrEnum):
    """What becomes of this voter's membership."""

    NEW = "new"  # the cluster is being born, and this voter has never started
    KEPT = "kept"  # the directory's member is still the cluster's, or there is nobody to ask
    TAKEN = "taken"  # remove the old member, add a new one


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The seat, and the members it was decided on."""

    seat: Seat
    members: Sequence[Member] = ()


def decide(s: Setup, *, same_volume: bool) -> Plan:
    """Look only; nothing is changed. Raises HoldError without a majority where one is needed.

    A voter that starts NEW has the member id that the birth's token and its address give it, so one that has voted and
    lost its disk would come back under its old id without its memory, and might vote twice in one term. Hence NEW is
    for a voter of which nothing says that it has started: the cluster is being born, no member's log lies on the disk,
    no other voter lists a started member at this address, and one of these:
    - the host of every other voter answered, so that each either was asked or runs no etcd;
    - nobody who could be asked knows of any member that has started, and the birth was declared minutes ago: the
      others are not there yet. Only within those minutes may a lost disk and a cut from all others go unseen.
    Otherwise the seat is taken through a healthy majority, under a new id, or nothing is done.
    """
    own = identity(FOLDER) if same_volume else None
    if own is None and s.birthing and not _has_log():
        return _begin(s)
    if own is None:
        members = require_majority(s.others, s.node.slot, s.deadline)
        return Plan(seat=Seat.TAKEN, members=members)
    listed = s.deadline.within(ASK_AROUND_S).until(s.others.members)
    if listed is None or holds_seat(listed, s.peer_url, own.member_id):
        return Plan(seat=Seat.KEPT, members=listed or ())
    members = require_majority(s.others, s.node.slot, s.deadline)
    return Plan(seat=Seat.TAKEN, members=members)


def _has_log() -> bool:
    """Whether a member has ever written here, readable or not, on this volume or on the one it was copied from."""
    return any((FOLDER / "member" / "wal").glob("*.wal"))


def _begin(s: Setup) -> Plan:
    """Wait until the seat may be begun or taken; voters of one birth boot minutes apart. Raises HoldError."""
    refusal = ""

    def ask() -> Plan | None:
        nonlocal refusal
        refusal = _may_have_started(s)
        if not refusal:
            return Plan(seat=Seat.NEW)
        members, _ = majority_without(s.others, s.node.slot)
        return None if members is None else Plan(seat=Seat.TAKEN, members=members)

    plan = s.deadline.until(ask)
    if plan is None:
        raise HoldError(
            f"{refusal}, and no healthy majority gives it a new seat; etcd was not started. Bring the other voters'"
            " hosts up and configure this node again"
        )
    return plan


def _may_have_started(s: Setup) -> str:
    """Why this voter may have voted before, or "" (the rule is in `decide`)."""
    started, all_answered = s.others.started()
    if any(s.peer_url in member.peer_urls for member in started):
        return f"{s.node.slot} has voted before and lost its memory"
    if all_answered:
        return ""
    if started:
        return "the cluster has begun and not every voter's host answers"
    if s.birth is None or not s.birth.young(s.now()):
        return "not every voter's host answers and nothing says that the birth was declared minutes ago"
    return ""


def set_aside(stamp: str) -> Path | None:
    """Rename the directory, on its own disk; where it lies now, or None when there is none. It is never deleted."""
    if not FOLDER.exists():
        return None
    target = FOLDER.with_name(f"{FOLDER.name}.replaced-{stamp}")
    FOLDER.rename(target)
    return target


def clear(s: Setup, plan: Plan) -> None:
    """Remove a directory that is nobody's any more; it must be gone before the disk is signed for this volume."""
    if plan.seat is Seat.KEPT or not FOLDER.exists():
        return
    # Until a new configuration is written, a boot must not start etcd on an empty directory as what it was before.
    s.units.disable("etcd")
    s.units.stop("etcd")
    shutil.rmtree(FOLDER)


def start(s: Setup, plan: Plan) -> None:
    """Write the configuration and ask systemd for etcd; the seat is taken just before."""
    files.write(ENVIRONMENT, _environment(s, plan))
    make_folder(FOLDER, USER)
    s.units.enable("etcd")
    s.units.start("etcd")


def _environment(s: Setup, plan: Plan) -> str:
    if plan.seat is Seat.NEW:
        if s.etcd_token is None:
            raise HoldError("a new etcd cluster needs the birth's token")
        return render.environment(
            s.me,
            initial_cluster=render.spec_cluster(s.spec),
            state=render.NEW,
            token=s.etcd_token,
        )
    cluster = render.spec_cluster(s.spec)
    if plan.seat is Seat.TAKEN:
        members = take_seat(s.others, s.node.slot, s.peer_url, plan.members, s.deadline)
        names = {peer_url(voter): voter["name"] for voter in s.spec.voters}
        cluster = initial_cluster(members, s.node.slot, s.peer_url, names)
    return render.environment(
        s.me, initial_cluster=cluster, state=render.EXISTING, token=render.JOINED_TOKEN
    )


def vote(s: Setup, plan: Plan) -> None:
    """See to it that the member votes in the end; a configure that crashed may have left a learner."""
    learner = any(s.peer_url in m.peer_urls and m.learner for m in plan.members)
    if plan.seat is Seat.TAKEN or learner:
        promote(s.others, s.peer_url, s.deadline.within(CATCH_UP_S))
