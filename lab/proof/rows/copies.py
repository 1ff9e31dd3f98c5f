"""A copy does not follow, or a leader keeps too much for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lab.demo.runner import Stage
from lab.proof.account import Account
from lab.proof.scenario import FRESH_DISK, REFILL, Row, Scenario, blow

INVALID: Final = "SELECT string_agg(slot_name, ', ') FROM pg_replication_slots WHERE invalidation_reason IS NOT NULL"


def _slots_keep_wal(stage: Stage, seen: Account) -> Sequence[str]:
    """A copy that was made anew streams through a slot that keeps WAL for it, or it is lost at its next restart."""
    del seen
    found = stage.bench.sql(stage.bench.leading(), INVALID)
    return [f"no WAL is kept for the replication slot {found}"] if found else []


ROWS: Final[tuple[Row, ...]] = (
    Scenario(
        name="replica-lagging",
        row="replica lagging",
        blows=blow("replica-lagging", "replica"),
        called=("replica-lagging",),
        stands_s=150.0,  # at most: two of the minutely looks have to see it behind
        mended_on=("replica-lagging",),  # it is waited for and not touched
    ),
    Scenario(
        name="replica-broken",
        row="replica broken: start fails",
        blows=blow("replica-broken", "replica"),
        called=("replica-broken", "service-down"),
        must=("reinit",),
        may=("join-replica", "restart-service:patroni"),
        full_s=300.0,
    ),
    Scenario(
        name="wal-gone",
        row="replica broken: its WAL is gone",
        blows=blow("wal-gone", "replica"),
        called=("replica-wal-gone",),
        must=("reinit",),
        may=("restart-service:patroni",),  # which the fault had stopped a moment ago
        check=_slots_keep_wal,
        full_s=150.0,
    ),
    Scenario(
        name="diverged",
        row="replica diverged",
        blows=blow("diverged", "leader"),
        may=("restart-service:patroni", "join-replica", "reinit"),  # the fault has stopped Patroni
        full_s=150.0,
        outage_s=45.0,  # the leader's lease has to run out
    ),
    Scenario(
        name="replica-stuck",
        row="replica stuck while it starts",
        blows=blow("replica-stuck", "replica"),
        called=("replica-stuck",),
        must=("join-replica",),
        may=("restart-service:patroni", "reboot"),
        full_s=320.0,  # it may just be slow: minutes pass before it is called stuck
    ),
    Scenario(
        name="reinit-loop",
        row="reinit loop",
        blows=blow("reinit-loop", "replica"),
        called=("reinit-loop",),
        must=("set-disk-aside", "terminate", "create-disk"),
        may=("join-replica", "reinit", *REFILL),
        full_s=240.0,
    ),
    Scenario(
        name="wal-hoarded",
        row="replication slot hoarding WAL",
        blows=blow("wal-hoarded", "leader"),
        called=("wal-hoarded",),
        must=("drop-replication-slot",),
        full_s=120.0,
    ),
    Scenario(
        name="checksum-failures",
        row="disk corrupt",
        blows=blow("disk-corrupt", "replica"),
        called=("checksum-failures",),
        must=("set-disk-aside", "create-disk"),
        may=("terminate", *FRESH_DISK),
        full_s=180.0,
    ),
)
