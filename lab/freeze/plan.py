"""What is to be done: how many trials, of which kind, and the figures they are made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FREEZE_S: Final = 40.0  # twice Patroni's ttl: another member has led for a while
LEADER_WAIT_S: Final = 40.0  # longer than FREEZE_S by this at most, until another member leads
PATRONI_STOPPED_S: Final = 0.7
AFTERMATH_S: Final = 8.0
FULL_S: Final = 300.0
BASELINE_S: Final = 3.0
TRIALS_MAX: Final = 200


class Variant(StrEnum):
    """How the thaw goes."""

    NATURAL = "natural"  # as etcd and Patroni will
    FORCED = "forced"  # the successor's lease is revoked at the thaw and its Patroni stands still for a moment


class Guard(StrEnum):
    """The guard around Patroni."""

    ON = "on"
    OFF = "off"


class Mover(StrEnum):
    """The agent's habit of moving etcd's leader away from the database leader's host."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run."""

    trials: int  # of each variant
    variants: tuple[Variant, ...]
    guard: Guard
    mover: Mover
    freeze_s: float = FREEZE_S

    def order(self) -> tuple[Variant, ...]:
        """The variants of all trials, alternating, so that a run cut short has some of each."""
        return self.variants * self.trials


def variants_named(word: str) -> tuple[Variant, ...]:
    """`natural`, `forced` or `both`."""
    return tuple(Variant) if word == "both" else (Variant(word),)
