"""`release-ballast`: remove the ballast from the slot's disk, which a disk without a free block allows too.

Allowed on a living leader. `grow-file-system` makes the ballast again once there is room.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from node_agent import disk
from node_agent.ballast import Ballast
from node_agent.errors import AgentError
from node_agent.node import Node


def run(node: Node, _args: Namespace) -> str:
    """Compose and do."""
    return release(disk.require_ours(node))


def release(folder: Path) -> str:
    """Remove it; nothing to do without one. Raises AgentError when the disk does not let it go."""
    try:
        freed = Ballast(folder).release()
    except OSError as error:
        raise AgentError(f"the ballast could not be released: {error}") from error
    return f"{freed} bytes of ballast were released" if freed else "there is no ballast to release"
