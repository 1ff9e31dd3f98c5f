"""Write outages, what the writer lost, and a thawed host's first moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.chaos.nemesis import Thaw
from lab.chaos.outages import (
    OUTAGE_S_MIN,
    THAWED_S_MAX,
    acknowledged,
    gone,
    outages,
    percentile,
    without_thaws,
)
from lab.checker.verdicts.windows import ALWAYS, Window
from lab.load.history import READ_ONLY, WRITABLE, Outcome
from tests.unit.lab.checker.builders import a_value, an_append
from tests.unit.lab.checker.builders import a_write as a_register_write
from tests.unit.lab_tools.fakes import a_probe, a_write


def test_an_outage_is_over_all_paths_and_the_edges_count() -> None:
    assert outages([2.0, 2.5, 8.0], begin=0.0, end=10.0) == (2.0, 5.5, 2.0)
    assert outages([], begin=0.0, end=10.0) == (10.0,)
    assert outages([-5.0, 0.5, 1.0, 20.0], begin=0.0, end=1.5) == ()


@given(st.lists(st.floats(0, 100)), st.floats(0, 50), st.floats(50, 100))
def test_outages_are_never_longer_than_the_time_there_is(
    moments: list[float], begin: float, end: float
) -> None:
    found = outages(sorted(moments), begin, end)
    assert all(seconds >= OUTAGE_S_MIN - 0.001 for seconds in found)
    assert sum(found) <= end - begin + 0.001 * len(found)


def test_only_inserts_that_were_acknowledged_end_an_outage() -> None:
    writes = [a_write(1.0, latency_s=0.5), a_write(2.0, outcome=Outcome.UNKNOWN)]
    operations = [
        an_append(1, 3.0, 3.5),
        an_append(2, 4.0, 4.5, outcome=Outcome.FAILED),
        a_register_write(a_value(0, 1), 5.0, 5.5),
    ]
    assert acknowledged(writes, operations) == [1.5, 3.5]


@pytest.mark.parametrize(
    ("values", "p50", "p95", "top"),
    [((), 0.0, 0.0, 0.0), ((3.0,), 3.0, 3.0, 3.0), (tuple(map(float, range(1, 101))), 50, 95, 100)],
)
def test_percentiles(values: tuple[float, ...], p50: float, p95: float, top: float) -> None:
    assert [percentile(values, it) for it in (50, 95, 100)] == [p50, p95, top]


def test_a_missing_write_is_excused_only_if_the_promise_was_suspended_when_it_was_acknowledged() -> (
    None
):
    writes = [
        a_write(1.0, number=1),
        a_write(5.0, number=2),
        a_write(9.0, number=3),
        a_write(5.0, number=4, outcome=Outcome.UNKNOWN),
    ]
    window = Window(begin=4.0, end=6.0)
    assert gone(writes, {1, 2, 4}, [window]) == (1, 1)
    assert gone(writes, {1, 2, 4}, []) == (2, 0)
    assert gone(writes, {1, 2}, [ALWAYS]) == (0, 2)
    assert gone(writes, set(), [window]) == (0, 0)


def test_only_the_thawed_host_is_not_asked_and_only_for_a_moment() -> None:
    thaw = Thaw(slot="db-euw1-a", begin=10.0, end=10.2)
    before, frozen = a_probe("db-euw1-a", 8.0, WRITABLE), a_probe("db-euw1-a", 9.9, WRITABLE)
    waking = a_probe("db-euw1-a", 9.5, WRITABLE, latency_s=1.0)
    late = a_probe("db-euw1-a", 10.3 + THAWED_S_MAX, WRITABLE)
    other = a_probe("db-euw1-b", 10.5, READ_ONLY)
    probes = [before, frozen, waking, late, other]
    assert without_thaws(probes, [thaw]) == [before, frozen, late, other]
    assert without_thaws(probes, []) == probes
