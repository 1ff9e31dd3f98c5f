"""Units, the data disk, and the app on this node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from node_agent.probes.http import Http

KNOWN = frozenset({"active", "inactive", "failed", "activating"})
APP = "http://127.0.0.1:5000"
READY_S = 5.0  # the app gives each of its two proxies 2 s


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


class App:
    """The app on this node. `up`: its process answers; `ready`: its last word on whether a write would succeed.

    `/readyz` waits for a database that may be slow, so it is asked beside the passes and none waits for it longer than
    for any other probe. An app that lives and gave no answer in its own, longer time is unknown, never "not ready".
    """

    def __init__(
        self, http: Http, timeout_s: float, *, base: str = APP, patience_s: float = READY_S
    ) -> None:
        self._http, self._timeout_s, self._base = http, timeout_s, base
        self._patient = Http(patience_s)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ready")
        self._asked: Future[tuple[int, Any] | None] | None = None
        self._ready: bool | None = None

    def probe(self) -> dict[str, Any]:
        """The report's `app`."""
        if self._http.get(f"{self._base}/healthz") is None:
            # What a process said is no word of the one that comes after it.
            self._asked = self._ready = None
            return {"up": False, "ready": False}
        if self._asked is None:
            self._asked = self._pool.submit(self._patient.get, f"{self._base}/readyz")
        if wait([self._asked], timeout=self._timeout_s).done:
            asked, self._asked = self._asked, None
            answer = asked.result()
            self._ready = None if answer is None else answer[0] == 200
        return {"up": True, "ready": self._ready}
