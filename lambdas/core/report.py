"""What node agents said, as frozen data. Unknown is None, everywhere; `_s` is seconds, `_bytes` bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """What an agent says of its node."""

    IDLE = "idle"
    CONFIGURED = "configured"
    LEFT = "left"


class PeerState(StrEnum):
    """What one node saw of another."""

    ALIVE = "alive"
    REFUSED = "refused"
    SILENT = "silent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standby:
    """One row of the leader's pg_stat_replication, as the leader's agent told it."""

    name: str
    state: str | None
    lag_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationSlot:
    """One row of pg_replication_slots. `retained_bytes` is the WAL that it keeps from being removed."""

    name: str
    active: bool | None
    physical: bool | None
    wal_status: str | None
    retained_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """What an agent saw of its PostgreSQL."""

    up: bool | None
    in_recovery: bool | None
    timeline: int | None
    lsn_bytes: int | None
    system_identifier: str | None
    receiver_up: bool | None
    replication: tuple[Standby, ...]
    checksum_failures: int | None = None
    replication_slots: tuple[ReplicationSlot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patroni:
    """What an agent saw of its Patroni."""

    up: bool | None
    role: str | None
    state: str | None
    timeline: int | None
    paused: bool | None
    leader: str | None
    state_for_s: float | None = None  # how long its agent has seen this state
    clones: int | None = None  # how often, within the hour, it began a copy anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Etcd:
    """What an agent saw of its etcd member."""

    healthy: bool | None
    cluster_id: str | None
    is_leader: bool | None
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Haproxy:
    """What an agent saw of its HAProxy; None where the statistics socket did not answer."""

    up: bool | None
    write_backends_up: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What an agent saw of its app."""

    up: bool | None
    ready: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What an agent saw of its data disk. `device_bytes` is the block device, `size_bytes` the file system on it."""

    mounted: bool | None
    read_only: bool | None
    writable: bool | None = None
    size_bytes: int | None = None
    used_bytes: int | None = None
    device_bytes: int | None = None
    ballast_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One agent's last report. `observed_at` is the node's own clock, in epoch seconds: evidence of the clock only."""

    slot: str
    instance_id: str
    sequence: int
    phase: Phase
    volume_id: str | None
    services: Mapping[str, str]
    postgres: Postgres | None
    patroni: Patroni | None
    etcd: Etcd | None
    haproxy: Haproxy | None
    app: App | None
    peers: Mapping[str, PeerState]
    peers_for_s: Mapping[str, float] = field(default_factory=dict)  # how long in that state
    disk: Disk | None = None
    observed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenReport:
    """A report and for how long, by the healer's clock, nothing newer has come.

    `late_s`: for how long nobody had looked when it was first seen, so how much older it may be; for `looked_for_s` of
    that the look before was under way, which is no pause. `late_since`: since when each new word came after a pause.
    `clock_off_s`: how far the node's clock was ahead (behind, when negative) as the report was first seen.
    `overtaken`: a word that was said after it had come before it, and `age_s` is that one's.
    """

    report: Report
    age_s: float
    clock_off_s: float | None = None
    late_s: float = 0.0
    looked_for_s: float = 0.0
    late_since: float | None = None
    overtaken: bool = False


def timeline_of(report: Report) -> int | None:
    """The newest timeline the report speaks of, None when it speaks of none."""
    parts = (report.postgres, report.patroni)
    known = [part.timeline for part in parts if part is not None and part.timeline is not None]
    return max(known, default=None)


def is_leading(report: Report) -> bool:
    """Whether the report says that its node was Patroni's leader with a PostgreSQL not in recovery."""
    if report.patroni is None or report.patroni.role not in ("leader", "master", "primary"):
        return False
    return report.postgres is not None and report.postgres.in_recovery is not True
