"""What is known of etcd's majority and of who else has the data, for the quorum rail. Pure."""

from __future__ import annotations

from lambdas.core.actions import ETCD_CHANGES
from lambdas.core.evidence import gather
from lambdas.core.model import InstanceState, Observation, Role


def _words(without: str, o: Observation) -> list[bool]:
    """What the other voters say of etcd, as far as their word comes: whether it answers them.

    One whose own member is down says nothing of the others.
    """
    reports = (o.fresh(voter.name) for voter in o.spec.voters if voter.name != without)
    return [
        r.etcd.healthy is True
        for r in reports
        if r is not None and r.etcd is not None and r.services.get("etcd") == "active"
    ]


def needed_now(slot: str, o: Observation) -> str | None:
    """Why etcd seems to need this voter, which then lives: it answers too few others to do without, or nobody says."""
    words = _words(slot, o)
    if sum(words) > 0 and sum(words) + _alarmed(slot, o) < len(o.spec.voters) // 2 + 1:
        return f"etcd answers {sum(words)} other voters, which it could hardly do without {slot}"
    unheard = [v.name for v in o.spec.voters if v.name != slot and _well_and_unheard(v.name, o)]
    if not words and unheard:
        return f"no voter's word on etcd comes, and {', '.join(unheard)} may serve with {slot}"
    return None


def _alarmed(without: str, o: Observation) -> int:
    """Other voters that call themselves ill for an alarm only: they still vote."""
    reports = (o.fresh(voter.name) for voter in o.spec.voters if voter.name != without)
    etcds = [r.etcd for r in reports if r is not None and r.etcd is not None]
    return sum(etcd.healthy is not True and bool(etcd.alarms) for etcd in etcds)


def _well_and_unheard(name: str, o: Observation) -> bool:
    """It has spoken and does not now, and EC2 does not call its host impaired, or a peer gets an answer from it."""
    seen, occupant = o.reports.get(name), o.occupant(name)
    if o.spec.by_name[name].region in o.unknown_regions:
        return o.fresh(name) is None
    if seen is None or occupant is None or o.fresh(name) is not None:
        return False
    spoke = seen.report.instance_id == occupant.instance_id
    if not spoke or occupant.state is not InstanceState.RUNNING:
        return False
    return occupant.impaired is not True or bool(gather(o, o.spec.by_name[name]).peers_answered)


def majority(without: str, o: Observation) -> str | None:
    """Why the other voters are not known to be a healthy majority by themselves."""
    healthy, needed = sum(_words(without, o)), len(o.spec.voters) // 2 + 1
    if healthy >= needed:
        return None
    known = (
        f"only {healthy} of {len(o.spec.voters)} etcd voters besides {without} are known healthy"
    )
    return f"{known}; {needed} are needed"


def changing(slot: str, o: Observation) -> str | None:
    """Why etcd's membership is not free for another change: one at a time."""
    for voter in o.spec.voters:
        action = o.open_actions.get(voter.name)
        if (
            voter.name != slot
            and action is not None
            and action.kind in ETCD_CHANGES | {"configure"}
        ):
            return f"{voter.name}'s etcd member is being changed; one at a time"
    return None


def needed_copy(slot: str, o: Observation) -> str | None:
    """Why the leader and the copies that stream would be no majority of the copies without this one."""
    leader = None if o.leader is None else o.fresh(o.leader)
    rows = () if leader is None or leader.postgres is None else leader.postgres.replication
    streaming = {row.name for row in rows if row.state == "streaming"}
    needed = sum(s.role is Role.DB and s.active for s in o.spec.slots) // 2 + 1
    if slot in streaming and len(streaming) < needed:  # the leader counts in its place
        return f"{len(streaming)} copies stream, {slot} among them, and none can be spared"
    return None
