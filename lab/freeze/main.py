"""`lab freeze`: on the lab that runs, or on one of its own; trials, evidence, the verdict, and the way down."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Final

from lab.control import ControlClient
from lab.demo.evidence import gather, new_directory
from lab.demo.main import interrupts_ignored
from lab.demo.record import Run
from lab.demo.runner import FIRST_FILL_S, set_up
from lab.demo.timeline import Timeline
from lab.demo.wiring import Lifetime, Wanted, new_run, setup_steps, stage
from lab.errors import LabError, UsageError
from lab.freeze.etcd import EtcdMembers
from lab.freeze.healer import HealerMode
from lab.freeze.nodes import Nodes
from lab.freeze.plan import TRIALS_MAX, Guard, Mover, Plan, Variant, variants_named
from lab.freeze.record import Trial, as_json, broken, table, verdict
from lab.freeze.trial import Stand, perform
from lab.operator import Operator

INTERRUPTED: Final = "interrupted"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's own options; size, durability and clock count only when it starts a lab."""
    parser.add_argument("--trials", type=int, default=3, help="of each variant")
    parser.add_argument("--variant", choices=[*(v.value for v in Variant), "both"], default="both")
    parser.add_argument("--guard", choices=[g.value for g in Guard], default=Guard.ON.value)
    parser.add_argument(
        "--mover",
        choices=[m.value for m in Mover],
        default=Mover.OFF.value,
        help="whether the agent may move etcd's leader away again",
    )


def plan_of(args: argparse.Namespace) -> Plan:
    """Raises UsageError for what cannot be meant."""
    if not 1 <= args.trials <= TRIALS_MAX:
        raise UsageError(f"--trials is between 1 and {TRIALS_MAX}")
    return Plan(
        trials=args.trials,
        variants=variants_named(args.variant),
        guard=Guard(args.guard),
        mover=Mover(args.mover),
    )


def freeze(args: argparse.Namespace) -> int:
    """0 when all trials were made and no promise is broken, 1 otherwise, 130 when interrupted."""
    plan, timeline, directory, lifetime = plan_of(args), Timeline(), new_directory(), Lifetime()
    wanted, running = _lab(args)
    trials: list[Trial] = []
    stopped_by: str | None = None
    try:
        run = new_run(wanted)
        if not running:
            set_up(setup_steps(wanted, lifetime), run, timeline)
        _trials(plan, trials, run, timeline, directory)
    except LabError as error:
        stopped_by = str(error)
    except KeyboardInterrupt:
        stopped_by = INTERRUPTED
    finally:
        with interrupts_ignored():
            _write(directory, plan, trials, stopped_by)
            if stopped_by != INTERRUPTED and (running or lifetime.started):
                with timeline.step("gathering the evidence"):
                    gather(directory, Operator(), ControlClient())
            lifetime.end(timeline)
    return _finish(plan, trials, stopped_by, timeline, directory)


def _lab(args: argparse.Namespace) -> tuple[Wanted, bool]:
    """The lab that runs, as it was started, or the one to start."""
    control = ControlClient()
    if control.alive():
        found = control.status()
        return Wanted(size=found.size, durability=found.durability, clock=found.clock), True
    return Wanted(size=args.size, durability=args.durability, clock=args.clock), False


def _trials(plan: Plan, trials: list[Trial], run: Run, timeline: Timeline, directory: Path) -> None:
    def keep(trial: Trial) -> None:
        trials.append(trial)
        _write(directory, plan, trials, "still running")

    with stage(directory, run, timeline) as work:
        if work.watch.until_full(limit_s=FIRST_FILL_S) is None:
            raise LabError("the lab does not come to full strength; 'make lab-status' tells more")
        with timeline.step("starting the writer and the prober"):
            work.load.start()
        stand = Stand(
            stage=work,
            etcd=EtcdMembers(work.api.slots()),
            nodes=Nodes(work.bench),
            healer=HealerMode(),
        )
        perform(stand, plan, keep)


def _write(directory: Path, plan: Plan, trials: list[Trial], stopped_by: str | None) -> None:
    found = {"at": time.time(), **as_json(plan, trials, stopped_by)}
    (directory / "freeze.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def _finish(
    plan: Plan, trials: list[Trial], stopped_by: str | None, timeline: Timeline, directory: Path
) -> int:
    if trials:
        timeline.table(table(trials), title="frozen and thawed")
    for sentence in verdict(trials):
        timeline.say("note", sentence)
    for sentence in broken(trials):
        timeline.say("broken", f"broken promise: {sentence}")
    if stopped_by is not None:
        timeline.say("broken", f"{len(trials)} of {len(plan.order())} trials made: {stopped_by}")
    timeline.say("note", f"results: {directory / 'freeze.json'}")
    if stopped_by == INTERRUPTED:
        return 130
    return 1 if stopped_by is not None or broken(trials) else 0
