"""Patroni's REST API on this node."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from node_agent.probes.http import Http, mapping, number, rows, text

LEADING = frozenset({"leader", "master", "primary", "standby_leader"})
CLONING = "creating replica"
HOUR_S = 3600.0
CLONES_MAX = 1000


def parse(said: object, cluster: object) -> dict[str, Any]:
    """The report's `patroni` from `/health` and `/cluster`; either may be missing."""
    mine, all_ = mapping(said), mapping(cluster)
    members = rows(all_.get("members"))
    role = text(mine.get("role"))
    leader = next((m for m in members if text(m.get("role")) in LEADING), None)
    return {
        "up": said is not None,
        "role": "leader" if role in LEADING else role,
        "state": text(mine.get("state")),
        "state_for_s": None,
        "clones": None,
        "timeline": number(mine.get("timeline")),
        "paused": bool(all_.get("pause") or mine.get("pause")),
        "leader": None if leader is None else text(leader.get("name")),
        "pending_restart": bool(mine.get("pending_restart")),
        "members": [
            {
                "name": text(m.get("name")),
                "role": text(m.get("role")),
                "state": text(m.get("state")),
                "timeline": number(m.get("timeline")),
                "lag_bytes": number(m.get("lag")),
            }
            for m in members
        ],
    }


def own(http: Http, address: str) -> tuple[int, Any] | None:
    """(status, what the Patroni there says of its own PostgreSQL); None when it does not answer.

    `/health` says what `/patroni` says, and at once: that one asks a PostgreSQL that is starting for seconds.
    """
    return http.get(f"http://{address}:8008/health")


def probe(http: Http, address: str) -> dict[str, Any]:
    """Ask both endpoints."""
    mine = own(http, address)
    cluster = None if mine is None else http.get(f"http://{address}:8008/cluster")
    return parse(None if mine is None else mine[1] or {}, None if cluster is None else cluster[1])


def state_at(http: Http, address: str) -> str | None:
    """The state of the PostgreSQL there now; the cluster's view of it is a loop or two behind."""
    mine = own(http, address)
    return None if mine is None else text(mapping(mine[1]).get("state"))


def attempt(data_dir: Path) -> int | None:
    """What tells one attempt at a clone from the next: each makes the directory anew. None while there is none.

    Patroni itself starts over within one and the same state. Raises OSError.
    """
    return data_dir.parent.stat().st_mtime_ns if data_dir.exists() else None


class History:
    """How long the state has been what it is, and how often a clone began within the hour, in this agent's life.

    No answer is no state: a Patroni that was silent for a pass and says the same as before has said it all the time.
    """

    def __init__(self) -> None:
        self._state: str | None = None
        self._since_s = 0.0
        self._attempt: int | None = None
        self._clones: deque[float] = deque(maxlen=CLONES_MAX)

    def note(
        self, part: dict[str, Any], now_s: float, attempt: int | None = None
    ) -> dict[str, Any]:
        """The part with `state_for_s` and `clones`; `now_s` by a clock that never goes back."""
        state = part["state"]
        if state is not None and state != self._state:
            self._state, self._since_s, self._attempt = state, now_s, None
            if state == CLONING:
                self._clones.append(now_s)
        if state == CLONING and attempt is not None and attempt != self._attempt:
            if self._attempt is not None:
                self._clones.append(now_s)
            self._attempt = attempt
        while self._clones and self._clones[0] <= now_s - HOUR_S:
            self._clones.popleft()
        return {
            **part,
            "state_for_s": None if state is None else round(now_s - self._since_s, 1),
            "clones": None if self._state is None else len(self._clones),
        }
