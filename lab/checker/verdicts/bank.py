"""The verdict over the bank: money is neither made nor lost, whoever leads.

Losing the newest transfers as a whole is possible while the promise is suspended; a total that is
not the constant, a balance below zero or one that the ledger does not explain never is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from lab.checker.calls import ReadBalances, Transfer
from lab.checker.final import FinalState
from lab.checker.history import HistoryError, Operation
from lab.checker.settings import Settings
from lab.checker.verdicts.finding import Anomaly, Finding, listed, names
from lab.checker.verdicts.presence import Written
from lab.load.history import Outcome

REFUSED = (0,)


def written(operations: Iterable[Operation]) -> Written:
    """The transfers by what is known of them; one refused for want of money moved nothing."""
    promised: dict[int, Operation] = {}
    refused: dict[int, Operation] = {}
    unknown: dict[int, Operation] = {}
    places: Mapping[Outcome, dict[int, Operation]] = {
        Outcome.ACKED: promised,
        Outcome.FAILED: refused,
        Outcome.UNKNOWN: unknown,
    }
    for operation in operations:
        if not isinstance(operation.call, Transfer):
            continue
        id_ = operation.call.id
        if any(id_ in place for place in places.values()):
            raise HistoryError(f"two transfers use the id {id_}; nobody can judge that")
        moved_nothing = operation.acked and operation.result == REFUSED
        place = refused if moved_nothing else places[operation.outcome]
        place[id_] = operation
    return Written(noun="transfers", promised=promised, refused=refused, unknown=unknown)


def findings(operations: Sequence[Operation], settings: Settings) -> tuple[Finding, ...]:
    """Everything wrong with what was read while the clients ran."""
    reads = [it for it in operations if isinstance(it.call, ReadBalances) and it.acked]
    return (*_totals(reads, settings), *_below_zero(reads, settings))


def final_findings(final: FinalState, settings: Settings) -> Iterator[Finding]:
    """Everything wrong with balances and ledger at the end."""
    balances, ledger = final.balances or (), final.ledger or ()
    if sum(balances) != settings.total or len(balances) != settings.accounts:
        yield Finding(
            anomaly=Anomaly.MONEY,
            sentence=(
                f"at the end {len(balances)} accounts hold {sum(balances)} in all,"
                f" which must be {settings.total} in {settings.accounts}"
            ),
        )
    if not settings.overdraft and min(balances, default=0) < 0:
        poor = [f"account {n} holds {held}" for n, held in enumerate(balances) if held < 0]
        yield Finding(anomaly=Anomaly.OVERDRAWN, sentence=f"at the end below zero: {listed(poor)}")
    expected = dict.fromkeys(range(len(balances)), settings.initial_balance)
    for entry in ledger:
        expected[entry.source] = expected.get(entry.source, 0) - entry.amount
        expected[entry.target] = expected.get(entry.target, 0) + entry.amount
    wrong = [
        f"account {n} holds {held}, its transfers leave {expected[n]}"
        for n, held in enumerate(balances)
        if held != expected[n]
    ]
    if wrong:
        yield Finding(
            anomaly=Anomaly.MONEY,
            sentence=f"balances and ledger do not agree at the end: {listed(wrong)}",
        )


def _totals(reads: Iterable[Operation], settings: Settings) -> Iterator[Finding]:
    wrong = tuple(
        read
        for read in reads
        if sum(read.result) != settings.total or len(read.result) != settings.accounts
    )
    if wrong:
        yield Finding(
            anomaly=Anomaly.MONEY,
            sentence=(
                f"{len(wrong)} reads do not add up to {settings.total},"
                f" the first to {sum(wrong[0].result)}: {names(wrong)}"
            ),
            operations=wrong,
        )


def _below_zero(reads: Iterable[Operation], settings: Settings) -> Iterator[Finding]:
    if settings.overdraft:
        return
    wrong = tuple(read for read in reads if min(read.result, default=0) < 0)
    if wrong:
        yield Finding(
            anomaly=Anomaly.OVERDRAWN,
            sentence=f"{len(wrong)} reads show an account below zero: {names(wrong)}",
            operations=wrong,
        )
