"""What was acknowledged is there once, what failed is not, and money is neither made nor lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.checker.final import Entry, FinalState
from lab.checker.history import HistoryError, Operation
from lab.checker.settings import Settings
from lab.checker.verdicts import append, bank
from lab.checker.verdicts.finding import Anomaly, Finding
from lab.checker.verdicts.presence import findings, lost_stretches
from lab.checker.verdicts.windows import Window
from lab.load.history import Outcome
from tests.unit.lab.checker.builders import a_transfer, a_write, an_append, balances_of
from tests.unit.lab.checker.executions import seeded

SETTINGS = Settings(accounts=3, initial_balance=100)


def judged(operations: list[Operation], found: list[int], *windows: Window) -> tuple[Finding, ...]:
    return findings(append.written(operations), found, windows)


def test_an_acknowledged_append_that_is_not_there_is_lost_and_named() -> None:
    kept, lost = an_append(1, 0.0), an_append(2, 1.0)

    (finding,) = judged([kept, lost], [1])

    assert finding.anomaly is Anomaly.LOST
    assert finding.operations == (lost,)
    assert finding.sentence == f"1 acknowledged appends are gone: {lost}"


def test_an_append_that_is_there_twice_is_named() -> None:
    twice = an_append(1, 0.0)

    (finding,) = judged([twice], [1, 1])

    assert finding.anomaly is Anomaly.DUPLICATED
    assert finding.operations == (twice,)
    assert "2 times" in finding.sentence


def test_an_append_of_unknown_outcome_may_be_there_or_not_but_not_twice() -> None:
    unsure = an_append(1, 0.0, outcome=Outcome.UNKNOWN)

    assert judged([unsure], []) == ()
    assert judged([unsure], [1]) == ()
    assert [it.anomaly for it in judged([unsure], [1, 1])] == [Anomaly.DUPLICATED]


def test_an_append_that_failed_and_is_there_is_named() -> None:
    failed = an_append(1, 0.0, outcome=Outcome.FAILED)

    (finding,) = judged([failed], [1])

    assert finding.anomaly is Anomaly.RESURRECTED
    assert finding.operations == (failed,)
    assert str(failed) in finding.sentence


def test_an_id_nobody_asked_for_is_named() -> None:
    (finding,) = judged([an_append(1, 0.0)], [1, 77])

    assert finding.anomaly is Anomaly.FROM_NOWHERE
    assert "77" in finding.sentence


def test_loss_inside_an_announced_window_is_reported_apart() -> None:
    before, within = an_append(1, 0.0), an_append(2, 10.0)

    broken, excused = judged([before, within], [], Window(begin=9.0, end=20.0))

    assert (broken.excused, broken.operations) == (False, (before,))
    assert (excused.excused, excused.operations) == (True, (within,))


@pytest.mark.parametrize(
    ("begin", "end", "excused"),
    [(0.0, 1.0, False), (0.0, 2.0, True), (2.2, 2.3, True), (2.5, 3.0, True), (2.6, 3.0, False)],
)
def test_a_window_excuses_what_may_have_been_acknowledged_in_it(
    *, begin: float, end: float, excused: bool
) -> None:
    (finding,) = judged([an_append(1, 2.0, 2.5)], [], Window(begin=begin, end=end))

    assert finding.excused is excused


def test_a_window_excuses_neither_doubles_nor_what_failed() -> None:
    history = [an_append(1, 1.0), an_append(2, 1.0, outcome=Outcome.FAILED)]

    found = judged(history, [1, 1, 2], Window(begin=0.0, end=9.0))

    assert [(it.anomaly, it.excused) for it in found] == [
        (Anomaly.DUPLICATED, False),
        (Anomaly.RESURRECTED, False),
    ]


def test_a_sentence_names_a_few_and_counts_the_rest() -> None:
    (finding,) = judged([an_append(n, float(n)) for n in range(1, 1001)], [])

    assert finding.sentence.startswith("1000 acknowledged appends are gone: append of 1 ")
    assert finding.sentence.endswith("; and 995 more")
    assert len(finding.operations) == 1000


def test_the_loss_is_told_by_number_and_seconds_for_each_change_of_the_leader() -> None:
    history = [an_append(n, float(n), n + 0.1) for n in range(20)]
    lost = {5, 6, 7, 15}

    first, second = lost_stretches(append.written(history), [n for n in range(20) if n not in lost])

    assert (first.number, second.number) == (3, 1)
    assert first.seconds == pytest.approx(3.0)  # from the end of 4 to the end of 7
    assert second.seconds == pytest.approx(1.0)
    assert first.begin == pytest.approx(4.1)
    assert first.end == pytest.approx(7.1)


def test_a_kept_append_that_overlaps_a_lost_one_does_not_divide_the_loss() -> None:
    lost = [an_append(1, 0.0, 1.0), an_append(2, 4.0, 5.0)]
    during, between = an_append(3, 2.0, 4.5), an_append(3, 2.0, 3.0)

    assert [it.number for it in lost_stretches(append.written([*lost, during]), [3])] == [2]
    assert [it.number for it in lost_stretches(append.written([*lost, between]), [3])] == [1, 1]


def test_a_loss_from_the_very_beginning_counts_from_its_first_question() -> None:
    (loss,) = lost_stretches(append.written([an_append(1, 2.0, 3.0)]), [])

    assert loss.seconds == pytest.approx(1.0)


def test_two_appends_under_one_id_cannot_be_judged() -> None:
    with pytest.raises(HistoryError, match="nobody can judge"):
        append.written([an_append(1, 0.0), an_append(1, 1.0)])


def test_a_history_of_another_workload_is_refused() -> None:
    with pytest.raises(HistoryError, match="does not belong"):
        append.written([a_write(1, 0.0)])


@given(
    outcomes=st.lists(st.sampled_from(list(Outcome)), max_size=60),
    seed=st.integers(min_value=0, max_value=2**32),
)
def test_a_table_that_keeps_its_promises_is_never_called_wrong(
    outcomes: list[Outcome], seed: int
) -> None:
    rng = seeded(seed)
    history = [an_append(n, rng.random(), outcome=it) for n, it in enumerate(outcomes)]
    found = [
        n
        for n, it in enumerate(outcomes)
        if it is Outcome.ACKED or (it is Outcome.UNKNOWN and rng.random() < 0.5)
    ]

    assert judged(history, found) == ()
    assert lost_stretches(append.written(history), found) == ()


@given(count=st.integers(1, 40), choice=st.integers(0, 2**32), change=st.sampled_from("ldr"))
def test_one_changed_row_is_caught(count: int, choice: int, change: str) -> None:
    chosen = choice % count
    outcomes = [Outcome.ACKED] * count
    found = list(range(count))
    match change:
        case "l":
            found.remove(chosen)
        case "d":
            found.append(chosen)
        case _:
            outcomes[chosen] = Outcome.FAILED
    history = [an_append(n, float(n), outcome=it) for n, it in enumerate(outcomes)]

    (finding,) = judged(history, found)

    assert finding.operations == (history[chosen],)


def test_a_read_that_does_not_add_up_is_named() -> None:
    good, bad = balances_of([90, 110, 100], 0.0), balances_of([90, 100, 100], 1.0)

    (finding,) = bank.findings([good, bad], SETTINGS)

    assert finding.anomaly is Anomaly.MONEY
    assert finding.operations == (bad,)
    assert "do not add up to 300, the first to 290" in finding.sentence


def test_money_that_was_made_is_as_wrong_as_money_that_is_gone() -> None:
    (finding,) = bank.findings([balances_of([200, 100, 100], 0.0)], SETTINGS)

    assert finding.anomaly is Anomaly.MONEY


def test_an_account_that_was_not_read_is_missed_even_when_the_rest_adds_up() -> None:
    (finding,) = bank.findings([balances_of([150, 150], 0.0)], SETTINGS)

    assert finding.anomaly is Anomaly.MONEY


def test_a_read_of_unknown_outcome_shows_nothing_about_money() -> None:
    assert bank.findings([balances_of([0, 0, 0], 0.0, outcome=Outcome.UNKNOWN)], SETTINGS) == ()


def test_a_balance_below_zero_is_wrong_where_it_is_forbidden() -> None:
    read = balances_of([-10, 210, 100], 0.0)

    (finding,) = bank.findings([read], SETTINGS)

    assert finding.anomaly is Anomaly.OVERDRAWN
    assert finding.operations == (read,)
    free = Settings(accounts=3, initial_balance=100, overdraft=True)
    assert bank.findings([read], free) == ()


def at_the_end(*balances: int, ledger: tuple[Entry, ...] = ()) -> list[Finding]:
    final = FinalState(at=99.0, balances=balances, ledger=ledger)
    return list(bank.final_findings(final, SETTINGS))


def test_balances_at_the_end_are_what_the_ledger_leaves() -> None:
    entry = Entry(id=1, source=0, target=2, amount=30)

    assert at_the_end(70, 100, 130, ledger=(entry,)) == []
    (finding,) = at_the_end(70, 100, 130)
    assert finding.sentence == (
        "balances and ledger do not agree at the end:"
        " account 0 holds 70, its transfers leave 100; account 2 holds 130,"
        " its transfers leave 100"
    )


def test_a_lost_update_shows_in_total_and_ledger() -> None:
    """Two transfers out of account 0 at once; the second overwrote the first one's balance."""
    ledger = (
        Entry(id=1, source=0, target=1, amount=10),
        Entry(id=2, source=0, target=2, amount=20),
    )

    found = at_the_end(80, 110, 120, ledger=ledger)

    assert [it.anomaly for it in found] == [Anomaly.MONEY, Anomaly.MONEY]
    assert "hold 310 in all, which must be 300 in 3" in found[0].sentence
    assert "account 0 holds 80, its transfers leave 70" in found[1].sentence


