"""From a seed that fails to the few faults that matter: leave faults out while the same invariant is still broken."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.faults.base import Fault
from tests.simulation.scenario import Result, run

RUNS_MAX = 300


def shrink(result: Result, *, again: Callable[[tuple[Fault, ...]], Result] | None = None) -> Result:
    """The smallest failing run found; the result itself when it does not fail."""
    if result.first is None:
        return result
    broken, best, runs = result.first.invariant, result, 0
    rerun = again or (lambda faults: run(result.seed, faults=faults, size=result.size))
    part = max(1, len(best.faults) // 2)
    while runs < RUNS_MAX:
        smaller = None
        for without in _without_each(best.faults, part):
            runs += 1
            tried = rerun(without)
            if tried.first is not None and tried.first.invariant == broken:
                smaller = tried
                break
        if smaller is not None:
            best = smaller
            part = min(part, max(1, len(best.faults) // 2))
        elif part == 1:
            break
        else:
            part //= 2
    return best


def _without_each(faults: tuple[Fault, ...], part: int) -> list[tuple[Fault, ...]]:
    """All ways to leave one stretch of `part` faults out, the last first: what came after the end matters least."""
    starts = range(0, len(faults), part)
    return [faults[:i] + faults[i + part :] for i in reversed(starts)]
