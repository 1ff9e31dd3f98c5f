"""Rules that can only forbid. Each is named; its id appears in the hold it causes.

A rail sees the action, the finding it answers and the whole observation, and returns a sentence when it forbids.
It must never allow what another forbids, and never change an action into another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lambdas.core.actions import BOUNDED, DISTURBING, REMOVALS, RestartService, Step, Terminate
from lambdas.core.diagnose import Diagnosis, Finding
from lambdas.core.evidence import gather
from lambdas.core.model import InstanceState, Mode, Observation

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
TRIES_MAX = 15  # steps of one incident since the slot was last emptied

Check = Callable[[Step, Finding, Observation], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rail:
    """One named prohibition."""

    id: str
    why: str
    forbids: Check


def _closed(_step: Step, _finding: Finding, o: Observation) -> str | None:
    return (
        "the cluster is closed for a destroy; if it is to live on, apply with a higher opening"
        if o.closed
        else None
    )


def _mode(step: Step, _finding: Finding, o: Observation) -> str | None:
    if o.mode is Mode.AUTO:
        return None
    return f"mode is {o.mode}: would have done {step.kind} on {step.slot}"


def _hands_off(step: Step, finding: Finding, _o: Observation) -> str | None:
    occupant = finding.evidence.occupant
    if occupant is not None and occupant.hands_off:
        return f"{step.slot} is tagged hands-off: would have done {step.kind}"
    return None


def _paused(step: Step, _finding: Finding, o: Observation) -> str | None:
    if o.paused and step.kind in DISTURBING:
        return f"Patroni is paused: would have done {step.kind} on {step.slot}"
    return None


def _living_leader(step: Step, finding: Finding, _o: Observation) -> str | None:
    """A leader nobody has superseded is alive for us, whatever the silence says."""
    e = finding.evidence
    if step.kind not in DISTURBING or not e.last_led or e.superseded:
        return None
    if isinstance(step, RestartService):
        # Its agent leads nothing, and starting what is down stops nothing; the node itself refuses when that is past.
        down = finding.diagnosis is Diagnosis.SERVICE_DOWN
        if down or step.service == "pgmend-agent":
            return None
    return f"{step.slot} last led and no other member leads on a newer timeline"


def _corroboration(step: Step, finding: Finding, _o: Observation) -> str | None:
    proven = (Diagnosis.PRESUMED_DEAD, Diagnosis.BOOT_STUCK, Diagnosis.CONFIGURE_FAILED)
    if isinstance(step, Terminate) and finding.diagnosis not in proven:
        return f"{step.slot} is {finding.diagnosis}, which is no proof of death"
    return None


def _quorum(step: Step, finding: Finding, o: Observation) -> str | None:
    """A voter may be stopped only while a majority of the others is healthy, unless its disk brings it back."""
    slot = finding.evidence.slot
    if not slot.etcd_voter or step.kind not in DISTURBING:
        return None
    serves_nobody = (Diagnosis.PRESUMED_DEAD, Diagnosis.BOOT_STUCK)
    if isinstance(step, Terminate) and finding.diagnosis in serves_nobody:
        has_disk = finding.evidence.volume is not None
        return _needed_now(slot.name, o) if has_disk else _majority(slot.name, o)
    if isinstance(step, RestartService):
        # Starting what is down takes nothing from the majority, and may be what brings it back.
        down = finding.diagnosis is Diagnosis.SERVICE_DOWN
        return None if down or step.service != "etcd" else _majority(slot.name, o)
    return _majority(slot.name, o)


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


def _needed_now(slot: str, o: Observation) -> str | None:
    """Why etcd seems to need this voter, which then lives: it answers too few others to do without, or nobody says."""
    words = _words(slot, o)
    if 0 < sum(words) < len(o.spec.voters) // 2 + 1:
        return f"etcd answers {sum(words)} other voters, which it could hardly do without {slot}"
    unheard = [v.name for v in o.spec.voters if v.name != slot and _well_and_unheard(v.name, o)]
    if not words and unheard:
        return f"no voter's word on etcd comes, and {', '.join(unheard)} may serve with {slot}"
    return None


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


def _majority(without: str, o: Observation) -> str | None:
    healthy, needed = sum(_words(without, o)), len(o.spec.voters) // 2 + 1
    if healthy >= needed:
        return None
    known = (
        f"only {healthy} of {len(o.spec.voters)} etcd voters besides {without} are known healthy"
    )
    return f"{known}; {needed} are needed"


def _attempts(step: Step, finding: Finding, _o: Observation) -> str | None:
    """What many steps did not heal, one more of the same will not. Emptying the slot is another rung, with a budget."""
    incident = finding.evidence.incident
    if step.kind not in BOUNDED or incident is None or incident.tries < TRIES_MAX:
        return None
    return f"{incident.tries} steps did not heal {step.slot}; a person should look"


def _removal_budget(step: Step, _finding: Finding, o: Observation) -> str | None:
    if step.kind not in REMOVALS:
        return None
    hour = sum(1 for at in o.removals if o.now - at < HOUR_S)
    day = sum(1 for at in o.removals if o.now - at < DAY_S)
    budget = o.spec.budget
    if hour >= budget.replacements_per_hour or day >= budget.replacements_per_day:
        return f"{hour} replacements this hour and {day} today: the budget is spent, a person should look"
    return None


def _launch_budget(step: Step, _finding: Finding, o: Observation) -> str | None:
    failed = sum(1 for at in o.failed_launches if o.now - at < HOUR_S)
    if step.kind == "launch" and failed >= o.spec.budget.failed_launches_per_hour:
        return (
            f"{failed} launches failed within the hour: the breaker is open, a person should look"
        )
    return None


def _one_removal(step: Step, finding: Finding, o: Observation) -> str | None:
    """One removal at a time; a second only in another region. What was asked counts before EC2 shows it."""
    if step.kind not in REMOVALS:
        return None
    asked = {slot for slot, action in o.open_actions.items() if action.kind in REMOVALS}
    going = [
        i
        for i in o.instances
        if i.slot != step.slot
        and i.state is not InstanceState.TERMINATED
        and (i.state is InstanceState.SHUTTING_DOWN or i.slot in asked)
    ]
    same = [i for i in going if i.region == finding.evidence.slot.region]
    if same or len(going) >= 2:
        return f"{going[0].slot} is being removed; one at a time"
    if len(going) + len(o.unknown_regions) >= 2:
        return f"what is being removed in {', '.join(o.unknown_regions)} is not known"
    return None


RAILS: tuple[Rail, ...] = (
    Rail(id="closed", why="a cluster that is being emptied is not refilled", forbids=_closed),
    Rail(id="mode", why="observe and off plan and say, and do nothing", forbids=_mode),
    Rail(id="hands-off", why="a tagged slot is a person's", forbids=_hands_off),
    Rail(id="paused", why="Patroni's pause means a person is at work", forbids=_paused),
    Rail(id="living-leader", why="a living leader is never stopped", forbids=_living_leader),
    Rail(id="corroboration", why="death needs proof", forbids=_corroboration),
    Rail(id="quorum", why="no step leaves etcd without majority", forbids=_quorum),
    Rail(id="attempts", why="a slot is not disturbed for ever", forbids=_attempts),
    Rail(id="removal-budget", why="replacements are bounded", forbids=_removal_budget),
    Rail(id="launch-budget", why="failing launches are bounded", forbids=_launch_budget),
    Rail(id="one-removal", why="one removal at a time", forbids=_one_removal),
)


def forbidden(step: Step, finding: Finding, observation: Observation) -> tuple[Rail, str] | None:
    """The first rail that forbids the step, with its sentence."""
    for rail in RAILS:
        because = rail.forbids(step, finding, observation)
        if because is not None:
            return rail, because
    return None
