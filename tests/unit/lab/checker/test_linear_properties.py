"""The quick answer about a register is the answer of a search through every order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.checker.calls import ReadRegister
from lab.checker.history import Operation
from lab.checker.settings import INITIAL_VALUE, client_of
from lab.checker.verdicts import linear
from lab.checker.verdicts.finding import Anomaly
from lab.checker.verdicts.linear import Access
from lab.checker.verdicts.register import findings
from lab.checker.verdicts.windows import Window
from lab.load.history import Outcome
from tests.unit.lab.checker.builders import a_cas, a_read, a_value, a_write
from tests.unit.lab.checker.executions import Failover, an_execution, seeded
from tests.unit.lab.checker.oracle import is_linearizable

SEEDS = st.integers(min_value=0, max_value=2**32)
OPERATIONS_MAX = 8


@st.composite
def any_accesses(draw: st.DrawFn) -> list[Access]:
    """A short history of one register, possible or not, in which values are unique and every value
    that is seen has a writer."""
    count = draw(st.integers(min_value=1, max_value=OPERATIONS_MAX))
    kinds = draw(st.lists(st.sampled_from("rwc"), min_size=count, max_size=count))
    values = [INITIAL_VALUE, *(a_value(1, n) for n, kind in enumerate(kinds) if kind != "r")]
    accesses: list[Access] = []
    for number, kind in enumerate(kinds):
        begin = draw(st.integers(min_value=0, max_value=12))
        end = begin + draw(st.integers(min_value=0, max_value=6))
        sets = None if kind == "r" else a_value(1, number)
        sees = None if kind == "w" else draw(st.sampled_from(values))
        sure = kind == "r" or draw(st.integers(min_value=0, max_value=3)) > 0
        operation = a_read(INITIAL_VALUE, begin, end)
        if not sure:
            operation = replace(operation, outcome=Outcome.UNKNOWN, result=())
        accesses.append(Access(operation=operation, sees=sees, sets=sets, sure=sure))
    return accesses


@given(accesses=any_accesses())
@settings(max_examples=500)
def test_it_says_what_a_search_through_every_order_says(accesses: list[Access]) -> None:
    found = linear.findings(0, accesses, {})

    assert (found == ()) == is_linearizable(accesses)


@given(seed=SEEDS, clients=st.integers(1, 8), operations=st.integers(1, 120))
def test_what_really_happened_is_never_called_wrong(
    seed: int, clients: int, operations: int
) -> None:
    history = an_execution(seeded(seed), clients=clients, operations=operations, keys=3, unsure=0.3)

    assert findings(history, ()) == ()


@given(seed=SEEDS, operations=st.integers(4, 60), choice=SEEDS)
def test_a_read_of_any_other_value_is_caught_when_nothing_overlaps(
    seed: int, operations: int, choice: int
) -> None:
    rng = seeded(choice)
    history = an_execution(seeded(seed), clients=1, operations=operations, unsure=0.0)
    reads = [it for it in history if isinstance(it.call, ReadRegister)]
    values = {it.result[0] for it in reads}
    candidates = [(read, value) for read in reads for value in values if read.result[0] != value]
    if not candidates:
        return
    chosen, value = rng.choice(sorted(candidates, key=str))
    writer = -1 if value == INITIAL_VALUE else client_of(value)

    found = findings(_instead(history, chosen, replace(chosen, result=(value, writer))), ())

    assert found
    assert all(finding.sentence for finding in found)


@given(seed=SEEDS, clients=st.integers(1, 6), operations=st.integers(10, 120))
def test_going_back_is_caught_where_durability_was_promised(
    seed: int, clients: int, operations: int
) -> None:
    """A value is read, everything is over, and then the one before it is read."""
    history = an_execution(seeded(seed), clients=clients, operations=operations)
    last = max(it.completed_at or 0.0 for it in history)
    one, two = a_value(20, 1), a_value(21, 1)
    tail = [
        a_write(one, last + 1.0),
        a_cas(one, two, last + 2.0),
        a_read(two, last + 3.0),
        a_read(one, last + 4.0),
    ]

    (finding,) = findings([*history, *tail], ())

    assert finding.anomaly is Anomaly.STALE_READ
    assert finding.operations == (tail[3], tail[1])


@given(seed=SEEDS, clients=st.integers(1, 8), operations=st.integers(5, 150), choice=SEEDS)
def test_a_loss_inside_an_announced_window_is_always_excused(
    seed: int, clients: int, operations: int, choice: int
) -> None:
    rng = seeded(choice)
    begin = rng.uniform(0.0, 20.0)
    back_to = begin + rng.uniform(0.0, 5.0)
    at = back_to + rng.uniform(0.0, 10.0)
    window = Window(begin=begin, end=at + rng.uniform(0.0, 5.0))
    history = an_execution(
        seeded(seed),
        clients=clients,
        operations=operations,
        keys=2,
        failover=Failover(at=at, back_to=back_to),
    )

    assert [it for it in findings(history, (window,)) if not it.excused] == []


@pytest.mark.parametrize("excuse", [True, False], ids=["inside", "outside"])
def test_the_same_loss_is_excused_inside_a_window_and_broken_outside(*, excuse: bool) -> None:
    one, two = a_value(1, 1), a_value(2, 2)
    history = [a_write(one, 0.0), a_write(two, 10.0), a_read(two, 11.0), a_read(one, 20.0)]
    window = Window(begin=9.0, end=12.0) if excuse else Window(begin=30.0, end=40.0)

    (finding,) = findings(history, (window,))

    assert finding.excused is excuse


def test_a_window_excuses_no_value_that_failed() -> None:
    one = a_value(1, 1)
    history = [a_write(one, 0.0, outcome=Outcome.FAILED), a_read(one, 1.0)]

    (finding,) = findings(history, (Window(begin=0.0, end=10.0),))

    assert not finding.excused
    assert finding.anomaly is Anomaly.RESURRECTED


def _instead(history: list[Operation], old: Operation, new: Operation) -> list[Operation]:
    return [new if it is old else it for it in history]
