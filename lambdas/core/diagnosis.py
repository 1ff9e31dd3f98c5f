"""What can be wrong with a slot: a closed set, named for people. And a rule: one row of the table that finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from lambdas.core.evidence import Evidence


class Diagnosis(StrEnum):
    """What can be wrong with a slot, and the two ways in which nothing is."""

    HEALTHY = "healthy"
    SPARE = "spare"
    # what cannot be, or is not known
    REGION_UNKNOWN = "region-unknown"
    REGION_CUT_OFF = "region-cut-off"
    TWO_OCCUPANTS = "two-occupants"
    TWO_LEADERS = "two-leaders"
    REPORT_REFUSED = "report-refused"
    # the host
    SLOT_EMPTY = "slot-empty"
    NO_CAPACITY = "no-capacity"
    TERMINATING = "terminating"
    STOPPED = "stopped"
    BOOTING = "booting"
    BOOT_STUCK = "boot-stuck"
    PRESUMED_DEAD = "presumed-dead"
    UNREACHABLE = "unreachable"
    SUSPECTED = "suspected"
    IMPAIRED = "impaired"
    RETIRING = "retiring"
    CLOCK_OFF = "clock-off"
    AGENT_SILENT = "agent-silent"
    AGENT_CUT_OFF = "agent-cut-off"
    # the disk
    TWO_DISKS = "two-disks"
    DISK_SET_ASIDE = "disk-set-aside"
    DISK_MISSING = "disk-missing"
    DISK_BUSY = "disk-busy"
    DISK_DETACHED = "disk-detached"
    DISK_ABSENT = "disk-absent"
    DISK_READ_ONLY = "disk-read-only"
    DISK_STALLED = "disk-stalled"
    DISK_FULL = "disk-full"
    DISK_SMALL = "disk-small"
    DISK_FILLING = "disk-filling"
    CHECKSUM_FAILURES = "checksum-failures"
    # what the node runs
    NEEDS_PERSON = "needs-person"
    CONFIGURING = "configuring"
    CONFIGURE_FAILED = "configure-failed"
    NOT_CONFIGURED = "not-configured"
    LEFT = "left"
    SERVICE_DOWN = "service-down"
    ETCD_FULL = "etcd-full"
    ETCD_CORRUPT = "etcd-corrupt"
    ETCD_LOST = "etcd-lost"
    ETCD_UNHEALTHY = "etcd-unhealthy"
    WAITS_FOR_LEADER = "waits-for-leader"
    REPLICA_WAL_GONE = "replica-wal-gone"
    REINIT_LOOP = "reinit-loop"
    REPLICA_CLONING = "replica-cloning"
    REPLICA_STUCK = "replica-stuck"
    REPLICA_DIVERGED = "replica-diverged"
    REPLICA_LAGGING = "replica-lagging"
    REPLICA_BROKEN = "replica-broken"
    WAL_HOARDED = "wal-hoarded"
    HAPROXY_BLIND = "haproxy-blind"
    APP_NOT_READY = "app-not-ready"
    # what people ordered
    OUTDATED = "outdated"
    TO_SWITCH_OVER = "to-switch-over"


QUIET = frozenset({Diagnosis.HEALTHY, Diagnosis.SPARE})
ORDERED = frozenset({Diagnosis.OUTDATED, Diagnosis.TO_SWITCH_OVER})  # the slot itself is well
UNHURRIED = ORDERED | {Diagnosis.RETIRING}  # done when everything else is well


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row: its number, when it fits, what it means and why, in an operator's words."""

    number: int
    diagnosis: Diagnosis
    when: Callable[[Evidence], bool]
    why: str
