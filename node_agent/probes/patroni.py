"""Patroni's REST API on this node."""

from __future__ import annotations

from typing import Any

from node_agent.probes.http import Http, mapping, number, rows, text

LEADING = frozenset({"leader", "master", "primary", "standby_leader"})


def parse(own: object, cluster: object) -> dict[str, Any]:
    """The report's `patroni` from `/patroni` and `/cluster`; either may be missing."""
    mine, all_ = mapping(own), mapping(cluster)
    members = rows(all_.get("members"))
    role = text(mine.get("role"))
    leader = next((m for m in members if text(m.get("role")) in LEADING), None)
    return {
        "up": own is not None,
        "role": "leader" if role in LEADING else role,
        "state": text(mine.get("state")),
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


def probe(http: Http, address: str) -> dict[str, Any]:
    """Ask both endpoints."""
    own = http.get(f"http://{address}:8008/patroni")
    cluster = None if own is None else http.get(f"http://{address}:8008/cluster")
    return parse(None if own is None else own[1] or {}, None if cluster is None else cluster[1])
