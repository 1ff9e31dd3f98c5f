"""Damage to slots' disks: filling, full, read-only, failing, torn off, lost, and wrong bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lab.control import MachineFault
from lab.errors import LabError
from lab.faults.base import Fault, Injected
from lab.faults.bench import Bench, said
from lab.faults.copies import AS_POSTGRES, DATA, replayed_everything
from lab.faults.hosts import machine, machine_back
from lab.operator import CLUSTER, Occupant, Slot

FILLER: Final = "/var/lib/pgmend/lab-filler"
DISK_ROLES: Final = ("db", "witness")
FILLING_PERCENT: Final = 86
FILL_TO: Final = f"""
read -r size used < <(df -B1 --output=size,used /var/lib/pgmend | tail -n 1)
fallocate -l $((size * {FILLING_PERCENT} / 100 - used)) {FILLER}
"""
# A few MiB stay, as on a disk that fills up file by file.
FILL_UP: Final = f"""
free=$(df -B1 --output=avail /var/lib/pgmend | tail -n 1)
fallocate -l $((free - 8 * 1048576)) {FILLER}
"""
ROOM: Final = f"rm -f {FILLER}"
TABLE: Final = "lab_corrupt"
ROWS: Final = "SELECT n, repeat('x', 500) AS filler FROM generate_series(1, 2000) n"
MAKE_TABLE: Final = f"CREATE TABLE IF NOT EXISTS {TABLE} AS {ROWS}"
# The server is away while its page is spoilt, so that it has to read it again.
SPOIL: Final = (
    "systemctl stop patroni\n"
    f"printf 'spoilt by the lab' | dd of={DATA}/{{file}} bs=1 seek=20000 conv=notrunc status=none\n"
    "systemctl start patroni\n"
    "for _ in $(seq 60); do\n"
    f"  {AS_POSTGRES} psql -XAtqc 'SELECT 1' >/dev/null 2>&1 && break\n"
    "  sleep 0.5\n"
    "done\n"
)
READ: Final = f'{AS_POSTGRES} psql -XAtqc "SELECT sum(length(filler)) FROM {TABLE}" 2>&1 || true'  # noqa: S608 - a constant name
GONE_S: Final = 60.0


def current_volume(bench: Bench, slot: Slot) -> Mapping[str, Any]:
    """The slot's one current volume, as EC2 describes it. Raises LabError."""
    tags = {"pgmend:cluster": CLUSTER, "pgmend:slot": slot.name, "pgmend:disk": "current"}
    filters = [{"Name": f"tag:{name}", "Values": [value]} for name, value in tags.items()]
    with said(f"describe the disk of {slot.name}"):
        found: Sequence[Mapping[str, Any]] = bench.aws("ec2", slot.region).describe_volumes(
            Filters=filters
        )["Volumes"]
    if len(found) != 1:
        raise LabError(f"{slot.name} has {len(found)} current disks")
    return found[0]


def _fill(bench: Bench, occupant: Occupant, _: Slot) -> None:
    bench.shell(occupant.instance_id, FILL_TO)


def _fill_up(bench: Bench, occupant: Occupant, _: Slot) -> None:
    bench.shell(occupant.instance_id, FILL_UP)


def _room(bench: Bench, done: Injected) -> None:
    """The filler lies on the disk, which a new occupant of the slot has got."""
    for occupant in bench.api.occupants():
        if occupant.slot == done.slot and occupant.state == "running":
            bench.shell(occupant.instance_id, ROOM)


def _tear_off(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    volume = current_volume(bench, slot)["VolumeId"]
    with said(f"detach {volume}"):
        bench.aws("ec2", slot.region).detach_volume(
            VolumeId=volume, InstanceId=occupant.instance_id, Force=True
        )


def _lose(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    """Host and disk are gone for good."""
    ec2 = bench.aws("ec2", slot.region)
    volume = current_volume(bench, slot)["VolumeId"]
    with bench.observing():
        bench.api.terminate(occupant.instance_id, slot.region)
        bench.until(
            lambda: current_volume(bench, slot)["State"] == "available",
            f"{volume} is free",
            within_s=GONE_S,
        )
        with said(f"delete {volume}"):
            ec2.delete_volume(VolumeId=volume)


def _spoil(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    """A page of the copy gets wrong bytes, and somebody reads it."""
    leader = bench.leading()
    with bench.observing():
        bench.sql(leader, MAKE_TABLE)
        # Without a checkpoint after it, the copy would write the page anew from WAL when it starts.
        bench.sql(leader, "CHECKPOINT")
        replayed_everything(bench, leader, slot.name)
        bench.sql(slot.name, "CHECKPOINT")
        file = bench.sql(slot.name, f"SELECT pg_relation_filepath('{TABLE}')")
        bench.shell(occupant.instance_id, SPOIL.format(file=file), timeout_s=120.0)
        answer = bench.shell(occupant.instance_id, READ)
        if "invalid page" not in answer:
            raise LabError(f"the spoilt page was read without complaint: {answer[-120:]}")


def _no_table(bench: Bench, done: Injected) -> None:
    del done
    bench.sql(bench.leading(), f"DROP TABLE IF EXISTS {TABLE}")


DISK_FILLING: Final = Fault(
    name="disk-filling",
    describe=f"the disk is {FILLING_PERCENT} % full",
    default_target="leader",
    do=_fill,
    put_back=_room,
    roles=DISK_ROLES,
)
DISK_FULL: Final = Fault(
    name="disk-full",
    describe="the disk is full to the last few MiB",
    default_target="replica",
    do=_fill_up,
    put_back=_room,
    roles=DISK_ROLES,
)
DISK_READ_ONLY: Final = Fault(
    name="disk-read-only",
    describe="the disk's file system takes no writes any more",
    default_target="replica",
    do=machine(MachineFault.DISK_READ_ONLY),
    undo=machine_back(MachineFault.DISK_WRITABLE),
    roles=DISK_ROLES,
)
DISK_ERRORS: Final = Fault(
    name="disk-errors",
    describe="the disk answers every call with an error",
    default_target="replica",
    do=machine(MachineFault.DISK_ERRORS),
    roles=DISK_ROLES,
)
DISK_TORN_OFF: Final = Fault(
    name="disk-torn-off",
    describe="somebody detaches the disk by force, while it is in use",
    default_target="replica",
    do=_tear_off,
    roles=DISK_ROLES,
)
DISK_LOST: Final = Fault(
    name="disk-lost",
    describe="the instance is ended and its disk deleted",
    default_target="replica",
    do=_lose,
    roles=DISK_ROLES,
)
DISK_CORRUPT: Final = Fault(
    name="disk-corrupt",
    describe="a page of a table has wrong bytes on the copy, and is read",
    default_target="replica",
    do=_spoil,
    put_back=_no_table,
    roles=("db",),
)

FAULTS: Final = (
    DISK_FILLING,
    DISK_FULL,
    DISK_READ_ONLY,
    DISK_ERRORS,
    DISK_TORN_OFF,
    DISK_LOST,
    DISK_CORRUPT,
)
