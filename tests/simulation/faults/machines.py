"""Faults of machines, volumes and the network between them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lambdas.core.model import InstanceState
from tests.simulation.faults.base import (
    ANYBODY,
    Fault,
    Kind,
    dice_of,
    on_host,
    slot_weather,
    weather,
)
from tests.simulation.things import Host

if TYPE_CHECKING:
    from tests.simulation.world import World

REGIONS = ("eu-west-1", "eu-west-3", "eu-central-1")
ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-3a", "eu-central-1a")


def _running(host: Host) -> bool:
    return host.state is InstanceState.RUNNING


def _power_loss(world: World, _fault: Fault, host: Host) -> str | None:
    if not _running(host) or not host.power:
        return None
    world.nodes.power_loss(host)
    return f"{host.slot.name} loses power for good"


def _power_blink(world: World, fault: Fault, host: Host) -> str | None:
    if not _running(host) or not host.power:
        return None
    world.nodes.power_loss(host)
    world.time.after(fault.for_s, lambda: _power_again(world, host))
    return f"{host.slot.name} loses power for {fault.for_s:.0f} s"


def _power_again(world: World, host: Host) -> None:
    if _running(host):
        world.nodes.power_back(host)


def _freeze(world: World, fault: Fault, host: Host) -> str | None:
    if not host.up(world.now):
        return None
    world.nodes.freeze(host)
    world.time.after(fault.for_s, lambda: world.nodes.thaw(host))
    return f"{host.slot.name} is frozen for {fault.for_s:.0f} s"


def _reboot(world: World, _fault: Fault, host: Host) -> str | None:
    if not host.up(world.now):
        return None
    world.nodes.reboot(host)
    return f"{host.slot.name} reboots"


def _stopped(world: World, _fault: Fault, host: Host) -> str | None:
    if not _running(host):
        return None
    world.aws.stop(host)
    return f"AWS stops {host.slot.name} (its host retires)"


def _terminated(world: World, _fault: Fault, host: Host) -> str | None:
    world.aws.terminate(host)
    return f"AWS terminates {host.slot.name}"


def _zone(world: World, fault: Fault) -> str | None:
    struck = [
        h for h in world.aws.sits.values() if h.slot.zone == fault.where and _running(h) and h.power
    ]
    for host in struck:
        world.nodes.power_loss(host)
        world.time.after(fault.for_s, partial(_power_again, world, host))
    return f"zone {fault.where} has no power for {fault.for_s:.0f} s" if struck else None


def _rack(world: World, fault: Fault) -> str | None:
    """Everything of a zone is dead for good."""
    struck = [
        h for h in world.aws.sits.values() if h.slot.zone == fault.where and _running(h) and h.power
    ]
    for host in struck:
        world.nodes.power_loss(host)
    return f"all hosts of zone {fault.where} lose power for good" if struck else None


def _crunch(world: World, fault: Fault) -> str | None:
    """AWS takes a region's front away and has no capacity to give it back."""
    struck = [h for h in world.aws.sits.values() if h.slot.region == fault.where]
    struck = [h for h in struck if h.disk is None or dice_of(world, fault).random() < 0.3]
    for host in struck:
        world.weather.begin("no-capacity", host.slot.name, world.now + fault.for_s)
        world.aws.terminate(host)
    names = ", ".join(h.slot.name for h in struck)
    return f"AWS terminates {names} and has no capacity for {fault.for_s:.0f} s" if struck else None


def _disk_and_host(world: World, _fault: Fault, host: Host) -> str | None:
    """A host is terminated and its volume is lost with it; never the leader's, nor one that others need."""
    if host.disk is None or host.disk.slot is not host.slot or not host.disk.attached:
        return None
    if world.patroni.primary() is None or not world.etcd.enough_without(host.slot.name):
        return None
    world.aws.lose(host.disk)
    world.aws.terminate(host)
    return f"{host.slot.name} is terminated and its volume is lost"


def _in_fog(world: World, fault: Fault, host: Host) -> str | None:
    """A lost volume is made anew while EC2 shows everything late and the answer is lost."""
    lost = _disk_and_host(world, fault, host)
    if lost is None:
        return None
    until = world.now + fault.for_s
    world.weather.begin("describe-lag", host.slot.region, until, amount=17.0)
    world.weather.begin("answer-lost", "create-disk", until)
    return f"{lost}; EC2 shows what was 17 s ago and its answer to making another is lost"


