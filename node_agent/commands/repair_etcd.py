"""`repair-etcd`: give an etcd member room again: compact, defragment, take its NOSPACE alarm back.

It must never leave etcd without a majority (a member serves nobody while it is defragmented), and never take a CORRUPT
alarm back: that member's data is wrong, and `replace-etcd-member` is for it.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass

from node_agent.errors import AgentError, HoldError, RefusedError
from node_agent.membership import Voters, majority_without
from node_agent.node import Node
from node_agent.probes.etcd import CORRUPT, NOSPACE, Etcd
from node_agent.probes.http import Http, mapping, number
from node_agent.render.etcd import QUOTA_BYTES
from node_agent.render.patroni import leader_key
from node_agent.standing import ANSWER_S, Here
from node_agent.waiting import Deadline

PATIENCE_S = 180.0  # what all the steps may take together
WORK_S = 70.0  # compacting, and defragmenting a gigabyte, which is the most it may hold
HAND_OVER_S = 10.0
GONE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """This member as it says it is; ids are decimal."""

    member_id: str
    leads: bool
    revision: int
    db_size_bytes: int
    alarms: tuple[tuple[str, str], ...]

    @property
    def own_alarms(self) -> frozenset[str]:
        """What this very member has raised."""
        return frozenset(alarm for owner, alarm in self.alarms if owner == self.member_id)


def run(node: Node, _args: Namespace) -> str:
    """Compose and do."""
    here = Here.configured(node)
    others = Voters.of(here.spec, without=node.slot)
    own = Etcd(Http(ANSWER_S), patient=Http(WORK_S))
    return make_room(here, others, own, Deadline(PATIENCE_S))


def look(own: Etcd) -> Facts:
    """Raises RefusedError while this member does not answer for itself."""
    status, alarms = mapping(own.status()), own.alarms()
    header = mapping(status.get("header"))
    member, revision = number(header.get("member_id")), number(header.get("revision"))
    size = number(status.get("dbSize"))
    if not member or revision is None or size is None or alarms is None:
        raise RefusedError(f"etcd does not answer here ({own.refusal}); nothing was done")
    return Facts(
        member_id=str(member),
        leads=number(status.get("leader")) == member,
        revision=revision,
        db_size_bytes=size,
        alarms=tuple(alarms),
    )


def make_room(here: Here, others: Voters, own: Etcd, deadline: Deadline) -> str:
    """Check, hand etcd's lead over, compact, defragment, disarm. Raises RefusedError, HoldError, AgentError."""
    slot = here.node.slot
    if not here.spec.slots[slot]["etcd_voter"]:
        raise RefusedError(f"{slot} is no etcd voter; nothing was done")
    before = look(own)
    if CORRUPT in before.own_alarms:
        raise RefusedError(f"the etcd member of {slot} is corrupt and needs to be replaced")
    members, refusal = majority_without(others, slot)
    if members is None:
        raise RefusedError(f"{refusal}; etcd was not touched")
    if before.leads:
        _hand_over(here, others, own, deadline.within(HAND_OVER_S))
    if not own.compact(before.revision):
        raise AgentError(f"etcd did not compact: {own.refusal}")
    if not own.defragment():
        raise AgentError(f"the etcd member of {slot} was not defragmented: {own.refusal}")
    after = look(own)
    if after.db_size_bytes >= QUOTA_BYTES:
        raise HoldError(
            f"the etcd member of {slot} holds {after.db_size_bytes} bytes that are all in use; a person has to see"
            " who writes so much"
        )
    _disarm(own, after, {member.id for member in members}, deadline.within(GONE_S))
    return f"the etcd member of {slot} has {after.db_size_bytes} bytes, {before.db_size_bytes} before, and no alarm"


def _hand_over(here: Here, others: Voters, own: Etcd, deadline: Deadline) -> None:
    """Its leader would hold everybody up while it is defragmented. Raises AgentError when no other takes the lead."""
    healthy, members = others.healthy(), others.members() or []
    database_leader = here.everyone.value(leader_key(here.spec))[1]
    able = [m for m in members if m.name in healthy and not m.learner]
    able.sort(key=lambda m: (m.name == database_leader, m.name or ""))
    if not able or not own.move_leader(able[0].id):
        raise AgentError(f"etcd's lead was not handed over: {own.refusal or 'nobody to take it'}")
    if not deadline.until(lambda: not look(own).leads):
        raise AgentError(
            "etcd's lead was handed over and this member still leads; it was left alone"
        )


def _disarm(own: Etcd, now: Facts, listed: set[str], deadline: Deadline) -> None:
    """This member's alarm, and those of members that are gone and have nobody to take them back."""
    owners = {owner for owner, alarm in now.alarms if alarm == NOSPACE}
    for owner in sorted(o for o in owners if o == now.member_id or o not in listed):
        if not own.disarm(owner, NOSPACE):
            raise AgentError(f"etcd did not take the alarm back: {own.refusal}")
    if not deadline.until(lambda: NOSPACE not in look(own).own_alarms):
        raise AgentError("the NOSPACE alarm is raised again; etcd had no room after all")
