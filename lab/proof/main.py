"""`lab faults`: every scenario on a lab of its size, evidence, the table, and the way down, also when interrupted.

One scenario that fails does not stop the others: the lab is mended, or made anew when that does not help.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.control import ControlClient, RegionLink
from lab.demo.evidence import gather, new_directory
from lab.demo.main import interrupts_ignored
from lab.demo.runner import FIRST_FILL_S, Stage, set_up
from lab.demo.timeline import Timeline
from lab.demo.wiring import Lifetime, Wanted, new_run, setup_steps, stage
from lab.errors import LabError, UsageError
from lab.operator import Operator
from lab.ports import REGIONS
from lab.proof import hub
from lab.proof.freezing import play_freeze
from lab.proof.keeping import keep
from lab.proof.record import Line, as_json, as_markdown, line_of, line_of_failure, table
from lab.proof.rows import ROWS
from lab.proof.runner import Losses, play
from lab.proof.scenario import Freeze, Row
from lab.proof.verdict import broken

RECOVER_S: Final = 240.0
LABS_MAX: Final = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    parser.add_argument("--only", metavar="NAME,...", help="these scenarios and no others")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--durability", choices=("async", "zone", "region"), default="region")


def chosen(only: str | None, rows: Sequence[Row] = ROWS) -> tuple[Row, ...]:
    """The scenarios to run, in the catalogue's order. Raises UsageError for a name that is none."""
    if only is None:
        return tuple(rows)
    names = {name.strip().replace("_", "-") for name in only.split(",") if name.strip()}
    unknown = sorted(names - {row.name for row in rows})
    if unknown or not names:
        raise UsageError(f"no scenario '{', '.join(unknown)}'; --list names them")
    return tuple(row for row in rows if row.name in names)


def faults(args: argparse.Namespace) -> int:
    """0 when every scenario ran and kept its promises, 1 otherwise, 130 when interrupted."""
    rows = chosen(args.only)
    if args.list:
        Timeline().table([("scenario", "size", "row"), *((r.name, r.size, r.row) for r in rows)])
        return 0
    return Proof(rows=rows, durability=args.durability).run()


