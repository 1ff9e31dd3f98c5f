"""The simulated cluster: the contract's example, or the same in size `standard`. Made once, never changed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from lambdas.core.model import Slot, Spec
from tests.unit.lambdas.builders import the_spec

# The example's timings, but for shorter waits: waiting is what a simulation must be able to afford.
BOOT_GRACE_S = 240.0
RESTART_WAIT_S = 30.0
UNREACHABLE_AFTER_S = 120.0
LOOK_INTERVAL_S = 4.0
TYPES = ("t4g.small", "t4g.medium", "m7g.medium")
START = 1_800_000_000.0


@cache
def spec_of(size: str = "minimal") -> Spec:
    """`minimal` is 2+1 databases and three voters, `standard` 3+3 and five."""
    spec = the_spec()
    timings = replace(
        spec.timings,
        boot_grace_s=BOOT_GRACE_S,
        restart_wait_s=RESTART_WAIT_S,
        unreachable_after_s=UNREACHABLE_AFTER_S,
        look_interval_s=LOOK_INTERVAL_S,
        run_budget_s=240.0,
    )
    slots = tuple(replace(slot, instance_types=TYPES) for slot in spec.slots)
    spec = replace(spec, timings=timings, slots=slots)
    if size == "minimal":
        return spec
    active = {f"db-{region}-{letter}" for region in ("euw1", "euw3") for letter in "abc"}
    voters = {f"db-{region}-{letter}" for region in ("euw1", "euw3") for letter in "ab"}
    slots = tuple(_standard(slot, active, voters) for slot in spec.slots)
    return replace(spec, size=size, slots=slots)


def _standard(slot: Slot, active: set[str], voters: set[str]) -> Slot:
    if not slot.name.startswith("db-"):
        return slot
    return replace(slot, active=slot.name in active, etcd_voter=slot.name in voters)