def test_an_account_below_zero_at_the_end_is_named() -> None:
    found = at_the_end(-5, 205, 100, ledger=(Entry(id=1, source=0, target=1, amount=105),))

    assert [it.anomaly for it in found] == [Anomaly.OVERDRAWN]
    assert "account 0 holds -5" in found[0].sentence


def test_an_account_that_is_gone_at_the_end_is_missed() -> None:
    ledger = (
        Entry(id=1, source=2, target=0, amount=50),
        Entry(id=2, source=2, target=1, amount=50),
    )

    (finding,) = at_the_end(150, 150, ledger=ledger)

    assert finding.anomaly is Anomaly.MONEY
    assert "2 accounts" in finding.sentence


def test_a_transfer_is_in_the_ledger_when_acknowledged_and_not_when_refused() -> None:
    moved = a_transfer(1, 0, 1, 10, 0.0)
    refused = a_transfer(2, 0, 1, 900, 1.0, result=(0,))
    failed = a_transfer(3, 0, 1, 10, 2.0, outcome=Outcome.FAILED)
    unsure = a_transfer(4, 0, 1, 10, 3.0, outcome=Outcome.UNKNOWN)
    written = bank.written([moved, refused, failed, unsure, balances_of([1], 4.0)])

    assert findings(written, [1], ()) == ()
    assert findings(written, [1, 4], ()) == ()
    lost, back = findings(written, [2, 3], ())
    assert (lost.anomaly, lost.operations) == (Anomaly.LOST, (moved,))
    assert (back.anomaly, back.operations) == (Anomaly.RESURRECTED, (refused, failed))


