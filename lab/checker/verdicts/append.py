"""The verdict over the unique-id appends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab.checker.calls import Append
from lab.checker.history import HistoryError, Operation
from lab.checker.verdicts.presence import Written
from lab.load.history import Outcome


def written(operations: Iterable[Operation]) -> Written:
    """The appends by what is known of them; `HistoryError` when an id was used twice."""
    by_outcome: Mapping[Outcome, dict[int, Operation]] = {outcome: {} for outcome in Outcome}
    seen: dict[int, Operation] = {}
    for operation in operations:
        if not isinstance(operation.call, Append):
            raise HistoryError(f"the {operation} does not belong to a history of appends")
        id_ = operation.call.id
        if id_ in seen:
            raise HistoryError(f"{seen[id_]} and {operation} use one id; nobody can judge that")
        seen[id_] = operation
        by_outcome[operation.outcome][id_] = operation
    return Written(
        noun="appends",
        promised=by_outcome[Outcome.ACKED],
        refused=by_outcome[Outcome.FAILED],
        unknown=by_outcome[Outcome.UNKNOWN],
    )
