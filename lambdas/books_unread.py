"""What depends on an item of the hub table that cannot be read: nothing is done there, and people are told why.

It may only turn a step into a wait or a hold. It must never decide anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from lambdas.act import Actor
from lambdas.adapters.items import UNREAD
from lambdas.core.actions import Action, Configure, Hold, Wait
from lambdas.core.diagnose import QUIET, Diagnosis, Finding, Rule
from lambdas.observe import Look, World
from lambdas.observe_unread import Unread

RAIL: Final = "unread"


def write_anew(look: Look, world: World, actor: Actor) -> None:
    """Write what was taken in the place of garbage, for the next look to know of; the journal says what was wrong."""
    o = look.observation
    for slot, why in look.unread.pasts.items():
        world.table.save_incident(o.incidents[slot])
        sentence = f"the open incident of {slot} could not be read: {why}; it is written anew"
        actor.note(RAIL, o.incidents[slot], sentence, now=o.now)
    for slot in look.unread.actions:
        world.table.clear_action(slot)


def for_a_person(findings: Mapping[str, Finding]) -> Mapping[str, Finding]:
    """Whatever is wrong with a slot whose past is not known is a person's; what is well is well."""
    return {slot: _for_a_person(finding) for slot, finding in findings.items()}


def _for_a_person(finding: Finding) -> Finding:
    if finding.diagnosis in QUIET or not _is_unread(finding):
        return finding
    because = (
        f"it is {finding.diagnosis}, and what was tried before could not be read in the hub table:"
        " nothing is done until a person acknowledges, then it begins anew"
    )
    rule = Rule(number=0, diagnosis=Diagnosis.NEEDS_PERSON, when=_is_always, why=because)
    return replace(finding, rule=rule)


def _is_unread(finding: Finding) -> bool:
    incident = finding.evidence.incident
    return incident is not None and incident.rung(UNREAD) > 0


def _is_always(_: object) -> bool:
    return True


def holding(
    actions: tuple[Action, ...], findings: Mapping[str, Finding], unread: Unread
) -> tuple[Action, ...]:
    """The plan, with a hold or a wait in the place of what depends on an item that cannot be read."""
    return tuple(_held(action, findings[action.slot], unread) for action in actions)


def _held(action: Action, finding: Finding, unread: Unread) -> Action:
    if finding.diagnosis is Diagnosis.NEEDS_PERSON and _is_unread(finding):
        return Hold(slot=action.slot, rail=RAIL, because=finding.rule.why)
    if action.slot in unread.actions:
        because = (
            "what is under way there could not be read in the hub table; it is looked at again"
        )
        return Wait(slot=action.slot, because=because)
    if unread.birth is not None and isinstance(action, Configure):
        because = (
            f"the cluster's birth in the hub table cannot be read ({unread.birth}); put it right"
        )
        return Hold(
            slot=action.slot, rail=RAIL, because=f"{because}: would have done {action.kind}"
        )
    return action
