"""Which blow falls when: a pure function of a seed and of what is asked for.

Blows come in storms with lulls between them, so that what only shows in quiet has its time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from lab.chaos.kinds import KINDS, Kind, apart_s

MINUTES_MAX: Final = 20.0  # of one block
FIRST_S: Final = 10.0  # quiet at the beginning
LAST_S: Final = 20.0  # no blow in the last seconds: nothing could come of it
MEAN_GAP_S: Final = 18.0
STORM_S: Final = 150.0
LULL_S: Final = 60.0
AT_ONCE: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a schedule depends on, and nothing else."""

    seed: int
    length_s: float
    durability: str
    kinds: tuple[str, ...]  # names that the catalogue has, less those in `without`
    without: tuple[str, ...] = ()  # names that are not to be drawn
    at_once: int = AT_ONCE
    broken: bool = (
        False  # a guard is off on purpose: blows come first that must then lose something
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One fault: when, for how long, on whom."""

    number: int  # counts from 1
    kind: str
    begin_s: float  # since the beginning of the block
    length_s: float
    target: str  # a word: see `lab.chaos.aim`
    pick: float  # in [0, 1): which one, where the word means several

    @property
    def end_s(self) -> float:
        """When it is taken back."""
        return self.begin_s + self.length_s

    def __str__(self) -> str:
        return (
            f"{self.number}. after {self.begin_s:.0f} s: {self.kind} on {self.target}"
            f" for {self.length_s:.0f} s"
        )

    def as_json(self) -> Mapping[str, Any]:
        """For the record."""
        return asdict(self)


# A leader dies with what nobody else has; then any leader dies; then one is cut off and goes on for a while.
PLANTED: Final = tuple(
    Blow(number=number, kind=kind, begin_s=begin_s, length_s=60.0, target=target, pick=0.0)
    for number, (kind, begin_s, target) in enumerate(
        (
            ("diverged", FIRST_S, "leader"),
            ("power-loss", 100.0, "leader"),
            ("cut-region", 190.0, "region:leader"),
        ),
        start=1,
    )
)


def draw(plan: Plan) -> tuple[Blow, ...]:
    """The schedule, by begin."""
    kinds = [KINDS[name] for name in plan.kinds]
    if not kinds:
        return ()
    rng = random.Random(f"chaos/{plan.seed}")  # noqa: S311 - not a secret
    blows = list(_planted(plan))
    at = max((blow.end_s for blow in blows), default=FIRST_S)
    while (at := _in_a_storm(at + rng.expovariate(1 / MEAN_GAP_S))) < plan.length_s - LAST_S:
        kind = rng.choices(kinds, weights=[kind.weight for kind in kinds])[0]
        lasts = rng.uniform(kind.shortest_s, kind.longest_s)
        blow = Blow(
            number=len(blows) + 1,
            kind=kind.name,
            begin_s=round(at, 1),
            length_s=round(min(lasts, plan.length_s - at), 1),
            target=rng.choice(kind.aims),
            pick=round(rng.random(), 6),
        )
        if fits(blow, blows, plan):
            blows.append(blow)
    return tuple(blows)


def fits(blow: Blow, earlier: Iterable[Blow], plan: Plan) -> bool:
    """Whether it may fall beside those that fell before it."""
    open_ = 0
    for other in earlier:
        rest_s = apart_s(KINDS[other.kind], KINDS[blow.kind], plan.durability)
        if rest_s is not None and blow.begin_s < other.end_s + rest_s:
            return False
        open_ += other.end_s > blow.begin_s
    return open_ < plan.at_once


def kind_of(blow: Blow) -> Kind:
    """What it is."""
    return KINDS[blow.kind]


def as_lines(blows: Sequence[Blow]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(blow.as_json()) + "\n" for blow in blows)


def _planted(plan: Plan) -> Iterable[Blow]:
    if not plan.broken:
        return ()
    return (blow for blow in PLANTED if blow.end_s <= plan.length_s and blow.kind in plan.kinds)


def _in_a_storm(at: float) -> float:
    into = at % (STORM_S + LULL_S)
    return at if into < STORM_S else at - into + STORM_S + LULL_S
