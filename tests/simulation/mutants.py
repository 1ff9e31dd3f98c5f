"""Healers with one guard taken away: each must make the simulator find a violation, or the simulator proves nothing.

A mutant lies to one predicate about one piece of evidence, or switches one rule off, in the real code and while it is
applied. It must never outlive its `with`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import lambdas.act
import lambdas.core.diagnose
import lambdas.core.evidence
import lambdas.core.plan
import lambdas.core.rails
import lambdas.observe
import lambdas.run
from lambdas.core.actions import Action, Step, Terminate
from lambdas.core.diagnose import Diagnosis, Finding
from lambdas.core.evidence import Evidence
from lambdas.core.model import (
    Incident,
    Instance,
    InstanceState,
    Observation,
    Report,
    is_leading,
)
from lambdas.core.rails import Rail

FOREVER_AGO = float("-inf")


class Patch:
    """Sets attributes and puts them back."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: object) -> None:
        """Replace an attribute."""
        self._before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Put everything back, the last first."""
        for owner, name, value in reversed(self._before):
            setattr(owner, name, value)


Apply = Callable[[Patch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A name, what is missing, and how to take it away."""

    name: str
    missing: str
    apply: Apply


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """The healer without the guard."""
    patch = Patch()
    mutant.apply(patch)
    try:
        yield
    finally:
        patch.undo()


# -- rails


def _without_rail(rail_id: str) -> Apply:
    def apply(patch: Patch) -> None:
        rails = tuple(r for r in lambdas.core.rails.RAILS if r.id != rail_id)
        patch.set(lambdas.core.rails, "RAILS", rails)

    return apply


def _rail_sees(rail_id: str, lie: Callable[[Observation], Observation]) -> Apply:
    """The rail is told something else than what was observed."""

    def blind(rail: Rail) -> Rail:
        if rail.id != rail_id:
            return rail
        real = rail.forbids
        return replace(rail, forbids=lambda step, finding, o: real(step, finding, lie(o)))

    def apply(patch: Patch) -> None:
        rails = tuple(blind(rail) for rail in lambdas.core.rails.RAILS)
        patch.set(lambdas.core.rails, "RAILS", rails)

    return apply


def _rail_lets_removals(rail_id: str) -> Apply:
    """The rail forbids everything but removals."""

    def lenient(rail: Rail) -> Rail:
        if rail.id != rail_id:
            return rail
        real = rail.forbids

        def forbids(step: Step, finding: Finding, o: Observation) -> str | None:
            return None if isinstance(step, Terminate) else real(step, finding, o)

        return replace(rail, forbids=forbids)

    def apply(patch: Patch) -> None:
        patch.set(lambdas.core.rails, "RAILS", tuple(map(lenient, lambdas.core.rails.RAILS)))

    return apply


def _ending_the_suspected(patch: Patch) -> None:
    """A planner's mistake that the corroboration rail is there for."""
    real = lambdas.core.plan._wanted

    def wanted(finding: Finding) -> Action:
        occupant = finding.evidence.occupant
        if finding.diagnosis is Diagnosis.SUSPECTED and occupant is not None:
            return Terminate(slot=finding.slot, instance_id=occupant.instance_id)
        return real(finding)

    patch.set(lambdas.core.plan, "_wanted", wanted)


def _uncorroborated(patch: Patch) -> None:
    _without_rail("corroboration")(patch)
    _ending_the_suspected(patch)


PLANNERS_MISTAKE = Mutant(
    name="the planner ends the suspected, with the rail in place",
    missing="nothing: the corroboration rail must stop it",
    apply=_ending_the_suspected,
)


# -- rules


def _rule_sees(diagnosis: Diagnosis, lie: Callable[[Evidence], Evidence]) -> Apply:
    """The rule's condition is told something else than what is known."""

    def apply(patch: Patch) -> None:
        rules = []
        for rule in lambdas.core.diagnose.RULES:
            if rule.diagnosis is diagnosis:
                rules.append(replace(rule, when=_lied_to(rule.when, lie)))
            else:
                rules.append(rule)
        patch.set(lambdas.core.diagnose, "RULES", tuple(rules))

    return apply


def _without_rules(*diagnoses: Diagnosis) -> Apply:
    def apply(patch: Patch) -> None:
        rules = tuple(r for r in lambdas.core.diagnose.RULES if r.diagnosis not in diagnoses)
        patch.set(lambdas.core.diagnose, "RULES", rules)

    return apply


def _as_old(e: Evidence) -> Evidence:
    if e.occupant is None:
        return e
    return replace(e, occupant=replace(e.occupant, launched_at=FOREVER_AGO))


def _twice(words: Sequence[str]) -> tuple[str, ...]:
    return (*words, *words)


# -- evidence and memory


def _function(owner: Any, name: str, value: object) -> Apply:
    def apply(patch: Patch) -> None:
        patch.set(owner, name, value)

    return apply


def _all(*parts: Apply) -> Apply:
    def apply(patch: Patch) -> None:
        for part in parts:
            part(patch)

    return apply


