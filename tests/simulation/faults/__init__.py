"""The catalogue of faults, the seeded generator that draws from it, and how the world becomes calm again."""

from __future__ import annotations

import random
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING

from lambdas.core.model import Mode
from tests.simulation.faults.base import Fault, Kind
from tests.simulation.faults.disks import DISKS
from tests.simulation.faults.healer import HEALER
from tests.simulation.faults.machines import MACHINES
from tests.simulation.faults.nodes import NODES
from tests.simulation.faults.people import PEOPLE
from tests.simulation.faults.roads import ROADS
from tests.simulation.faults.services import SERVICES

if TYPE_CHECKING:
    from tests.simulation.world import World

CATALOGUE: dict[str, Kind] = {
    kind.name: kind for kind in (*MACHINES, *SERVICES, *ROADS, *HEALER, *PEOPLE, *NODES, *DISKS)
}
# How much of each group, or of single kinds, a scenario has; every seed has one of these tempers.
TEMPERS: dict[str, dict[str, float]] = {
    "all": {},
    "storm": {},
    "machines": {"machines": 6.0},
    "services": {"services": 6.0},
    "roads": {"roads": 6.0},
    "healer": {"healer": 8.0, "machines": 3.0},
    "people": {"people": 6.0, "machines": 2.0},
    "disks": {"disks": 8.0},
    "nodes": {"nodes": 8.0},
    "orders": {"order-roll": 15.0, "order-switchover": 10.0, "announced": 10.0, "switchover": 0.3},
    "deaths": {
        "power-loss": 30.0,
        "rack-lost": 20.0,
        "no-capacity-left": 15.0,
        "aws-terminates": 4.0,
        "launch-forbidden": 6.0,
        "ends-at-once": 6.0,
    },
    "signs": {"illness": 15.0, "unseen-leader": 15.0, "lonely-leader": 8.0, "few-speak": 4.0},
}
EVERY_S = {"storm": 4.0, "roads": 6.0, "healer": 8.0, "people": 8.0}  # a fault, on average
EVERY_S_OTHERWISE = 10.0


@cache
def _table(temper: str) -> tuple[list[Kind], list[float]]:
    more = TEMPERS[temper]
    kinds = list(CATALOGUE.values())
    return kinds, list(
        accumulate(k.weight * more.get(k.name, more.get(k.group, 1.0)) for k in kinds)
    )


def temper_of(seed: int) -> str:
    """Seeds take the tempers in turn."""
    return list(TEMPERS)[seed % len(TEMPERS)]


def generate(seed: int, count: int) -> tuple[Fault, ...]:
    """The seed's faults, in the order of their times."""
    dice = random.Random(f"{seed}/faults")  # noqa: S311 - the same run every time
    temper = temper_of(seed)
    kinds, weights = _table(temper)
    every_s = EVERY_S.get(temper, EVERY_S_OTHERWISE)
    faults, at_s = [], 5.0
    for number in range(count):
        at_s += dice.expovariate(1.0 / every_s)
        kind = dice.choices(kinds, cum_weights=weights)[0]
        faults.append(
            Fault(
                number=number,
                kind=kind.name,
                at_s=at_s,
                where=dice.choice(kind.where),
                for_s=dice.uniform(*kind.for_s),
                amount=dice.uniform(*kind.amount),
            )
        )
    return tuple(faults)


def strike(world: World, fault: Fault) -> bool:
    """Let it happen; whether anybody was struck."""
    world.catch_up()
    world.stir()
    sentence = CATALOGUE[fault.kind].strike(world, fault)
    if sentence is not None:
        world.tell(f"fault {fault.number}: {sentence}")
    return sentence is not None


def calm(world: World) -> None:
    """Faults stop: what was a condition is over, what was broken for good is left to the healer."""
    world.tell("faults stop")
    world.catch_up()
    world.weather.clear()
    world.cuts.clear()
    world.patroni.paused = False
    world.hub.closed, world.hub.mode, world.hub.windows = False, Mode.AUTO, ()
    world.storage.calm()
    world.watch.lift_marks()
    for host in list(world.aws.sits.values()):
        host.isolated = "unreachable" in host.ails
        host.aws_cut = host.hands_off = False
        host.hidden_until = host.verdict_until = world.now
        world.nodes.thaw(host)
    world.stir()
