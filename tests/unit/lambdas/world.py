"""A small world for the real healer: whole faults, from the wake to full strength.

Time is a number that only sleeping moves.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

from lambdas.adapters.ec2 import Ec2
from lambdas.adapters.notices import Bus, Metrics
from lambdas.adapters.ssm import Ssm
from lambdas.adapters.table import Table
from lambdas.core.model import Spec
from lambdas.observe import World
from lambdas.run import Outcome, Run
from tests.unit.lambdas.builders import the_spec
from tests.unit.lambdas.nodes import PEER_SILENT_AFTER_S, STEP_S, Crash, Nodes
from tests.unit.lambdas.ports import FakeEc2, FakeSsm, MemoryTable, Told

__all__ = ["Crash", "FakeEc2", "FakeSsm", "Stage", "a_born_cluster", "fast_spec"]


def fast_spec() -> Spec:
    """The example's cluster with the lab's fast timings."""
    spec = the_spec()
    timings = replace(
        spec.timings,
        report_interval_s=1.0,
        peer_silent_after_s=PEER_SILENT_AFTER_S,
        agent_silent_after_s=4.0,
        boot_grace_s=60.0,
        configure_timeout_s=60.0,
        look_interval_s=1.0,
        restart_wait_s=10.0,
        run_budget_s=150.0,
    )
    return replace(spec, timings=timings)


class Stage:
    """The nodes, the hub and a healer to wake."""

    def __init__(self, spec: Spec | None = None) -> None:
        self.spec = spec or fast_spec()
        self.nodes = Nodes(self.spec)
        self.table = MemoryTable(self.nodes)
        self.told = Told()
        self.sentences: list[str] = []
        self.random = random.Random(1)  # noqa: S311 - the same run every time

    def run(self, wake: str = "tick", *, remaining_s: Callable[[], float] = lambda: 900.0) -> Run:
        """A run that has not begun."""
        n = self.nodes
        world = World(
            spec=self.spec,
            ec2={r: cast("Ec2", FakeEc2(n, r)) for r in self.spec.regions},
            ssm={r: cast("Ssm", FakeSsm(n, r)) for r in self.spec.regions},
            table=cast("Table", self.table),
            iso=lambda at: datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        )
        return Run(
            world=world,
            bus=cast("Bus", self.told),
            metrics=cast("Metrics", self.told),
            clock=self,
            wake=wake,
            remaining_s=remaining_s,
            log=lambda sentence, _extra: self.sentences.append(sentence),
        )

    def now(self) -> float:
        return self.nodes.now

    def sleep(self, seconds: float) -> None:
        self.nodes.sleep(max(seconds, STEP_S))

    def lose(self, *slots: str) -> None:
        """Hosts lose power, and time passes until agents announce that they cannot reach them."""
        for slot in slots:
            self.nodes.power_loss(slot)
        self.nodes.sleep(PEER_SILENT_AFTER_S + 2.0)

    def steal_the_lease(self) -> None:
        """Another run takes over, as it may once a lease has run out."""
        self.table.lease.update(owner="thief", token=self.table.lease["token"] + 1)

    def wake(self, why: str = "tick") -> Outcome:
        """Wake the healer and let it run to its end."""
        return self.run(why).go()

    def until_full(self, *, within_s: float, wake: str = "tick") -> float:
        """Wake again and again, as the tick does, until full strength. Seconds it took."""
        began = self.now()
        while True:
            outcome = self.wake(wake)
            took_s = self.now() - began
            if outcome.full_strength:
                assert took_s <= within_s, f"full strength after {took_s:.1f} s, not {within_s} s"
                return took_s
            assert took_s <= within_s, f"not at full strength after {took_s:.0f} s: {outcome}"
            self.nodes.sleep(5.0)


def a_born_cluster() -> Stage:
    """From nothing to full strength; the past is then forgotten."""
    stage = Stage()
    stage.until_full(within_s=120.0)
    stage.nodes.sleep(60.0)
    stage.wake()
    stage.nodes.calls.clear()
    stage.told.events.clear()
    stage.sentences.clear()
    return stage
