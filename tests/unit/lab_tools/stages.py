"""A whole stage of fakes: what the demo, the proof, the freeze trials and the chaos work with."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import cast

from rich.console import Console

from lab.demo.load import Load
from lab.demo.record import Run
from lab.demo.runner import Stage
from lab.demo.timeline import Timeline
from lab.demo.watch import Looker, Watch
from lab.faults.bench import Bench, Machines
from lab.operator import Operator
from tests.unit.lab_tools.fakes import FakeApi, FakeClock


def a_stage(
    *,
    clock: FakeClock,
    api: FakeApi,
    machines: Machines,
    leader: Callable[[], str | None],
    looker: Looker,
    load: Load,
    console: Console | None = None,
) -> Stage:
    """Of a `minimal` lab whose time is the fake clock's, and which nobody sees without a console."""
    operator = cast("Operator", api)
    timeline = Timeline(console or Console(file=io.StringIO()), clock=clock.monotonic)
    run = Run(
        started_wall=clock.wall(),
        started_at=clock.now,
        size="minimal",
        durability="region",
        clock="fast",
    )
    return Stage(
        api=operator,
        bench=Bench(
            machines=machines,
            api=operator,
            leader=leader,
            clock=clock.monotonic,
            sleep=clock.sleep,
        ),
        watch=Watch(
            looker=looker,
            hub=operator,
            timeline=timeline,
            run=run,
            clock=clock.monotonic,
            wall=clock.wall,
            sleep=clock.sleep,
        ),
        load=load,
        timeline=timeline,
        run=run,
        plan_is_clean=None,
        clock=clock.monotonic,
        wall=clock.wall,
        sleep=clock.sleep,
    )
