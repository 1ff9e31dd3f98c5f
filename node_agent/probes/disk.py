"""The slot's disk, looked at and written to from threads of its own: a dead disk blocks whoever touches it, for ever.

It must never write to a disk that is not signed as this slot's (a stranger's, or one that is being made).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node_agent.ballast import Ballast
from node_agent.probes.beside import Beside

TRIAL = ".pgmend-writable"
TRIAL_EVERY_S = 5.0
SECTOR_BYTES = 512
BLOCK_DEVICES = Path("/sys/dev/block")
# What a disk says that takes no writes. One without room (ENOSPC) is full, which the sizes tell.
REFUSALS = frozenset({errno.EROFS, errno.EIO, errno.ENODEV, errno.ENXIO, errno.EUCLEAN})
UNKNOWN: dict[str, Any] = {
    "mounted": None,
    "read_only": None,
    "writable": None,
    "size_bytes": None,
    "used_bytes": None,
    "device_bytes": None,
    "ballast_bytes": None,
}


class Disk:
    """Probes one folder."""

    def __init__(
        self, folder: Path, bound_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bound_s, self._clock = bound_s, clock
        self._sizes = Beside("disk", lambda: sizes(folder))
        self._trial = Beside("disk-trial", lambda: writable(folder))
        self._writable: bool | None = None
        self._due = clock()

    def probe(self) -> dict[str, Any]:
        """The report's `disk`. What hangs is unknown until it answers."""
        found = self._sizes.answer(self._bound_s)
        part = dict(UNKNOWN) if found is None else found[0]
        if part["mounted"]:
            part["writable"] = self._try()
        return part

    def _try(self) -> bool | None:
        """The last trial's outcome, with a new trial every few seconds."""
        if self._trial.pending or self._clock() >= self._due:
            found = self._trial.answer(self._bound_s)
            self._writable = None if found is None else found[0]
            self._due = self._clock() + TRIAL_EVERY_S
        return self._writable


def sizes(folder: Path) -> dict[str, Any]:
    """What can be known without writing. One that answers with errors takes no writes either."""
    try:
        return _sizes(folder)
    except OSError as error:
        return {**UNKNOWN, "writable": _refused(error)}


def _sizes(folder: Path) -> dict[str, Any]:
    if not is_mounted(folder):
        return {**UNKNOWN, "mounted": False}
    found = os.statvfs(folder)
    return {
        **UNKNOWN,
        "mounted": True,
        "read_only": bool(found.f_flag & os.ST_RDONLY),
        "size_bytes": found.f_blocks * found.f_frsize,
        "used_bytes": (found.f_blocks - found.f_bfree) * found.f_frsize,
        "device_bytes": device_bytes(folder.stat().st_dev),
        "ballast_bytes": Ballast(folder).held_bytes(),
    }


def is_mounted(folder: Path) -> bool:
    """Whether something is mounted there. Raises OSError where the disk under it does not let itself be asked."""
    try:
        return folder.lstat().st_dev != folder.parent.lstat().st_dev
    except FileNotFoundError:
        return False


def device_bytes(number: int, folder: Path = BLOCK_DEVICES) -> int | None:
    """The block device's size, by its number; None for what is no block device."""
    file = folder / f"{os.major(number)}:{os.minor(number)}" / "size"
    try:
        return int(file.read_text()) * SECTOR_BYTES
    except (OSError, ValueError):
        return None


def writable(folder: Path) -> bool | None:
    """Write a few bytes and wait until they lie on the disk; None when neither yes nor no can be said.

    The same block is written again and again, so a disk without a free one still takes it.
    """
    try:
        (folder / "disk.json").lstat()
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(folder / TRIAL, flags, 0o600)
        try:
            os.write(descriptor, b"pgmend\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return _refused(error)
    return True


def _refused(error: OSError) -> bool | None:
    """False for what a disk says that takes no writes; None when the error says neither yes nor no."""
    return False if error.errno in REFUSALS else None
