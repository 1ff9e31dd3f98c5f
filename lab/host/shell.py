"""Runs this computer's own tools. A tool that fails raises LabError with what it said."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from lab.errors import LabError


def tool(argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 60.0) -> str:
    """Standard output of a command that must succeed."""
    found = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if found.returncode:
        said = (found.stderr or found.stdout).strip()
        raise LabError(f"'{' '.join(argv)}' failed ({found.returncode}): {said}")
    return found.stdout


def attempt(argv: Sequence[str], *, timeout_s: float = 60.0) -> bool:
    """Whether a command whose failure is an answer succeeded."""
    return subprocess.run(argv, capture_output=True, timeout=timeout_s, check=False).returncode == 0


def ip_batch(lines: Sequence[str], *, namespace: str | None = None) -> None:
    """Several `ip` commands at once, inside a namespace if given."""
    where = [] if namespace is None else ["-n", namespace]
    tool(["ip", *where, "-batch", "-"], stdin="\n".join(lines) + "\n")
