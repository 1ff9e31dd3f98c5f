"""Turns what was gathered during one fault into its record and says which promises it broke.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.demo.record import FaultRecord
from lab.demo.scenario import Step, limits
from lab.demo.watch import epoch
from lab.load.history import (
    Outcome,
    Probe,
    Write,
    gaps_by_path,
    longest_gap,
    two_writable_s,
)

ALARM_WORD = "alarm"
ASYNC = "async"  # the one mode that promises nothing about acknowledged writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything gathered about one fault."""

    step: Step
    clock: str
    durability: str
    target: str
    begin: float  # monotonic: the fault was injected
    begin_wall: float
    end: float  # monotonic: full strength, or given up
    full_at: float | None
    writes: Sequence[Write]
    probes: Sequence[Probe]  # direct answers of databases only
    incidents: Sequence[Mapping[str, Any]]
    journal: Sequence[Mapping[str, Any]]
    lost: int
    leader_before: str | None
    leader_after: str | None


def record(seen: Observed) -> FaultRecord:
    """The record of one fault."""
    inside = [write for write in seen.writes if seen.begin <= write.at <= seen.end]
    full_strength_s = None if seen.full_at is None else seen.full_at - seen.begin
    outage_s = longest_gap(seen.writes, seen.begin, seen.end).seconds
    double_s = two_writable_s(seen.probes, seen.begin, seen.end)
    opened = first_incident(seen)
    wake = None if opened is None else str(opened.get("wake") or "") or None
    row = FaultRecord(
        name=seen.step.name,
        fault=seen.step.fault,
        target=seen.target,
        begin=seen.begin,
        end=seen.end,
        write_outage_s=outage_s,
        write_outage_by_path_s={
            path: gap.seconds
            for path, gap in gaps_by_path(seen.writes, seen.begin, seen.end).items()
        },
        detected_s=_detected_s(seen, opened),
        full_strength_s=full_strength_s,
        acked=sum(write.outcome is Outcome.ACKED for write in inside),
        unknown=sum(write.outcome is Outcome.UNKNOWN for write in inside),
        lost=seen.lost,
        two_writable_s=double_s,
        actions=actions(seen),
        wake=wake,
        deadline_s=limits(seen.step, seen.clock)[0],
        leader_before=seen.leader_before,
        leader_after=seen.leader_after,
        broken=(),
    )
    return _with_broken(row, seen)


def first_incident(seen: Observed) -> Mapping[str, Any] | None:
    """The first incident of the target's slot opened after the fault.

    Of any slot if it has none.
    """
    after = sorted(
        (
            item
            for item in seen.incidents
            if (epoch(item.get("opened_at")) or 0) >= seen.begin_wall - 1
        ),
        key=lambda item: epoch(item.get("opened_at")) or 0,
    )
    own = [item for item in after if item.get("slot") == seen.target]
    return next(iter(own or after), None)


def actions(seen: Observed) -> tuple[str, ...]:
    """`kind slot` of the journal steps written after the fault, oldest first."""
    return tuple(
        f"{item.get('kind', '?')} {item.get('slot', '?')}"
        for item in sorted(seen.journal, key=lambda item: str(item["sk"]))
        if (epoch(str(item["sk"]).partition("#")[0]) or 0) >= seen.begin_wall - 1
    )


def _detected_s(seen: Observed, opened: Mapping[str, Any] | None) -> float | None:
    moment = epoch(opened.get("opened_at")) if opened is not None else None
    return None if moment is None else max(0.0, moment - seen.begin_wall)


def _with_broken(row: FaultRecord, seen: Observed) -> FaultRecord:
    values = {name: getattr(row, name) for name in FaultRecord.__dataclass_fields__}
    values["broken"] = tuple(
        broken_promises(row, seen.step, clock=seen.clock, durability=seen.durability)
    )
    return FaultRecord(**values)


def broken_promises(row: FaultRecord, step: Step, *, clock: str, durability: str) -> list[str]:
    """Which promises this fault broke, one sentence each."""
    strength_max, outage_max = limits(step, clock)
    broken = []
    if row.lost and durability != ASYNC:
        broken.append(f"{row.name}: {row.lost} acknowledged writes are missing on the leader")
    if row.two_writable_s > 0:
        broken.append(f"{row.name}: two nodes were writable at once for {row.two_writable_s:.2f} s")
    if row.full_strength_s is None:
        broken.append(f"{row.name}: strength did not return")
    elif row.full_strength_s > strength_max:
        broken.append(
            f"{row.name}: strength returned after {row.full_strength_s:.1f} s,"
            f" promised were {strength_max:.0f} s"
        )
    if outage_max is not None and row.write_outage_s > outage_max:
        broken.append(
            f"{row.name}: no write was acknowledged for {row.write_outage_s:.1f} s,"
            f" promised were {outage_max:.0f} s"
        )
    if step.alarm_only and ALARM_WORD not in (row.wake or "").lower():
        broken.append(
            f"{row.name}: healing began by '{row.wake or 'nothing known'}', not by an alarm"
        )
    return broken
