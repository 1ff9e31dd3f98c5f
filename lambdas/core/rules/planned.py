"""What people ordered, and what is no longer needed: nothing is wrong, and something is to be done."""

from __future__ import annotations

from lambdas.core.consent import Planned, PlannedKind
from lambdas.core.diagnosis import Diagnosis, Rule
from lambdas.core.evidence import Evidence
from lambdas.core.stand_in import is_relieved


def _order(e: Evidence, kind: PlannedKind) -> Planned | None:
    planned = e.observation.planned
    return planned if planned is not None and planned.kind is kind else None


def _outdated(e: Evidence) -> bool:
    roll = _order(e, PlannedKind.ROLL)
    return roll is not None and e.occupant is not None and e.occupant.made_at < roll.since


def _relieved(e: Evidence) -> bool:
    return e.occupant is not None and is_relieved(e.slot.name, e.observation)


def _to_switch_over(e: Evidence) -> bool:
    switchover = _order(e, PlannedKind.SWITCHOVER)
    return switchover is not None and e.leads and switchover.to != e.slot.name


RULES: tuple[Rule, ...] = (
    Rule(
        number=275,
        diagnosis=Diagnosis.OUTDATED,
        when=_outdated,
        why="the occupant is older than the replacement of every node that a person ordered",
    ),
    Rule(
        number=276,
        diagnosis=Diagnosis.OUTDATED,
        when=_relieved,
        why="the slot that it stands in for is well again",
    ),
    Rule(
        number=285,
        diagnosis=Diagnosis.TO_SWITCH_OVER,
        when=_to_switch_over,
        why="a person ordered that another copy leads",
    ),
)
