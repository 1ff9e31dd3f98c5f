"""`lab chaos`: blocks of random faults, each on a lab of its own, the table, and the way down, also when interrupted.

A block that has its record already is not run again, so a run that was interrupted goes on where it was.

    lab/runs/<time>/<block>/schedule.jsonl chaos.jsonl promise.jsonl writer.csv prober.csv checker/ block.json
    lab/runs/<time>/chaos.json chaos.md
"""

from __future__ import annotations

import argparse
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.chaos import kinds
from lab.chaos.block import Checks, Samples, Tools, play
from lab.chaos.record import FILE, Block, name_of, sentences
from lab.chaos.sampler import Sampler, databases
from lab.chaos.schedule import MINUTES_MAX, Plan, draw
from lab.chaos.summary import as_markdown, faults_table, found_in, save, table, totals
from lab.checker.run import Checker
from lab.checker.session import Endpoint
from lab.checker.settings import Settings
from lab.control import ControlClient
from lab.demo.evidence import gather, new_directory
from lab.demo.main import interrupts_ignored
from lab.demo.runner import set_up
from lab.demo.timeline import Timeline
from lab.demo.wiring import Lifetime, Wanted, new_run, setup_steps, stage
from lab.errors import LabError, UsageError
from lab.faults.catalogue import FAULTS
from lab.operator import Operator

