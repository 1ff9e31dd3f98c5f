"""One way to a database for writer, prober and strength: quick to give up, never left hanging.

A deadline here is not a cancellation: the socket is shut down, so that a host that will never
answer costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

if TYPE_CHECKING:
    from collections.abc import Coroutine

R = TypeVar("R")
CONNECT_TIMEOUT_S = 1.0
TCP_USER_TIMEOUT_MS = 2000


class DeadlineError(Exception):
    """No answer within the time given; what the server did is not known."""


def conninfo(*, host: str, port: int, user: str, dbname: str) -> str:
    """Connection string without the password, which comes from PGPASSWORD."""
    return psycopg.conninfo.make_conninfo(
        host=host,
        port=port,
        user=user,
        dbname=dbname,
        connect_timeout=2,
        tcp_user_timeout=TCP_USER_TIMEOUT_MS,
        keepalives_idle=2,
        keepalives_interval=1,
        keepalives_count=2,
        application_name="pgmend-lab",
        sslmode="prefer",
        gssencmode="disable",
    )


async def connect(dsn: str, *, password: str) -> psycopg.AsyncConnection[Any]:
    """Connect within a second, or raise `psycopg.OperationalError` or `DeadlineError`."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await psycopg.AsyncConnection.connect(dsn, password=password, autocommit=True)
    except TimeoutError as error:
        raise DeadlineError("no connection in time") from error


async def within(
    connection: psycopg.AsyncConnection[Any], work: Coroutine[Any, Any, R], *, deadline_s: float
) -> R:
    """Await `work` on this connection.

    Past the deadline break the connection and raise `DeadlineError`.
    """
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=deadline_s)
    if not done:
        sever(connection)
        with contextlib.suppress(psycopg.Error, OSError):
            await task
        raise DeadlineError("no answer in time")
    return task.result()


def sever(connection: psycopg.BaseConnection[Any]) -> None:
    """Shut the socket down: whoever waits on it wakes with an error at once."""
    with contextlib.suppress(psycopg.Error, OSError):
        copy = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with copy:
            copy.shutdown(socket.SHUT_RDWR)


async def close(connection: psycopg.AsyncConnection[Any]) -> None:
    """Close without waiting for a goodbye."""
    with contextlib.suppress(psycopg.Error, OSError):
        await connection.close()
