"""What the clients did and were told, as JSON Lines written while it happens.

An operation is two lines: `invoked` before anything is sent, `completed` when its outcome is known.
Each line is handed to the kernel at once, so a checker that is killed loses nothing: an operation
whose second line is missing is one of unknown outcome. Times are seconds of the monotonic clock.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from lab.checker.calls import Call, Result, as_json, parse
from lab.errors import LabError
from lab.load.history import Outcome

FINAL_CLIENT: Final = -1  # the reading at the end, as an operation
REASON_CHARACTERS_MAX: Final = 300
NEVER_COMPLETED: Final = "the checker ended before it was answered"


class HistoryError(LabError):
    """A history that nobody can judge: a broken line, or one that contradicts another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of one client and what became of it."""

    client: int
    number: int  # counts the calls of its client from 1
    path: str  # the endpoint it went through
    call: Call
    invoked_at: float
    completed_at: float | None  # None when nobody lived to see it
    outcome: Outcome
    result: Result  # see the call; empty unless acknowledged
    reason: str  # empty when acknowledged

    @property
    def acked(self) -> bool:
        """Whether it surely happened."""
        return self.outcome is Outcome.ACKED

    @property
    def latest(self) -> float:
        """The last moment at which it can have happened; an unknown one has none."""
        if self.acked and self.completed_at is not None:
            return self.completed_at
        return math.inf

    def __str__(self) -> str:
        told = self.call.told(self.result)
        if self.client == FINAL_CLIENT:
            return f"{told} at the end [{self.invoked_at:.3f} s]"
        until = "never" if self.completed_at is None else f"{self.completed_at:.3f} s"
        ending = "" if self.acked else f", {self.outcome}"
        return (
            f"{told} by client {self.client} (no. {self.number})"
            f" [{self.invoked_at:.3f} to {until}{ending}]"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All operations of one file, in the order of their invocation."""

    operations: tuple[Operation, ...]
    truncated: int  # lines cut off by the end of their writer: 0 or 1

    @property
    def never_completed(self) -> int:
        """How many operations have no second line."""
        return sum(operation.completed_at is None for operation in self.operations)


class Recorder:
    """Writes one history file; safe to be shared by threads.

    A history is of one run: `HistoryError` when the file is already there.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("x", encoding="utf-8")
        except FileExistsError as error:
            raise HistoryError(
                f"{path} is the history of another run; give the checker an empty directory"
            ) from error
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def invoked(self, *, client: int, number: int, path: str, call: Call, at: float) -> None:
        """Remember that it is about to be asked."""
        self._write(
            {"event": "invoked", "client": client, "number": number, "path": path, "at": at}
            | as_json(call)
        )

    def completed(
        self,
        *,
        client: int,
        number: int,
        at: float,
        outcome: Outcome,
        result: Result,
        reason: str,
    ) -> None:
        """Remember how it ended."""
        self._write(
            {
                "event": "completed",
                "client": client,
                "number": number,
                "at": at,
                "outcome": outcome.value,
                "result": list(result),
                "reason": " ".join(reason.split())[:REASON_CHARACTERS_MAX],
            }
        )

    def close(self) -> None:
        """No more lines."""
        self._file.close()

    def _write(self, item: Mapping[str, Any]) -> None:
        line = json.dumps(item, separators=(",", ":")) + "\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()


def write(path: Path, operations: Iterable[Operation]) -> None:
    """A whole history at once, for histories that were not lived through."""
    with Recorder(path) as recorder:
        for it in operations:
            recorder.invoked(
                client=it.client, number=it.number, path=it.path, call=it.call, at=it.invoked_at
            )
            if it.completed_at is not None:
                recorder.completed(
                    client=it.client,
                    number=it.number,
                    at=it.completed_at,
                    outcome=it.outcome,
                    result=it.result,
                    reason=it.reason,
                )


def read(path: Path) -> History:
    """The history in this file.

    A last line without its end is counted and left out; any other broken line is a `HistoryError`.
    """
    complete, _, rest = path.read_text(encoding="utf-8").rpartition("\n")
    operations: dict[tuple[int, int], Operation] = {}
    for row, line in enumerate(complete.splitlines(), start=1):
        try:
            _take(json.loads(line), operations)
        except (ValueError, KeyError, TypeError) as error:
            raise HistoryError(f"line {row} of {path} is not part of a history: {error}") from error
    return History(
        operations=tuple(sorted(operations.values(), key=lambda it: it.invoked_at)),
        truncated=1 if rest else 0,
    )


def _take(item: Mapping[str, Any], operations: dict[tuple[int, int], Operation]) -> None:
    key = (int(item["client"]), int(item["number"]))
    if item["event"] == "invoked":
        if key in operations:
            raise ValueError(f"client {key[0]} has two calls with number {key[1]}")
        operations[key] = Operation(
            client=key[0],
            number=key[1],
            path=str(item["path"]),
            call=parse(item),
            invoked_at=float(item["at"]),
            completed_at=None,
            outcome=Outcome.UNKNOWN,
            result=(),
            reason=NEVER_COMPLETED,
        )
        return
    if operations[key].completed_at is not None:
        raise ValueError(f"call {key[1]} of client {key[0]} ended twice")
    operations[key] = replace(
        operations[key],
        completed_at=float(item["at"]),
        outcome=Outcome(item["outcome"]),
        result=tuple(int(value) for value in item["result"]),
        reason=str(item["reason"]),
    )
