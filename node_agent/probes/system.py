"""Units and the app on this node."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

from node_agent.probes.beside import Beside
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
        self._asked = Beside("ready", lambda: self._patient.get(f"{base}/readyz"))
        self._ready: bool | None = None

    def probe(self) -> dict[str, Any]:
        """The report's `app`."""
        if self._http.get(f"{self._base}/healthz") is None:
            # What a process said is no word of the one that comes after it.
            self._asked.forget()
            self._ready = None
            return {"up": False, "ready": False}
        found = self._asked.answer(self._timeout_s)
        if found is not None:
            answer = found[0]
            self._ready = None if answer is None else answer[0] == 200
        return {"up": True, "ready": self._ready}
