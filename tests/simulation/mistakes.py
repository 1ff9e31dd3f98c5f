"""Mistakes a healer would make without its guards: what the mutants put in the place of the real functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import lambdas.act
import lambdas.core.climb
import lambdas.core.ladder
import lambdas.core.plan
import lambdas.core.wanted
import lambdas.documents
import lambdas.run
from lambdas.core.actions import Action, GrowDisk, Reinit, SetDiskAside, Step, Terminate
from lambdas.core.diagnose import Diagnosis, Finding
from lambdas.core.evidence import Evidence
from lambdas.core.ladder import Rung
from lambdas.core.model import (
    Incident,
    Instance,
    InstanceState,
    Observation,
    Report,
    is_leading,
)
from tests.simulation.mutation import Patch
from tests.simulation.ports import TablePort

FOREVER_AGO = float("-inf")


# -- evidence and memory


def as_old(e: Evidence) -> Evidence:
    if e.occupant is None:
        return e
    return replace(e, occupant=replace(e.occupant, launched_at=FOREVER_AGO))


def twice(words: Sequence[str]) -> tuple[str, ...]:
    return (*words, *words)


def no_memory_of_leaders(*_args: object) -> None:
    return None


def led_by_own_word(_o: Observation, _name: str, report: Report | None) -> bool:
    return report is not None and is_leading(report)


def led_by_others_word(o: Observation, name: str, _report: Report | None) -> bool:
    others = (o.fresh(s.name) for s in o.spec.slots if s.name != name)
    return any(r is not None and r.patroni is not None and r.patroni.leader == name for r in others)


def own_report_of_anyone(
    o: Observation, slot: Any, occupant: Instance | None
) -> tuple[Report | None, float | None]:
    seen = o.reports.get(slot.name)
    return (None, None) if seen is None or occupant is None else (seen.report, seen.age_s)


def trusted_whoever_wrote(o: Observation, slot: str) -> Report | None:
    seen = o.reports[slot]
    return None if seen.age_s > o.spec.timings.agent_silent_after_s else seen.report


def trusted_only_where_ec2_speaks(o: Observation, slot: str) -> Report | None:
    seen, occupant = o.reports[slot], o.occupant(slot)
    if occupant is None or seen.age_s > o.spec.timings.agent_silent_after_s:
        return None
    return seen.report if occupant.instance_id == seen.report.instance_id else None


def stands_unless_ending(o: Observation, slot: str) -> tuple[Instance, ...]:
    over = (InstanceState.TERMINATED, InstanceState.SHUTTING_DOWN)
    return tuple(i for i in o.instances if i.slot == slot and i.state not in over)


# -- the loop and the doer


def numbered_anew() -> Callable[[Incident, str], str]:
    numbers = count()
    return lambda incident, kind: f"{incident.incident_id}-{kind}-{next(numbers)}"[-64:]


def taking_silence_for_no(patch: Patch) -> None:
    """A call that got no answer counts as refused: the next one is another step."""
    real = lambdas.act.Actor._attempt

    def attempt(actor: Any, step: Step, intent: Any) -> Any:
        came = real(actor, step, intent)
        if came.outcome != "unknown":
            return came
        actor._world.table.clear_action(step.slot)
        return replace(came, outcome="failed", error="no answer")

    patch.set(lambdas.act.Actor, "_attempt", attempt)


def steps_without_lease(patch: Patch) -> None:
    real = lambdas.run.Run._act

    def act(run: Any, *args: Any, **named: Any) -> Any:
        run._renew = lambda: False
        try:
            return real(run, *args, **named)
        finally:
            del run._renew

    patch.set(lambdas.run.Run, "_act", act)


def writes_without_lease(patch: Patch) -> None:
    """The table does not look at the lease: a run that has lost it writes over the next one's."""
    patch.set(TablePort, "_write", TablePort._call)


def always_as_for_a_birth(patch: Patch) -> None:
    real = lambdas.core.wanted._configure

    def configure(finding: Finding) -> Action:
        birth = finding.evidence.observation.birth
        if birth is None:
            return real(finding)
        pending = replace(finding.evidence.observation, birth=replace(birth, state="pending"))
        return real(replace(finding, evidence=replace(finding.evidence, observation=pending)))

    patch.set(lambdas.core.wanted, "_configure", configure)


