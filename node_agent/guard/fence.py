"""A PostgreSQL that takes writes does not outlive its Patroni's lease. Two ask: the thread in Patroni's process
(`alive`), every second; and patroni.service's ExecStopPost, which runs this file when the process is gone.

It ends nothing else: no copy, no server that is stopping already, none that was started after the lease was over. A
pause has no lease. It imports little, because a host that thaws waits for it.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from node_agent.guard import REFUSED
from node_agent.guard.journal import ERROR, WARNING, say

FOLDER = "RUNTIME_DIRECTORY"  # systemd's word for what RuntimeDirectory= made
STATUS = "EXIT_STATUS"  # systemd's word for what the process ended with
RECORD = "lease.json"
AWAY_S = (
    2.0  # nobody can renew between the end of a process and this: RestartSec and a new interpreter
)
COPY_SIGNALS = ("standby.signal", "recovery.signal")
STATUS_LINE = 7  # of postmaster.pid, counted from 0
START_TICKS = 19  # in /proc/PID/stat, counted from 0 after the name


def now() -> float:
    """Seconds since the boot, those of a suspended host too: it is what leases elsewhere went on by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The last one that this member's Patroni had outside of a pause, until it is over and of no use to anybody."""

    data_dir: str
    ends: float  # by `now()`

    @classmethod
    def parse(cls, text: str) -> Lease:
        """Raises ValueError or TypeError for what is none."""
        found = cls(**json.loads(text))
        if type(found.data_dir) is not str or type(found.ends) not in {int, float}:
            raise TypeError("its values are of the wrong kind")
        if not math.isfinite(found.ends):
            raise ValueError("it has no end")
        return found


class Found(Enum):
    """What became of a lease's PostgreSQL."""

    HELD = "the lease is not over"
    ENDED = "it took writes, and was told to end at once"
    UNSETTLED = "it is just starting or ending"
    NOTHING = "nothing of this lease's takes writes, nor ever will"


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
        """None when there is none, or when another version of this file wrote it."""
        try:
            return Lease.parse(self.path.read_text("utf-8"))
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


def fence(lease: Lease, *, at: float) -> Found:
    """End the PostgreSQL of a lease that is over `at` that time, at once."""
    if lease.ends > at:
        return Found.HELD
    found, pid = look(lease)
    if found is Found.ENDED:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)  # its immediate shutdown
    return found


def look(lease: Lease) -> tuple[Found, int]:
    """What runs in this lease's data directory, and its postmaster's number: ENDED is one that is to be ended.

    A server that was started after the lease was over is somebody else's: a person's, or another database in its place.
    """
    folder = Path(lease.data_dir)
    try:
        lines = (folder / "postmaster.pid").read_text("utf-8").splitlines()
        pid = int(lines[0])
        # A single-user server has a negative number, and no clients; /proc has no such process. That of a process which
        # is gone may be another's by now, also one that may not be looked at.
        process = Path("/proc") / str(pid)
        ours = (process / "cwd").samefile(folder) and started(process) < lease.ends
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return Found.NOTHING, 0
    except (IndexError, ValueError):
        return Found.UNSETTLED, 0  # its file is being written
    if not ours or any((folder / name).exists() for name in COPY_SIGNALS):
        return Found.NOTHING, pid
    stopping = len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "stopping"
    return (Found.UNSETTLED if stopping else Found.ENDED), pid


def started(process: Path) -> float:
    """When a process in /proc was started, by `now()`."""
    fields = (process / "stat").read_text("utf-8").rpartition(")")[2].split()
    return int(fields[START_TICKS]) / os.sysconf("SC_CLK_TCK")


def main(environ: Mapping[str, str] = os.environ) -> None:
    """What ExecStopPost runs: the process is gone, its successor not there yet. After a refusal there is none."""
    record = Record.of(environ)
    lease = None if record is None else record.read()
    if lease is None:
        return
    refused = environ.get(STATUS) == str(REFUSED)
    if fence(lease, at=math.inf if refused else now() + AWAY_S) is Found.ENDED:
        why = "is refused" if refused else f"is gone, its lease ends within {AWAY_S:.0f} s"
        say(
            WARNING,
            f"Patroni {why} and nobody renews it: PostgreSQL, which took writes, is ended",
        )


if __name__ == "__main__":
    main()
