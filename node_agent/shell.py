"""Programs of this node, run with a bound on time. A failure carries the program's own words."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node_agent.errors import AgentError

TIMEOUT_S = 60.0
WORDS_MAX = 800


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a program."""

    code: int
    out: str
    err: str = ""


Run = Callable[..., Result]


def run(argv: Sequence[str], *, ok: Sequence[int] = (0,), timeout_s: float = TIMEOUT_S) -> Result:
    """Run it to its end. Raises AgentError for a code that is not in `ok`, for no such program and for too long."""
    try:
        found = subprocess.run(
            list(argv),
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AgentError(f"{argv[0]} could not be run: {error}") from error
    if found.returncode not in ok:
        words = (found.stderr.strip() or found.stdout.strip() or "no output")[-WORDS_MAX:]
        raise AgentError(f"{' '.join(argv[:3])} ended with code {found.returncode}: {words}")
    return Result(code=found.returncode, out=found.stdout, err=found.stderr)
