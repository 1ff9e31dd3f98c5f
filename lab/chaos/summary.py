"""Blocks put together by what they promise: how much was done, what broke, what was lost. Pure but for finding them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.chaos.nemesis import Deed
from lab.chaos.outages import percentile
from lab.chaos.record import FILE, Block, sentences
from lab.errors import UsageError
from lab.load.history import Outcome

HEADER: Final = (
    "mode",
    "minutes",
    "faults",
    "operations",
    "unknown",
    "outages",
    "p50",
    "p95",
    "max",
    "suspended",
    "lost",
    "lost, excused",
    "anomalies",
    "verdict",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """All blocks of one mode."""

    mode: str
    blocks: tuple[Block, ...]

    @property
    def ok(self) -> bool:
        """All of them were well."""
        return all(block.ok for block in self.blocks)

    @property
    def faults(self) -> Mapping[str, int]:
        """How often each kind was struck."""
        return _added({k: n.get(Deed.STRUCK, 0) for k, n in b.faults.items()} for b in self.blocks)

    @property
    def operations(self) -> Mapping[str, int]:
        """The checker's operations by outcome."""
        return _added(by for block in self.blocks for by in block.operations.values())

    @property
    def anomalies(self) -> Mapping[str, int]:
        """Broken promises by name."""
        return _added(block.anomalies for block in self.blocks)

    @property
    def outages_s(self) -> tuple[float, ...]:
        """Every write outage, the longest first."""
        return tuple(sorted((s for b in self.blocks for s in b.outages_s), reverse=True))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the blocks."""
        return tuple(block.seed for block in self.blocks)

    @property
    def commits(self) -> tuple[str, ...]:
        """Of the project, each once."""
        return tuple(dict.fromkeys(block.commit for block in self.blocks))


def found_in(directories: Iterable[Path]) -> tuple[Block, ...]:
    """Every block in or below these, oldest first. Raises UsageError when there is none."""
    paths = {path.resolve() for directory in directories for path in directory.rglob(FILE)}
    if not paths:
        raise UsageError(f"no {FILE} there: name the directories of chaos runs")
    return tuple(sorted((Block.load(path) for path in paths), key=lambda it: it.began_wall))


def totals(blocks: Iterable[Block]) -> tuple[Total, ...]:
    """By mode, in the order in which they were first run."""
    by_mode: dict[str, list[Block]] = {}
    for block in blocks:
        by_mode.setdefault(block.mode, []).append(block)
    return tuple(Total(mode=mode, blocks=tuple(them)) for mode, them in by_mode.items())


def table(found: Sequence[Total]) -> list[tuple[str, ...]]:
    """Rows for people, header first."""
    return [HEADER, *(_cells(total) for total in found)]


def faults_table(found: Sequence[Total]) -> list[tuple[str, ...]]:
    """How often each kind was struck, a column a mode."""
    kinds = sorted({kind for total in found for kind in total.faults})
    rows = [(kind, *(str(total.faults.get(kind, 0)) for total in found)) for kind in kinds]
    return [("fault", *(total.mode for total in found)), *rows]


def as_json(found: Sequence[Total]) -> Mapping[str, Any]:
    """The content of `chaos.json`."""
    return {
        "ok": all(total.ok for total in found),
        "modes": [
            {
                "mode": total.mode,
                "ok": total.ok,
                "minutes": sum(block.minutes for block in total.blocks),
                "seeds": list(total.seeds),
                "commits": list(total.commits),
                "faults": dict(total.faults),
                "operations": dict(total.operations),
                "outages": {
                    "number": len(total.outages_s),
                    "p50_s": percentile(total.outages_s, 50),
                    "p95_s": percentile(total.outages_s, 95),
                    "max_s": percentile(total.outages_s, 100),
                },
                "suspended_s": sum(block.suspended_s for block in total.blocks),
                "lost": sum(block.lost for block in total.blocks),
                "excused": sum(block.excused for block in total.blocks),
                "lost_s": max(block.lost_s for block in total.blocks),
                "two_writable_s": sum(block.two_writable_s for block in total.blocks),
                "anomalies": dict(total.anomalies),
                "broken": [word for block in total.blocks for word in _named(block)],
            }
            for total in found
        ],
    }


def as_markdown(found: Sequence[Total]) -> str:
    """The content of `chaos.md`."""
    lines = ["# Chaos on the lab", "", *_markdown(table(found)), ""]
    for total in found:
        seeds = ", ".join(map(str, total.seeds))
        lines.append(f"{total.mode}: seeds {seeds}; commit {', '.join(total.commits)}.")
    lines += ["", *_markdown(faults_table(found)), ""]
    lines += [f"- {word}" for total in found for block in total.blocks for word in _named(block)]
    return "\n".join(lines).rstrip() + "\n"


def save(directory: Path, found: Sequence[Total]) -> None:
    """`chaos.json` and `chaos.md`."""
    (directory / "chaos.json").write_text(json.dumps(as_json(found), indent=2) + "\n", "utf-8")
    (directory / "chaos.md").write_text(as_markdown(found), "utf-8")


def _cells(total: Total) -> tuple[str, ...]:
    outages_s, operations = total.outages_s, total.operations
    anomalies = ", ".join(f"{name} ({n})" for name, n in sorted(total.anomalies.items()))
    return (
        total.mode,
        f"{sum(block.minutes for block in total.blocks):.0f}",
        str(sum(total.faults.values())),
        str(sum(operations.values())),
        str(operations.get(Outcome.UNKNOWN, 0)),
        str(len(outages_s)),
        *(f"{percentile(outages_s, percent):.1f} s" for percent in (50, 95, 100)),
        f"{sum(block.suspended_s for block in total.blocks):.0f} s",
        str(sum(block.lost for block in total.blocks)),
        str(sum(block.excused for block in total.blocks)),
        anomalies or "none",
        "kept" if total.ok else "BROKEN",
    )


def _named(block: Block) -> list[str]:
    return [f"{block.mode}, seed {block.seed}: {word}" for word in sentences(block)]


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    made = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [made[0], f"|{'---|' * len(rows[0])}", *made[1:]]


def _added(counts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return {name: number for name, number in total.items() if number}
