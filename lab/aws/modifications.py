"""ModifyVolume as EBS does it: modifying, optimizing with the new size in place, completed, and then a rest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_block_store import Volume, VolumeModification

from lab.aws.context import Context, log
from lab.aws.takeover import take_over, take_over_property
from lab.errors import LabError
from lab.ports import MachineHost

UNFINISHED = ("modifying", "optimizing")


@dataclass(kw_only=True)
class Progress:
    """One modification. `grown_at` is when the new size was there, on the monotonic clock."""

    began_at: float
    grown_at: float | None = None
    failed: bool = False


class Modifications:
    """The modifications of every volume; only the newest of each counts."""

    def __init__(self, context: Context, host: MachineHost | None) -> None:
        self._context, self._host = context, host
        self._progress: dict[VolumeModification, Progress] = {}

    def install(self) -> None:
        """Answer for moto."""
        take_over_property(VolumeModification, "modification_state", self.state)
        take_over_property(VolumeModification, "progress", self.percent)
        take_over(EC2Backend, "describe_volumes_modifications", self.describe)

    def state(self, modification: VolumeModification) -> str:
        """modifying, optimizing, completed or failed."""
        progress = self._progress.get(modification)
        if progress is None:
            return "completed"
        if progress.failed:
            return "failed"
        if progress.grown_at is None:
            return "modifying"
        over = time.monotonic() - progress.grown_at >= self._context.clock.optimize_s
        return "completed" if over else "optimizing"

    def percent(self, modification: VolumeModification) -> int:
        """How far it is."""
        state = self.state(modification)
        if state == "optimizing":
            grown_at = self._progress[modification].grown_at or 0.0
            share = (time.monotonic() - grown_at) / self._context.clock.optimize_s
            return min(99, int(100 * share))
        return 100 if state == "completed" else 0

    def describe(
        self, backend: EC2Backend, volume_ids: list[str] | None = None, filters: Any = None
    ) -> list[VolumeModification]:
        """The newest modification of each volume; a volume that was never modified has none."""
        volumes = backend.describe_volumes(volume_ids)
        never = [volume.id for volume in volumes if not volume.modifications]
        if volume_ids and never:
            raise EC2ClientError(
                "InvalidVolumeModification.NotFound",
                f"Modification for volume '{never[0]}' does not exist.",
            )
        newest = [volume.modifications[-1] for volume in volumes if volume.modifications]
        return [m for m in newest if _fits(filters or {}, m, self.state(m))]

    def begin(self, volume: Volume, size: int | None) -> None:
        """Refuse what EBS refuses: a smaller disk, and a change too soon after another."""
        if size is not None and int(size) < int(volume.size):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"New size cannot be smaller than existing size {volume.size}",
            )
        if not volume.modifications:
            return
        before = volume.modifications[-1]
        state = self.state(before)
        if state in UNFINISHED:
            raise EC2ClientError(
                "IncorrectModificationState",
                f"Volume {volume.id} is in {state.upper()} state and cannot be modified.",
            )
        rest_s = self._context.clock.modify_again_s
        if time.monotonic() - self._progress[before].began_at < rest_s:
            raise EC2ClientError(
                "VolumeModificationRateExceeded",
                "You've reached the maximum modification rate per volume limit. "
                f"Wait at least {rest_s / 3600:g} hours between modifications per EBS volume.",
            )

    def grow(self, volume: Volume, before_gib: int) -> None:
        """The size shows, and the disk has it, a moment after the call."""
        modification = volume.modifications[-1]
        self._progress[modification] = Progress(began_at=time.monotonic())
        wanted_gib, volume.size = int(volume.size), before_gib
        self._context.later(
            self._context.clock.modify_s,
            lambda: self._grow(volume, modification, wanted_gib),
            what=f"modify {volume.id}",
        )

    def _grow(self, volume: Volume, modification: VolumeModification, size_gib: int) -> None:
        progress = self._progress[modification]
        try:
            if self._host is not None:
                self._host.create_disk(volume.id, size_gib=int(volume.size))
                self._host.grow_disk(volume.id, size_gib=size_gib)
        except LabError:
            log.exception("%s does not grow", volume.id)
            progress.failed = True
            return
        volume.size = size_gib
        progress.grown_at = time.monotonic()


def _fits(filters: dict[str, Any], modification: VolumeModification, state: str) -> bool:
    return all(
        (state if name == "modification-state" else str(modification.get_filter_value(name)))
        in [str(value) for value in values]
        for name, values in filters.items()
    )
