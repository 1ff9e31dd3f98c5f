"""Replication slots of this node's PostgreSQL: what Patroni calls a member's, and how one is let go of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from node_agent import database
from node_agent.probes.patroni import CLONING
from node_agent.shell import Run

STRANGE = re.compile(r"[^a-z0-9_]")
DROP_S = 30.0
DROP_LOST_S = 5.0  # the agent's pass waits for it
LOST = "lost"  # PostgreSQL's word for a slot whose WAL is gone; it never keeps any again


def name_of(member: str) -> str:
    """What Patroni calls a member's replication slot: dashes and dots become underscores, other letters their code."""
    spelled = member.lower().replace("-", "_").replace(".", "_")
    return STRANGE.sub(lambda found: f"u{ord(found[0]):04d}", spelled)[:63]


def drop(name: str, run: Run, *, only_lost: bool = False) -> None:
    """Drop a physical slot that nobody uses; what is in use by now is left alone. Raises AgentError."""
    lost = f" AND wal_status = '{LOST}'" if only_lost else ""
    statement = (
        f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{name}'"  # noqa: S608
        f" AND slot_type = 'physical' AND NOT active{lost}"
    )
    psql = [str(database.BIN_DIR / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]
    limit_s = DROP_LOST_S if only_lost else DROP_S
    # PostgreSQL gives up first, so that nothing is dropped after its failure was told.
    limit = f"SET statement_timeout = '{limit_s - 1:.0f}s'"
    host = ["-h", "/var/run/postgresql", "-c", limit, "-c", statement]
    run(["runuser", "-u", database.USER, "--", *psql, *host], timeout_s=limit_s)


def lost(report: Mapping[str, Any]) -> list[str]:
    """Physical replication slots on this node, if it leads, that nobody uses and that keep no WAL any more."""
    patroni, postgres = report.get("patroni") or {}, report.get("postgres") or {}
    if patroni.get("role") != "leader" or postgres.get("in_recovery") is not False:
        return []
    return [row["name"] for row in postgres["replication_slots"] if _lost(row)]


def _lost(row: Mapping[str, Any]) -> bool:
    return row["wal_status"] == LOST and row["physical"] is True and row["active"] is False


def outlived(
    report: Mapping[str, Any], addresses: Mapping[str, str], state: Callable[[str], str | None]
) -> list[str]:
    """The lost ones whose copies are being cloned now. `addresses`: slot → address; `state`: Patroni's word at one.

    Patroni keeps such a slot and the new copy would stream through it, while no WAL is kept for it any more; dropped,
    it is made anew. Before the clone it stays: it is what tells that the copy needs one.
    """
    owners = {name_of(slot): address for slot, address in addresses.items()}
    return [name for name in lost(report) if name in owners and state(owners[name]) == CLONING]