def test_two_transfers_under_one_id_cannot_be_judged() -> None:
    with pytest.raises(HistoryError, match="nobody can judge"):
        bank.written([a_transfer(1, 0, 1, 5, 0.0), a_transfer(1, 1, 0, 5, 1.0)])


@given(seed=st.integers(0, 2**32), count=st.integers(0, 40))
def test_a_bank_that_works_is_never_called_wrong(seed: int, count: int) -> None:
    rng = seeded(seed)
    balances = [100, 100, 100]
    history, ledger = [], []
    for n in range(count):
        source, target = rng.sample(range(3), 2)
        amount = rng.randint(1, 60)
        outcome = rng.choice(list(Outcome))
        moves = balances[source] >= amount
        happens = outcome is Outcome.ACKED or (outcome is Outcome.UNKNOWN and rng.random() < 0.5)
        result = ((1 if moves else 0),) if outcome is Outcome.ACKED else ()
        history.append(
            a_transfer(n, source, target, amount, float(n), outcome=outcome, result=result)
        )
        if moves and happens:
            balances[source] -= amount
            balances[target] += amount
            ledger.append(Entry(id=n, source=source, target=target, amount=amount))
        history.append(balances_of(balances, n + 0.6))

    assert bank.findings(history, SETTINGS) == ()
    assert at_the_end(*balances, ledger=tuple(ledger)) == []
    assert findings(bank.written(history), [entry.id for entry in ledger], ()) == ()
