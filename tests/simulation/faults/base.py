"""What a fault is, and how words find their target."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambdas.core.model import Role
from tests.simulation.things import Host

if TYPE_CHECKING:
    from tests.simulation.world import World

# Targets in words, so that a fault strikes whoever plays the part when it comes.
PARTS = ("leader", "replica", "voter", "witness", "proxy", "app", "any")
DATABASES = ("leader", "replica", "replica")
ANYBODY = ("any", "any", "replica", "voter", "leader")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong: what, when after the beginning, where, for how long, how much."""

    number: int
    kind: str
    at_s: float
    where: str
    for_s: float
    amount: float

    def __str__(self) -> str:
        parts = [f"{self.at_s:7.1f} s", self.kind, self.where, f"for {self.for_s:.0f} s"]
        return "  ".join(p for p in parts if p)


Strike = Callable[["World", Fault], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of fault. `strike` says in a sentence what it did, None when there was nobody to strike."""

    name: str
    group: str
    weight: float
    where: tuple[str, ...]
    for_s: tuple[float, float]
    amount: tuple[float, float]
    strike: Strike


def kind(
    group: str,
    name: str,
    weight: float,
    where: tuple[str, ...],
    for_s: tuple[float, float],
    strike: Strike,
    amount: tuple[float, float] = (0.0, 0.0),
) -> Kind:
    """One kind on one line, for a module that fixes its group."""
    return Kind(
        name=name,
        group=group,
        weight=weight,
        where=where,
        for_s=for_s,
        amount=amount,
        strike=strike,
    )


def target(world: World, fault: Fault) -> Host | None:
    """Whom the fault's word means now."""
    sits = world.aws.sits
    match fault.where:
        case "leader":
            found = [h for h in (world.patroni.primary(),) if h is not None]
        case "replica":
            found = [h for h in world.patroni.hosts() if not world.patroni.leads(h)]
        case "voter":
            found = [h for h in sits.values() if h.slot.etcd_voter]
        case "witness":
            found = [h for h in sits.values() if h.slot.role is Role.WITNESS]
        case "proxy":
            found = [h for h in sits.values() if h.slot.role is Role.HAPROXY]
        case "app":
            found = [h for h in sits.values() if h.slot.role is Role.APP]
        case _:
            found = list(sits.values())
    return dice_of(world, fault).choice(found) if found else None


def dice_of(world: World, fault: Fault) -> random.Random:
    """The fault's own dice: leaving another fault out does not change them."""
    return random.Random(f"{world.seed}/fault/{fault.number}")  # noqa: S311 - the same every time


def on_host(strike: Callable[[World, Fault, Host], str | None]) -> Strike:
    """A fault that needs somebody to strike."""

    def struck(world: World, fault: Fault) -> str | None:
        host = target(world, fault)
        return None if host is None else strike(world, fault, host)

    return struck


def weather(name: str, sentence: str) -> Strike:
    """A fault that is a condition at a region (or everywhere) for a while."""

    def struck(world: World, fault: Fault) -> str | None:
        until = world.now + fault.for_s
        world.weather.begin(name, fault.where, until, amount=fault.amount)
        return sentence.format(where=fault.where, for_s=fault.for_s, amount=fault.amount)

    return struck


def host_weather(name: str, sentence: str) -> Strike:
    """A condition of one host."""

    def struck(world: World, fault: Fault, host: Host) -> str | None:
        until = world.now + fault.for_s
        world.weather.begin(name, host.instance_id, until, amount=fault.amount)
        return sentence.format(where=host.slot.name, for_s=fault.for_s)

    return on_host(struck)


def slot_weather(name: str, sentence: str) -> Strike:
    """A condition of one slot, whoever sits there."""

    def struck(world: World, fault: Fault, host: Host) -> str | None:
        until = world.now + fault.for_s
        world.weather.begin(name, host.slot.name, until, amount=fault.amount)
        return sentence.format(where=host.slot.name, for_s=fault.for_s, amount=fault.amount)

    return on_host(struck)