def sent_again(actor: Any, step: Any, slot: Any, action_id: str) -> Mapping[str, str]:
    """A document is sent without a look whether it was sent before."""
    command_id = actor._world.ssm[slot.region].send(
        document=lambdas.documents.DOCUMENTS[step.kind],
        instance_id=step.instance_id,
        parameters=lambdas.documents.parameters(step),
        comment=action_id,
        timeout_s=actor._world.spec.timings.configure_timeout_s,
    )
    return {"instance_id": step.instance_id, "command_id": command_id}


def never_busy(_wanted: Step, _finding: Finding, _o: Observation) -> str | None:
    return None


# -- the planner and the ladder


def ending_the_suspected(patch: Patch) -> None:
    """A planner's mistake that the corroboration rail is there for."""
    real = lambdas.core.wanted.wanted

    def wanted(finding: Finding) -> Action:
        occupant = finding.evidence.occupant
        if finding.diagnosis is Diagnosis.SUSPECTED and occupant is not None:
            return Terminate(slot=finding.slot, instance_id=occupant.instance_id)
        return real(finding)

    patch.set(lambdas.core.plan, "wanted", wanted)


def making_copies_anew_at_once(patch: Patch) -> None:
    """A planner's mistake that the last-copy rail is there for: whatever is wrong with a copy, it is thrown away."""
    real = lambdas.core.wanted.wanted

    def wanted(finding: Finding) -> Action:
        e, volume = finding.evidence, finding.evidence.volume
        ill = finding.diagnosis in (Diagnosis.WAITS_FOR_LEADER, Diagnosis.DISK_READ_ONLY)
        if not ill or e.occupant is None or volume is None or e.slot.role != "db":
            return real(finding)
        instance_id = e.occupant.instance_id
        if e.online and finding.diagnosis is Diagnosis.WAITS_FOR_LEADER:
            return Reinit(slot=finding.slot, instance_id=instance_id)
        return SetDiskAside(slot=finding.slot, instance_id=instance_id, volume_id=volume.volume_id)

    patch.set(lambdas.core.plan, "wanted", wanted)


def growing_without_end(patch: Patch) -> None:
    """A planner's mistake that the growth-budget rail is there for."""
    real = lambdas.core.wanted.wanted

    def wanted(finding: Finding) -> Action:
        action = real(finding)
        return (
            replace(action, size_gib=action.size_gib * 9)
            if isinstance(action, GrowDisk)
            else action
        )

    patch.set(lambdas.core.plan, "wanted", wanted)


def from_the_top(patch: Patch) -> None:
    """The ladder is climbed from its last rung."""

    def rung_now(diagnosis: Diagnosis, e: Evidence) -> Rung | None:
        rungs = [r for r in lambdas.core.ladder.LADDERS[diagnosis] if r.applies(e)]
        return rungs[-1] if rungs else None

    patch.set(lambdas.core.ladder, "rung_now", rung_now)
    patch.set(lambdas.core.climb, "rung_now", rung_now)


def without_end(patch: Patch) -> None:
    """A planner's mistake that the attempts rail is there for: the lowest rung is tried again and again."""

    def rung_now(diagnosis: Diagnosis, e: Evidence) -> Rung | None:
        return next((r for r in lambdas.core.ladder.LADDERS[diagnosis] if r.applies(e)), None)

    patch.set(lambdas.core.ladder, "rung_now", rung_now)
    patch.set(lambdas.core.climb, "rung_now", rung_now)


def never_patient(patch: Patch) -> None:
    """No step waits for what the last one did, nor for a word that is newer."""
    patch.set(lambdas.core.climb, "_patience", lambda *_: None)
    patch.set(lambdas.core.wanted, "older_than_the_last_step", lambda *_: None)


def out_of_turn(patch: Patch) -> None:
    """What can wait does not wait for its turn."""
    patch.set(
        lambdas.core.plan, "_in_turn", lambda finding, *_: lambdas.core.wanted.wanted(finding)
    )


def every_step_a_look(patch: Patch) -> None:
    """A look may stop, remove and make anew as much as it likes."""
    for kinds in ("REMOVALS", "STOPS", "DISCARDS"):
        patch.set(lambdas.core.plan, kinds, frozenset())


def suspected_for_long(_e: Evidence) -> float:
    return 1e9


def never_backs_off(_finding: Finding, step: Step) -> Action:
    return step
