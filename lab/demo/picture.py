"""The timeline as inline SVG: leader lane, strength lane, marks, write latency on a logarithmic
scale. Pure.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

from lab.demo.record import Mark, Run
from lab.load.history import WRITABLE, Outcome, Probe, Write

WIDTH: Final = 1100
LEFT: Final = 90
RIGHT: Final = 12
LANE: Final = 16
CHART_TOP: Final = 190
CHART_HEIGHT: Final = 150
LATENCY_MS: Final = (1.0, 3000.0)
SLICES: Final = 900
OUTAGE_S: Final = 1.0  # gaps shorter than this are not drawn
COLOURS: Final = ("#3b82f6", "#f59e0b", "#10b981", "#a855f7", "#ec4899", "#14b8a6", "#94a3b8")
KIND_COLOUR: Final = {
    "fault": "#b3261e",
    "incident": "#f59e0b",
    "action": "#7c3aed",
    "healed": "#1a7f4b",
}
KIND_ROW: Final = {"fault": 92, "incident": 112, "action": 132, "healed": 152}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Monotonic seconds to x."""

    begin: float
    end: float

    def x(self, at: float) -> float:
        """Where this moment lies, clipped to the picture."""
        share = (at - self.begin) / max(self.end - self.begin, 1e-9)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


def picture(run: Run, writes: Sequence[Write], probes: Sequence[Probe]) -> str:
    """The SVG element. An empty run gives an empty picture with its axes."""
    moments = [run.started_at, *(sample.at for sample in run.samples)]
    moments += [write.at + write.latency_s for write in (writes[0], writes[-1])] if writes else []
    end = run.finished_at if run.finished_at is not None else max(moments) + 1.0
    begin = run.samples[0].at if run.samples else run.started_at  # setup has its own table
    scale = Scale(begin=begin, end=max(end, begin + 1.0))
    height = CHART_TOP + CHART_HEIGHT + 40
    body = [
        *_bands(run, scale, height),
        *_leader_lane(run, probes, scale),
        *_strength_lane(run, scale),
        *_marks(run.marks, scale),
        *_latency(writes, scale),
        *_axis(scale, height),
    ]
    return (
        f"<svg viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' role='img'"
        f" aria-label='timeline of the run'>{''.join(body)}</svg>"
    )


def _rect(x: float, y: float, width: float, height: float, fill: str, title: str = "") -> str:
    tip = f"<title>{html.escape(title)}</title>" if title else ""
    return (
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{max(width, 0.8):.1f}' height='{height:.1f}'"
        f" fill='{fill}'>{tip}</rect>"
    )


def _label(text: str, y: float) -> str:
    return f"<text x='4' y='{y:.0f}' class='soft'>{html.escape(text)}</text>"


def _bands(run: Run, scale: Scale, height: int) -> Iterator[str]:
    for number, fault in enumerate(run.faults, start=1):
        left, right = scale.x(fault.begin), scale.x(fault.end)
        title = f"{fault.name}: {fault.target}"
        yield (
            f"<g opacity='0.10'>{_rect(left, 20, right - left, height - 55, '#b3261e', title)}</g>"
            f"<text x='{left + 2:.1f}' y='14'>{number}<title>{html.escape(title)}</title></text>"
        )


def _leader_lane(run: Run, probes: Sequence[Probe], scale: Scale) -> Iterator[str]:
    yield _label("leader", 36)
    stretches = list(_leaders(run, probes))
    names = sorted({name for _, _, name in stretches})
    colour = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    for begin, end, name in stretches:
        left, width = scale.x(begin), scale.x(end) - scale.x(begin)
        yield _rect(left, 24, width, LANE, colour[name], f"{name} leads")
        if width > 62:
            yield f"<text x='{left + 4:.1f}' y='36' style='fill:#fff'>{html.escape(name)}</text>"


def _leaders(run: Run, probes: Sequence[Probe]) -> Iterator[tuple[float, float, str]]:
    """Stretches of one writable node: from the prober while it runs, from the looks before."""
    direct = sorted(
        (
            (probe.at, probe.target)
            for probe in probes
            if probe.answer == WRITABLE and probe.target.startswith("db-")
        ),
    )
    first = direct[0][0] if direct else math.inf
    looks = [(s.at, s.leader) for s in run.samples if s.leader is not None and s.at < first]
    current: tuple[float, float, str] | None = None
    for at, name in (*looks, *direct):
        if current is not None and current[2] == name and at - current[1] < 3.0:
            current = (current[0], at, name)
            continue
        if current is not None:
            yield current
        current = (at, at, name)
    if current is not None:
        yield current


