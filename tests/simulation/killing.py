"""Which seed shows which mutant up. The table is kept in a file, made by `python -m tests.simulation --mutants`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.simulation.faults import temper_of
from tests.simulation.mutants import MUTANTS, Mutant, applied
from tests.simulation.scenario import run

FILE = Path(__file__).with_name("killers.json")
PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"
BEGIN, END = "<!-- mutants: begin -->\n", "<!-- mutants: end -->\n"
SEEDS_MAX, LIKELY_MAX = 150, 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Killer:
    """A seed, what it broke, and how far into it."""

    seed: int
    invariant: str
    after_faults: int


def kills(mutant: Mutant, seed: int) -> Killer | None:
    """Whether the seed shows the mutant up; the healer as it is must pass the same seed."""
    with applied(mutant):
        result = run(seed)
    shown = [v for v in result.violations if mutant.shown_by in ("", v.invariant)]
    if not shown:
        return None
    before = sum(1 for fault in result.faults if fault.at_s <= shown[0].at_s)
    return Killer(seed=seed, invariant=shown[0].invariant, after_faults=before)


def find(mutant: Mutant, *, seeds: int = SEEDS_MAX) -> Killer | None:
    """A seed that the healer as it is passes and the mutant does not: last time's, or the first of a likely temper."""
    before = known().get(mutant.name)
    likely = [seed for seed in range(LIKELY_MAX) if temper_of(seed) == mutant.temper]
    for seed in (*(() if before is None else (before.seed,)), *likely, *range(seeds)):
        killer = kills(mutant, seed)
        if killer is not None and run(seed).first is None:
            return killer
    return None


def known() -> dict[str, Killer]:
    """The file's table."""
    return {name: Killer(**row) for name, row in json.loads(FILE.read_text()).items()}


def write(killers: dict[str, Killer]) -> None:
    """The file and the page."""
    rows = {name: asdict(killers[name]) for name in MUTANTS if name in killers}
    FILE.write_text(json.dumps(rows, indent=1) + "\n")
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    PAGE.write_text(head + BEGIN + table(killers) + END + rest.split(END)[1])


def table(killers: dict[str, Killer]) -> str:
    """For the page."""
    lines = ["| the healer without | what caught it | seed | after faults |", "|---|---|---|---|"]
    for name, mutant in MUTANTS.items():
        killer = killers.get(name)
        caught = "**nothing**" if killer is None else f"`{killer.invariant}`"
        seed, after = ("", "") if killer is None else (killer.seed, killer.after_faults)
        lines.append(f"| {name} ({mutant.missing}) | {caught} | {seed} | {after} |")
    return "\n".join(lines) + "\n"
