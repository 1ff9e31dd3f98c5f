"""How a guard is taken away from the healer: in the real code, and while a mutant is applied.

A mutant lies to one predicate about one piece of evidence, or switches one rule off. It must never outlive its `with`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import lambdas.core.diagnose
import lambdas.core.rails
from lambdas.core.actions import Step, Terminate
from lambdas.core.diagnose import Diagnosis, Finding
from lambdas.core.evidence import Evidence
from lambdas.core.model import Observation
from lambdas.core.rails import Rail


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
    """A name, what is missing, how to take it away, and which invariant must show it where not any will do."""

    name: str
    missing: str
    apply: Apply
    shown_by: str = ""
    temper: str = ""  # of the seeds that are likely to show it


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


def without_rail(rail_id: str) -> Apply:
    def apply(patch: Patch) -> None:
        rails = tuple(r for r in lambdas.core.rails.RAILS if r.id != rail_id)
        patch.set(lambdas.core.rails, "RAILS", rails)

    return apply


def rail_sees(rail_id: str, lie: Callable[[Observation], Observation]) -> Apply:
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


def rail_lets_removals(rail_id: str) -> Apply:
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


# -- rules


def rule_sees(diagnosis: Diagnosis, lie: Callable[[Evidence], Evidence]) -> Apply:
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


def without_rules(*diagnoses: Diagnosis) -> Apply:
    def apply(patch: Patch) -> None:
        rules = tuple(r for r in lambdas.core.diagnose.RULES if r.diagnosis not in diagnoses)
        patch.set(lambdas.core.diagnose, "RULES", rules)

    return apply


def function(owner: Any, name: str, value: object) -> Apply:
    def apply(patch: Patch) -> None:
        patch.set(owner, name, value)

    return apply


def together(*parts: Apply) -> Apply:
    def apply(patch: Patch) -> None:
        for part in parts:
            part(patch)

    return apply


def _lied_to(real: Any, lie: Any) -> Any:
    return lambda e: real(lie(e))
