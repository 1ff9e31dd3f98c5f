"""Faults of nodes that a certain rung of the ladder ends, and what AWS announces before it does it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lambdas.core.model import InstanceState, Phase
from tests.simulation.faults.base import ANYBODY, Fault, Kind, dice_of, on_host
from tests.simulation.faults.machines import REGIONS
from tests.simulation.things import Host

if TYPE_CHECKING:
    from tests.simulation.world import World

CODES = ("instance-stop", "instance-retirement", "instance-reboot", "system-maintenance")
DAY_S = 24 * 3600.0
MACHINE = ("reboot", "reboot", "move", "end")


def _well(world: World, host: Host) -> bool:
    return host.up(world.now) and host.phase is Phase.CONFIGURED and not host.ails


def _unreachable(world: World, fault: Fault, host: Host) -> str | None:
    """Nobody reaches it and it reaches nobody, and EC2 calls it well."""
    if not _well(world, host) or host.isolated:
        return None
    cure = dice_of(world, fault).choice(MACHINE)
    host.ails["unreachable"], host.isolated = cure, True
    world.stir()
    return f"{host.slot.name} is unreachable until: {cure}"


def _stands_still(world: World, fault: Fault, host: Host) -> str | None:
    """Frozen, which EC2 does not see."""
    if not _well(world, host):
        return None
    cure = dice_of(world, fault).choice(MACHINE)
    host.ails["frozen"], host.frozen = cure, True
    world.stir()
    return f"{host.slot.name} stands still, which EC2 does not see, until: {cure}"


def _will_not_start(world: World, fault: Fault, host: Host) -> str | None:
    """A unit fails, and a restart does not help."""
    units = [u for u in world.nodes.units(host) if u != "etcd" and host.runs(u, world.now)]
    if not _well(world, host) or not units:
        return None
    unit, cure = dice_of(world, fault).choice(units), dice_of(world, fault).choice(MACHINE)
    host.ails[f"unit {unit}"] = cure
    world.nodes.stop(host, unit)
    return f"{unit} on {host.slot.name} will not start until: {cure}"


def _keys_expired(world: World, fault: Fault, host: Host) -> str | None:
    """Its agent's credentials are no good any more."""
    if not _well(world, host):
        return None
    host.ails["keys"] = dice_of(world, fault).choice(("agent", "agent", "reboot"))
    world.stir()
    return f"the credentials of {host.slot.name}'s agent are expired until: {host.ails['keys']}"


def _clock(world: World, fault: Fault, host: Host) -> str | None:
    if not _well(world, host):
        return None
    host.ails["clock"], host.clock_off_s = "chrony", fault.amount
    world.stir()
    return f"the clock of {host.slot.name} is {fault.amount / 3600:.0f} hours wrong"


def _way_lost(world: World, fault: Fault) -> str | None:
    """A region's way to AWS: its nodes are well and nobody hears them."""
    struck = [h for h in world.aws.sits.values() if h.slot.region == fault.where and not h.aws_cut]
    for host in struck:
        host.aws_cut = True
        world.time.after(fault.for_s, partial(_way_back, world, host))
    world.stir()
    return f"region {fault.where} does not reach AWS for {fault.for_s:.0f} s" if struck else None


def _alone(world: World, fault: Fault) -> str | None:
    """A region that reaches neither AWS nor the other regions, and is well."""
    until = world.now + fault.for_s
    for other in world.spec.regions:
        if other != fault.where:
            pair = frozenset((fault.where, other))
            world.cuts[pair] = max(until, world.cuts.get(pair, 0.0))
    lost = _way_lost(world, fault)
    return None if lost is None else f"{lost}, nor the other regions"


def _way_back(world: World, host: Host) -> None:
    host.aws_cut = False
    world.stir()


def _announced(world: World, fault: Fault, host: Host) -> str | None:
    """AWS says that it will stop or reboot the instance: soon, or in a few days."""
    if host.state is not InstanceState.RUNNING or host.announced:
        return None
    code = dice_of(world, fault).choice(CODES)
    in_s = fault.for_s if fault.amount < 0.4 else DAY_S * fault.amount
    world.aws.announce(host, code, world.now + in_s)
    return f"AWS announces {code} of {host.slot.name} in {in_s:.0f} s"


NODES: tuple[Kind, ...] = tuple(
    Kind(name=n, group="nodes", weight=w, where=at, for_s=f, amount=a, strike=s)
    for n, w, at, f, a, s in (
        ("unreachable", 1.0, ANYBODY, (0, 0), (0, 0), on_host(_unreachable)),
        ("frozen-unseen", 1.0, ANYBODY, (0, 0), (0, 0), on_host(_stands_still)),
        (
            "unit-will-not-start",
            1.0,
            ("replica", "proxy", "app", "any"),
            (0, 0),
            (0, 0),
            on_host(_will_not_start),
        ),
        ("keys-expired", 1.0, ANYBODY, (0, 0), (0, 0), on_host(_keys_expired)),
        ("clock-wrong", 0.8, ANYBODY, (0, 0), (-40_000, 40_000), on_host(_clock)),
        ("way-to-aws-lost", 0.7, REGIONS, (30, 240), (0, 0), _way_lost),
        ("region-alone", 0.4, REGIONS, (150, 300), (0, 0), _alone),
        ("announced", 1.2, ANYBODY, (60, 400), (0, 0.9), on_host(_announced)),
    )
)
