"""A few seeds on every run: the real healer does no harm in the simulated world, and a seed is always one story."""

from __future__ import annotations

import pytest

from tests.simulation import scenario


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_no_invariant_is_broken(first: int) -> None:
    for seed in range(first, first + 20):
        assert not scenario.run(seed, count=12).violations, seed


def test_the_same_seed_is_the_same_story() -> None:
    once, again = (scenario.run(7, count=12, recording=True) for _ in range(2))
    assert once.story
    assert once == again
