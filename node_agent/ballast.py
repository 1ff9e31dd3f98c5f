"""The ballast: a file of real blocks on the slot's disk, kept for the day on which the disk is full.

Removing it gives PostgreSQL, XFS and people room to work with until the disk has grown. It is only made where there is
plenty of room, so that it is never the reason why a disk fills up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from node_agent.errors import AgentError

NAME = "ballast"
BYTES_MAX = 1024**3
SHARE_PERCENT = 2
USED_PERCENT_MAX = 70
BLOCK_BYTES = 4096
STAT_BLOCK_BYTES = 512  # what st_blocks counts in, on every file system


def wanted_bytes(size_bytes: int) -> int:
    """How large it should be on a file system of this size, in whole blocks."""
    share = size_bytes * SHARE_PERCENT // 100
    return min(BYTES_MAX, share) // BLOCK_BYTES * BLOCK_BYTES


class Ballast:
    """The one on this disk. Who calls it has made sure that the folder is the slot's own mounted disk."""

    def __init__(
        self, folder: Path, *, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs
    ) -> None:
        self._folder, self._file, self._statvfs = folder, folder / NAME, statvfs

    def held_bytes(self) -> int:
        """Blocks it really occupies; 0 without one. Raises OSError."""
        try:
            return self._file.stat().st_blocks * STAT_BLOCK_BYTES
        except FileNotFoundError:
            return 0

    def make(self) -> str:
        """Make it, or let it grow with its disk; says what came of it. A disk that is rather full goes without.

        Raises AgentError when the disk does not give the room after all.
        """
        found = self._statvfs(self._folder)
        wanted, held = wanted_bytes(found.f_blocks * found.f_frsize), self.held_bytes()
        if held >= wanted:
            return f"the ballast holds {held} bytes"
        used = (found.f_blocks - found.f_bfree) * 100
        if used > found.f_blocks * USED_PERCENT_MAX:
            return f"no ballast is made while more than {USED_PERCENT_MAX} % of the disk are used"
        try:
            self._allocate(wanted)
        except OSError as error:
            raise AgentError(f"the ballast could not be made: {error}") from error
        return f"the ballast holds {wanted} bytes"

    def _allocate(self, size_bytes: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._file, flags, 0o600)
        before = os.fstat(descriptor).st_size
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
        finally:
            os.close(descriptor)

    def release(self) -> int:
        """Remove it, also from a disk without a free block; bytes that are free now. Raises OSError."""
        held = self.held_bytes()
        self._file.unlink(missing_ok=True)
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return held
