"""The prober: asks every database node directly, and every HAProxy, "can I write here?", four
times a second.

The question must never wait for replication and never change data: it takes a transaction id and
rolls back. Each target has its own task and deadline, so a dead host delays nobody.

    python -m lab.load.prober HISTORY.csv --user app --dbname app db-euw1-a=10.10.10.11:5432 ...
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import psycopg

from lab.load.connect import DeadlineError, close, connect, conninfo, within
from lab.load.history import NO_ANSWER, PROBE_INTERVAL_S, READ_ONLY, WRITABLE, Probe
from lab.load.writer import flush_until_orphaned, parse_targets, stop_on_signal

if TYPE_CHECKING:
    from collections.abc import Sequence

# One round trip. On a replica the CASE keeps the transaction id from being asked for.
QUESTION = """
BEGIN;
SELECT CASE WHEN pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'
            THEN NULL ELSE pg_current_xact_id()::text END,
       coalesce(host(inet_server_addr()), '');
ROLLBACK
"""
DEADLINE_S = 1.0


class Target:
    """One address that is asked again and again over one connection, made anew when it breaks."""

    def __init__(self, name: str, dsn: str, password: str, file: TextIO) -> None:
        self._name = name
        self._dsn = dsn
        self._password = password
        self._file = file
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            began = time.monotonic()
            probe = await self.ask()
            self._file.write(probe.line())
            await asyncio.sleep(max(0.0, began + PROBE_INTERVAL_S - time.monotonic()))

    async def ask(self) -> Probe:
        """One question and its answer."""
        wall = time.time()
        at = time.monotonic()
        try:
            answer, server = await self._answer()
        except (psycopg.Error, DeadlineError, OSError):
            answer, server = NO_ANSWER, ""
            await self._drop()
        return Probe(
            target=self._name,
            at=at,
            wall=wall,
            latency_s=time.monotonic() - at,
            answer=answer,
            server=server,
        )

    async def _answer(self) -> tuple[str, str]:
        if self._connection is None:
            self._connection = await connect(self._dsn, password=self._password)
        connection = self._connection
        cursor = await within(connection, connection.execute(QUESTION), deadline_s=DEADLINE_S)
        cursor.nextset()
        row = await cursor.fetchone()
        if row is None:
            return NO_ANSWER, ""
        return (READ_ONLY if row[0] is None else WRITABLE), str(row[1])

    async def _drop(self) -> None:
        if self._connection is not None:
            await close(self._connection)
            self._connection = None


async def run(
    history: Path, targets: Sequence[tuple[str, str, int]], *, user: str, dbname: str, password: str
) -> None:
    """Ask all targets until told to stop."""
    with history.open("a", encoding="utf-8") as file:
        tasks = [
            asyncio.create_task(
                Target(
                    name,
                    conninfo(host=host, port=port, user=user, dbname=dbname),
                    password,
                    file,
                ).run()
            )
            for name, host, port in targets
        ]
        tasks.append(asyncio.create_task(flush_until_orphaned(file.flush)))
        stop_on_signal(tasks)
        try:
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            file.flush()


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; the password is read from PGPASSWORD."""
    parser = argparse.ArgumentParser(prog="lab.load.prober")
    parser.add_argument("history", type=Path)
    parser.add_argument("--user", default="app")
    parser.add_argument("--dbname", default="app")
    parser.add_argument("targets", nargs="+", metavar="NAME=HOST:PORT")
    args = parser.parse_args(argv)
    asyncio.run(
        run(
            args.history,
            parse_targets(args.targets),
            user=args.user,
            dbname=args.dbname,
            password=os.environ.get("PGPASSWORD", ""),
        )
    )


if __name__ == "__main__":
    main()
