"""PostgreSQL on this node, over one connection that is kept and made again when it breaks."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

BOUND_S = 6.0
STALE_S = 5.0
QUERY = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN (SELECT received_tli FROM pg_stat_wal_receiver)
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                            ELSE pg_current_wal_lsn() END, '0/0')::bigint,
       (SELECT system_identifier::text FROM pg_control_system()),
       (SELECT count(*) > 0 FROM pg_stat_wal_receiver WHERE status = 'streaming'),
       current_setting('synchronous_standby_names')
"""
# reply_time tells a standby that is gone but not yet timed out from one that is there.
STANDBYS = """
SELECT application_name, state, sync_state,
       pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint,
       extract(epoch FROM clock_timestamp() - reply_time)::float8
FROM pg_stat_replication
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
}


def conninfo(password: str, timeout_s: float) -> str:
    """The monitor role on this host, with a bound on every statement."""
    bound_ms = int(timeout_s * 1000)
    return (
        f"host=127.0.0.1 port=5432 dbname=postgres user=monitor password={password} "
        f"connect_timeout=2 application_name=pgmend-agent options='-c statement_timeout={bound_ms}'"
    )


class Postgres:
    """The monitor role's connection."""

    def __init__(self, conninfo: str, bound_s: float = BOUND_S) -> None:
        self._conninfo, self._bound_s = conninfo, bound_s
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

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
                self._conninfo, autocommit=True, prepare_threshold=None
            )
        connection = self._connection
        with _bounded(connection, self._bound_s):
            row = connection.execute(QUERY).fetchone()
            leads = row is not None and not row[0]
            standbys = connection.execute(STANDBYS).fetchall() if leads else []
        if row is None:
            return dict(UNKNOWN)
        in_recovery, timeline, lsn, identifier, receiver, names = row
        return {
            "up": True,
            "in_recovery": in_recovery,
            "timeline": timeline,
            "lsn_bytes": lsn,
            "system_identifier": identifier,
            "receiver_up": receiver if in_recovery else None,
            "replication": [standby(*values) for values in standbys],
            "synchronous_standby_names": names,
        }


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


def standby(
    name: str,
    state: str | None,
    sync_state: str | None,
    lag_bytes: int | None,
    silent_s: float | None,
) -> dict[str, Any]:
    """One row of the report's `replication`; a standby that stopped replying is `stale`."""
    stale = silent_s is None or silent_s > STALE_S
    return {
        "name": name,
        "state": "stale" if stale and state == "streaming" else state,
        "sync_state": sync_state,
        "lag_bytes": lag_bytes,
    }
