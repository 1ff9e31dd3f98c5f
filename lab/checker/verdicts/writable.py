"""Whether two nodes took writes at once, from the answers of the prober."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence

from lab.checker.verdicts.finding import Anomaly, Finding
from lab.load.history import WRITABLE, Probe, two_writable_s


def findings(probes: Iterable[Probe]) -> Iterator[Finding]:
    """One for every pair of nodes that were writable at once. Only direct answers belong here."""
    yes: set[str] = set()
    everything: dict[str, list[Probe]] = {}
    for probe in sorted(probes, key=lambda it: it.at):
        everything.setdefault(probe.target, []).append(probe)
        if probe.answer == WRITABLE:
            yes.add(probe.target)
    for one, other in itertools.combinations(sorted(yes), 2):
        both = [*everything[one], *everything[other]]
        begin = min(probe.at for probe in both)
        ends = sorted(probe.at + probe.latency_s for probe in both)
        seconds = two_writable_s(both, begin, ends[-1])
        if seconds > 0:
            yield Finding(
                anomaly=Anomaly.TWO_WRITABLE,
                sentence=(
                    f"{one} and {other} both took writes for {seconds:.3f} s,"
                    f" first seen at {_first(both, begin, ends):.3f} s"
                ),
            )


def _first(both: Sequence[Probe], begin: float, ends: Sequence[float]) -> float:
    """The moment of the first answer by which both had been writable at once."""
    place = bisect.bisect_right(ends, 0.0, key=lambda end: two_writable_s(both, begin, end))
    return ends[place]