def _no_memory_of_leaders(*_args: object) -> None:
    return None


def _led_by_own_word(_o: Observation, _name: str, report: Report | None) -> bool:
    return report is not None and is_leading(report)


def _led_by_others_word(o: Observation, name: str, _report: Report | None) -> bool:
    others = (o.fresh(s.name) for s in o.spec.slots if s.name != name)
    return any(r is not None and r.patroni is not None and r.patroni.leader == name for r in others)


def _own_report_of_anyone(
    o: Observation, slot: Any, occupant: Instance | None
) -> tuple[Report | None, float | None]:
    seen = o.reports.get(slot.name)
    return (None, None) if seen is None or occupant is None else (seen.report, seen.age_s)


def _trusted_whoever_wrote(o: Observation, slot: str) -> Report | None:
    seen = o.reports[slot]
    return None if seen.age_s > o.spec.timings.agent_silent_after_s else seen.report


def _trusted_only_where_ec2_speaks(o: Observation, slot: str) -> Report | None:
    seen, occupant = o.reports[slot], o.occupant(slot)
    if occupant is None or seen.age_s > o.spec.timings.agent_silent_after_s:
        return None
    return seen.report if occupant.instance_id == seen.report.instance_id else None


def _stands_unless_ending(o: Observation, slot: str) -> tuple[Instance, ...]:
    over = (InstanceState.TERMINATED, InstanceState.SHUTTING_DOWN)
    return tuple(i for i in o.instances if i.slot == slot and i.state not in over)


# -- the loop and the doer


def _numbered_anew() -> Callable[[Incident, str], str]:
    numbers = count()
    return lambda incident, kind: f"{incident.incident_id}-{kind}-{next(numbers)}"[-64:]


def _steps_without_lease(patch: Patch) -> None:
    real = lambdas.run.Run._act

    def act(run: Any, actions: Any, incidents: Any) -> Any:
        run._renew = lambda: False
        try:
            return real(run, actions, incidents)
        finally:
            del run._renew

    patch.set(lambdas.run.Run, "_act", act)


def _always_as_for_a_birth(patch: Patch) -> None:
    real = lambdas.core.plan._configure

    def configure(finding: Finding) -> Action:
        birth = finding.evidence.observation.birth
        if birth is None:
            return real(finding)
        pending = replace(finding.evidence.observation, birth=replace(birth, state="pending"))
        return real(replace(finding, evidence=replace(finding.evidence, observation=pending)))

    patch.set(lambdas.core.plan, "_configure", configure)


def _sent_again(actor: Any, step: Any, slot: Any, action_id: str) -> Mapping[str, str]:
    """A document is sent without a look whether it was sent before."""
    command_id = actor._world.ssm[slot.region].send(
        document=lambdas.act.DOCUMENTS[step.kind],
        instance_id=step.instance_id,
        parameters=lambdas.act._parameters(step),
        comment=action_id,
        timeout_s=actor._world.spec.timings.configure_timeout_s,
    )
    return {"instance_id": step.instance_id, "command_id": command_id}


def _never_busy(_wanted: Step, _finding: Finding, _o: Observation) -> str | None:
    return None


DEAD, STUCK = Diagnosis.PRESUMED_DEAD, Diagnosis.BOOT_STUCK
_EVIDENCE, _PLAN, _RUN = lambdas.core.evidence, lambdas.core.plan, lambdas.run
_FORGETS = _function(lambdas.observe, "_remember_who_leads", _no_memory_of_leaders)

RAIL_MUTANTS = tuple(
    Mutant(
        name=f"rail {rail.id} off",
        missing=rail.why,
        apply=_uncorroborated if rail.id == "corroboration" else _without_rail(rail.id),
    )
    for rail in lambdas.core.rails.RAILS
)

DEATH_MUTANTS = tuple(
    Mutant(name=f"presumed dead: {name}", missing=missing, apply=_rule_sees(DEAD, lie))
    for name, missing, lie in (
        (
            "a speaking agent will do",
            "agent silent",
            lambda e: replace(e, report_age_s=1e9),
        ),
        (
            "one silent peer will do",
            "two peers get no answer",
            lambda e: replace(e, peers_silent=_twice(e.peers_silent)),
        ),
        (
            "no silent peer is needed",
            "peers get no answer",
            lambda e: replace(e, peers_silent=("one", "two")),
        ),
        (
            "an answered peer does not count",
            "no peer gets an answer",
            lambda e: replace(e, peers_answered=()),
        ),
        (
            "EC2 need not say impaired",
            "EC2 says impaired",
            lambda e: replace(e, impaired=True),
        ),
        (
            "no verdict counts as impaired",
            "unknown is not impaired",
            lambda e: replace(e, impaired=e.impaired is not False),
        ),
        (
            "a streaming copy may be dead",
            "the leader does not hear it",
            lambda e: replace(e, heard=False),
        ),
    )
)

