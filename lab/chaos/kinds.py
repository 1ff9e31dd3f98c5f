"""What may break in a chaos run: each fault of the catalogue, how often, for how long, on whom, and beside what.

Faults that are not here are in `LEFT_OUT`, each with its reason. Kinds that the catalogue does not have are not drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ASYNC: Final = "async"
DATA_REST_S: Final = 180.0  # a copy that lost its data is whole again by then
PATRONI: Final = ("leader", "leader", "replica")
COPY: Final = ("replica",)
HOSTS: Final = ("leader", "leader", "replica", "replica", "haproxy", "witness", "app")
DATA_REGIONS: Final = ("region:euw1", "region:euw3")
REGIONS: Final = (*DATA_REGIONS, "region:euc1")
ZONES: Final = ("zone:euw1a", "zone:euw1b", "zone:euw3a")


class Effect(StrEnum):
    """What a fault takes away."""

    PAUSE = "pause"  # a process or a host for a while
    HOST = "host"  # a host for good; its disk stays
    DATA = "data"  # what lies on one copy, or in one etcd member
    REGION = "region"  # many hosts at once, or the ways to them
    AWS = "aws"  # answers of AWS only


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One fault, as a chaos run uses it."""

    name: str  # in the catalogue
    effect: Effect
    weight: float  # how often, against the others
    shortest_s: float  # between the blow and the way back
    longest_s: float
    aims: tuple[str, ...]  # words for targets, one of which is drawn
    alone: str | None = (
        None  # of those with the same word, one at a time: they share something that is undone once
    )
    stands_still: bool = False  # the host goes on where it stood when it comes back


def _kind(
    name: str,
    effect: Effect,
    weight: float,
    lasts: tuple[float, float],
    aims: tuple[str, ...],
    *,
    alone: str | None = None,
    stands_still: bool = False,
) -> Kind:
    return Kind(
        name=name,
        effect=effect,
        weight=weight,
        shortest_s=lasts[0],
        longest_s=lasts[1],
        aims=aims,
        alone=alone,
        stands_still=stands_still,
    )


