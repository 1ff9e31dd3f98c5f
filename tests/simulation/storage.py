"""The disks' truth: how full they are, whether they can be written, and how they grow.

Whatever changes that goes through here, so that what lies on a disk falls and comes back with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.aws import refusal
from tests.simulation.things import BALLAST_SHARE, NEVER, USED_SHARE, Disk, Host

if TYPE_CHECKING:
    from tests.simulation.world import World

MODIFYING_S, OPTIMIZING_S = 8.0, 40.0
MODIFY_AGAIN_S = 6 * 3600.0  # EC2 changes a volume once in six hours
BACK_S = 3.0  # systemd starts what fell, once it can be written again


class Storage:
    """All volumes, as their file systems are."""

    def __init__(self, world: World) -> None:
        self._w = world
        self._fills: dict[str, tuple[float, float]] = {}  # volume → GiB a second, up to how many
        self._hoards: dict[tuple[str, str], tuple[float, float]] = {}  # volume and slot → the same
        self._at = world.now

    def format(self, disk: Disk, gib: float) -> None:
        """As a new volume will be once it is set up."""
        disk.gib = disk.fs_gib = gib
        disk.used_gib = USED_SHARE * gib
        self._make_ballast(disk)

    # -- what fills

    def fill(self, disk: Disk, *, to_gib: float, in_s: float) -> None:
        """Somebody writes more and more."""
        rate = max(0.0, to_gib - disk.used_gib) / max(in_s, 1.0)
        self._fills[disk.volume_id] = (rate, to_gib)
        self._w.stir()

    def hoard(self, disk: Disk, name: str, *, to_gib: float, in_s: float) -> None:
        """A replication slot that nobody reads keeps the leader's WAL."""
        disk.hoarded.setdefault(name, 0.0)
        self._hoards[disk.volume_id, name] = (to_gib / max(in_s, 1.0), to_gib)
        self._w.stir()

    def drop(self, disk: Disk, name: str) -> None:
        """The replication slot and what it kept are gone."""
        disk.hoarded.pop(name, None)
        self._hoards.pop((disk.volume_id, name), None)
        self.refresh(disk)

    def tick(self) -> None:
        """Time has passed."""
        passed_s, self._at = self._w.now - self._at, self._w.now
        for volume_id, (rate, to_gib) in list(self._fills.items()):
            disk = self._w.aws.disks[volume_id]
            if disk.sound:
                disk.used_gib = min(disk.used_gib + rate * passed_s, to_gib)
                self.refresh(disk)
            if disk.used_gib >= to_gib:
                del self._fills[volume_id]
        for (volume_id, name), (rate, to_gib) in list(self._hoards.items()):
            disk = self._w.aws.disks[volume_id]
            if name not in disk.hoarded:
                del self._hoards[volume_id, name]
            elif disk.sound and disk.hoarded[name] < to_gib:
                disk.hoarded[name] += rate * passed_s
                self.refresh(disk)

    def calm(self) -> None:
        """Nothing is filled any more; what is full stays so."""
        self._fills.clear()
        self._hoards.clear()

    # -- what fails

    def break_(self, disk: Disk, trouble: str, cure: str) -> None:
        """It is absent, or read-only, until that ends it; nothing ends it but another disk when `cure` is `end`."""
        disk.trouble, disk.cure = trouble, cure
        self.refresh(disk)

    def mended(self, host: Host, what: str) -> None:
        """The host has booted, or is another machine."""
        disk = host.disk
        if disk is not None and disk.trouble and disk.cure in ("reboot", what):
            disk.trouble = ""
            self.refresh(disk)

    def refresh(self, disk: Disk) -> None:
        """Whether it can be written has perhaps changed."""
        sound = not disk.trouble and disk.taken_gib < disk.fs_gib
        if sound is disk.sound:
            return
        disk.sound = sound
        host = disk.holder
        self._w.stir()
        if host is None or not disk.attached:
            return
        if sound:
            self._w.time.after(BACK_S, lambda: self._back(host, disk))
            return
        if host.pg != "down":
            self._w.patroni.stop(host, clean=False)
        if host.services.get("etcd") == "active":
            host.services["etcd"] = "activating"

    def _back(self, host: Host, disk: Disk) -> None:
        if host.disk is not disk or not disk.serves or not host.up(self._w.now):
            return
        if host.services.get("etcd") == "activating":
            host.services["etcd"] = "active"
        if host.services.get("patroni") == "active" and host.pg == "down":
            self._w.patroni.start(host)
        self._w.stir()

    # -- what helps

    def enlarge(self, disk: Disk, gib: int) -> None:
        """EC2's ModifyVolume."""
        now = self._w.now
        if disk.lost or now - disk.modified_at < MODIFY_AGAIN_S:
            raise refusal("VolumeModificationRateExceeded", "ModifyVolume")
        if gib < disk.gib:
            raise refusal("InvalidParameterValue", "ModifyVolume")
        disk.modified_at = now
        self._w.watch.grown.setdefault(disk.slot.name, []).append(now)

        def larger() -> None:
            disk.gib = float(gib)
            self._w.stir()

        self._w.time.after(MODIFYING_S, larger)
        self._w.stir()

    def modification(self, disk: Disk) -> str | None:
        """EC2's word on the last change."""
        if disk.modified_at == NEVER:
            return None
        age_s = self._w.now - disk.modified_at
        if age_s < MODIFYING_S:
            return "modifying"
        return "optimizing" if age_s < OPTIMIZING_S else "completed"

    def widen(self, disk: Disk) -> None:
        """The file system takes all of its device; the ballast is made again when there is room."""
        disk.fs_gib = disk.gib
        self._make_ballast(disk)
        self.refresh(disk)

    def _make_ballast(self, disk: Disk) -> None:
        if disk.fs_gib - disk.taken_gib > 4 * BALLAST_SHARE * disk.fs_gib:
            disk.ballast_gib = BALLAST_SHARE * disk.fs_gib

    def release_ballast(self, disk: Disk) -> None:
        """What was kept for a full disk is given up."""
        disk.ballast_gib = 0.0
        self.refresh(disk)
