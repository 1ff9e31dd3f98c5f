"""The simulator can fail: every guard that is taken away is shown up by a seed that the healer as it is passes."""

from __future__ import annotations

from functools import cache

import pytest

from lambdas.core.rails import RAILS
from tests.simulation import killing, scenario
from tests.simulation.mutants import MUTANTS, STOPPED_BY_RAILS, Mutant, applied

KILLERS = killing.known()


@cache
def healer_passes(seed: int) -> bool:
    """Whether the healer as it is breaks nothing in the seed."""
    return not scenario.run(seed).violations


def test_every_rail_has_a_mutant() -> None:
    assert {f"rail {rail.id} off" for rail in RAILS} <= set(MUTANTS)


def test_every_mutant_has_a_killer_and_nothing_else_has() -> None:
    assert set(KILLERS) == set(MUTANTS)


@pytest.mark.parametrize("name", MUTANTS)
def test_what_the_healer_lacks_without_a_guard_is_shown(name: str) -> None:
    killer = KILLERS[name]
    assert healer_passes(killer.seed)
    with applied(MUTANTS[name]):
        broken = scenario.run(killer.seed).violations
    assert killer.invariant in {violation.invariant for violation in broken}


@pytest.mark.parametrize("mistake", STOPPED_BY_RAILS, ids=lambda mistake: mistake.missing)
def test_the_mistake_that_a_rail_is_there_for_is_stopped_by_it(mistake: Mutant) -> None:
    killer = KILLERS[f"rail {mistake.missing} off"]
    with applied(mistake):
        broken = scenario.run(killer.seed).first
    assert broken is None or broken.invariant != killer.invariant


def test_the_page_lists_the_mutants_and_what_caught_them() -> None:
    assert killing.table(KILLERS) in killing.PAGE.read_text()
