"""Puts the real parts together for the commands: how a lab is made, and everything a run works
with.

The only place of the demo that knows the daemon and the deployment; all else takes what it is
given.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from lab.control import ControlClient
from lab.demo.costs import measure
from lab.demo.load import Processes
from lab.demo.record import Run
from lab.demo.runner import SetupStep, Stage
from lab.demo.timeline import Timeline
from lab.demo.watch import Watch
from lab.errors import LabError
from lab.faults.bench import Bench
from lab.operator import Operator
from lab.strength_probe import StrengthProbe


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the lab is to be started."""

    size: str
    durability: str
    clock: str


class Daemon(Protocol):
    """`lab.daemon`. Both calls block until done and raise LabError with a sentence."""

    def start_detached(self, *, size: str, durability: str, clock: str) -> None:
        """Check this computer, make the node image if missing, start the daemon, wait for it.

        When it raises LabError it has left nothing of its own behind.
        """

    def stop(self) -> None:
        """Stop the lab and remove every trace; harmless when there is none."""


class Deploy(Protocol):
    """`lab.deploy`."""

    def apply(self, *, size: str, durability: str, clock: str) -> None:
        """Apply `tofu/` to the local AWS."""

    def plan_is_clean(self, *, size: str, durability: str, clock: str) -> bool:
        """True when a plan shows no change."""


def daemon() -> Daemon:
    """The daemon's functions, imported when needed.

    The hand tools must not pay for the local AWS.
    """
    return cast("Daemon", import_module("lab.daemon"))


def deploy() -> Deploy:
    """The deployment's functions."""
    return cast("Deploy", import_module("lab.deploy"))


class Lifetime:
    """Whether this process started the lab, and so has to end it."""

    def __init__(self, on_start: Callable[[], None] | None = None) -> None:
        self.started = False
        self._on_start = on_start

    def start(self, wanted: Wanted) -> None:
        """Start the lab. Raises LabError when one runs already."""
        if ControlClient(timeout_s=5.0).alive():
            raise LabError(
                "a lab is running already; 'make lab-status' shows it, 'make lab-down' ends it"
            )
        try:
            daemon().start_detached(
                size=wanted.size, durability=wanted.durability, clock=wanted.clock
            )
        except LabError:
            raise  # not ours to end: it may be another's lab that stood in the way
        except BaseException:
            self.started = True
            raise
        self.started = True
        if self._on_start is not None:
            self._on_start()

    def end(self, timeline: Timeline) -> None:
        """Bring the lab down if this process started it and KEEP=1 was not said."""
        if not self.started:
            return
        if os.environ.get("KEEP") == "1":
            timeline.say("note", "KEEP=1: the lab stays up; 'make lab-down' ends it")
            return
        with timeline.step("bringing the lab down"):
            daemon().stop()


def setup_steps(wanted: Wanted, lifetime: Lifetime) -> tuple[SetupStep, ...]:
    """From an empty machine to a healer that has been told to look."""
    return (
        SetupStep(
            name="lab",
            title="starting the lab (node image, network, local AWS)",
            do=lambda: lifetime.start(wanted),
        ),
        SetupStep(
            name="apply",
            title="applying tofu/ to the local AWS",
            do=lambda: deploy().apply(
                size=wanted.size, durability=wanted.durability, clock=wanted.clock
            ),
        ),
        SetupStep(name="invoke", title="telling the healer to look", do=lambda: Operator().look()),
    )


def new_run(wanted: Wanted) -> Run:
    """An empty run that begins now."""
    return Run(
        started_wall=time.time(),
        started_at=time.monotonic(),
        size=wanted.size,
        durability=wanted.durability,
        clock=wanted.clock,
    )


@contextmanager
def stage(directory: Path, run: Run, timeline: Timeline, *, whole: bool = False) -> Iterator[Stage]:
    """Everything a run works with; the load is stopped and sockets are closed at the end.

    `whole`: costs and the plan after healing belong to the run too.
    """
    api, control = Operator(), ControlClient()
    probe = StrengthProbe(api)
    load = Processes(directory, api)
    try:
        yield Stage(
            api=api,
            bench=Bench(machines=control, api=api, leader=probe.leader),
            watch=Watch(looker=probe, hub=api, timeline=timeline, run=run),
            load=load,
            timeline=timeline,
            run=run,
            plan_is_clean=(lambda: _plan_is_clean(run)) if whole else None,
            costs=(lambda: measure(control, api, invocations=_invocations(control)))
            if whole
            else None,
        )
    finally:
        load.stop()
        probe.close()


def _invocations(control: ControlClient) -> Path:
    return Path(control.status().directory) / "evidence" / "functions.jsonl"


def _plan_is_clean(run: Run) -> bool:
    return deploy().plan_is_clean(size=run.size, durability=run.durability, clock=run.clock)
