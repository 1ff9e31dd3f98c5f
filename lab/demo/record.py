"""What a run measured, as written to `summary.json`. Pure data and its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """One fault and what it cost. Times count from the moment the fault was injected."""

    name: str  # the step's title
    fault: str
    target: str
    begin: float  # monotonic seconds
    end: float
    write_outage_s: float
    write_outage_by_path_s: Mapping[str, float]
    detected_s: float | None
    full_strength_s: float | None
    acked: int
    unknown: int
    lost: int
    two_writable_s: float
    actions: tuple[str, ...]
    wake: str | None
    deadline_s: float
    leader_before: str | None
    leader_after: str | None
    broken: tuple[str, ...]  # promises this fault broke, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at strength."""

    at: float  # monotonic seconds
    full: bool
    leader: str | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something to show on the timeline: a fault, a healer's step, a sentence."""

    at: float  # monotonic seconds
    kind: str  # fault, action, incident, healed, note
    slot: str
    text: str


@dataclass(slots=True, kw_only=True)
class Run:
    """Everything a run has gathered so far; grows while it runs."""

    started_wall: float
    started_at: float
    size: str
    durability: str
    clock: str
    setup_s: dict[str, float] = field(default_factory=dict)
    faults: list[FaultRecord] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    costs: Mapping[str, Any] = field(default_factory=dict)  # `lab.demo.costs.Costs`, if measured
    peak_rss_mb: int = 0
    finished_at: float | None = None

    @property
    def promises_broken(self) -> tuple[str, ...]:
        """All broken promises of the run, in words."""
        return (*self.broken, *(text for fault in self.faults for text in fault.broken))

    @property
    def ok(self) -> bool:
        """True when the run ended and nothing broke."""
        return self.finished_at is not None and not self.promises_broken


def summary(run: Run) -> dict[str, Any]:
    """The content of `summary.json`."""
    end = run.finished_at if run.finished_at is not None else run.started_at
    return {
        "ok": run.ok,
        "durability": run.durability,
        "size": run.size,
        "clock": run.clock,
        "started_at": run.started_wall,
        "total_s": round(end - run.started_at, 1),
        "faults": [_fault(record, run) for record in run.faults],
        "setup_s": {name: round(value, 1) for name, value in run.setup_s.items()},
        "peak_rss_mb": run.peak_rss_mb,
        "costs": dict(run.costs),
        "broken_promises": list(run.promises_broken),
    }


def _fault(record: FaultRecord, run: Run) -> dict[str, Any]:
    row = asdict(record)
    for name, value in row.items():
        if isinstance(value, float):
            row[name] = round(value, 2)
    row["begin_s"] = round(row.pop("begin") - run.started_at, 2)
    row["end_s"] = round(row.pop("end") - run.started_at, 2)
    row["write_outage_by_path_s"] = {
        path: round(value, 2) for path, value in record.write_outage_by_path_s.items()
    }
    return row


def table(records: Sequence[FaultRecord]) -> list[tuple[str, ...]]:
    """Rows of the final table, header first."""
    rows: list[tuple[str, ...]] = [
        (
            "fault",
            "target",
            "write outage",
            "detected",
            "full strength",
            "acked",
            "lost",
            "two writable",
            "woken by",
        )
    ]
    rows += [
        (
            record.name,
            record.target,
            f"{record.write_outage_s:.1f} s",
            seconds(record.detected_s),
            seconds(record.full_strength_s),
            f"{record.acked}",
            f"{record.lost}",
            f"{record.two_writable_s:.1f} s",
            record.wake or "-",
        )
        for record in records
    ]
    return rows


def seconds(value: float | None) -> str:
    """A duration for people; a dash when it is not known."""
    return "-" if value is None else f"{value:.1f} s"
