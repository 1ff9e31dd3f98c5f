"""What can be done to a machine's data disk from outside: read-only, broken, gone.

XFS answers an I/O error under it by shutting down: every call fails from then on until it is mounted anew. A shutdown
that is asked for is the same state without the error that leads to it. This kernel has neither device-mapper nor fault
injection, which could make the device itself fail.
"""

from __future__ import annotations

from lab.errors import LabError
from lab.host.machine import Machine

MOUNT = "/var/lib/pgmend"
RUN_TIMEOUT_S = 60.0
# A file system with a file open for writing is not remounted read-only: what writes is killed, and may come back to
# find it so.
READ_ONLY = f"""
for _ in $(seq 100); do
  mount -o remount,ro {MOUNT} 2>/dev/null && exit 0
  systemctl kill --signal=KILL patroni.service etcd.service 2>/dev/null || true
done
echo "{MOUNT} stays writable: something holds a file on it open" >&2
exit 1
"""
WRITABLE = f"mount -o remount,rw {MOUNT}"
ERRORS = f"xfs_io -x -c shutdown {MOUNT}"
# The file system breaks as it would without its device; what holds it open is killed so that it can be let go of.
LET_GO = f"""
mountpoint -q {MOUNT} || exit 0
xfs_io -x -c shutdown {MOUNT}
umount --lazy {MOUNT}
systemctl kill --signal=KILL patroni.service etcd.service 2>/dev/null || true
"""


def read_only(machine: Machine) -> None:
    """Nothing can be written any more. Raises LabError."""
    _do(machine, READ_ONLY)


def writable(machine: Machine) -> None:
    """The way back from `read_only`. Raises LabError."""
    _do(machine, WRITABLE)


def errors(machine: Machine) -> None:
    """Every call to the file system fails until it is mounted anew. Raises LabError."""
    _do(machine, ERRORS)


def let_go(machine: Machine) -> None:
    """The disk goes from under its file system, which is no longer mounted then. Raises LabError."""
    _do(machine, LET_GO)


def _do(machine: Machine, script: str) -> None:
    done = machine.run(["/bin/sh", "-c", script], timeout_s=RUN_TIMEOUT_S)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"the disk of {machine.spec.hostname} could not be changed: {said}")
