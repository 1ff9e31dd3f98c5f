"""Finds the writable primary through the proxies: the one that led to it last first, own region first
at the start, and the others when that one does not answer.

Every attempt is short. A stale password is read again once; nothing else is tried twice here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from app.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.config import Address, Config
    from app.secret import Passwords

CONNECT_TIMEOUT_S: Final = 2
STATEMENT_TIMEOUT_MS: Final = 2000
ROLE: Final = "app"
DATABASE: Final = "app"
QUESTION: Final = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """A primary that answered, and the way to it."""

    host: str
    port: int


class Database:
    """The primary as the service sees it. Thread-safe."""

    def __init__(
        self,
        config: Config,
        passwords: Passwords,
        *,
        connect: Callable[..., psycopg.Connection[Any]] = psycopg.connect,
    ) -> None:
        self._config = config
        self._passwords = passwords
        self._connect = connect
        # One reference, only ever replaced whole: requests that race cost one of them a slow attempt.
        self._last: Primary | None = None

    def writable(self) -> Primary:
        """The way to a primary that takes writes now. Raises DatabaseError or SecretError."""
        try:
            return self._ask()
        except psycopg.OperationalError as error:
            if not _refused_password(error):
                raise DatabaseError(_sentence(error)) from error
        except psycopg.Error as error:
            raise DatabaseError(_sentence(error)) from error
        self._passwords.forget()
        try:
            return self._ask()
        except psycopg.Error as error:
            raise DatabaseError(_sentence(error)) from error

    def _writers(self) -> list[Address]:
        """A proxy whose host is dead costs its whole time-out, so the one that answered last goes first."""
        last = self._last
        if last is None:
            return list(self._config.writers)
        return sorted(
            self._config.writers, key=lambda a: (a.host, a.port) != (last.host, last.port)
        )

    def _ask(self) -> Primary:
        writers = self._writers()
        with self._connect(
            host=",".join(address.host for address in writers),
            port=",".join(str(address.port) for address in writers),
            user=ROLE,
            dbname=DATABASE,
            password=self._passwords.current(),
            target_session_attrs="read-write",
            connect_timeout=CONNECT_TIMEOUT_S,
            tcp_user_timeout=STATEMENT_TIMEOUT_MS,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            application_name=f"pgmend-app-{os.getpid()}",
            autocommit=True,
        ) as connection:
            row = connection.execute(QUESTION).fetchone()
            if row is None or row[0] or row[1]:
                raise DatabaseError("the proxy led to a server that does not take writes")
            way = Primary(host=connection.info.host, port=connection.info.port)
        self._last = way
        return way


def _refused_password(error: psycopg.OperationalError) -> bool:
    # A refusal while connecting carries no SQLSTATE in psycopg, only the server's words.
    return error.sqlstate in {"28P01", "28000"} or "password authentication failed" in str(error)


def _sentence(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
