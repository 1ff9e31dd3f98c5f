"""One register: every way in which it can be wrong is found and named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.checker.history import HistoryError, Operation
from lab.checker.settings import INITIAL_VALUE
from lab.checker.verdicts.finding import Anomaly, Finding
from lab.checker.verdicts.register import findings
from lab.load.history import Outcome
from tests.unit.lab.checker.builders import a_cas, a_read, a_value, a_write
from tests.unit.lab.checker.executions import an_execution, seeded

ONE, TWO, THREE = a_value(1, 1), a_value(2, 2), a_value(3, 3)


def the_finding(*operations: Operation) -> Finding:
    (finding,) = findings(operations, ())
    return finding


def nothing_wrong(*operations: Operation) -> bool:
    return findings(operations, ()) == ()


def test_a_read_of_a_value_that_had_been_replaced_is_stale() -> None:
    first, second = a_write(ONE, 0.0), a_write(TWO, 1.0)
    late = a_read(ONE, 2.0, client=4)

    finding = the_finding(first, second, late)

    assert finding.anomaly is Anomaly.STALE_READ
    assert set(finding.operations) == {first, second, late}
    assert all(str(operation) in finding.sentence for operation in (first, second, late))


def test_a_read_may_see_either_value_while_the_second_write_runs() -> None:
    first, second = a_write(ONE, 0.0), a_write(TWO, 1.0, 4.0)

    assert nothing_wrong(first, second, a_read(ONE, 2.0, 3.0))
    assert nothing_wrong(first, second, a_read(TWO, 2.0, 3.0))


def test_once_somebody_has_seen_the_new_value_nobody_sees_the_old_one() -> None:
    second = a_write(TWO, 1.0, 9.0)
    seen, late = a_read(TWO, 2.0), a_read(ONE, 3.0)

    finding = the_finding(a_write(ONE, 0.0), second, seen, late)

    assert finding.anomaly is Anomaly.STALE_READ
    assert {seen, late} <= set(finding.operations)


def test_the_value_from_the_start_is_stale_once_it_was_replaced() -> None:
    write, late = a_write(ONE, 0.0), a_read(INITIAL_VALUE, 2.0)

    finding = the_finding(write, late)

    assert finding.anomaly is Anomaly.STALE_READ
    assert finding.operations == (late, write)


def test_a_compare_and_set_that_succeeded_twice_is_a_lost_update() -> None:
    one, other = a_cas(ONE, TWO, 1.0, 2.0), a_cas(ONE, THREE, 1.5, 2.5)

    finding = the_finding(a_write(ONE, 0.0), one, other)

    assert finding.anomaly is Anomaly.LOST_UPDATE
    assert finding.operations == (one, other)
    assert f"{ONE} was replaced twice" in finding.sentence


def test_a_compare_and_set_on_a_value_already_overwritten_is_a_lost_update() -> None:
    write, late = a_write(TWO, 1.0), a_cas(ONE, THREE, 2.0)

    finding = the_finding(a_write(ONE, 0.0), write, late)

    assert finding.anomaly is Anomaly.LOST_UPDATE
    assert {write, late} <= set(finding.operations)


def test_a_compare_and_set_of_unknown_outcome_counts_as_soon_as_its_value_is_seen() -> None:
    unsure = a_cas(ONE, TWO, 1.0, outcome=Outcome.UNKNOWN)
    other = a_cas(ONE, THREE, 2.0)

    assert nothing_wrong(a_write(ONE, 0.0), unsure, other)
    finding = the_finding(a_write(ONE, 0.0), unsure, other, a_read(TWO, 3.0))
    assert finding.operations == (unsure, other)


def test_a_chain_of_compare_and_sets_of_unknown_outcome_is_proved_by_its_last_value() -> None:
    first = a_cas(INITIAL_VALUE, ONE, 0.0, outcome=Outcome.UNKNOWN)
    second = a_cas(ONE, TWO, 1.0, outcome=Outcome.UNKNOWN)

    assert nothing_wrong(first, second, a_read(TWO, 2.0))
    finding = the_finding(first, second, a_read(TWO, 2.0), a_read(INITIAL_VALUE, 3.0))
    assert finding.anomaly is Anomaly.STALE_READ


def test_a_refused_compare_and_set_is_a_read_of_what_it_saw() -> None:
    stale = a_cas(THREE, a_value(4, 4), 2.0, held=ONE)

    finding = the_finding(a_write(ONE, 0.0), a_write(TWO, 1.0), stale)

    assert finding.anomaly is Anomaly.STALE_READ
    assert stale in finding.operations


@pytest.mark.parametrize(
    "failed",
    [
        a_write(TWO, 1.0, outcome=Outcome.FAILED),
        a_cas(ONE, TWO, 1.0, outcome=Outcome.FAILED),
        a_cas(THREE, TWO, 1.0, held=ONE),
    ],
    ids=["write", "compare-and-set", "refused compare-and-set"],
)
def test_a_value_that_was_never_written_because_its_write_failed_must_not_be_seen(
    failed: Operation,
) -> None:
    sighting = a_read(TWO, 2.0)

    finding = the_finding(a_write(ONE, 0.0), failed, sighting)

    assert finding.anomaly is Anomaly.RESURRECTED
    assert finding.operations == (sighting, failed)


def test_a_value_nobody_wrote_must_not_be_seen() -> None:
    sighting = a_read(TWO, 2.0)

    finding = the_finding(a_write(ONE, 0.0), sighting)

    assert finding.anomaly is Anomaly.FROM_NOWHERE
    assert finding.operations == (sighting,)


def test_a_row_with_the_value_of_one_client_and_the_name_of_another_is_torn() -> None:
    write = a_write(ONE, 0.0)
    torn = replace(a_read(ONE, 1.0), result=(ONE, 2))

    assert [it.operations for it in findings([write, torn], ())] == [(torn,)]


def test_a_read_before_its_write_was_asked_for_is_from_the_future() -> None:
    early, write = a_read(ONE, 0.0), a_write(ONE, 2.0)

    finding = the_finding(early, write)

    assert finding.anomaly is Anomaly.FROM_THE_FUTURE
    assert finding.operations == (early, write)


def test_compare_and_sets_that_saw_each_other_are_from_the_future() -> None:
    one, other = a_cas(TWO, ONE, 0.0, 5.0), a_cas(ONE, TWO, 0.0, 5.0)

    finding = the_finding(one, other)

    assert finding.anomaly is Anomaly.FROM_THE_FUTURE
    assert set(finding.operations) == {one, other}


def test_a_read_between_a_value_and_its_compare_and_set_is_stale_after_both() -> None:
    swap, late = a_cas(ONE, TWO, 1.0), a_read(ONE, 2.0)

    finding = the_finding(a_write(ONE, 0.0), swap, late)

    assert finding.anomaly is Anomaly.STALE_READ
    assert finding.operations == (late, swap)


def test_every_operation_that_is_out_of_place_is_reported() -> None:
    """ONE is read after TWO, and TWO after THREE."""
    stale, staler = a_read(ONE, 4.0), a_read(TWO, 6.0)

    found = findings([a_write(ONE, 0.0), a_write(TWO, 1.0), stale, a_write(THREE, 5.0), staler], ())

    assert [it.operations[0] for it in found] == [stale, staler]


def test_an_unknown_write_may_happen_long_after_it_was_given_up() -> None:
    unsure = a_write(ONE, 0.0, outcome=Outcome.UNKNOWN)

    assert nothing_wrong(unsure, a_write(TWO, 1.0), a_read(TWO, 2.0), a_read(ONE, 3.0))


def test_an_unknown_write_happens_once() -> None:
    unsure = a_write(ONE, 0.0, outcome=Outcome.UNKNOWN)
    reads = [a_read(ONE, 1.0), a_read(TWO, 3.0), a_read(ONE, 4.0)]

    finding = the_finding(unsure, a_write(TWO, 2.0), *reads)

    assert finding.anomaly is Anomaly.STALE_READ


def test_a_read_of_unknown_outcome_shows_nothing() -> None:
    unsure = a_read(INITIAL_VALUE, 2.0, outcome=Outcome.UNKNOWN)

    assert nothing_wrong(a_write(ONE, 0.0), unsure)


def test_keys_are_judged_apart() -> None:
    operations = [
        a_write(ONE, 0.0, key=0),
        a_read(INITIAL_VALUE, 1.0, key=1),
        a_write(TWO, 2.0, key=1),
        a_read(INITIAL_VALUE, 3.0, key=1),
    ]

    (finding,) = findings(operations, ())

    assert finding.sentence.startswith("key 1 ")


def test_a_value_with_two_writers_cannot_be_judged() -> None:
    with pytest.raises(HistoryError, match="nobody can judge"):
        findings([a_write(ONE, 0.0), a_write(ONE, 1.0)], ())


def test_two_thousand_operations_of_eight_clients_on_one_key_are_judged() -> None:
    history = an_execution(seeded(1), clients=8, operations=2000)
    assert findings(history, ()) == ()

    last = max(it.completed_at or 0.0 for it in history)
    stale = a_read(INITIAL_VALUE, last + 1.0)
    (finding,) = findings([*history, stale], ())
    assert stale in finding.operations


def test_many_keys_are_judged() -> None:
    history = an_execution(seeded(2), clients=8, operations=4000, keys=40)

    assert findings(history, ()) == ()
    assert {getattr(it.call, "key", None) for it in history} == set(range(40))