STUCK_MUTANTS = tuple(
    Mutant(name=f"boot stuck: {name}", missing=missing, apply=_rule_sees(STUCK, lie))
    for name, missing, lie in (
        ("no grace for the young", "grace", _as_old),
        (
            "who answers, follows or led may be stuck",
            "whoever gives a sign of life lives",
            lambda e: replace(e, alive=False, heard=False, last_led=False),
        ),
    )
)

OTHER_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="a leader that looks dead is ended before another leads",
        missing="another leads on a newer timeline (the rule and the living-leader rail both ask)",
        apply=_all(
            _rule_sees(DEAD, lambda e: replace(e, superseded=True)),
            _rail_lets_removals("living-leader"),
        ),
    ),
    Mutant(
        name="who led is forgotten with the last word of it",
        missing="memory of who led last",
        apply=_FORGETS,
    ),
    Mutant(
        name="only a leader's own word counts",
        missing="another's fresh word names the leader",
        apply=_all(_FORGETS, _function(_EVIDENCE, "_last_led", _led_by_own_word)),
    ),
    Mutant(
        name="a leader's own last word does not count",
        missing="the last word of the dead",
        apply=_all(_FORGETS, _function(_EVIDENCE, "_last_led", _led_by_others_word)),
    ),
    Mutant(
        name="a report is young whatever its sequence",
        missing="freshness by sequence",
        apply=_function(lambdas.observe, "_first_seen", lambda _raw, _id, _n, _memory, now: now),
    ),
    Mutant(
        name="a report counts whoever wrote it",
        missing="a report is its occupant's own",
        apply=_all(
            _function(_EVIDENCE, "_own_report", _own_report_of_anyone),
            _function(Observation, "_trusted", _trusted_whoever_wrote),
        ),
    ),
    Mutant(
        name="where EC2 is silent its nodes are not heard",
        missing="a peer's word counts though EC2's API is silent there",
        apply=_function(Observation, "_trusted", _trusted_only_where_ec2_speaks),
    ),
    Mutant(
        name="a region that does not answer is empty",
        missing="unknown is not empty",
        apply=_without_rules(Diagnosis.REGION_UNKNOWN),
    ),
    Mutant(
        name="a slot is empty while its occupant ends",
        missing="a slot is refilled only when EC2 says terminated",
        apply=_function(Observation, "occupants", _stands_unless_ending),
    ),
    Mutant(
        name="a voter that etcd needs may be ended",
        missing="etcd that answers needs this voter",
        apply=_function(lambdas.core.rails, "_needed_now", lambda _slot, _o: None),
    ),
    Mutant(
        name="removals count when EC2 shows them",
        missing="what was asked counts before it is shown",
        apply=_rail_sees("one-removal", lambda o: replace(o, open_actions={})),
    ),
    Mutant(
        name="several removals a look",
        missing="one removal a look",
        apply=_function(_PLAN, "REMOVALS", frozenset()),
    ),
    Mutant(
        name="launches are not counted",
        missing="so many launches at once",
        apply=_function(_PLAN, "_launching", lambda _o: -100),
    ),
    Mutant(
        name="what was asked is asked again",
        missing="a slot is busy with its last step",
        apply=_function(_PLAN, "_under_way", _never_busy),
    ),
    Mutant(
        name="documents go by an older word",
        missing="a step waits for a newer report",
        apply=_function(_PLAN, "_command", _PLAN._send),
    ),
    Mutant(
        name="configuring is tried for ever",
        missing="configuring fails only so often",
        apply=_without_rules(Diagnosis.CONFIGURE_FAILED),
    ),
    Mutant(
        name="a node on an unlisted volume gets another",
        missing="the node's own word on its volume",
        apply=_function(_PLAN, "_disk", lambda _finding, step: step),
    ),
    Mutant(
        name="every configure is a birth",
        missing="once born, nothing may initdb",
        apply=_always_as_for_a_birth,
    ),
    Mutant(
        name="no answer is a refusal",
        missing="a lost answer is asked for again under the same id",
        apply=_function(lambdas.act, "is_refusal", lambda _error: True),
    ),
    Mutant(
        name="every try has a client token of its own",
        missing="the same step has the same token",
        apply=_function(Incident, "next_action_id", _numbered_anew()),
    ),
    Mutant(
        name="documents are sent without looking for them",
        missing="what was sent before a crash is found",
        apply=_function(lambdas.act.Actor, "_command", _sent_again),
    ),
    Mutant(
        name="the lease is not looked at between steps",
        missing="the lease is renewed before every step",
        apply=_steps_without_lease,
    ),
    Mutant(
        name="the lease is never renewed",
        missing="a run that lost its lease does not act",
        apply=_function(_RUN.Run, "_renew", lambda _run: False),
    ),
)

MUTANTS: dict[str, Mutant] = {
    mutant.name: mutant
    for mutant in (*RAIL_MUTANTS, *DEATH_MUTANTS, *STUCK_MUTANTS, *OTHER_MUTANTS)
}


def _lied_to(real: Any, lie: Any) -> Any:
    return lambda e: real(lie(e))