def _unlisted(world: World, fault: Fault, host: Host) -> str | None:
    if host.disk is None or not host.disk.attached:
        return None
    world.weather.begin("unlisted", host.disk.volume_id, world.now + fault.for_s)
    return f"{host.slot.name}'s volume is not listed for {fault.for_s:.0f} s"


def _region(world: World, fault: Fault) -> str | None:
    struck = [
        h
        for h in world.aws.sits.values()
        if h.slot.region == fault.where and _running(h) and h.power
    ]
    world.weather.begin("region-lost", fault.where, world.now + fault.for_s)
    for host in struck:
        world.nodes.power_loss(host)
        world.time.after(fault.for_s, partial(_power_again, world, host))
    return f"region {fault.where} is gone for {fault.for_s:.0f} s"


def _isolated(world: World, fault: Fault, host: Host) -> str | None:
    if host.isolated:
        return None
    host.isolated = host.aws_cut = True

    def back() -> None:
        host.isolated = host.aws_cut = False
        world.stir()

    world.time.after(fault.for_s, back)
    world.stir()
    return f"{host.slot.name} is cut off from everybody for {fault.for_s:.0f} s"


def _hidden(world: World, fault: Fault, host: Host) -> str | None:
    """Probes of some, or of all, get no answer; everything else works."""
    dice = dice_of(world, fault)
    others = [s.name for s in world.spec.slots if s.active and s is not host.slot]
    by = others if dice.random() < 0.5 else dice.sample(others, dice.randint(1, len(others)))
    host.hidden_from, host.hidden_until = frozenset(by), world.now + fault.for_s
    world.stir()
    return f"probes of {host.slot.name} by {len(by)} peers get no answer for {fault.for_s:.0f} s"


def _region_cut(world: World, fault: Fault) -> str | None:
    dice = dice_of(world, fault)
    other = dice.choice([r for r in REGIONS if r != fault.where])
    world.cuts[frozenset((fault.where, other))] = world.now + fault.for_s
    world.stir()
    return f"{fault.where} and {other} do not reach each other for {fault.for_s:.0f} s"


def _detached(world: World, _fault: Fault, host: Host) -> str | None:
    disk = host.disk
    if disk is None or not disk.attached or world.patroni.leads(host):
        return None
    for unit in ("patroni", "etcd"):
        if host.services.get(unit) == "active":
            host.services[unit] = "failed"
    host.pg = "down"
    world.aws.release(disk)
    return f"{host.slot.name}'s volume is detached under it"


MACHINES: tuple[Kind, ...] = tuple(
    Kind(name=n, group="machines", weight=w, where=at, for_s=f, amount=(0, 0), strike=s)
    for n, w, at, f, s in (
        ("power-loss", 3.0, ANYBODY, (0, 0), on_host(_power_loss)),
        ("power-blink", 3.0, ANYBODY, (10, 200), on_host(_power_blink)),
        ("freeze", 3.0, ANYBODY, (5, 150), on_host(_freeze)),
        ("reboot", 2.0, ANYBODY, (0, 0), on_host(_reboot)),
        ("aws-stops", 2.0, ANYBODY, (0, 0), on_host(_stopped)),
        ("aws-terminates", 3.0, ANYBODY, (0, 0), on_host(_terminated)),
        ("zone-lost", 1.0, ZONES, (30, 200), _zone),
        ("rack-lost", 0.5, ZONES, (0, 0), _rack),
        ("no-capacity-left", 0.4, REGIONS, (200, 500), _crunch),
        ("disk-and-host-lost", 1.0, ("replica", "witness"), (0, 0), on_host(_disk_and_host)),
        ("disk-lost-in-fog", 0.7, ("replica", "witness"), (400, 400), on_host(_in_fog)),
        ("volume-unlisted", 1.0, ("replica", "leader", "witness"), (15, 60), on_host(_unlisted)),
        ("region-lost", 0.3, REGIONS, (60, 200), _region),
        ("isolated", 3.0, ANYBODY, (3, 60), on_host(_isolated)),
        ("hidden", 3.0, ANYBODY, (3, 60), on_host(_hidden)),
        ("region-cut", 2.0, REGIONS, (3, 60), _region_cut),
        ("detached", 1.0, ("replica", "witness"), (0, 0), on_host(_detached)),
        (
            "boot-stuck",
            1.5,
            ANYBODY,
            (60, 300),
            slot_weather("boot-stuck", "{where} cannot boot for {for_s:.0f} s"),
        ),
        (
            "attach-slow",
            2.0,
            REGIONS,
            (60, 200),
            weather("attach-slow", "{where} attaches volumes slowly"),
        ),
    )
)
