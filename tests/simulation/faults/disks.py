"""Faults of disks and of what lies on them: they fill, cannot be written, go away, rot; copies and members are lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.faults.base import Fault, Kind, dice_of, on_host
from tests.simulation.things import Disk, Host

if TYPE_CHECKING:
    from tests.simulation.world import World

HOARDER = "old_reader"
ENDS = ("reboot", "reboot", "move", "end")
KEPT = ("replica", "replica", "witness", "leader")


def _works(host: Host) -> Disk | None:
    """The host's disk, if nothing is wrong with it."""
    disk = host.disk
    return (
        disk
        if disk is not None and disk.serves and disk.database is bool(host.slot.role == "db")
        else None
    )


def _others_have_it(world: World, host: Host) -> bool:
    """Whether the host's disk could be spared: another has what was acknowledged, and etcd its majority."""
    patroni = world.patroni
    leader = patroni.primary()
    if host.slot.role == "db" and (leader is None or leader is host or not patroni.sync):
        return False
    voter = host.slot.etcd_voter
    return not voter or (world.etcd.quorum() and world.etcd.enough_without(host.slot.name))


def _fills(world: World, fault: Fault, host: Host) -> str | None:
    disk = _works(host)
    if disk is None or disk.used_gib > 0.8 * disk.fs_gib:
        return None
    to_gib = disk.fs_gib * fault.amount
    world.storage.fill(disk, to_gib=to_gib, in_s=fault.for_s)
    return f"{host.slot.name}'s disk fills to {fault.amount:.0%} within {fault.for_s:.0f} s"


def _hoards(world: World, fault: Fault, host: Host) -> str | None:
    disk = _works(host)
    if disk is None or not world.patroni.leads(host):
        return None
    world.storage.hoard(disk, HOARDER, to_gib=disk.fs_gib * fault.amount, in_s=fault.for_s)
    return f"a replication slot that nobody reads keeps WAL on {host.slot.name}"


def _breaks(trouble: str) -> object:
    def strike(world: World, fault: Fault, host: Host) -> str | None:
        disk = _works(host)
        if disk is None:
            return None
        cure = dice_of(world, fault).choice(ENDS)
        if cure == "end" and not _others_have_it(world, host):
            cure = "reboot"
        world.storage.break_(disk, trouble, cure)
        return f"{host.slot.name}'s disk is {trouble} until: {cure}"

    return on_host(strike)


def _rots(world: World, _fault: Fault, host: Host) -> str | None:
    disk = _works(host)
    if disk is None or not disk.database:
        return None
    disk.bad_pages = 3
    world.stir()
    return f"pages of {host.slot.name}'s copy are damaged"


def _strays(ails: str, what: str) -> object:
    def strike(world: World, fault: Fault, host: Host) -> str | None:
        disk = _works(host)
        if disk is None or not disk.database or not world.patroni.streams(host):
            return None
        disk.ails, host.clones_fail = ails, int(fault.amount)
        if ails == "diverged":
            disk.timeline -= 1
        world.stir()
        return f"{host.slot.name}'s copy {what}"

    return on_host(strike)


def _clones(world: World, fault: Fault, host: Host) -> str | None:
    """A copy is made anew, and that fails again and again."""
    disk = _works(host)
    if disk is None or not world.patroni.streams(host) or not _others_have_it(world, host):
        return None
    host.clones_fail = int(fault.amount)
    world.patroni.reinit(host)
    return f"{host.slot.name}'s copy is made anew, which fails {host.clones_fail} times"


def _member_lost(world: World, _fault: Fault, host: Host) -> str | None:
    disk = _works(host)
    if disk is None or not host.slot.etcd_voter or not _others_have_it(world, host):
        return None
    disk.member = None
    world.stir()
    return f"etcd's directory on {host.slot.name} is gone"


def _corrupt(world: World, _fault: Fault, host: Host) -> str | None:
    slot = host.slot.name
    if not host.slot.etcd_voter or world.etcd.alarms or not _others_have_it(world, host):
        return None
    world.etcd.alarms[slot] = "CORRUPT"
    world.stir()
    return f"etcd on {slot} is corrupt"


def _no_space(world: World, _fault: Fault, host: Host) -> str | None:
    slot = host.slot.name
    if not host.slot.etcd_voter or slot in world.etcd.alarms:
        return None
    world.etcd.alarms[slot] = "NOSPACE"
    world.stir()
    return f"etcd on {slot} is full"


VOTERS = ("voter", "witness")
DISKS: tuple[Kind, ...] = tuple(
    Kind(name=n, group="disks", weight=w, where=at, for_s=f, amount=a, strike=s)  # type: ignore[arg-type]
    for n, w, at, f, a, s in (
        ("disk-fills", 2.0, KEPT, (10, 200), (0.7, 1.05), on_host(_fills)),
        ("wal-hoarded", 1.0, ("leader",), (10, 200), (0.15, 0.8), on_host(_hoards)),
        ("disk-read-only", 1.0, KEPT, (0, 0), (0, 0), _breaks("read-only")),
        ("disk-absent", 0.8, KEPT, (0, 0), (0, 0), _breaks("absent")),
        ("pages-damaged", 0.7, ("replica", "replica", "leader"), (0, 0), (0, 0), on_host(_rots)),
        ("copy-diverged", 1.0, ("replica",), (0, 0), (0, 0), _strays("diverged", "has diverged")),
        (
            "wal-gone",
            1.0,
            ("replica",),
            (0, 0),
            (0, 3),
            _strays("wal-gone", "needs WAL that is gone"),
        ),
        ("clone-fails", 0.8, ("replica",), (0, 0), (1, 9), on_host(_clones)),
        ("etcd-data-lost", 1.0, VOTERS, (0, 0), (0, 0), on_host(_member_lost)),
        ("etcd-corrupt", 0.7, VOTERS, (0, 0), (0, 0), on_host(_corrupt)),
        ("etcd-full", 0.8, VOTERS, (0, 0), (0, 0), on_host(_no_space)),
    )
)
