"""A server that speaks just enough of PostgreSQL's protocol to take an INSERT and a COMMIT, and to
fail at either in every way a real one does. So the driver itself is under test, not a copy of it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Final

SSL_REQUEST: Final = 80877103
IDLE, OPEN, FAILED = b"I", b"T", b"E"


class HangUpError(Exception):
    """The server closes the connection without a word."""


class Wire:
    """One connection, as its server sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._state = IDLE

    def send(self, kind: bytes, body: bytes = b"") -> None:
        self._connection.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def done(self, tag: str) -> None:
        """CommandComplete."""
        self.send(b"C", tag.encode() + b"\0")

    def ready(self, state: bytes) -> None:
        """ReadyForQuery."""
        self._state = state
        self.send(b"Z", state)

    def complain(self, kind: bytes, severity: str, sqlstate: str, words: str) -> None:
        """ErrorResponse (`E`) or NoticeResponse (`N`)."""
        fields = {b"S": severity, b"V": severity, b"C": sqlstate, b"M": words}
        body = b"".join(code + text.encode() + b"\0" for code, text in fields.items())
        self.send(kind, body + b"\0")

    def silence(self) -> None:
        """Say nothing until the other side goes away."""
        while self._connection.recv(4096):
            pass
        raise HangUpError

    def greet(self) -> None:
        (length,) = struct.unpack("!i", self._exactly(4))
        (code,) = struct.unpack("!i", self._exactly(length - 4)[:4])
        if code == SSL_REQUEST:
            self._connection.sendall(b"N")
            self.greet()
            return
        self.send(b"R", struct.pack("!i", 0))
        for name, value in (("server_version", "17.0"), ("client_encoding", "UTF8")):
            self.send(b"S", name.encode() + b"\0" + value.encode() + b"\0")
        self.ready(IDLE)

    def serve(self, insert: Callable[[Wire], None], commit: Callable[[Wire], None]) -> None:
        """Answer until the other side says goodbye."""
        while True:
            kind = self._exactly(1)
            (length,) = struct.unpack("!i", self._exactly(4))
            body = self._exactly(length - 4)
            match kind:
                case b"X":
                    return
                case b"Q":
                    self._simple(body.rstrip(b"\0").decode(), commit)
                case b"P":
                    self.send(b"1")
                case b"B":
                    self.send(b"2")
                case b"D":
                    self.send(b"n")
                case b"E":
                    insert(self)
                case b"S":
                    self.ready(self._state)
                case _:
                    raise AssertionError(f"the driver sent {kind!r}")

    def fail(self, sqlstate: str) -> None:
        """An error of a statement: the transaction is over, the connection is not."""
        self._state = FAILED
        self.complain(b"E", "ERROR", sqlstate, f"the server said {sqlstate}")

    def _simple(self, statement: str, commit: Callable[[Wire], None]) -> None:
        if statement.startswith("BEGIN"):
            self.done("BEGIN")
            self.ready(OPEN)
        elif statement == "ROLLBACK":
            self.done("ROLLBACK")
            self.ready(IDLE)
        elif statement == "COMMIT":
            commit(self)
        else:
            raise AssertionError(f"the driver asked {statement}")

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self._connection.recv(count - len(found))
            if not more:
                raise HangUpError
            found += more
        return found


@contextlib.contextmanager
def a_server(
    insert: Callable[[Wire], None], commit: Callable[[Wire], None]
) -> Iterator[tuple[str, int]]:
    """The address of a server that takes one connection and treats INSERT and COMMIT so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(HangUpError, ConnectionError):
                wire = Wire(connection)
                wire.greet()
                wire.serve(insert, commit)

        thread = threading.Thread(target=take)
        thread.start()
        yield listener.getsockname()
        thread.join()


def accept(wire: Wire) -> None:
    """An INSERT that works."""
    wire.done("INSERT 0 1")


def commit(wire: Wire) -> None:
    """A COMMIT that works."""
    wire.done("COMMIT")
    wire.ready(IDLE)


def hang_up(_: Wire) -> None:
    """The host is gone."""
    raise HangUpError
