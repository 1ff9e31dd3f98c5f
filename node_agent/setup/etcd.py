"""etcd on a voter: start anew in a birth, go on with a directory that is still a member's, or take the seat anew.

A directory counts only on the volume it was written on and while the cluster lists its member. It is removed only after
a healthy majority of the others was seen, and never in a birth that this voter has already started in.
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
    """Look only; nothing is changed. Raises HoldError without a majority where one is needed."""
    own = identity(FOLDER) if same_volume else None
    if own is None:
        if s.birthing and not s.others.knows_started(s.peer_url):
            return Plan(seat=Seat.NEW)
        members = require_majority(s.others, s.node.slot, s.deadline)
        return Plan(seat=Seat.TAKEN, members=members)
    listed = s.deadline.within(ASK_AROUND_S).until(s.others.members)
    if listed is None or holds_seat(listed, s.peer_url, own.member_id):
        return Plan(seat=Seat.KEPT, members=listed or ())
    members = require_majority(s.others, s.node.slot, s.deadline)
    return Plan(seat=Seat.TAKEN, members=members)


def clear(s: Setup, plan: Plan) -> None:
    """Remove a directory that is nobody's any more; it must be gone before the disk is signed for this volume."""
    if plan.seat is Seat.KEPT or not FOLDER.exists():
        return
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
