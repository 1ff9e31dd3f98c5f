"""A PostgreSQL that takes writes does not outlive its Patroni's lease. Two ask: the thread in Patroni's process
(`alive`), every second; and patroni.service's ExecStopPost, which runs this file when the process is gone.

It ends nothing else: no copy, no server that is stopping already, none in pause, none of another data directory.
It imports little, because a host that thaws waits for it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from node_agent.guard.journal import ERROR, WARNING, say

FOLDER = "RUNTIME_DIRECTORY"  # systemd's word for what RuntimeDirectory= made
RECORD = "lease.json"
AWAY_S = (
    2.0  # nobody can renew between the end of a process and this: RestartSec and a new interpreter
)
COPY_SIGNALS = ("standby.signal", "recovery.signal")
NO_INODE = 0
STATUS_LINE = 7  # of postmaster.pid, counted from 0


def now() -> float:
    """Seconds since the boot, those of a suspended host too: it is what leases elsewhere went on by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The last one this member's Patroni is known to have had, whatever became of it."""

    data_dir: str
    inode: int  # of the data directory: another database in its place is none of this lease's
    ends: float | None  # by `now()`; None in pause, when PostgreSQL runs on without one

    @classmethod
    def of(cls, data_dir: str, *, ends: float | None) -> Lease:
        """This data directory's. One that cannot be looked at is known again at the next renewal."""
        try:
            inode = Path(data_dir).stat().st_ino
        except OSError:
            inode = NO_INODE
        return cls(data_dir=data_dir, inode=inode, ends=ends)


class Record:
    """The lease on a file system that a reboot empties, for whoever comes after this process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / RECORD

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Record | None:
        """Where systemd made a folder for it; None where it did not."""
        folder = environ.get(FOLDER)
        return cls(Path(folder)) if folder else None

    def read(self) -> Lease | None:
        """None when no leader ran here since the boot, or when another version of this file wrote it."""
        try:
            return Lease(**json.loads(self.path.read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            say(ERROR, f"{self.path} is no lease ({error}): none is known until the next renewal")
            return None

    def write(self, lease: Lease) -> None:
        """Whole or not at all. Raises OSError."""
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(lease)), "utf-8")
        draft.replace(self.path)

    def forget(self) -> None:
        """As after a boot."""
        self.path.unlink(missing_ok=True)


def fence(lease: Lease | None, *, at: float) -> bool:
    """End the PostgreSQL of a lease that is over `at` that time, at once; whether there was one to end."""
    if lease is None or lease.ends is None or lease.ends > at:
        return False
    pid = running_primary(lease)
    if pid is None:
        return False
    os.kill(pid, signal.SIGQUIT)  # its immediate shutdown
    return True


def running_primary(lease: Lease) -> int | None:
    """The postmaster that takes writes in this lease's data directory, or None."""
    folder = Path(lease.data_dir)
    try:
        lines = (folder / "postmaster.pid").read_text("utf-8").splitlines()
        pid = int(lines[0])
        # The number of a process that is gone may be another's by now. A single-user server has a negative one.
        ours = pid > 0 and (Path("/proc") / str(pid) / "cwd").samefile(folder)
        same = folder.stat().st_ino == lease.inode
    except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
        return None  # it does not run, or is just being started or ended
    if not ours or not same or any((folder / name).exists() for name in COPY_SIGNALS):
        return None
    stopping = len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "stopping"
    return None if stopping else pid


def main(environ: Mapping[str, str] = os.environ) -> None:
    """What ExecStopPost runs: the process is gone, its successor not there yet."""
    record = Record.of(environ)
    if record is not None and fence(record.read(), at=now() + AWAY_S):
        say(
            WARNING,
            "Patroni is gone and its lease is over: PostgreSQL, which took writes, is ended",
        )


if __name__ == "__main__":
    main()
