"""PostgreSQL on this node, over one connection that is kept and made again when it breaks."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.rows import dict_row

from node_agent.probes.http import flag, mapping, number, rows, text

BOUND_S = 6.0
STALE_S = 5.0
QUERY = """
SELECT pg_is_in_recovery() AS in_recovery,
       CASE WHEN pg_is_in_recovery() THEN (SELECT received_tli FROM pg_stat_wal_receiver)
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                            ELSE pg_current_wal_lsn() END, '0/0')::bigint AS lsn_bytes,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       (SELECT count(*) > 0 FROM pg_stat_wal_receiver WHERE status = 'streaming') AS receiver_up,
       current_setting('synchronous_standby_names') AS synchronous_standby_names,
       (SELECT sum(d.checksum_failures)::bigint FROM pg_stat_database d) AS checksum_failures
"""
# reply_time is by the standby's own clock: it is compared with what it was before, and with no clock of ours.
STANDBYS = """
SELECT pid, application_name AS name, state, sync_state,
       pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint AS lag_bytes,
       extract(epoch FROM reply_time)::float8 AS replied
FROM pg_stat_replication
"""
# A server has at most max_replication_slots, which pgmend sets to 20.
SLOTS = """
SELECT slot_name::text AS name, active, slot_type = 'physical' AS physical, wal_status,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()
                            THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                            ELSE pg_current_wal_lsn() END, restart_lsn)::bigint AS retained_bytes
FROM pg_replication_slots ORDER BY slot_name LIMIT 100
"""
UNKNOWN: dict[str, Any] = {
    "up": False,
    "in_recovery": None,
    "timeline": None,
    "lsn_bytes": None,
    "system_identifier": None,
    "receiver_up": None,
    "replication": [],
    "synchronous_standby_names": None,
    "checksum_failures": None,
    "replication_slots": [],
}


def conninfo(password: str, timeout_s: float) -> str:
    """The monitor role on this host, with a bound on every statement."""
    bound_ms = int(timeout_s * 1000)
    return (
        f"host=127.0.0.1 port=5432 dbname=postgres user=monitor password={password} "
        f"connect_timeout=2 application_name=pgmend-agent options='-c statement_timeout={bound_ms}'"
    )


class Replies:
    """For how long no standby's reply was a new one, by this host's monotonic clock: no two hosts' clocks agree.

    What is seen for the first time is new, so one look alone tells nobody that is gone from one that is there.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[object, tuple[object, float]] = {}

    def note(self, standbys: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The rows of one look, each with `silent_s`; None for a standby that has never replied."""
        now, before = self._clock(), self._seen
        self._seen = {}
        for row in standbys:
            replied, since_s = before.get(row["pid"], (None, now))
            self._seen[row["pid"]] = (row["replied"], since_s if replied == row["replied"] else now)
        return [{**row, "silent_s": self._silent_s(row, now)} for row in standbys]

    def _silent_s(self, row: Mapping[str, Any], now: float) -> float | None:
        return None if row["replied"] is None else now - self._seen[row["pid"]][1]


class Postgres:
    """The monitor role's connection. It remembers the standbys' replies from probe to probe."""

    def __init__(
        self,
        conninfo: str,
        bound_s: float = BOUND_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conninfo, self._bound_s = conninfo, bound_s
        self._replies = Replies(clock)
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def probe(self) -> dict[str, Any]:
        """The report's `postgres`; all unknown but `up` when it does not answer."""
        try:
            return self._ask()
        except psycopg.Error:
            self.close()
            return dict(UNKNOWN)

    def close(self) -> None:
        """Drop the connection; the next probe makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self) -> dict[str, Any]:
        if self._connection is None:
            self._connection = psycopg.connect(
                self._conninfo, autocommit=True, prepare_threshold=None, row_factory=dict_row
            )
        connection = self._connection
        with _bounded(connection, self._bound_s):
            row = connection.execute(QUERY).fetchone() or {}
            leads = row.get("in_recovery") is False
            standbys = connection.execute(STANDBYS).fetchall() if leads else []
            slots = connection.execute(SLOTS).fetchall()
        return parse(row, self._replies.note(standbys), slots)


def parse(row: object, standbys: object, slots: object) -> dict[str, Any]:
    """The report's `postgres` from a server that answered, read by column names."""
    found = mapping(row)
    in_recovery = flag(found.get("in_recovery"))
    return {
        "up": True,
        "in_recovery": in_recovery,
        "timeline": number(found.get("timeline")),
        "lsn_bytes": number(found.get("lsn_bytes")),
        "system_identifier": text(found.get("system_identifier")),
        "receiver_up": flag(found.get("receiver_up")) if in_recovery else None,
        "replication": [standby(values) for values in rows(standbys)],
        "synchronous_standby_names": _words(found.get("synchronous_standby_names")),
        "checksum_failures": number(found.get("checksum_failures")),
        "replication_slots": [
            s for values in rows(slots) if (s := replication_slot(values))["name"]
        ],
    }


def _words(value: object) -> str | None:
    """A setting; one that is empty is known to be."""
    return value if isinstance(value, str) else None


@contextmanager
def _bounded(connection: psycopg.Connection[Any], bound_s: float) -> Iterator[None]:
    """A server that is stopped never cancels its own statements: past the bound the socket is shut down."""

    def sever() -> None:
        with suppress(psycopg.Error, OSError):
            copy = socket.socket(fileno=os.dup(connection.fileno()))
            with copy:
                copy.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(bound_s, sever)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def standby(values: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the report's `replication`; a standby that stopped replying is `stale`."""
    state, silent_s = text(values.get("state")), values.get("silent_s")
    replies = isinstance(silent_s, int | float) and silent_s <= STALE_S
    return {
        "name": text(values.get("name")),
        "state": "stale" if not replies and state == "streaming" else state,
        "sync_state": text(values.get("sync_state")),
        "lag_bytes": number(values.get("lag_bytes")),
    }


def replication_slot(values: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the report's `replication_slots`. `retained_bytes` is the WAL kept for it."""
    retained = number(values.get("retained_bytes"))
    return {
        "name": text(values.get("name")),
        "active": flag(values.get("active")),
        "physical": flag(values.get("physical")),
        "wal_status": text(values.get("wal_status")),
        "retained_bytes": None if retained is None else max(0, retained),
    }
