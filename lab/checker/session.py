"""One connection to the database, as thin as can be: rows, changes, COMMIT and what it warned of."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import psycopg

from lab.checker.workloads.base import RefusedError, Row
from lab.load.connect import conninfo, sever

APPLICATION_NAME: Final = "pgmend-checker"
COMMITTED: Final = "COMMIT"


class RolledBackError(Exception):
    """The server answered COMMIT with ROLLBACK: nothing happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A way to the database: a proxy, several of them, or a node itself."""

    name: str
    hosts: tuple[str, ...]  # tried in this order
    port: int
    read_write: bool = False  # pass over servers that take no writes

    def conninfo(self, *, user: str, dbname: str) -> str:
        """Connection string without the password."""
        base = conninfo(host=",".join(self.hosts), port=self.port, user=user, dbname=dbname)
        wanted = {"target_session_attrs": "read-write"} if self.read_write else {}
        return psycopg.conninfo.make_conninfo(base, application_name=APPLICATION_NAME, **wanted)


class Session:
    """A connection outside autocommit: the first statement begins a transaction.

    So a transaction whose COMMIT was never sent surely does not happen, whatever becomes of the
    connection.
    """

    def __init__(self, connection: psycopg.Connection[Any], *, serializable: bool) -> None:
        self._connection = connection
        self._warnings: list[str] = []
        if serializable:
            connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        connection.add_notice_handler(self._notice)

    @classmethod
    def open(cls, dsn: str, *, password: str, serializable: bool) -> Self:
        """Connect, or raise `psycopg.OperationalError`."""
        connection = psycopg.Connection.connect(dsn, password=password, autocommit=False)
        return cls(connection, serializable=serializable)

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[Row]:
        """What the statement returns."""
        return self._execute(statement, parameters).fetchall()

    def change(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """How many rows the statement changed."""
        return self._execute(statement, parameters).rowcount

    def commit(self) -> str:
        """COMMIT; the warning that came with the transaction, or nothing.

        A commit with a warning is committed here and perhaps nowhere else. Raises `RolledBackError`
        when the server says it has rolled back, `psycopg.Error` when it may have.
        """
        if self._connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            raise RefusedError("there was no transaction to commit")
        answer = self._connection.execute(COMMITTED, prepare=False).statusmessage
        warnings, self._warnings = self._warnings, []
        if answer != COMMITTED:
            raise RolledBackError(f"the server answered COMMIT with {answer}")
        return "; ".join(warnings)

    def rollback(self) -> bool:
        """Ready for the next transaction; whether the connection can still be used."""
        self._warnings = []
        try:
            self._connection.rollback()
        except psycopg.Error:
            return False
        return not self._connection.broken

    def close(self) -> None:
        """Close without waiting for a goodbye."""
        with contextlib.suppress(psycopg.Error, OSError):
            self._connection.close()

    def sever(self) -> None:
        """Shut the socket down: whoever waits on it wakes with an error at once."""
        sever(self._connection)

    def _execute(self, statement: str, parameters: Sequence[object]) -> psycopg.Cursor[Any]:
        return self._connection.execute(statement, parameters or None)

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(notice.message_primary or "a warning without words")
