"""What can be wrong with a slot's disk: as EC2 shows the volume, and as the agent sees what is on it."""

from __future__ import annotations

from lambdas.core.diagnosis import Diagnosis, Rule
from lambdas.core.evidence import Evidence

FILLING, FULL = 0.80, 0.95  # shares of the file system


def _attached(e: Evidence) -> bool:
    v, o = e.volume, e.occupant
    return v is not None and o is not None and v.attached_to == o.instance_id


def _busy(e: Evidence) -> bool:
    if e.slot.disk is None or e.volume is None:
        return False
    elsewhere = e.volume.attached_to is not None and not _attached(e)
    moving = e.volume.attachment_state in ("attaching", "detaching")
    return elsewhere or moving or e.volume.state == "creating"


def _absent(e: Evidence) -> bool:
    return _attached(e) and e.disk is not None and e.disk.mounted is False


def _read_only(e: Evidence) -> bool:
    return e.disk is not None and (e.disk.read_only is True or e.disk.writable is False)


def _stalled(e: Evidence) -> bool:
    """While its Patroni runs and answers: of one that does not, the ladder for that may move it to another host."""
    return e.disk_is_stalled and "patroni" not in e.services_down and not e.patroni_is_mute


def _used(share: float, e: Evidence) -> bool:
    return e.disk_used is not None and e.disk_used >= share


def _checksum_failures(e: Evidence) -> bool:
    postgres = None if e.report is None else e.report.postgres
    return postgres is not None and bool(postgres.checksum_failures)


RULES: tuple[Rule, ...] = (
    Rule(
        number=115,
        diagnosis=Diagnosis.TWO_DISKS,
        when=lambda e: len(e.volumes) > 1,
        why="two volumes are tagged as the slot's current one, and only one can hold the newest data",
    ),
    Rule(
        number=117,
        diagnosis=Diagnosis.DISK_SET_ASIDE,
        when=lambda e: e.slot.disk is not None and e.set_aside is not None and not _attached(e),
        why="the occupant runs on a disk that was set aside; its end makes room for a fresh one",
    ),
    Rule(
        number=120,
        diagnosis=Diagnosis.DISK_MISSING,
        when=lambda e: e.slot.disk is not None and e.volume is None,
        why="the slot has no volume tagged current",
    ),
    Rule(
        number=130,
        diagnosis=Diagnosis.DISK_BUSY,
        when=_busy,
        why="the slot's volume is being made, moved, or still belongs to another instance",
    ),
    Rule(
        number=140,
        diagnosis=Diagnosis.DISK_DETACHED,
        when=lambda e: e.slot.disk is not None and not _attached(e),
        why="the slot's volume is free and the occupant runs without it",
    ),
    Rule(
        number=212,
        diagnosis=Diagnosis.DISK_ABSENT,
        when=_absent,
        why="the volume is attached and the node does not have it mounted",
    ),
    Rule(
        number=213,
        diagnosis=Diagnosis.DISK_FULL,
        when=lambda e: _used(FULL, e),
        why="the data disk is 95 % full or more",
    ),
    Rule(
        number=214,
        diagnosis=Diagnosis.DISK_READ_ONLY,
        when=_read_only,
        why="the data disk takes no writes",
    ),
    Rule(
        number=215,
        diagnosis=Diagnosis.DISK_STALLED,
        when=_stalled,
        why="the data disk does not answer: what is written to it neither ends nor fails",
    ),
    Rule(
        number=261,
        diagnosis=Diagnosis.CHECKSUM_FAILURES,
        when=_checksum_failures,
        why="PostgreSQL has read pages whose checksums are wrong",
    ),
    Rule(
        number=264,
        diagnosis=Diagnosis.DISK_SMALL,
        when=lambda e: e.disk_widened,
        why="the device is larger than the file system on it",
    ),
    Rule(
        number=266,
        diagnosis=Diagnosis.DISK_FILLING,
        when=lambda e: _used(FILLING, e),
        why="the data disk is 80 % full or more",
    ),
)
