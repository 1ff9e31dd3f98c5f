"""From diagnoses to at most one safe step a slot. Pure; the rails have the last word."""

from __future__ import annotations

from collections.abc import Mapping

from lambdas.core.actions import (
    COMMANDS,
    DISCARDS,
    DISTURBING,
    ETCD_CHANGES,
    REMOVALS,
    STOPS,
    Action,
    DeclareBirth,
    DeclareBorn,
    Hold,
    Step,
    Wait,
)
from lambdas.core.diagnose import QUIET, UNHURRIED, Diagnosis, Finding
from lambdas.core.incident import UNANSWERED
from lambdas.core.model import InstanceState, Observation, Role
from lambdas.core.rails import forbidden, launches_left, only_starts
from lambdas.core.report import SeenReport
from lambdas.core.spec import Timings
from lambdas.core.wanted import back_off_s, wanted

SETTLE_S = 25.0  # how long EC2 may take to show what it was asked to do
LOOK_S_MAX = 15.0  # a look takes as long where a region's API gives no answer
ANSWERS_NOTHING = frozenset({Diagnosis.PRESUMED_DEAD, Diagnosis.BOOT_STUCK, Diagnosis.UNREACHABLE})
# Of one whose way to AWS is lost alone: that the others still have theirs is their words' to say.
SILENCES = frozenset({Diagnosis.AGENT_SILENT, Diagnosis.AGENT_CUT_OFF})
# What an order or an announcement begins by itself.
TURNS = REMOVALS | STOPS | {"switchover"}


def plan(observation: Observation, findings: Mapping[str, Finding]) -> tuple[Action, ...]:
    """What to do now, in order; Wait and Hold say why nothing is done."""
    birth = _birth(observation, findings)
    actions: list[Action] = [] if birth is None else [birth]
    turn = _turn(observation, findings)
    disturbing, changing, launching = False, False, _launching(observation)
    asked = 0
    for name, finding in findings.items():
        if finding.diagnosis in QUIET:
            continue
        action = _safe(_in_turn(finding, turn), finding, observation)
        if action.kind in REMOVALS or action.kind in STOPS or action.kind in DISCARDS:
            goes_first = "another step that stops or removes something goes first"
            action = Wait(slot=name, because=goes_first) if disturbing else action
            disturbing = True
        if action.kind in ETCD_CHANGES:
            goes_first = "another change of etcd goes first"
            action = Wait(slot=name, because=goes_first) if changing else action
            changing = True
        if action.kind == "launch":
            launching += 1
            if launching > observation.spec.budget.launches_in_parallel:
                action = Wait(slot=name, because="enough launches are under way")
            elif asked and asked >= launches_left(observation):
                action = Wait(slot=name, because="no more launches may fail before a person looks")
            else:
                asked += 1
        actions.append(action)
    return tuple(actions)


def _turn(observation: Observation, findings: Mapping[str, Finding]) -> str | None:
    """Whose turn it is of those that can wait: one at a time, while all else is well; who leads comes last.

    What AWS will do soon by itself is not waited for any longer.
    """
    waiting = [f for f in findings.values() if f.diagnosis in UNHURRIED]
    due = [f for f in waiting if _is_due(f, observation)]
    unwell = [f for f in findings.values() if f.diagnosis not in QUIET | UNHURRIED]
    begun = {f.slot for f in waiting if _has_its_turn(f)}
    elsewhere = set(observation.open_actions) - begun
    heard = all(_just_spoke(f, observation) and not _starts(f) for f in findings.values())
    well = not unwell and not elsewhere and heard and observation.leader is not None
    allowed = waiting if well else due
    candidates = [f for f in allowed if f.slot in begun] or allowed
    return min(candidates, key=lambda f: f.evidence.leads).slot if candidates else None


def _has_its_turn(finding: Finding) -> bool:
    """Whether what is under way there is the order's own, and no step of an illness that has just passed."""
    action = finding.evidence.open_action
    return action is not None and action.kind in TURNS


def _just_spoke(finding: Finding, observation: Observation) -> bool:
    """Well by a word that is no older than two reports: what may be ill already is not well enough."""
    e = finding.evidence
    young_s = 2 * observation.spec.timings.report_interval_s + 1
    if e.occupant is None:
        return True
    seen = observation.reports.get(finding.slot)
    late_s = 0.0 if seen is None else seen.late_s
    return e.report_age_s is not None and e.report_age_s + late_s <= young_s


def _starts(finding: Finding) -> bool:
    """Whether one of its units is only starting: that is no illness yet, and may become one."""
    report = finding.evidence.report
    return report is not None and "activating" in report.services.values()


def _is_due(finding: Finding, observation: Observation) -> bool:
    occupant = finding.evidence.occupant
    if finding.diagnosis is not Diagnosis.RETIRING or occupant is None:
        return False
    drain_s = observation.spec.timings.drain_before_s
    return occupant.retire_at is not None and occupant.retire_at - observation.now < drain_s


def _in_turn(finding: Finding, turn: str | None) -> Action:
    if finding.diagnosis in UNHURRIED and finding.slot != turn:
        because = f"{finding.rule.why}; it has its turn when everything else is well"
        return Wait(slot=finding.slot, because=because)
    return wanted(finding)


def _launching(observation: Observation) -> int:
    """Instances that start, and those that were asked for and that EC2 does not show yet."""
    starting = {i.slot for i in observation.instances if i.state is InstanceState.PENDING}
    asked = {slot for slot, action in observation.open_actions.items() if action.kind == "launch"}
    return len(starting | {slot for slot in asked if not observation.occupants(slot)})


