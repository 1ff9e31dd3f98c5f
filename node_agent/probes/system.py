"""Units, the data disk, and the app on this node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node_agent.probes.http import Http

KNOWN = frozenset({"active", "inactive", "failed", "activating"})


def units(names: Sequence[str]) -> dict[str, str]:
    """Unit → ActiveState, all in one call."""
    if not names:
        return {}
    found = subprocess.run(
        ["systemctl", "show", "--property=Id,ActiveState", *(f"{name}.service" for name in names)],
        capture_output=True,
        text=True,
        timeout=5,
        check=False,
    ).stdout
    states = dict.fromkeys(names, "unknown")
    for block in found.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name = values.get("Id", "").removesuffix(".service")
        if name in states:
            state = values.get("ActiveState", "")
            states[name] = state if state in KNOWN else "unknown"
    return states


def disk(path: Path) -> dict[str, Any]:
    """The report's `disk`."""
    mounted = path.is_mount()
    if not mounted:
        return {"mounted": False, "read_only": None, "size_bytes": None, "used_bytes": None}
    found = os.statvfs(path)
    return {
        "mounted": True,
        "read_only": bool(found.f_flag & os.ST_RDONLY),
        "size_bytes": found.f_blocks * found.f_frsize,
        "used_bytes": (found.f_blocks - found.f_bfree) * found.f_frsize,
    }


def app(http: Http) -> dict[str, Any]:
    """The report's `app`."""
    answer = http.get("http://127.0.0.1:5000/readyz")
    return {"up": answer is not None, "ready": answer is not None and answer[0] == 200}
