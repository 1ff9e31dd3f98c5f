"""Faults of the healer itself and of what it stands on: it dies, races, is slow, has a wrong clock, or is away."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.faults.base import Fault, Kind, kind, weather

if TYPE_CHECKING:
    from tests.simulation.world import World


def _again(world: World, fault: Fault) -> str | None:
    for n in range(1 + int(fault.amount)):
        world.time.after(n * 0.3, lambda: world.healers.invoke("operator"))
    return f"{1 + int(fault.amount)} more runs are started"


_kind = partial(kind, "healer")


HEALER: tuple[Kind, ...] = (
    _kind(
        "healer-dies",
        6,
        ("",),
        (120, 120),
        weather("healer-dies", "the healer will die at its {amount:.0f}th changing call from now"),
        (0, 25),
    ),
    _kind("more-runs", 4, ("",), (0, 0), _again, (0, 3)),
    _kind(
        "slow-calls",
        3,
        ("",),
        (20, 90),
        weather("slow-calls", "every call takes {amount:.1f} s more"),
        (0.3, 9),
    ),
    _kind(
        "clock-skew",
        2,
        ("",),
        (60, 200),
        weather("clock-skew", "runs that start now have clocks {amount:+.0f} s wrong"),
        (-10, 10),
    ),
    _kind(
        "clock-jump",
        2,
        ("",),
        (10, 60),
        weather("clock-jump", "clocks jump by {amount:+.0f} s"),
        (-10, 10),
    ),
    _kind("table-silent", 1, ("",), (3, 30), weather("table-silent", "the table does not answer")),
    _kind(
        "table-throttled", 1, ("",), (3, 30), weather("table-throttled", "the table refuses calls")
    ),
    _kind("bus-refuses", 1, ("",), (10, 90), weather("bus-refuses", "the hub bus takes no events")),
    _kind(
        "healer-away",
        1,
        ("",),
        (30, 120),
        weather("healer-away", "the healer's region starts no runs"),
    ),
)