ROOT: Final = Path(__file__).resolve().parents[2]
COMMIT: Final = "commit"
CLIENTS: Final = Settings(rate_hz=5.0)
ATTEMPTS_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one run is asked for."""

    plans: tuple[Plan, ...]  # a block each
    wanted: Wanted


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's own options, beside those of a lab."""
    parser.add_argument(
        "--minutes",
        type=float,
        default=MINUTES_MAX,
        help=f"of faults; more than {MINUTES_MAX:.0f} are several blocks with seeds that follow",
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same faults")
    parser.add_argument(
        "--break",
        dest="break_",
        choices=("", COMMIT),
        default="",
        help="take the promise away by hand: the run has to report loss",
    )
    parser.add_argument(
        "--directory", type=Path, help="collect blocks there; those that are there are not run"
    )
    parser.add_argument(
        "--without", default="", metavar="NAME,...", help="kinds of faults that are not to be drawn"
    )
    parser.add_argument("--list", action="store_true", help="tell the faults in words and end")
    parser.add_argument(
        "--summary", type=Path, nargs="+", metavar="DIR", help="put blocks together and end"
    )


def left_out(words: str) -> tuple[str, ...]:
    """The kinds named, in the order of their table. Raises UsageError for a name that is none."""
    names = {word.strip().replace("_", "-") for word in words.split(",") if word.strip()}
    if unknown := sorted(names - set(kinds.KINDS)):
        raise UsageError(f"no kind '{', '.join(unknown)}'; there are {', '.join(kinds.KINDS)}")
    return kinds.known(names)


def plans(
    *,
    minutes: float,
    seed: int,
    durability: str,
    broken: bool,
    catalogue: Sequence[str],
    without: Sequence[str] = (),
) -> tuple[Plan, ...]:
    """Blocks of the same length with seeds that follow. Raises UsageError when nothing could be shown."""
    if not 0 < minutes <= 24 * 60:
        raise UsageError("say how many minutes of faults, at most a day of them")
    if broken and durability == kinds.ASYNC:
        raise UsageError("durability async promises nothing that could be broken on purpose")
    number = math.ceil(minutes / MINUTES_MAX)
    return tuple(
        Plan(
            seed=seed + index,
            length_s=minutes / number * 60.0,
            durability=durability,
            kinds=kinds.known(set(catalogue) - set(without)),
            without=tuple(without),
            broken=broken,
        )
        for index in range(number)
    )


def chaos(args: argparse.Namespace) -> int:
    """0 when every promise was kept, 1 otherwise, 130 when interrupted."""
    if args.summary:
        return tell_summary(args.summary)
    asked = Asked(
        plans=plans(
            minutes=args.minutes,
            seed=args.seed,
            durability=args.durability,
            broken=args.break_ == COMMIT,
            catalogue=tuple(FAULTS),
            without=left_out(args.without),
        ),
        wanted=Wanted(size=args.size, durability=args.durability, clock=args.clock),
    )
    if args.list:
        return tell_schedules(asked.plans)
    directory = args.directory or new_directory()
    directory.mkdir(parents=True, exist_ok=True)
    return Chaos(asked=asked, directory=directory, commit=commit()).run()


def tell_summary(directories: Sequence[Path]) -> int:
    """The blocks in these directories as Markdown."""
    found = totals(found_in(directories))
    print(as_markdown(found), end="")
    return 0 if all(total.ok for total in found) else 1


def tell_schedules(wanted: Sequence[Plan]) -> int:
    """What would fall, in words."""
    for plan in wanted:
        print(f"seed {plan.seed}, {plan.length_s / 60:.0f} minutes, durability {plan.durability}:")
        for blow in draw(plan):
            print(f"  {blow}")
    return 0


def commit() -> str:
    """The commit that is checked out, marked when files differ from it."""
    words = ("git", "describe", "--always", "--abbrev=7", "--dirty=, changed", "--exclude=*")
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def tools(password: str, *, seed: int) -> Tools:
    """The real ones."""

    def checker(endpoints: Sequence[Endpoint], directory: Path) -> Checks:
        return Checker(endpoints, directory, seed=seed, password=password, settings=CLIENTS)

    def sampler(addresses: Mapping[str, str], path: Path) -> Samples:
        return Sampler(databases(addresses, password=password), path)

    return Tools(checker=checker, sampler=sampler)


@dataclass(slots=True, kw_only=True)
class Chaos:
    """One run: its blocks one after another."""

    asked: Asked
    directory: Path
    commit: str
    timeline: Timeline = field(default_factory=Timeline)
    on_a_lab: Callable[[Chaos, Plan, Path], Block] = field(
        default=lambda run, plan, directory: run.block(plan, directory)
    )

    def run(self) -> int:
        """All blocks that have no record yet; one that fails does not stop the others."""
        code, failed = 0, False
        for number, plan in enumerate(self.asked.plans, start=1):
            name = self._name(plan)
            if self._recorded(name) is not None:
                self.timeline.say("note", f"{name} has been run already")
                continue
            self.timeline.heading(f"block {number} of {len(self.asked.plans)}: {name}")
            try:
                self._one(name, plan)
            except LabError as error:
                failed = True
                self.timeline.say("broken", f"{name}: {error}")
            except KeyboardInterrupt:
                self.timeline.say("note", "interrupted; the same command goes on from here")
                code = 130
                break
        return self._finish(code, failed=failed)

    def block(self, plan: Plan, directory: Path) -> Block:
        """One block on a lab of its own. Raises LabError when the lab cannot be had."""
        lifetime, wanted = Lifetime(), self.asked.wanted
        run = new_run(wanted)
        block: Block | None = None
        try:
            set_up(setup_steps(wanted, lifetime), run, self.timeline)
            with stage(directory, run, self.timeline) as work:
                ready = tools(work.api.passwords()["app"], seed=plan.seed)
                block = play(work, plan, directory, ready, commit=self.commit)
        finally:
            with interrupts_ignored():
                if lifetime.started and (block is None or not block.ok):
                    self._gather(directory)
                lifetime.end(self.timeline)
        return block

    def _one(self, name: str, plan: Plan) -> None:
        directory = self._fresh(name)
        for blow in draw(plan):
            self.timeline.say("setup", str(blow))
        block = self.on_a_lab(self, plan, directory)
        block.save(directory)
        for sentence in sentences(block):
            self.timeline.say("broken", sentence)
        self.timeline.say(
            "healed" if block.ok else "broken",
            f"{name}: lost {block.lost}, {len(block.outages_s)} write outages,"
            f" {'kept' if block.ok else 'BROKEN'}",
        )

    def _finish(self, code: int, *, failed: bool) -> int:
        blocks = [it for plan in self.asked.plans if (it := self._recorded(self._name(plan)))]
        found = totals(blocks)
        if found:
            self.timeline.table(faults_table(found), title="faults")
            self.timeline.table(table(found), title="chaos on the lab")
        if any(self.directory.rglob(FILE)):
            save(self.directory, totals(found_in([self.directory])))
            self.timeline.say("note", f"results: {self.directory / 'chaos.md'}")
        if code:
            return code
        return 1 if failed or not found or not all(total.ok for total in found) else 0

    def _name(self, plan: Plan) -> str:
        wanted = self.asked.wanted
        return name_of(
            durability=wanted.durability,
            size=wanted.size,
            seed=plan.seed,
            length_s=plan.length_s,
            broken_on_purpose=COMMIT if plan.broken else "",
            without=plan.without,
        )

    def _recorded(self, name: str) -> Block | None:
        """The block's record, from whichever attempt came to its end."""
        for attempt in (name, *(f"{name}-{n}" for n in range(2, ATTEMPTS_MAX))):
            if (self.directory / attempt / FILE).exists():
                return Block.load(self.directory / attempt / FILE)
        return None

    def _fresh(self, name: str) -> Path:
        """A folder of its own for each attempt, since a history is of one."""
        for attempt in (name, *(f"{name}-{n}" for n in range(2, ATTEMPTS_MAX))):
            directory = self.directory / attempt
            if not directory.exists():
                directory.mkdir()
                return directory
        raise LabError(f"{name} was begun {ATTEMPTS_MAX - 1} times; say another --directory")

    def _gather(self, directory: Path) -> None:
        with self.timeline.step("gathering the evidence"):
            for sentence in gather(directory / "lab", Operator(), ControlClient()):
                self.timeline.say("note", f"not gathered: {sentence}")
