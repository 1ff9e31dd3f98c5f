"""The demo's script: which faults, on whom, and what is promised for each.

The figures are promises for the `fast` clock. Under the `aws` clock most of the time is AWS's own,
so only lost writes and two writable nodes can break a promise there, besides a generous limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

AWS_CLOCK_LIMIT_S: Final = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fault of the demo."""

    name: str
    fault: str
    target: str
    full_strength_s_max: float
    write_outage_s_max: float | None = None
    alarm_only: bool = False  # the tick and the agents' events are off


REPLICA: Final = Step(
    name="replica host loses power",
    fault="power-loss",
    target="replica",
    full_strength_s_max=45.0,
    write_outage_s_max=10.0,
)
LEADER: Final = Step(
    name="leader host loses power",
    fault="power-loss",
    target="leader",
    full_strength_s_max=75.0,
    write_outage_s_max=30.0,
)
DEMO: Final[tuple[Step, ...]] = (
    REPLICA,
    LEADER,
    Step(
        name="database instance terminated",
        fault="terminate",
        target="replica",
        full_strength_s_max=45.0,
    ),
    Step(
        name="HAProxy host loses power",
        fault="power-loss",
        target="haproxy",
        full_strength_s_max=45.0,
    ),
    Step(
        name="witness loses power",
        fault="power-loss",
        target="witness",
        full_strength_s_max=45.0,
    ),
    Step(name="app host loses power", fault="power-loss", target="app", full_strength_s_max=45.0),
    Step(
        name="replica host loses power, alarm alone",
        fault="power-loss",
        target="replica",
        full_strength_s_max=45.0,
        write_outage_s_max=10.0,
        alarm_only=True,
    ),
)
SMOKE: Final[tuple[Step, ...]] = (REPLICA,)
AWS_CLOCK: Final[tuple[Step, ...]] = (REPLICA, LEADER)


def steps_for(clock: str) -> tuple[Step, ...]:
    """The demo's steps under a clock."""
    return AWS_CLOCK if clock == "aws" else DEMO


def limits(step: Step, clock: str) -> tuple[float, float | None]:
    """Promised seconds to full strength and of write outage (None: no promise) under a clock."""
    if clock == "aws":
        return AWS_CLOCK_LIMIT_S, step.write_outage_s_max
    return step.full_strength_s_max, step.write_outage_s_max
