"""What the run found: a line for each scenario, `faults.json`, `faults.md`, and the verdict. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from lab.demo.record import seconds
from lab.proof.account import Account

HEADER: Final = (
    "fault",
    "detected after",
    "actions",
    "write outage",
    "back to strength after",
    "lost",
    "two-writable",
    "verdict",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One scenario's outcome. Seconds, from the blow unless said otherwise."""

    name: str
    row: str
    targets: tuple[str, ...]
    called: tuple[str, ...]  # "slot diagnosis"
    detected_s: float | None
    actions: tuple[str, ...]  # "kind slot", in order
    outage_s: float | None
    full_strength_s: float | None
    acked: int
    lost: int
    two_writable_s: float
    took_s: float
    broken: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Every promise was kept."""
        return not self.broken


def line_of(name: str, row: str, seen: Account, *, broken: Sequence[str], took_s: float) -> Line:
    """The line of a scenario that was seen through."""
    return Line(
        name=name,
        row=row,
        targets=seen.targets,
        called=tuple(sorted({f"{call.slot} {call.diagnosis}" for call in seen.calls})),
        detected_s=seen.detected_s,
        actions=tuple(f"{step.word} {step.slot}" for step in seen.steps),
        outage_s=seen.outage_s,
        full_strength_s=seen.full_strength_s,
        acked=seen.acked,
        lost=seen.lost,
        two_writable_s=seen.two_writable_s,
        took_s=took_s,
        broken=tuple(broken),
    )


def line_of_failure(name: str, row: str, why: str, *, took_s: float) -> Line:
    """The line of a scenario that could not be seen through."""
    return Line(
        name=name,
        row=row,
        targets=(),
        called=(),
        detected_s=None,
        actions=(),
        outage_s=None,
        full_strength_s=None,
        acked=0,
        lost=0,
        two_writable_s=0.0,
        took_s=took_s,
        broken=(why,),
    )


def grouped(actions: Sequence[str]) -> str:
    """Steps in their order, each once, with how often."""
    counted: dict[str, int] = {}
    for action in actions:
        counted[action] = counted.get(action, 0) + 1
    return ", ".join(a if n == 1 else f"{a} ({n} times)" for a, n in counted.items()) or "none"


def cells(line: Line) -> tuple[str, ...]:
    """One line of the table for people."""
    return (
        line.name,
        seconds(line.detected_s),
        grouped(line.actions),
        seconds(line.outage_s),
        seconds(line.full_strength_s),
        str(line.lost),
        f"{line.two_writable_s:.2f} s",
        "kept" if line.ok else "BROKEN",
    )


def table(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """Rows for people, header first."""
    return [HEADER, *(cells(line) for line in lines)]


def as_json(
    lines: Sequence[Line], *, wanted: Sequence[str], began: float, took_s: float
) -> Mapping[str, Any]:
    """The content of `faults.json`. `wanted` names every scenario that was to run."""
    run = {line.name for line in lines}
    left = [name for name in wanted if name not in run]
    return {
        "ok": not left and all(line.ok for line in lines),
        "began": began,
        "took_s": round(took_s, 1),
        "not_run": left,
        "scenarios": [{**_rounded(line), "ok": line.ok} for line in lines],
    }


def _rounded(line: Line) -> dict[str, Any]:
    return {
        name: round(value, 2) if isinstance(value, float) else value
        for name, value in asdict(line).items()
    }


def as_markdown(lines: Sequence[Line], *, took_s: float) -> str:
    """The content of `faults.md`: the table, and a sentence for every broken promise."""
    rows = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    rows += [f"| {' | '.join(cell.replace('|', '/') for cell in cells(line))} |" for line in lines]
    kept = sum(line.ok for line in lines)
    said = [f"{kept} of {len(lines)} scenarios kept their promises, in {took_s / 60:.0f} minutes."]
    said += [f"- {line.name}: {text}" for line in lines for text in line.broken]
    return "\n".join(["# Faults on the lab", "", *rows, "", *said]) + "\n"
