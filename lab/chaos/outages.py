"""How long nobody's write was acknowledged, and which acknowledged writes of the writer are gone. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from lab.chaos.nemesis import Thaw
from lab.checker.calls import Append
from lab.checker.history import Operation
from lab.checker.verdicts.windows import Window
from lab.load.history import Outcome, Probe, Write

OUTAGE_S_MIN: Final = 1.0
# A host that goes on where it stood answers as a primary until Patroni's first cycle, with nobody to acknowledge to it.
THAWED_S_MAX: Final = 2.0


def acknowledged(writes: Iterable[Write], operations: Iterable[Operation]) -> list[float]:
    """When an insert was acknowledged, over any path, by the writer or a client of the checker."""
    moments = [it.at + it.latency_s for it in writes if it.outcome is Outcome.ACKED]
    moments += [it.latest for it in operations if it.acked and isinstance(it.call, Append)]
    return sorted(moments)


def outages(moments: Sequence[float], begin: float, end: float) -> tuple[float, ...]:
    """Seconds of each time within [begin, end] without an acknowledgement, in order; the edges count."""
    inside = [begin, *(it for it in moments if begin <= it <= end), end]
    gaps = (after - before for before, after in itertools.pairwise(inside))
    return tuple(round(gap, 3) for gap in gaps if gap >= OUTAGE_S_MIN)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed; 0 of nothing."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def gone(
    writes: Iterable[Write], missing: Collection[int], suspended: Sequence[Window]
) -> tuple[int, int]:
    """Of the writer's acknowledged writes that are missing: those that were promised, and those that were not."""
    lost = [it for it in writes if it.id in missing and it.outcome is Outcome.ACKED]
    excused = sum(
        any(it.at <= window.end and it.at + it.latency_s >= window.begin for window in suspended)
        for it in lost
    )
    return len(lost) - excused, excused


def without_thaws(probes: Iterable[Probe], thaws: Sequence[Thaw]) -> list[Probe]:
    """The answers, without those of a thawed host in the moment in which it goes on."""
    return [probe for probe in probes if not any(_at_thaw(probe, thaw) for thaw in thaws)]


def _at_thaw(probe: Probe, thaw: Thaw) -> bool:
    answered = probe.at + probe.latency_s
    return probe.target == thaw.slot and thaw.begin <= answered <= thaw.end + THAWED_S_MAX