def _safe(action: Action, finding: Finding, observation: Observation) -> Action:
    if isinstance(action, Wait | Hold):
        return action
    busy = (
        _under_way(action, finding, observation)
        or _unanswered(action, finding, observation)
        or _overtaken(action, observation)
    )
    if busy is not None:
        return Wait(slot=action.slot, because=busy)
    stopped = forbidden(action, finding, observation)
    if stopped is not None:
        rail, because = stopped
        return Hold(slot=action.slot, rail=rail.id, because=because)
    late = _looked_away(observation) if _takes_away(action, finding) else None
    if late is None:
        return action
    if _always_looks_away(observation):
        return Hold(slot=action.slot, rail="looked-away", because=f"{late}, again and again")
    return Wait(slot=action.slot, because=late)


def unanswered_key(kind: str) -> str:
    """Under which name tries that AWS gave no answer to are counted, until the step itself is."""
    return f"{UNANSWERED}{kind}"


def _unanswered(step: Step, finding: Finding, observation: Observation) -> str | None:
    """Why not to ask yet: AWS gave no answer before, and what is asked too often is throttled the more."""
    incident = finding.evidence.incident
    times = 0 if incident is None else incident.rung(unanswered_key(step.kind))
    if incident is None or not times or incident.last_acted_at is None:
        return None
    left_s = back_off_s(times) - (observation.now - incident.last_acted_at)
    if left_s <= 0:
        return None
    return f"AWS gave no answer to {step.kind}; it is asked again in {left_s:.0f} s"


def _overtaken(step: Step, observation: Observation) -> str | None:
    """Why to wait for the slot's next word: the one that lies there is older than what it has said since."""
    if step.slot not in observation.young or not observation.reports[step.slot].overtaken:
        return None
    return f"the last word of {step.slot} is older than one that came before it"


def _takes_away(step: Step, finding: Finding) -> bool:
    """Whether it stops something that may serve, or answers a silence: not on the words of those who may be gone."""
    if finding.diagnosis in SILENCES:
        return True
    return step.kind in DISTURBING | {"switchover"} and not only_starts(step, finding.evidence)


def _looked_away(observation: Observation) -> str | None:
    """Why to look once more: a word that counts as young came while nobody looked, and who said it may be gone.

    Who lives says another within seconds; the word of one who does not is soon old.
    """
    late = _late(observation)
    return f"the words of {', '.join(late)} came while nobody looked" if late else None


def _always_looks_away(observation: Observation) -> bool:
    """Whether that has been so for so long that a person should know."""
    limit_s = observation.spec.timings.unreachable_after_s
    times = (observation.reports[name].late_since for name in _late(observation))
    return any(at is not None and observation.now - at > limit_s for at in times)


def _late(observation: Observation) -> list[str]:
    timings = observation.spec.timings
    return [n for n in observation.young if after_a_pause(observation.reports[n], timings)]


def after_a_pause(seen: SeenReport, timings: Timings) -> bool:
    """Whether nobody looked, nor was at it, for so long before it was first seen that it says nothing of now."""
    limit_s = max(timings.agent_silent_after_s, LOOK_S_MAX)
    return seen.late_s - seen.looked_for_s > limit_s


def _under_way(step: Step, finding: Finding, observation: Observation) -> str | None:
    """Why the slot is still busy with its last action, or None."""
    e = finding.evidence
    open_action = e.open_action
    if open_action is None:
        return None
    if open_action.kind in COMMANDS and open_action.command_id is not None:
        to_another = e.occupant is None or e.occupant.instance_id != open_action.instance_id
        if to_another or finding.diagnosis in ANSWERS_NOTHING:
            return None  # nobody waits for what a machine that is gone or dead was asked
        return f"{open_action.kind} is {open_action.command_state or 'not answered yet'}"
    if open_action.kind != step.kind:
        return None  # the diagnosis has moved on, so its effect is seen
    if e.incident is not None and open_action.action_id == e.incident.next_action_id(step.kind):
        return None  # a run crashed before this step was counted; the same id makes it the same act
    age_s = observation.now - open_action.started_at
    return f"{open_action.kind} was asked {age_s:.0f} s ago" if age_s < SETTLE_S else None


def _birth(observation: Observation, findings: Mapping[str, Finding]) -> Action | None:
    """Open the cluster's one birth, or close it once there is a leader and a healthy etcd."""
    birth = observation.birth
    if birth is None:
        first = next(s for s in observation.spec.slots if s.role is Role.DB and s.active)
        return _safe(DeclareBirth(slot=first.name), findings[first.name], observation)
    if birth.state == "born" or observation.leader is None:
        return None
    report = observation.leaders_report
    etcd_cluster_id = _etcd_cluster(observation)
    system = (
        None if report is None or report.postgres is None else report.postgres.system_identifier
    )
    if etcd_cluster_id is None or system is None:
        return None
    born = DeclareBorn(
        slot=observation.leader, etcd_cluster_id=etcd_cluster_id, system_identifier=system
    )
    return _safe(born, findings[observation.leader], observation)


def _etcd_cluster(observation: Observation) -> str | None:
    """The etcd cluster's id as a healthy voter knows it; the leader itself may be no voter."""
    for voter in observation.spec.voters:
        report = observation.fresh(voter.name)
        if report is not None and report.etcd is not None and report.etcd.healthy is True:
            return report.etcd.cluster_id
    return None
