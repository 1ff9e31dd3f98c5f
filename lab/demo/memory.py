"""Peak memory of everything the lab runs: the daemon, the nodes, the functions, this process and
its children.

Proportional set size is summed: a page several processes share (PostgreSQL's buffers, say) counts
once in all.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

EVERY_S = 5.0
PROC = Path("/proc")


class MemorySampler:
    """Samples the process trees under some roots in a thread and keeps the peak."""

    def __init__(self, *, every_s: float = EVERY_S) -> None:
        self._roots: set[int] = set()
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self.peak_mb = 0

    def watch(self, pid: int) -> None:
        """Count this process and its descendants from now on."""
        self._roots.add(pid)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def close(self) -> None:
        """End; safe to call when never started."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.peak_mb = max(self.peak_mb, tree_mb(tuple(self._roots)))


def tree_mb(roots: Iterable[int]) -> int:
    """Memory of these processes and all their descendants, in MiB."""
    parents = _parents()
    wanted = set(roots)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in wanted} - wanted
        wanted |= more
        grown = bool(more)
    return sum(_pss_kib(pid) for pid in wanted) // 1024


def _parents() -> Mapping[int, int]:
    found: dict[int, int] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            # A process may end while we look at it.
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = (entry / "stat").read_text()
                found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def _pss_kib(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
