"""`grow-file-system`: let the disk's file system fill its device, while it is in use, and see to the ballast again.

Allowed on a living leader: nothing stops and nothing is moved.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from node_agent import disk, shell
from node_agent.ballast import Ballast
from node_agent.errors import AgentError
from node_agent.node import Node
from node_agent.probes.disk import device_bytes
from node_agent.shell import Run

GROW_S = 90.0
# Twice what XFS keeps for its log (64 MiB or 1/2048, whichever is more): more than this means that it did not grow.
LEFT_BYTES_MAX, LEFT_SHARE_MAX = 128 * 1024 * 1024, 0.001


def run(node: Node, _args: Namespace) -> str:
    """Compose and do."""
    return grow(disk.require_ours(node), shell.run)


def grow(
    folder: Path, run: Run, *, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs
) -> str:
    """Grow it as far as the device allows, which may be no step at all. Raises AgentError."""
    before = _size_bytes(statvfs(folder))
    run(["xfs_growfs", "-d", str(folder)], timeout_s=GROW_S)
    after, device = _size_bytes(statvfs(folder)), device_bytes(folder.stat().st_dev)
    if device is not None and device - after > max(LEFT_BYTES_MAX, device * LEFT_SHARE_MAX):
        raise AgentError(f"the file system has {after} bytes on a device of {device}")
    grown = f"it grew from {before} to {after} bytes" if after > before else f"it has {after} bytes"
    return f"{grown}; {Ballast(folder, statvfs=statvfs).make()}"


def _size_bytes(found: os.statvfs_result) -> int:
    return found.f_blocks * found.f_frsize
