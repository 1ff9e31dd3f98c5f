"""`mount`: what pgmend-disk.service runs at boot, before etcd and Patroni. It needs neither network nor AWS."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from node_agent import disk as disks
from node_agent.disk import Disk, Record
from node_agent.errors import HoldError
from node_agent.waiting import Deadline

DEVICE_S = 90.0


def run(_args: Namespace) -> str:
    """What the unit calls."""
    return mount(disks.BOOT_RECORD)


def mount(file: Path) -> str:
    """Mount the disk this node was configured with; it must still carry that record."""
    if not file.exists():
        return "no disk was ever configured on this node"
    record = Record.parse(file.read_text())
    disk = Disk(record, disks.find(record.volume_id, Deadline(DEVICE_S)))
    if disk.blank():
        raise HoldError(
            f"{record.volume_id} is blank, but this node was configured with data on it"
        )
    disk.mount()
    if not disk.written_here():
        disk.unmount()
        raise HoldError(f"the disk's record is not {record.volume_id}'s; configure the node again")
    return f"{record.volume_id} is mounted; {disk.offer_ballast()}"
