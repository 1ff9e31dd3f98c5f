"""One seed from beginning to end: a cluster, faults that overlap, then calm, and what must follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambdas.core.model import Birth, InstanceState, Phase, Spec
from tests.simulation import faults as catalogue
from tests.simulation.faults.base import Fault
from tests.simulation.healers import Healers, in_simulated_time
from tests.simulation.invariants import ALWAYS, ON_CALLS
from tests.simulation.settling import Settling, settle
from tests.simulation.spec import START, spec_of
from tests.simulation.things import Host
from tests.simulation.watch import Violation, Watch
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.watch import CallCheck, WorldCheck

FAULTS = 80
BIRTHS_EVERY = 13  # so many seeds, one begins with nothing
STANDARD_EVERY = 10
LINGER_S = 120.0  # the last faults are not cut short
LONG_AGO_S = 7200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a seed."""

    seed: int
    size: str
    faults: tuple[Fault, ...]
    struck: int
    steps: int
    looks: int
    simulated_s: float
    settling: Settling
    violations: tuple[Violation, ...]
    story: tuple[tuple[float, str], ...]

    @property
    def first(self) -> Violation | None:
        """What went wrong first."""
        return self.violations[0] if self.violations else None


def size_of(seed: int) -> str:
    """Some seeds have the larger cluster."""
    return "standard" if seed % STANDARD_EVERY == STANDARD_EVERY - 1 else "minimal"


def run(
    seed: int,
    *,
    count: int = FAULTS,
    faults: tuple[Fault, ...] | None = None,
    size: str | None = None,
    recording: bool = False,
) -> Result:
    """The same seed gives the same result, always. `faults` replaces the seed's own, for shrinking."""
    planned = catalogue.generate(seed, count) if faults is None else faults
    world = make_world(seed, spec_of(size or size_of(seed)), recording=recording)
    try:
        with in_simulated_time():
            return _play(world, planned)
    finally:
        world.time.end()


def make_world(seed: int, spec: Spec, *, recording: bool = False) -> World:
    """A world with its watch and its healer; most seeds begin with a cluster that is born."""
    world = World(seed, spec, recording=recording)
    world.healers = Healers(world, f"{seed}/calls")
    calls: Mapping[str, CallCheck] = {check.__name__: check for check in ON_CALLS}
    states: Mapping[str, WorldCheck] = {check.__name__: check for check in ALWAYS}
    world.watch = Watch(world, calls=calls, states=states)
    if seed % BIRTHS_EVERY != BIRTHS_EVERY - 1:
        born(world)
    world.healers.start()
    return world


def _play(world: World, planned: tuple[Fault, ...]) -> Result:
    struck = 0
    for fault in planned:
        world.time.run_until(START + fault.at_s)
        struck += catalogue.strike(world, fault)
        if world.watch.violations:
            break
    last = max((f.at_s + f.for_s for f in planned), default=0.0)
    world.time.run_until(min(START + last, world.now + LINGER_S))
    settling = Settling(full_after_s=None, held_by=())
    if not world.watch.violations:
        catalogue.calm(world)
        settling = settle(world)
    world.healers.stop()
    return Result(
        seed=world.seed,
        size=world.spec.size,
        faults=planned,
        struck=struck,
        steps=world.watch.steps,
        looks=world.healers.looks,
        simulated_s=world.now - START,
        settling=settling,
        violations=tuple(world.watch.violations),
        story=tuple((at - START, sentence) for at, sentence in world.story),
    )


def born(world: World) -> None:
    """Skip the birth: everything active is up, db-euw1-a leads, nothing has ever been wrong."""
    slots = [s for s in world.spec.slots if s.active]
    for slot in slots:
        host = world.aws.launch(slot, token=f"birth-{slot.name}", by_us=False)
        _settled(world, host)
    first = next(h for h in world.aws.sits.values() if h.slot.disk and h.slot.name[:2] == "db")
    for host in world.aws.sits.values():
        host.services.update(dict.fromkeys(world.nodes.units(host), "active"))
        if host.slot.etcd_voter and host.disk is not None:
            host.disk.member = world.etcd.found(host.slot.name)
    world.etcd.leader = next(iter(reversed(world.etcd.members)))
    world.patroni.bootstrap(first)
    world.patroni.timeline = 2
    for host in world.patroni.hosts():
        if host.disk is not None:
            host.disk.database, host.disk.timeline, host.disk.wal_at = True, 2, START
        if host is not first:
            host.pg = "replica"
    first.led_since = START - LONG_AGO_S
    world.hub.birth = Birth(
        state="born",
        first_leader=first.slot.name,
        etcd_token="token",
        etcd_cluster_id="cdf8",
        system_identifier="745",
    )
    world.watch.marks.update(birth=START - LONG_AGO_S, born=START - LONG_AGO_S)
    for host in world.aws.sits.values():
        host.reached_since = START - LONG_AGO_S
    world.agents.report_all()


def _settled(world: World, host: Host) -> None:
    """A host that has been up for long, with its disk."""
    then = START - LONG_AGO_S
    host.made_at = host.launched_at = host.running_at = host.up_at = then
    host.views[:] = [(then, InstanceState.RUNNING)]
    host.phase = Phase.CONFIGURED
    if host.slot.disk is None:
        return
    disk = world.aws.create_volume(host.slot, token=f"birth-disk-{host.slot.name}")
    disk.blank, disk.holder, disk.attached, host.disk = False, host, True, disk
    disk.views[:] = [(then, ("in-use", host.instance_id, "attached"))]