def _strength_lane(run: Run, scale: Scale) -> Iterator[str]:
    yield _label("strength", 62)
    for full, group in groupby(run.samples, key=lambda sample: (sample.full, sample.missing)):
        samples = list(group)
        later = next((s.at for s in run.samples if s.at > samples[-1].at), samples[-1].at + 1.0)
        title = "full strength" if full[0] else "; ".join(full[1])
        left = scale.x(samples[0].at)
        # A hair of overlap: neighbours must not let the paper show through.
        width = scale.x(later) - left + 0.4
        yield _rect(left, 50, width, LANE, "#1a7f4b" if full[0] else "#f59e0b", title)


def _marks(marks: Sequence[Mark], scale: Scale) -> Iterator[str]:
    for kind, name in (
        ("fault", "fault"),
        ("incident", "detected"),
        ("action", "healer acts"),
        ("healed", "closed"),
    ):
        yield _label(name, KIND_ROW[kind] + 4)
    for mark in marks:
        if mark.kind in KIND_ROW:
            title = html.escape(f"{mark.slot}: {mark.text}")
            yield (
                f"<circle cx='{scale.x(mark.at):.1f}' cy='{KIND_ROW[mark.kind]}' r='4.5'"
                f" fill='{KIND_COLOUR[mark.kind]}'><title>{title}</title></circle>"
            )


def _latency(writes: Sequence[Write], scale: Scale) -> Iterator[str]:
    yield _label("write ms", CHART_TOP - 6)
    for value in (1, 10, 100, 1000):
        y = _latency_y(float(value))
        yield _label(f"{value}", y + 4)
        yield (
            f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}'"
            " stroke='currentColor' stroke-opacity='0.12'/>"
        )
    paths = sorted({write.path for write in writes})
    for index, path in enumerate(paths):
        acked = [w for w in writes if w.path == path and w.outcome is Outcome.ACKED]
        colour = COLOURS[index % len(COLOURS)]
        yield (
            f"<path d='{_line(_slowest(acked, scale))}' fill='none' stroke='{colour}'"
            f" stroke-width='1' stroke-opacity='0.85'><title>{html.escape(path)}</title></path>"
            f"<text x='{LEFT + 8 + index * 130}' y='{CHART_TOP - 6}' style='fill:{colour}'>"
            f"{html.escape(path)}</text>"
        )
    yield from _outages(writes, scale)


def _slowest(acked: Sequence[Write], scale: Scale) -> Iterator[tuple[float, float]]:
    slices: dict[int, float] = {}
    span = scale.end - scale.begin
    for write in acked:
        number = int((write.at - scale.begin) / span * SLICES)
        slices[number] = max(slices.get(number, 0.0), write.latency_s * 1000)
    for number, value in sorted(slices.items()):
        yield scale.x(scale.begin + (number + 0.5) * span / SLICES), _latency_y(value)


def _line(points: Iterable[tuple[float, float]]) -> str:
    """SVG path through the points, broken where slices without any write lie between."""
    step = (WIDTH - LEFT - RIGHT) / SLICES
    words: list[str] = []
    before = -math.inf
    for x, y in points:
        words.append(f"{'L' if x - before <= 2.5 * step else 'M'}{x:.1f} {y:.1f}")
        before = x
    return "".join(words)


def _latency_y(value_ms: float) -> float:
    low, high = (math.log10(edge) for edge in LATENCY_MS)
    share = (math.log10(min(max(value_ms, LATENCY_MS[0]), LATENCY_MS[1])) - low) / (high - low)
    return CHART_TOP + CHART_HEIGHT * (1 - share)


def _outages(writes: Sequence[Write], scale: Scale) -> Iterator[str]:
    moments = sorted(w.at + w.latency_s for w in writes if w.outcome is Outcome.ACKED)
    for before, after in pairwise(moments):
        if after - before >= OUTAGE_S:
            left = scale.x(before)
            title = f"no write acknowledged for {after - before:.1f} s"
            band = _rect(left, CHART_TOP, scale.x(after) - left, CHART_HEIGHT, "#b3261e", title)
            yield f"<g opacity='0.55'>{band}</g>"


def _axis(scale: Scale, height: int) -> Iterator[str]:
    span = scale.end - scale.begin
    step = next((s for s in (5, 10, 30, 60, 120, 300) if span / s <= 14), 600)
    for number in range(int(span // step) + 1):
        x = scale.x(scale.begin + number * step)
        minutes, rest = divmod(number * step, 60)
        text = f"{minutes}:{rest:02d}"
        yield f"<text x='{x:.1f}' y='{height - 12}' text-anchor='middle'>{text}</text>"
