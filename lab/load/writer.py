"""The writer: one INSERT every 20 ms through each HAProxy, all day, and a memory of every outcome.

It must never call a write acknowledged that the server did not acknowledge without a warning:
everything unsure is `unknown`. Each path has a few connections, because one round trip to another
region takes longer than 20 ms.

    python -m lab.load.writer HISTORY.csv euw1=10.10.10.21:5432 euw3=10.20.10.21:5432
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import psycopg

from lab.load.connect import DeadlineError, close, connect, conninfo, within
from lab.load.history import Outcome, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TABLE = "lab_writes"
CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (id bigint PRIMARY KEY, path text NOT NULL,"
    " at timestamptz NOT NULL DEFAULT now())"
)
INSERT = f"INSERT INTO {TABLE} (id, path) VALUES (%s, %s)"  # noqa: S608 - no input in it
INTERVAL_S = 0.02
STATEMENT_DEADLINE_S = 2.0
CONNECTIONS_A_PATH = 5
RECONNECT_AFTER_S = 0.1
FLUSH_EVERY_S = 0.25
# Errors with these SQLSTATE classes may arrive after the commit record was written.
UNSURE_CLASSES = ("08", "57", "58", "XX")


class Recorder:
    """Appends outcomes to the history file; the file is flushed by `flush`, not by every write."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, write: Write) -> None:
        """Remember one outcome."""
        self._file.write(write.line())

    def flush(self) -> None:
        """Hand what is remembered to the kernel."""
        self._file.flush()


class Path_:  # noqa: N801 - `Path` is taken
    """One way to the leader.

    A ticker that hands a turn every interval to whichever connection is idle.
    """

    def __init__(
        self, name: str, dsn: str, password: str, ids: Iterator[int], recorder: Recorder
    ) -> None:
        self._name = name
        self._dsn = dsn
        self._password = password
        self._ids = ids
        self._recorder = recorder
        self._turns: asyncio.Queue[None] = asyncio.Queue(maxsize=1)

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            for _ in range(CONNECTIONS_A_PATH):
                group.create_task(self._connection())

    async def _tick(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + INTERVAL_S, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            # A turn nobody takes is dropped: the load never piles up behind an outage.
            with contextlib.suppress(asyncio.QueueFull):
                self._turns.put_nowait(None)

    async def _connection(self) -> None:
        while True:
            try:
                connection = await connect(self._dsn, password=self._password)
            except (psycopg.Error, DeadlineError, OSError):
                await asyncio.sleep(RECONNECT_AFTER_S)
                continue
            try:
                await self._use(connection)
            finally:
                await close(connection)

    async def _use(self, connection: psycopg.AsyncConnection[Any]) -> None:
        warnings: list[str] = []
        connection.add_notice_handler(lambda notice: warnings.append(_warning(notice)))
        while True:
            await self._turns.get()
            write = await self._insert(connection, warnings)
            self._recorder.add(write)
            if write.outcome is not Outcome.ACKED:
                return

    async def _insert(self, connection: psycopg.AsyncConnection[Any], warnings: list[str]) -> Write:
        number, wall, at = next(self._ids), time.time(), time.monotonic()
        warnings.clear()
        try:
            await within(
                connection,
                connection.execute(INSERT, (number, self._name), prepare=True),
                deadline_s=STATEMENT_DEADLINE_S,
            )
            outcome, reason = _committed(warnings)
        except DeadlineError as error:
            outcome, reason = Outcome.UNKNOWN, str(error)
        except psycopg.Error as error:
            outcome, reason = judge(error), str(error)
        return Write(
            id=number,
            path=self._name,
            at=at,
            wall=wall,
            latency_s=time.monotonic() - at,
            outcome=outcome,
            reason=reason,
        )


def judge(error: psycopg.Error) -> Outcome:
    """Failed when the server refused the statement itself.

    Unknown when it may have been committed.
    """
    state = error.sqlstate
    if state is None or state.startswith(UNSURE_CLASSES):
        return Outcome.UNKNOWN
    return Outcome.FAILED


def _committed(warnings: Sequence[str]) -> tuple[Outcome, str]:
    """A commit with a warning is committed here and perhaps nowhere else."""
    worrying = [text for text in warnings if text]
    return (Outcome.UNKNOWN, worrying[0]) if worrying else (Outcome.ACKED, "")


def _warning(notice: psycopg.errors.Diagnostic) -> str:
    if notice.severity_nonlocalized != "WARNING":
        return ""
    return notice.message_primary or "a warning without words"


async def create_table(dsns: Sequence[str], password: str, *, deadline_s: float) -> None:
    """Make the table through whichever path answers first."""
    end = time.monotonic() + deadline_s
    for dsn in itertools.cycle(dsns):
        try:
            connection = await connect(dsn, password=password)
            try:
                await within(connection, connection.execute(CREATE), deadline_s=10.0)
            finally:
                await close(connection)
        except (psycopg.Error, DeadlineError, OSError) as error:
            if time.monotonic() > end:
                raise SystemExit(
                    f"the writer could not make its table through any proxy: {error}"
                ) from error
            await asyncio.sleep(0.5)
        else:
            return


async def run(history: Path, paths: Sequence[tuple[str, str, int]], password: str) -> None:
    """Write through all paths until told to stop (SIGTERM or SIGINT)."""
    dsns = [conninfo(host=host, port=port, user="app", dbname="app") for _, host, port in paths]
    await create_table(dsns, password, deadline_s=60.0)
    ids = itertools.count((int(time.time()) << 24) + 1)
    with history.open("a", encoding="utf-8") as file:
        recorder = Recorder(file)
        tasks = [
            asyncio.create_task(Path_(name, dsn, password, ids, recorder).run())
            for (name, _, _), dsn in zip(paths, dsns, strict=True)
        ]
        tasks.append(asyncio.create_task(flush_until_orphaned(recorder.flush)))
        stop_on_signal(tasks)
        try:
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            recorder.flush()


async def flush_until_orphaned(flush: Callable[[], None]) -> None:
    """Flush now and then; end the program when whoever started it is gone, so that none is left."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(FLUSH_EVERY_S)
        flush()
    os.kill(os.getpid(), signal.SIGTERM)


def stop_on_signal(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel everything on SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: [task.cancel() for task in tasks])


def parse_targets(words: Sequence[str]) -> list[tuple[str, str, int]]:
    """`name=host:port` words as (name, host, port)."""
    found = []
    for word in words:
        name, _, rest = word.partition("=")
        host, _, port = rest.rpartition(":")
        found.append((name, host, int(port)))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; the password is read from PGPASSWORD."""
    parser = argparse.ArgumentParser(prog="lab.load.writer")
    parser.add_argument("history", type=Path)
    parser.add_argument("paths", nargs="+", metavar="NAME=HOST:PORT")
    args = parser.parse_args(argv)
    asyncio.run(run(args.history, parse_targets(args.paths), os.environ.get("PGPASSWORD", "")))


if __name__ == "__main__":
    main()
