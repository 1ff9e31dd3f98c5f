"""One control group a machine, under one of the lab's own, in every hierarchy this computer has (v1 hybrid or v2).

Everything the lab starts lives below `pgmend-lab`, so that a sweep finds it without guessing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
NAME = "pgmend-lab"
V1 = ("systemd", "unified", "memory", "freezer", "cpu", "cpuacct", "pids")


def hierarchies() -> list[Path]:
    """Roots of the hierarchies in use."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [ROOT / name for name in V1 if (ROOT / name).is_dir()]


def make(group: str) -> list[Path]:
    """The group's folders, one a hierarchy."""
    folders = [root / NAME / group for root in hierarchies()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def enter(group: str) -> None:
    """Put this process into the group."""
    for folder in make(group):
        (folder / "cgroup.procs").write_text(str(os.getpid()))


def freeze(group: str, *, frozen: bool) -> None:
    """Stop or go on with everything in the group."""
    v1 = ROOT / "freezer" / NAME / group / "freezer.state"
    if v1.exists():
        v1.write_text("FROZEN" if frozen else "THAWED")
        return
    (ROOT / NAME / group / "cgroup.freeze").write_text("1" if frozen else "0")


def limit_memory(group: str, limit_bytes: int) -> bool:
    """Whatever in the group wants more is killed. False where this computer cannot say so."""
    v1 = ROOT / "memory" / NAME / group
    try:
        if v1.is_dir():
            (v1 / "memory.limit_in_bytes").write_text(str(limit_bytes))
            with contextlib.suppress(OSError):  # only where swap is accounted for
                (v1 / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes))
            return True
        for parent in (ROOT, ROOT / NAME):
            (parent / "cgroup.subtree_control").write_text("+memory")
        (ROOT / NAME / group / "memory.max").write_text(str(limit_bytes))
        with contextlib.suppress(OSError):
            (ROOT / NAME / group / "memory.swap.max").write_text("0")
    except OSError:
        return False
    return True


def frozen(group: str) -> bool:
    """Whether the group is stopped."""
    v1 = ROOT / "freezer" / NAME / group / "freezer.state"
    if v1.exists():
        return v1.read_text().strip() != "THAWED"
    v2 = ROOT / NAME / group / "cgroup.freeze"
    return v2.exists() and v2.read_text().strip() == "1"


def pids(group: str | None = None) -> set[int]:
    """Every process in the lab's groups, or in one of them."""
    found: set[int] = set()
    for root in hierarchies():
        base = root / NAME if group is None else root / NAME / group
        for file in _below(base, "cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(line) for line in file.read_text().split())
    return found


def kill(
    group: str | None = None, *, spare: frozenset[int] = frozenset(), timeout_s: float = 10.0
) -> None:
    """End every process of the lab, or of one group, and wait until they are gone."""
    deadline = time.monotonic() + timeout_s
    while (left := pids(group) - spare) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def remove(group: str | None = None) -> None:
    """Remove empty groups, leaves first."""
    for root in hierarchies():
        base = root / NAME if group is None else root / NAME / group
        if not base.exists():
            continue
        folders = sorted((Path(p) for p, _, _ in os.walk(base)), key=lambda p: -len(p.parts))
        for folder in folders:
            with contextlib.suppress(
                OSError
            ):  # a zombie may still hold it; the next sweep takes it
                folder.rmdir()


def _below(base: Path, name: str) -> Iterator[Path]:
    for folder, _, files in os.walk(base):
        if name in files:
            yield Path(folder) / name
