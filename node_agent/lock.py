"""One command at a time on a node: the kernel gives the lock back when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node_agent.errors import RefusedError

COMMANDS = Path("/run/pgmend/command.lock")


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock. Raises RefusedError when another command runs."""
    COMMANDS.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(COMMANDS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RefusedError(
                "another command runs on this node; try again when it is done"
            ) from error
        yield
    finally:
        os.close(descriptor)
