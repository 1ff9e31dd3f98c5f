"""Whom a blow hits now: its word, and its pick where the word means several."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from lab.chaos.schedule import Blow
from lab.errors import LabError
from lab.faults.base import Fault
from lab.faults.targets import ROLES, Target, resolve
from lab.operator import Slot

SEVERAL: Final = ("replica", *ROLES)
LEADERS_REGION: Final = "region:leader"


def aim(
    blow: Blow,
    fault: Fault,
    *,
    slots: Sequence[Slot],
    leader: Callable[[], str | None],
    taken: Collection[str],
) -> Target:
    """The target. `taken` are slots and regions that lie already.

    Raises LabError when nobody fits now.
    """
    leads = leader() if blow.target in {"leader", "replica", LEADERS_REGION} else None
    word = _region_of(leads, slots) if blow.target == LEADERS_REGION else blow.target
    if word in SEVERAL:
        word = _one_of(blow, slots=slots, leads=leads, taken=taken)
    target = resolve(word, slots=slots, leader=leads, roles=fault.roles)
    if target.name in taken:
        raise LabError(f"{target.name} is hit already")
    return target


def _region_of(leads: str | None, slots: Sequence[Slot]) -> str:
    for slot in slots:
        if slot.name == leads:
            return f"region:{slot.region}"
    raise LabError("no database leads now, so there is no region of the leader")


def _one_of(blow: Blow, *, slots: Sequence[Slot], leads: str | None, taken: Collection[str]) -> str:
    role = "db" if blow.target == "replica" else blow.target
    if blow.target == "replica" and leads is None:
        raise LabError("no database leads now, so nobody is its replica")
    found = [
        slot.name
        for slot in slots
        if slot.active and slot.role == role and slot.name != leads and slot.name not in taken
    ]
    if not found:
        raise LabError(f"nobody is '{blow.target}' who is not hit already")
    return found[int(blow.pick * len(found))]
