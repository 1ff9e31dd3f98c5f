"""Faults of services on nodes: they crash, stop, do not start, hang, lag, or look ill to their own agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdas.core.model import Phase
from tests.simulation.faults.base import (
    ANYBODY,
    Fault,
    Kind,
    dice_of,
    host_weather,
    on_host,
)
from tests.simulation.things import Host

if TYPE_CHECKING:
    from tests.simulation.world import World


def _unit(world: World, fault: Fault, host: Host) -> str | None:
    """One unit that runs now."""
    units = [u for u in world.nodes.units(host) if host.runs(u, world.now)]
    return dice_of(world, fault).choice(units) if units and host.phase is Phase.CONFIGURED else None


def _crash(world: World, fault: Fault, host: Host) -> str | None:
    unit = _unit(world, fault, host)
    if unit is None:
        return None
    world.nodes.crash(host, unit, back_s=fault.for_s)
    return f"{unit} on {host.slot.name} crashes and is back after {fault.for_s:.0f} s"


def _stop(world: World, fault: Fault, host: Host) -> str | None:
    unit = _unit(world, fault, host)
    if unit is None:
        return None
    world.nodes.stop(host, unit)
    if unit == "etcd":  # nobody but a person starts what stands beside a living leader
        world.time.after(120.0 + fault.for_s, lambda: _started(world, host, unit))
    return f"{unit} on {host.slot.name} is stopped"


def _started(world: World, host: Host, unit: str) -> None:
    if host.services.get(unit) in ("inactive", "failed") and host.up(world.now):
        world.nodes.start(host, unit)


def _break(world: World, fault: Fault, host: Host) -> str | None:
    unit = _unit(world, fault, host)
    if unit is None or unit == "etcd":
        return None
    host.broken[unit] = max(1, int(fault.amount))
    world.nodes.stop(host, unit)
    return f"{unit} on {host.slot.name} fails and will not start {host.broken[unit]} times"


def _stuck(world: World, _fault: Fault, host: Host) -> str | None:
    if host.pg != "replica" or host.disk is None or not host.disk.database:
        return None
    host.stuck = True
    world.stir()
    return f"replication to {host.slot.name} is stuck"


def _alarm(world: World, fault: Fault, host: Host) -> str | None:
    slot = host.slot.name
    if not host.slot.etcd_voter:
        return None
    world.etcd.alarms.setdefault(slot, "NOSPACE")

    def lifted() -> None:
        world.etcd.alarms.pop(slot, None)
        world.stir()

    world.time.after(fault.for_s, lifted)
    world.stir()
    return f"etcd on {slot} raises an alarm for {fault.for_s:.0f} s"


def _agent(state: str, what: str) -> object:
    def strike(world: World, fault: Fault, host: Host) -> str | None:
        if host.agent != "up":
            return None
        host.agent = state

        def again() -> None:
            host.agent = "up"
            world.stir()

        if state == "mute" or fault.amount < 0.5:  # the watchdog ends an agent that hangs
            world.time.after(fault.for_s, again)
        world.stir()
        return f"the agent of {host.slot.name} {what}"

    return on_host(strike)


HOST = ("replica", "any", "voter", "leader", "proxy", "app")
SERVICES: tuple[Kind, ...] = tuple(
    Kind(name=n, group="services", weight=w, where=at, for_s=f, amount=a, strike=s)  # type: ignore[arg-type]
    for n, w, at, f, a, s in (
        ("service-crashes", 4.0, HOST, (1, 12), (0, 0), on_host(_crash)),
        ("service-stopped", 3.0, HOST, (0, 120), (0, 0), on_host(_stop)),
        ("service-broken", 1.5, HOST, (0, 0), (1, 3), on_host(_break)),
        (
            "service-very-broken",
            0.3,
            ("proxy", "app", "replica"),
            (0, 0),
            (18, 40),
            on_host(_break),
        ),
        ("replication-stuck", 2.0, ("replica",), (0, 0), (0, 0), on_host(_stuck)),
        (
            "replica-lags",
            2.0,
            ("replica",),
            (10, 90),
            (0, 0),
            host_weather("lagging", "{where} lags for {for_s:.0f} s"),
        ),
        (
            "patroni-hangs",
            2.0,
            ("leader", "replica"),
            (5, 90),
            (0, 0),
            host_weather("patroni-hung", "Patroni on {where} hangs for {for_s:.0f} s"),
        ),
        ("etcd-alarm", 2.5, ("voter", "leader"), (30, 200), (0, 0), on_host(_alarm)),
        (
            "probe-blind",
            2.0,
            ("any", "voter", "leader"),
            (5, 60),
            (0, 0),
            host_weather("probe-blind", "the agent of {where} gets no answer from its services"),
        ),
        (
            "proxy-blind",
            1.5,
            ("proxy",),
            (5, 120),
            (0, 0),
            host_weather("proxy-blind", "{where} sees no primary for {for_s:.0f} s"),
        ),
        ("agent-down", 3.0, ANYBODY, (10, 120), (0, 1), _agent("down", "is down")),
        ("agent-mute", 2.0, ANYBODY, (10, 120), (0, 1), _agent("mute", "hangs and is mute")),
    )
)
