"""Targets in words: `leader`, `replica`, `any`, a role, a slot's name, `region:<short>`, or `zone:<short><letter>`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lab.errors import LabError, UsageError
from lab.operator import Slot
from lab.ports import REGIONS

ROLES = ("db", "haproxy", "witness", "app")
WORDS = ("leader", "replica", "any", *ROLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who is to be hit: one slot, one region as a whole, or one of its zones."""

    slot: Slot | None = None
    region: str | None = None  # eu-west-1
    zone: str | None = None  # eu-west-1a; its region is there, too

    @property
    def name(self) -> str:
        """The name people read."""
        if self.slot is not None:
            return self.slot.name
        if self.zone is not None:
            return f"zone:{short_of(self.zone[:-1])}{self.zone[-1]}"
        return f"region:{short_of(self.region or '')}"


def short_of(region: str) -> str:
    """eu-west-1 -> euw1."""
    return next((item.short for item in REGIONS if item.name == region), region)


def resolve(
    word: str,
    *,
    slots: Sequence[Slot],
    leader: str | None,
    roles: Sequence[str] = ROLES,
    rng: random.Random | None = None,
) -> Target:
    """The target a word means now.

    Raises UsageError naming the valid words, LabError when nobody fits now.
    """
    active = [slot for slot in slots if slot.active]
    if word.startswith("region:"):
        return Target(region=_region(word.removeprefix("region:")))
    if word.startswith("zone:"):
        return _zone(word.removeprefix("zone:"), slots)
    by_name = {slot.name: slot for slot in active}
    if word in by_name:
        return _fitting(by_name[word], roles)
    if word not in WORDS:
        raise UsageError(_unknown(word, active))
    return Target(slot=_by_word(word, active, leader, roles, rng or random.Random()))  # noqa: S311


def _by_word(
    word: str, active: Sequence[Slot], leader: str | None, roles: Sequence[str], rng: random.Random
) -> Slot:
    if word in {"leader", "replica"} and leader is None:
        raise LabError(f"no database leads now, so '{word}' means nobody; wait, or name a slot")
    match word:
        case "leader":
            found = [slot for slot in active if slot.name == leader]
        case "replica":
            found = [slot for slot in active if slot.role == "db" and slot.name != leader]
        case "any":
            fitting = [slot for slot in active if slot.role in roles]
            found = [rng.choice(fitting)] if fitting else []
        case _:
            found = [slot for slot in active if slot.role == word]
    if not found:
        raise LabError(f"nobody is '{word}' now; 'make lab-status' shows who is there")
    return _fitting(found[0], roles).slot or found[0]


def _fitting(slot: Slot, roles: Sequence[str]) -> Target:
    if slot.role not in roles:
        raise UsageError(f"{slot.name} is a {slot.role}; this fault hits only {', '.join(roles)}")
    return Target(slot=slot)


def _region(word: str) -> str:
    for region in REGIONS:
        if word in {region.short, region.name}:
            return region.name
    known = ", ".join(f"region:{region.short}" for region in REGIONS)
    raise UsageError(f"there is no region '{word}'; the regions are {known}")


def _zone(word: str, slots: Sequence[Slot]) -> Target:
    zones = {slot.zone: slot.region for slot in slots}
    for zone, region in zones.items():
        if word in {zone, f"{short_of(region)}{zone[-1]}"}:
            return Target(region=region, zone=zone)
    known = ", ".join(f"zone:{short_of(r)}{z[-1]}" for z, r in sorted(zones.items()))
    raise UsageError(f"there is no zone '{word}'; the zones are {known}")


def _unknown(word: str, active: Sequence[Slot]) -> str:
    regions = ", ".join(f"region:{region.short}" for region in REGIONS)
    names = ", ".join(slot.name for slot in active)
    words = f"{', '.join(WORDS)}, {regions}, zone:euw1a"
    return f"unknown target '{word}': say {words}, or a slot ({names})"
