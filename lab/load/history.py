"""What the writer and the prober remember, and what can be concluded from it.

Pure: records in, figures out. The two programs append lines while they run; the demo reads them
with `Tail`. Times called `at` are seconds of the monotonic clock of this computer, which all
programs of the lab share.
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

PROBE_INTERVAL_S: Final = 0.25


class Outcome(StrEnum):
    """What the writer knows about one INSERT."""

    ACKED = "acked"  # the server said it is committed
    FAILED = "failed"  # the server said it is not, or it was never sent
    UNKNOWN = "unknown"  # anything else: both are possible


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One INSERT of the writer."""

    id: int
    path: str
    at: float  # monotonic seconds when it was sent
    wall: float  # epoch seconds when it was sent
    latency_s: float
    outcome: Outcome
    reason: str  # empty when acknowledged

    def line(self) -> str:
        """One CSV line; the reason comes last and holds no line break."""
        reason = " ".join(self.reason.split()).replace(",", ";")[:160]
        return (
            f"{self.id},{self.path},{self.at:.6f},{self.wall:.6f},"
            f"{self.latency_s:.6f},{self.outcome},{reason}\n"
        )

    @classmethod
    def parse(cls, line: str) -> Self:
        """The way back from `line`."""
        number, path, at, wall, latency, outcome, reason = line.rstrip("\n").split(",", 6)
        return cls(
            id=int(number),
            path=path,
            at=float(at),
            wall=float(wall),
            latency_s=float(latency),
            outcome=Outcome(outcome),
            reason=reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One answer (or none) to "can I write here?"."""

    target: str  # a database slot, or haproxy slot
    at: float  # monotonic seconds when it was asked
    wall: float
    latency_s: float
    answer: str  # "writable", "read-only", "no answer"
    server: str  # address of the server that answered; empty when none did

    def line(self) -> str:
        """One CSV line."""
        return (
            f"{self.target},{self.at:.6f},{self.wall:.6f},{self.latency_s:.6f},"
            f"{self.answer},{self.server}\n"
        )

    @classmethod
    def parse(cls, line: str) -> Self:
        """The way back from `line`."""
        target, at, wall, latency, answer, server = line.rstrip("\n").split(",", 5)
        return cls(
            target=target,
            at=float(at),
            wall=float(wall),
            latency_s=float(latency),
            answer=answer,
            server=server,
        )


WRITABLE: Final = "writable"
READ_ONLY: Final = "read-only"
NO_ANSWER: Final = "no answer"


class _Line(Protocol):
    @classmethod
    def parse(cls, line: str) -> Self: ...


T = TypeVar("T", bound=_Line)


class Tail(Generic[T]):
    """Reads the records a program has appended since the last call.

    Half a line waits for its end.
    """

    def __init__(self, path: Path, kind: type[T]) -> None:
        self._path = path
        self._kind = kind
        self._offset = 0

    def read(self) -> tuple[T, ...]:
        """All complete new records."""
        if not self._path.exists():
            return ()
        with self._path.open("rb") as file:
            file.seek(self._offset, io.SEEK_SET)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        return tuple(self._kind.parse(line) for line in complete.decode().splitlines())


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time without any acknowledged write."""

    begin: float  # monotonic seconds
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin


def longest_gap(writes: Iterable[Write], begin: float, end: float) -> Gap:
    """The longest time within [begin, end] in which no write was acknowledged, over any path.

    The window's edges count: no acknowledgement at all is an outage of the whole window.
    """
    moments = [begin, *sorted(_acknowledged(writes, begin, end)), end]
    pairs = itertools.pairwise(moments)
    first, second = max(pairs, key=lambda pair: pair[1] - pair[0])
    return Gap(begin=first, end=second)


def gaps_by_path(writes: Sequence[Write], begin: float, end: float) -> Mapping[str, Gap]:
    """`longest_gap` for each path by itself."""
    paths = sorted({write.path for write in writes})
    return {
        path: longest_gap((write for write in writes if write.path == path), begin, end)
        for path in paths
    }


def _acknowledged(writes: Iterable[Write], begin: float, end: float) -> Iterator[float]:
    for write in writes:
        moment = write.at + write.latency_s
        if write.outcome is Outcome.ACKED and begin <= moment <= end:
            yield moment


def acked_ids(writes: Iterable[Write]) -> frozenset[int]:
    """The ids the server promised to keep."""
    return frozenset(write.id for write in writes if write.outcome is Outcome.ACKED)


def two_writable_s(probes: Iterable[Probe], begin: float, end: float) -> float:
    """Seconds within [begin, end] in which two database nodes both answered that they are writable.

    Only direct answers must be passed in: a proxy repeats what some node said. An answer covers the
    time from the question to the answer, at most one probe interval; answers of one node closer
    than two intervals, with no other answer between, join into one stretch.
    """
    by_target: dict[str, list[Probe]] = {}
    for probe in sorted(probes, key=lambda item: item.at):
        by_target.setdefault(probe.target, []).append(probe)
    edges: list[tuple[float, int]] = []
    for answers in by_target.values():
        for first, last in _stretches(answers):
            low, high = max(first, begin), min(last, end)
            if high > low:
                edges += [(low, 1), (high, -1)]
    return _covered_twice(sorted(edges))


def _stretches(answers: Sequence[Probe]) -> Iterator[tuple[float, float]]:
    current: tuple[float, float] | None = None
    for probe in answers:
        if probe.answer != WRITABLE:
            if current is not None:
                yield current
            current = None
            continue
        received = probe.at + probe.latency_s
        asked = max(probe.at, received - PROBE_INTERVAL_S)
        if current is not None and asked - current[1] <= 2 * PROBE_INTERVAL_S:
            current = (current[0], received)
        else:
            if current is not None:
                yield current
            current = (asked, received)
    if current is not None:
        yield current


def _covered_twice(edges: Sequence[tuple[float, int]]) -> float:
    total, depth, since = 0.0, 0, 0.0
    for moment, change in edges:
        if depth >= 2:
            total += moment - since
        depth += change
        since = moment
    return total
