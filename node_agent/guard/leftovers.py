"""What a Patroni that was killed leaves at work in the data directory: KillMode=process ends nothing else of the unit.

PostgreSQL is its successor's to take over. A rewind, a clone or a recovery by a single-user server is nobody's: the
successor would begin another in the same directory.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from node_agent.guard.journal import WARNING, say

PROGRAMS = ("pg_rewind", "pg_basebackup")
SINGLE_USER = "--single"
PATIENCE_S, POLL_S = 30.0, 0.2


def clear(*, ours: Callable[[int], bool] | None = None, patience_s: float = PATIENCE_S) -> None:
    """Let them end by themselves for so long, then end them; come back when none is left.

    `ours` says of a process whether this unit started it. Raises OSError when one may not be ended.
    """
    mine = ours or of_this_unit()
    end = time.monotonic() + patience_s
    told = False
    while left := at_work(mine):
        if not told:
            say(WARNING, f"{', '.join(left.values())} of the Patroni before is still at work")
            told = True
        if time.monotonic() >= end:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def at_work(ours: Callable[[int], bool]) -> dict[int, str]:
    """Process → program, of those that write to a data directory and are ours."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return {pid: name for pid in pids if (name := program(_of(pid, "cmdline"))) and ours(pid)}


def program(command_line: str) -> str | None:
    """Its name when it is one of these. One that has ended and was not waited for has no command line."""
    words = command_line.split("\0")
    name = Path(words[0]).name
    if name in PROGRAMS:
        return name
    return f"{name} {SINGLE_USER}" if name == "postgres" and SINGLE_USER in words[1:2] else None


def of_this_unit() -> Callable[[int], bool]:
    """Whether a process is in this process's control group: a person's own backup is not."""
    own = _of(os.getpid(), "cgroup")
    return lambda pid: _of(pid, "cgroup") == own


def _of(pid: int, file: str) -> str:
    """What the kernel says of a process; nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/{file}").read_text("utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