_SHORT: Final = (5.0, 30.0)
_MIDDLE: Final = (10.0, 60.0)
_LONG: Final = (30.0, 90.0)
_ALL: Final = (
    _kind("postgres-kill", Effect.PAUSE, 4, (5.0, 15.0), PATRONI),
    _kind("patroni-kill", Effect.PAUSE, 3, (5.0, 15.0), PATRONI),
    _kind("patroni-hang", Effect.PAUSE, 3, _MIDDLE, PATRONI),
    _kind("stop-service", Effect.PAUSE, 3, _MIDDLE, HOSTS),
    _kind("stop-agent", Effect.PAUSE, 2, _MIDDLE, HOSTS),
    _kind("clock-off", Effect.PAUSE, 1, _MIDDLE, COPY),
    _kind("haproxy-blind", Effect.PAUSE, 2, _SHORT, ("haproxy",)),
    _kind("node-command-broken", Effect.PAUSE, 1, _MIDDLE, ("haproxy", "replica")),
    _kind("node-command-hangs", Effect.PAUSE, 1, _MIDDLE, ("haproxy", "replica")),
    _kind("freeze", Effect.PAUSE, 4, _MIDDLE, HOSTS, stands_still=True),
    _kind("hang", Effect.PAUSE, 3, _MIDDLE, HOSTS, stands_still=True),
    _kind("unplug", Effect.PAUSE, 4, _MIDDLE, HOSTS),
    _kind("reboot", Effect.PAUSE, 2, _SHORT, HOSTS),
    _kind("replica-lagging", Effect.PAUSE, 2, _SHORT, COPY),
    _kind("disk-filling", Effect.PAUSE, 1, _MIDDLE, ("leader", "replica")),
    _kind("disk-full", Effect.PAUSE, 1, _MIDDLE, ("leader", "replica", "witness")),
    _kind("disk-read-only", Effect.PAUSE, 1, _MIDDLE, ("leader", "replica", "witness")),
    _kind("power-loss", Effect.HOST, 4, _LONG, HOSTS),
    _kind("terminate", Effect.HOST, 3, _LONG, HOSTS),
    _kind("stop-instance", Effect.HOST, 2, _LONG, HOSTS),
    _kind("impaired", Effect.HOST, 1, _LONG, HOSTS),
    _kind("retiring", Effect.HOST, 1, _LONG, HOSTS),
    _kind("no-capacity", Effect.HOST, 1, _MIDDLE, ("replica", "haproxy"), alone="launches"),
    _kind("no-capacity-at-all", Effect.HOST, 1, _SHORT, ("replica", "haproxy"), alone="launches"),
    _kind("throttled", Effect.HOST, 1, _SHORT, ("replica", "haproxy"), alone="launches"),
    _kind("boot-stuck", Effect.HOST, 1, _MIDDLE, ("haproxy", "app"), alone="launches"),
    _kind("disk-lost", Effect.DATA, 2, _LONG, ("replica", "leader", "witness")),
    _kind("disk-errors", Effect.DATA, 1, _LONG, ("replica", "leader")),
    _kind("disk-torn-off", Effect.DATA, 1, _LONG, ("replica", "leader")),
    _kind("disk-corrupt", Effect.DATA, 1, _LONG, COPY),
    _kind("replica-broken", Effect.DATA, 1, _LONG, COPY),
    _kind("replica-stuck", Effect.DATA, 1, _LONG, COPY),
    _kind("reinit-loop", Effect.DATA, 1, _LONG, COPY),
    _kind("wal-gone", Effect.DATA, 1, _LONG, COPY),
    _kind("diverged", Effect.DATA, 2, _LONG, ("leader",)),
    _kind("etcd-data-lost", Effect.DATA, 1, _LONG, ("witness",), alone="etcd"),
    _kind("etcd-nospace", Effect.PAUSE, 1, _SHORT, ("witness",), alone="etcd"),
    _kind("etcd-corrupt", Effect.PAUSE, 1, _SHORT, ("witness",), alone="etcd"),
    _kind("credentials-expired", Effect.AWS, 1, _MIDDLE, HOSTS),
    _kind("region-cut-off", Effect.AWS, 1, _MIDDLE, REGIONS, alone="region"),
    _kind("region-api-refused", Effect.AWS, 1, _MIDDLE, DATA_REGIONS, alone="region"),
    _kind("region-api-silent", Effect.AWS, 1, _MIDDLE, DATA_REGIONS, alone="region"),
    _kind("events-down", Effect.AWS, 1, _MIDDLE, REGIONS, alone="region"),
    _kind("lambda-down", Effect.AWS, 1, _MIDDLE, ("region:euc1",), alone="region"),
    _kind("cut-region", Effect.REGION, 2, _LONG, DATA_REGIONS, alone="region"),
    _kind("region-power", Effect.REGION, 2, _LONG, DATA_REGIONS, alone="region"),
    _kind("region-isolated", Effect.REGION, 2, _LONG, DATA_REGIONS, alone="region"),
    _kind("peering-cut", Effect.REGION, 2, _LONG, DATA_REGIONS, alone="region"),
    _kind("region-flap", Effect.REGION, 1, (60.0, 150.0), DATA_REGIONS, alone="region"),
    _kind("zone-lost", Effect.REGION, 2, _LONG, ZONES, alone="region"),
    _kind("observer-lost", Effect.REGION, 1, _LONG, ("region:euc1",), alone="region"),
)
KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in _ALL}
LEFT_OUT: Final[Mapping[str, str]] = {
    "wal-hoarded": "it writes more than a gigabyte, which measures this computer's disk and nothing else",
    "patroni-mute": "it takes the watchdog away, without which a leader's Patroni must not hang",
}


def known(catalogue: Collection[str]) -> tuple[str, ...]:
    """The kinds that the catalogue has, in the order of this file."""
    return tuple(name for name in KINDS if name in catalogue)


def apart_s(one: Kind, other: Kind, durability: str) -> float | None:
    """How long after the end of the one the other may begin; None: they may overlap.

    Data of two copies never goes together: no mode could keep a promise then. Where zero loss is promised, a copy's
    data does not go while a region is away either: what is left would be all there is.
    """
    effects = {one.effect, other.effect}
    if effects == {Effect.DATA}:
        return DATA_REST_S
    if durability != ASYNC and effects == {Effect.DATA, Effect.REGION}:
        return DATA_REST_S
    if one.alone is not None and one.alone == other.alone:
        return 0.0
    return None