@dataclass(slots=True, kw_only=True)
class Proof:
    """One run over all scenarios, however many labs that takes."""

    rows: tuple[Row, ...]
    durability: str
    timeline: Timeline = field(default_factory=Timeline)
    directory: Path = field(default_factory=new_directory)
    lines: list[Line] = field(default_factory=list)
    labs: int = 0
    began: float = field(default_factory=time.monotonic)
    began_wall: float = field(default_factory=time.time)

    def run(self) -> int:
        """All sizes, each on labs of its own; on the lab that runs, the scenarios of its size."""
        interrupted = False
        try:
            control = ControlClient()
            if control.alive():
                found = control.status()
                wanted = Wanted(size=found.size, durability=found.durability, clock=found.clock)
                self._on_lab(wanted, [row for row in self.rows if row.size == found.size])
            else:
                for size, rows in itertools.groupby(self.rows, key=lambda row: row.size):
                    wanted = Wanted(size=size, durability=self.durability, clock="fast")
                    self._on_labs(wanted, list(rows))
        except LabError as error:
            self.timeline.say("broken", str(error))
        except KeyboardInterrupt:
            interrupted = True
        return self._finish(interrupted=interrupted)

    def _on_labs(self, wanted: Wanted, left: list[Row]) -> None:
        """Labs of one size, a new one whenever the last could not be brought back to strength."""
        while left and self.labs < LABS_MAX:
            self.labs += 1
            lifetime = Lifetime()
            try:
                set_up(setup_steps(wanted, lifetime), new_run(wanted), self.timeline)
                left = self._on_lab(wanted, left)
            finally:
                with interrupts_ignored():
                    self._gather(lifetime)
                    lifetime.end(self.timeline)

    def _on_lab(self, wanted: Wanted, rows: Sequence[Row]) -> list[Row]:
        """The scenarios one after another; those that are left when the lab is beyond mending."""
        left = list(rows)
        directory = self.directory / f"lab-{max(1, self.labs)}"
        directory.mkdir()
        with stage(directory, new_run(wanted), self.timeline) as work:
            if work.watch.until_full(limit_s=FIRST_FILL_S) is None:
                raise LabError("the lab does not come to full strength")
            hub.widen_budget(work.bench)
            with self.timeline.step("starting the writer and the prober"):
                work.load.start()
            losses = Losses()
            while left:
                self._one(work, left.pop(0), losses)
                if not recovered(work):
                    self.timeline.say("broken", "strength did not return; this lab is given up")
                    break
                under_load(work)
        return left

    def _one(self, work: Stage, row: Row, losses: Losses) -> None:
        number = len(self.lines) + 1
        self.timeline.heading(f"{number} of {len(self.rows)}: {row.name} ({row.row})")
        begin, begin_wall = work.clock(), work.wall()
        line = attempt(work, row, losses)
        self.lines.append(line)
        keep(self.directory / row.name, work, line, begin=begin, begin_wall=begin_wall)
        tell(self.timeline, line)
        self._write()

    def _write(self) -> None:
        took_s = time.monotonic() - self.began
        names = [row.name for row in self.rows]
        found = as_json(self.lines, wanted=names, began=self.began_wall, took_s=took_s)
        (self.directory / "faults.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        (self.directory / "faults.md").write_text(as_markdown(self.lines, took_s=took_s), "utf-8")

    def _gather(self, lifetime: Lifetime) -> None:
        if not lifetime.started or all(line.ok for line in self.lines):
            return
        with self.timeline.step("gathering the evidence"):
            for sentence in gather(
                self.directory / f"lab-{self.labs}", Operator(), ControlClient()
            ):
                self.timeline.say("note", f"not gathered: {sentence}")

    def _finish(self, *, interrupted: bool) -> int:
        self._write()
        self.timeline.table(table(self.lines), title="faults on the lab")
        left = [row.name for row in self.rows if row.name not in {line.name for line in self.lines}]
        bad = [line for line in self.lines if not line.ok]
        for line in bad:
            for sentence in line.broken:
                self.timeline.say("broken", f"{line.name}: {sentence}")
        if left:
            self.timeline.say("broken", f"not run: {', '.join(left)}")
        took_s = time.monotonic() - self.began
        kept = len(self.lines) - len(bad)
        self.timeline.say(
            "healed" if not bad and not left else "broken",
            f"{kept} of {len(self.rows)} scenarios kept their promises in {took_s / 60:.0f} minutes",
        )
        self.timeline.say("note", f"results: {self.directory / 'faults.md'}")
        if interrupted:
            return 130
        return 1 if bad or left else 0


def attempt(work: Stage, row: Row, losses: Losses) -> Line:
    """The scenario's line, also when it could not be seen through."""
    began = work.clock()
    try:
        hub.as_found(work)
        if isinstance(row, Freeze):
            return play_freeze(work, row, losses)
        seen = play(work, row, losses)
        sentences = broken(row, seen)
        if row.check is not None:
            sentences += row.check(work, seen)
    except LabError as error:
        return line_of_failure(row.name, row.row, str(error), took_s=work.clock() - began)
    return line_of(row.name, row.row, seen, broken=sentences, took_s=work.clock() - began)


def under_load(work: Stage) -> None:
    """Start writer and prober again if one of them has ended. Raises LabError when they cannot write."""
    try:
        work.load.collect()
    except LabError as error:
        work.timeline.say("note", f"{error}; both are started again")
        work.load.stop()
        work.load.start()


def tell(timeline: Timeline, line: Line) -> None:
    """The line on the timeline."""
    timeline.say(
        "healed" if line.ok else "broken",
        f"{line.name}: called {', '.join(line.called) or 'nothing'};"
        f" {', '.join(line.actions) or 'no step'}; {line.took_s:.0f} s in all",
    )
    for sentence in line.broken:
        timeline.say("broken", sentence)


def recovered(work: Stage) -> bool:
    """Whether the lab is at full strength again, after everything that people can undo is undone."""
    if work.watch.until_full(limit_s=1.0) is not None:
        return True
    undo: list[Callable[[], None]] = [
        lambda: hub.as_found(work),
        work.bench.machines.allow_launches,
    ]
    for first, second in itertools.combinations(REGIONS, 2):
        undo.append(_mender(work, first.name, second.name))
    undo += [_reconnector(work, region.name) for region in REGIONS]
    for step in undo:
        try:
            step()
        except LabError as error:
            work.timeline.say("note", f"could not be undone: {error}")
    try:
        return work.watch.until_full(limit_s=RECOVER_S) is not None
    except LabError as error:
        work.timeline.say("broken", str(error))
        return False


def _mender(work: Stage, first: str, second: str) -> Callable[[], None]:
    return lambda: work.bench.machines.region_link(RegionLink.MEND, first, second)


def _reconnector(work: Stage, region: str) -> Callable[[], None]:
    return lambda: work.bench.machines.way_to_aws(region, reachable=True)
