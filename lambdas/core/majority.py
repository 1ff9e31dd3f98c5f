"""What is known of etcd's majority and of who else has the data, for the quorum rail. Pure."""

from __future__ import annotations

from lambdas.core.actions import ETCD_CHANGES, REMOVALS, STOPS
from lambdas.core.evidence import gather, leader_gives_no_answer
from lambdas.core.model import InstanceState, Observation, PeerState, Role
from lambdas.core.rules.databases import says_it_does_not_follow


def _words(without: str, o: Observation) -> list[bool]:
    """What the other voters say of etcd, as far as their word comes: whether it answers them.

    One whose own member is down says nothing of the others.
    """
    said = (_word(voter.name, o) for voter in o.spec.voters if voter.name != without)
    return [word for word in said if word is not None]


def _word(voter: str, o: Observation) -> bool | None:
    r = o.fresh(voter)
    if r is None or r.etcd is None or r.services.get("etcd") != "active":
        return None
    return r.etcd.healthy is True


def _is_going(slot: str, o: Observation) -> bool:
    """Whether what it said last, or another of it, is over or soon will be: it goes, or its disk was set aside."""
    action, occupant = o.open_actions.get(slot), o.occupant(slot)
    if action is not None and action.kind in REMOVALS | STOPS | {"set-disk-aside"}:
        return True
    if occupant is None:
        return False  # where EC2 does not answer, its own word stands
    if occupant.state is not InstanceState.RUNNING:
        return True
    return gather(o, o.spec.by_name[slot]).set_aside is not None


def needed_now(slot: str, o: Observation) -> str | None:
    """Why etcd seems to need this voter, which then lives: it answers too few others to do without, or nobody says."""
    words = _words(slot, o)
    answers = any(words) or _somebody_takes_writes(o)
    others = sum(words) + _may_vote(slot, o) + len(_unheard_and_voting(slot, o))
    if answers and others < len(o.spec.voters) // 2 + 1:
        return f"etcd answers {sum(words)} other voters, which it could hardly do without {slot}"
    unheard = [v.name for v in o.spec.voters if v.name != slot and _well_and_unheard(v.name, o)]
    if not words and unheard:
        return f"no voter's word on etcd comes, and {', '.join(unheard)} may serve with {slot}"
    # Those that get no answer may be ill themselves; who lives and does not speak may get one.
    alive = [name for name in unheard if _lives(name, o)]
    if alive and not any(words) and len(alive) >= len(o.spec.voters) // 2:
        return f"etcd answers no voter that speaks, and may answer {', '.join(alive)} and {slot}"
    return None


def _unheard_and_voting(without: str, o: Observation) -> list[str]:
    """Voters whose word does not come, and with whom one that etcd answers must make the majority.

    Each that etcd answers gets an answer of their agents, whose last word was of a healthy member, and none of the
    host in question.
    """
    names = [v.name for v in o.spec.voters if v.name != without]
    answered = [report.peers for name in names if _word(name, o) and (report := o.fresh(name))]
    if not answered or any(peers.get(without) is not PeerState.SILENT for peers in answered):
        return []
    return [
        name
        for name in names
        if o.fresh(name) is None
        and _served_last(name, o)
        and all(peers.get(name) is PeerState.ALIVE for peers in answered)
    ]


def _served_last(voter: str, o: Observation) -> bool:
    """Whether the last word of its occupant, which runs, has a healthy member in it."""
    e = gather(o, o.spec.by_name[voter])
    runs = e.occupant is not None and e.occupant.state is InstanceState.RUNNING
    etcd = None if e.report is None else e.report.etcd
    return runs and etcd is not None and etcd.healthy is True


def _lives(voter: str, o: Observation) -> bool:
    return gather(o, o.spec.by_name[voter]).alive


def _somebody_takes_writes(o: Observation) -> bool:
    """Whether a leader is seen, by itself or by a proxy: without etcd's answers it soon leads no more."""
    return bool(o.leaders) or any(heard.writable for heard in o.hearsay.values())


def _may_vote(without: str, o: Observation) -> int:
    """Other voters that do not say that etcd answers them and still vote: ill for an alarm, or being set up."""
    found = (o.fresh(voter.name) for voter in o.spec.voters if voter.name != without)
    reports = [report for report in found if report is not None]
    alarmed = sum(
        r.etcd is not None and r.etcd.healthy is not True and bool(r.etcd.alarms) for r in reports
    )
    return alarmed + sum(r.etcd is None and r.services.get("etcd") == "active" for r in reports)


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
    staying = [v.name for v in o.spec.voters if v.name != without and not _is_going(v.name, o)]
    healthy, needed = sum(_word(name, o) is True for name in staying), len(o.spec.voters) // 2 + 1
    if healthy >= needed:
        return None
    known = (
        f"only {healthy} of {len(o.spec.voters)} etcd voters besides {without} are known healthy"
    )
    return f"{known}; {needed} are needed"


def does_without(slot: str, o: Observation) -> bool:
    """Whether etcd answers another voter and not this one, by their own young words, and others may vote with that."""
    own, words = o.fresh(slot), _words(slot, o)
    if own is None or own.etcd is None or own.etcd.healthy is not False or own.etcd.alarms:
        return False  # one with an alarm votes
    return any(words) and sum(words) + _may_vote(slot, o) >= len(o.spec.voters) // 2 + 1


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
    """Why the leader and the copies that stream and stay would be no majority of the copies without this one.

    A leader whose PostgreSQL gives its agent no answer lists nobody: whether who may follow can be spared is not known.
    """
    if leader_gives_no_answer(o) and _may_follow(slot, o):
        return f"{o.leader}'s PostgreSQL gives its agent no answer, and {slot} may be a copy that none can spare"
    leader = o.leaders_report
    rows = () if leader is None or leader.postgres is None else leader.postgres.replication
    rows = tuple(row for row in rows if row.name == slot or _stays(row.name, o))
    streaming = {row.name for row in rows if row.state == "streaming"}
    needed = sum(s.role is Role.DB and s.active for s in o.spec.slots) // 2 + 1
    if slot in streaming and len(streaming) < needed:  # the leader counts in its place
        return f"{len(streaming)} copies stream, {slot} among them, and none can be spared"
    return None


def _may_follow(slot: str, o: Observation) -> bool:
    """Whether it is a copy that runs and does not say itself that it does not follow."""
    occupant, own = o.occupant(slot), o.fresh(slot)
    if o.spec.by_name[slot].role is not Role.DB or slot == o.leader:
        return False
    if occupant is not None and occupant.state is not InstanceState.RUNNING:
        return False
    return own is None or not says_it_does_not_follow(gather(o, o.spec.by_name[slot]))


def _stays(name: str, o: Observation) -> bool:
    """Whether a copy that the leader hears will do so: the leader hears one that is lost for a while."""
    own = None if o.fresh(name) is None else gather(o, o.spec.by_name[name])
    return not _is_going(name, o) and (own is None or not says_it_does_not_follow(own))
