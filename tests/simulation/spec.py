"""The simulated cluster: the contract's example, or the same in size `standard`. Made once, never changed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from lambdas.core.model import Slot, Spec
from tests.unit.lambdas.builders import the_spec

# The example's timings, but for a shorter grace: waiting is what a simulation must be able to afford.
BOOT_GRACE_S = 240.0
LOOK_INTERVAL_S = 4.0
START = 1_800_000_000.0


@cache
def spec_of(size: str = "minimal") -> Spec:
    """`minimal` is 2+1 databases and three voters, `standard` 3+3 and five."""
    spec = the_spec()
    timings = replace(
        spec.timings, boot_grace_s=BOOT_GRACE_S, look_interval_s=LOOK_INTERVAL_S, run_budget_s=240.0
    )
    spec = replace(spec, timings=timings)
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
