"""What a fault is: damage to one machine, one region or one zone, and the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from lab.errors import LabError, UsageError
from lab.faults.bench import Bench
from lab.faults.targets import ROLES, Target
from lab.operator import Occupant, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """A fault that was injected: enough to undo it from another process."""

    fault: str
    target: str
    slot: str | None
    region: str | None
    instance_id: str | None
    zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of damage. `inject` returns once the damage is done.

    `undo` is for the machine that was hit and is left out once that machine is gone; `put_back` is for what outlives
    it: a region's link, an answer of AWS, a setting of the cluster. Both may be called at any time, also twice.
    """

    name: str
    describe: str
    default_target: str
    do: Callable[[Bench, Occupant, Slot], None] | None = None
    undo: Callable[[Bench, Injected], None] | None = None
    put_back: Callable[[Bench, Injected], None] | None = None
    do_region: Callable[[Bench, str], None] | None = None
    do_zone: Callable[[Bench, str], None] | None = None
    roles: tuple[str, ...] = ROLES

    @property
    def whole_region(self) -> bool:
        """Whether it hits a region, or a zone of one, and not a machine."""
        return self.do_region is not None or self.do_zone is not None

    def inject(self, bench: Bench, target: Target) -> Injected:
        """Do the damage. Raises UsageError when the target does not fit.

        Damage that fails half-way is undone as far as it can be before the error goes on.
        """
        if self.do_region is not None:
            region = target.region or (target.slot.region if target.slot is not None else None)
            if region is None or target.zone is not None:
                raise UsageError(f"'{self.name}' hits a region; say region:euw1, for example")
            return self._hit_all(bench, target, self.do_region, region)
        if self.do_zone is not None:
            zone = target.zone or (target.slot.zone if target.slot is not None else None)
            if zone is None:
                raise UsageError(f"'{self.name}' hits a zone; say zone:euw1a, for example")
            return self._hit_all(bench, target, self.do_zone, zone)
        return self._hit(bench, target)

    def _hit_all(
        self, bench: Bench, target: Target, do: Callable[[Bench, str], None], place: str
    ) -> Injected:
        region = target.region or (target.slot.region if target.slot is not None else None)
        done = Injected(
            fault=self.name,
            target=target.name,
            slot=None,
            region=region,
            instance_id=None,
            zone=place if self.do_zone is not None else None,
        )
        try:
            do(bench, place)
        except (LabError, KeyboardInterrupt):
            self._heal_what_can_be(bench, done)
            raise
        return done

    def _hit(self, bench: Bench, target: Target) -> Injected:
        if target.slot is None or self.do is None:
            raise UsageError(
                f"'{self.name}' hits one machine; name a slot, leader, replica or a role"
            )
        occupant = bench.occupant_of(target.slot.name)
        done = Injected(
            fault=self.name,
            target=target.name,
            slot=target.slot.name,
            region=target.slot.region,
            instance_id=occupant.instance_id,
        )
        try:
            self.do(bench, occupant, target.slot)
        except (LabError, KeyboardInterrupt):
            self._heal_what_can_be(bench, done)
            raise
        return done

    def _heal_what_can_be(self, bench: Bench, done: Injected) -> None:
        """What went wrong first is what is told."""
        with contextlib.suppress(LabError):
            self.heal(bench, done)

    def heal(self, bench: Bench, done: Injected) -> None:
        """Undo it; quiet when the machine has been replaced meanwhile. Raises LabError when it could not be undone."""
        if self.put_back is not None:
            self.put_back(bench, done)
        if self.undo is None or done.instance_id is None:
            return
        if not _stands(bench, done):
            return
        try:
            self.undo(bench, done)
        except LabError:
            if _stands(
                bench, done
            ):  # the healer may have ended it between the question and the act
                raise


def _stands(bench: Bench, done: Injected) -> bool:
    return any(item.instance_id == done.instance_id for item in bench.api.occupants())
