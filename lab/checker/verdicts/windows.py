"""When the promise was suspended, and how much was lost then.

The cluster announces that durability is suspended; what it acknowledged meanwhile it may lose, and
nothing else. With asynchronous replication the whole run is such a time, and the loss is a figure.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.checker.history import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time in which the promise was suspended; an open end is infinite."""

    begin: float  # monotonic seconds
    end: float


ALWAYS = Window(begin=-math.inf, end=math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Acknowledged operations that one change of the leader left behind."""

    begin: float  # monotonic seconds: the last acknowledgement before it that was kept
    end: float  # the last one that was lost
    number: int

    @property
    def seconds(self) -> float:
        """How far back the cluster went."""
        return self.end - self.begin


def inside(operation: Operation, windows: Iterable[Window]) -> bool:
    """Whether it may have been acknowledged while the promise was suspended."""
    return any(
        operation.invoked_at <= window.end and operation.latest >= window.begin
        for window in windows
    )


def losses(kept: Sequence[Operation], lost: Sequence[Operation]) -> tuple[Loss, ...]:
    """The lost ones by the change of leader that lost them, oldest first.

    Two lost ones belong together unless one that was kept lies wholly between them. A loss begins
    with the last kept acknowledgement before its first one: up to there the state was replicated.
    """
    survivors = _Kept(kept)
    stretches: list[list[Operation]] = []
    for operation in sorted(lost, key=lambda it: it.latest):
        if stretches and not survivors.between(stretches[-1][-1], operation):
            stretches[-1].append(operation)
        else:
            stretches.append([operation])
    return tuple(
        Loss(
            begin=survivors.last_before(stretch[0]),
            end=stretch[-1].latest,
            number=len(stretch),
        )
        for stretch in stretches
    )


class _Kept:
    """What was kept, so ordered that thousands of lost ones can ask about it."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        by_begin = sorted(operations, key=lambda it: it.invoked_at)
        self._begins = [operation.invoked_at for operation in by_begin]
        self._ends = sorted(operation.latest for operation in by_begin)
        # For each place, the earliest end of all that begin there or later.
        backwards = itertools.accumulate((it.latest for it in reversed(by_begin)), min)
        self._earliest_ends = [*reversed([*backwards])]

    def between(self, first: Operation, second: Operation) -> bool:
        """Whether one of them lies wholly between these two."""
        place = bisect.bisect_right(self._begins, first.latest)
        return place < len(self._begins) and self._earliest_ends[place] < second.invoked_at

    def last_before(self, operation: Operation) -> float:
        """The last acknowledgement before this one's; without any, when this one was asked."""
        place = bisect.bisect_left(self._ends, operation.latest)
        return self._ends[place - 1] if place > 0 else operation.invoked_at
