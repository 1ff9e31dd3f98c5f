"""What an agent's report says, as data, and the JSON of it.

Bodies are rendered once for each content; what changes with every report is filled in.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

GIB: Final = 1024**3
SYSTEM: Final = "745"
CLUSTER_ID: Final = "cdf8"
LSN = '"@lsn"'


class Postgres(NamedTuple):
    """Its PostgreSQL: `rows` are standbys (name, state, lag in bytes), `slots` (name, active, state, bytes kept)."""

    up: bool
    in_recovery: bool | None = None
    timeline: int | None = None
    receiver_up: bool | None = None
    rows: tuple[tuple[str, str, int], ...] = ()
    bad_pages: int | None = None
    slots: tuple[tuple[str, bool, str, int], ...] = ()


class Patroni(NamedTuple):
    """Its Patroni."""

    up: bool
    role: str | None = None
    state: str | None = None
    timeline: int | None = None
    paused: bool = False
    leader: str | None = None
    state_for_s: float | None = None
    clones: int | None = None


class Etcd(NamedTuple):
    """Its etcd member."""

    healthy: bool | None
    alarm: str = ""


class Disk(NamedTuple):
    """Its disk, in GiB."""

    mounted: bool
    read_only: bool | None = None
    writable: bool | None = None
    size: float | None = None
    used: float | None = None
    device: float | None = None
    ballast: float | None = None


class Words(NamedTuple):
    """A report, without what every one has anew. `backends` None: the proxy's socket does not answer."""

    slot: str
    phase: str
    volume: str | None
    services: tuple[tuple[str, str], ...]
    postgres: Postgres | None = None
    patroni: Patroni | None = None
    etcd: Etcd | None = None
    backends: tuple[str, ...] | None = None
    ready: bool | None = None
    disk: Disk | None = None
    peers: tuple[tuple[str, str, float], ...] = ()

    @property
    def leader(self) -> str | None:
        """Whom its Patroni says leads."""
        return None if self.patroni is None else self.patroni.leader

    def well_parts(self) -> dict[str, bool]:
        """Unit → whether these words call it well, as far as they speak of it."""
        parts = {unit: state == "active" for unit, state in self.services}
        postgres = self.postgres
        if postgres is not None:
            follows = postgres.up and postgres.receiver_up is not False and not postgres.bad_pages
            parts["patroni"] = parts.get("patroni", False) and follows
        if self.patroni is not None:
            parts["patroni"] = parts.get("patroni", False) and self.patroni.up
        if self.etcd is not None:
            parts["etcd"] = (
                parts.get("etcd", False) and self.etcd.healthy is True and not self.etcd.alarm
            )
        if self.backends is not None:
            parts["haproxy"] = parts.get("haproxy", False) and len(self.backends) == 1
        if self.ready is not None:
            parts["pgmend-app"] = parts.get("pgmend-app", False) and self.ready
        if self.disk is not None and not (self.disk.mounted and self.disk.writable):
            parts.update(patroni=False, etcd=False)
        return parts


def body(
    words: Words,
    *,
    cluster: str,
    instance_id: str,
    sequence: int,
    observed_at: float,
    lsn: int | None,
    known: dict[Words, str],
) -> str:
    """The report's JSON. `known` keeps what was rendered before."""
    rest = known.get(words)
    if rest is None:
        rest = known[words] = _render(words, cluster)
    if words.postgres is not None:
        rest = rest.replace(LSN, "null" if lsn is None else str(lsn), 1)
    at = datetime.fromtimestamp(observed_at, UTC).isoformat(timespec="seconds")
    return (
        f'{{"instance_id": "{instance_id}", "sequence": {sequence}, "observed_at": "{at}", {rest}'
    )


def _render(words: Words, cluster: str) -> str:
    raw: dict[str, Any] = {
        "version": 1,
        "cluster": cluster,
        "slot": words.slot,
        "phase": words.phase,
        "volume_id": words.volume,
        "services": dict(words.services),
        "postgres": None if words.postgres is None else _postgres(words.postgres),
        "patroni": None if words.patroni is None else words.patroni._asdict(),
        "etcd": None if words.etcd is None else _etcd(words.etcd),
        "haproxy": None
        if words.backends is None
        else {"up": True, "write_backends_up": list(words.backends)},
        "app": None if words.ready is None else {"up": True, "ready": words.ready},
        "disk": None if words.disk is None else _disk(words.disk),
        "peers": {name: {"state": state, "for_s": for_s} for name, state, for_s in words.peers},
    }
    return json.dumps(raw)[1:]


def _postgres(words: Postgres) -> dict[str, Any]:
    return {
        "up": words.up,
        "in_recovery": words.in_recovery,
        "timeline": words.timeline,
        "lsn_bytes": "@lsn",
        "system_identifier": SYSTEM if words.up else None,
        "receiver_up": words.receiver_up,
        "replication": [{"name": n, "state": s, "lag_bytes": lag} for n, s, lag in words.rows],
        "checksum_failures": words.bad_pages,
        "replication_slots": [
            {
                "name": name,
                "active": active,
                "physical": True,
                "wal_status": status,
                "retained_bytes": kept,
            }
            for name, active, status, kept in words.slots
        ],
    }


def _etcd(words: Etcd) -> dict[str, Any]:
    return {
        "healthy": words.healthy,
        "cluster_id": CLUSTER_ID,
        "alarms": [words.alarm] if words.alarm else [],
    }


def _disk(words: Disk) -> dict[str, Any]:
    return {
        "mounted": words.mounted,
        "read_only": words.read_only,
        "writable": words.writable,
        "size_bytes": _bytes(words.size),
        "used_bytes": _bytes(words.used),
        "device_bytes": _bytes(words.device),
        "ballast_bytes": _bytes(words.ballast),
    }


def _bytes(gib: float | None) -> int | None:
    return None if gib is None else int(gib * GIB)
