"""The thin part that speaks to the driver."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from lab.checker.session import Endpoint, RolledBackError, Session
from lab.checker.watch import Watch
from lab.checker.workloads.base import RefusedError


@dataclass
class FakeNotice:
    severity_nonlocalized: str
    message_primary: str | None


@dataclass
class FakeCursor:
    statusmessage: str
    rowcount: int = 1

    def fetchall(self) -> list[tuple[int]]:
        return [(1,), (2,)]


@dataclass
class FakePgconn:
    transaction_status: TransactionStatus = TransactionStatus.INTRANS
    socket: int = -1


@dataclass
class FakeConnection:
    """What the session touches of `psycopg.Connection`."""

    answer: str = "COMMIT"
    notices: list[FakeNotice] = field(default_factory=list)  # come with COMMIT
    error: psycopg.Error | None = None  # of ROLLBACK
    broken: bool = False
    closed: bool = False
    isolation_level: psycopg.IsolationLevel | None = None
    pgconn: FakePgconn = field(default_factory=FakePgconn)
    handler: Callable[[FakeNotice], None] | None = None
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def add_notice_handler(self, handler: Callable[[FakeNotice], None]) -> None:
        self.handler = handler

    def execute(
        self, statement: str, parameters: Any = None, *, prepare: bool | None = None
    ) -> FakeCursor:
        self.asked.append((statement, parameters))
        if statement == "COMMIT":
            assert prepare is False
            assert self.handler is not None
            for notice in self.notices:
                self.handler(notice)
            return FakeCursor(self.answer)
        return FakeCursor("INSERT 0 1")

    def rollback(self) -> None:
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed = True


def a_session(connection: FakeConnection, *, serializable: bool = False) -> Session:
    return Session(cast("psycopg.Connection[Any]", connection), serializable=serializable)


def test_rows_and_changes_are_what_the_server_says() -> None:
    connection = FakeConnection()
    session = a_session(connection)

    assert session.rows("SELECT id FROM t WHERE id = %s", (7,)) == [(1,), (2,)]
    assert session.change("DELETE FROM t") == 1
    assert connection.asked == [("SELECT id FROM t WHERE id = %s", (7,)), ("DELETE FROM t", None)]


def test_a_commit_is_one_only_when_the_server_says_so() -> None:
    assert a_session(FakeConnection()).commit() == ""
    with pytest.raises(RolledBackError, match="ROLLBACK"):
        a_session(FakeConnection(answer="ROLLBACK")).commit()


def test_a_commit_of_nothing_is_refused() -> None:
    connection = FakeConnection(pgconn=FakePgconn(transaction_status=TransactionStatus.IDLE))

    with pytest.raises(RefusedError):
        a_session(connection).commit()
    assert connection.asked == []


@pytest.mark.parametrize(
    ("severity", "words", "expected"),
    [
        ("WARNING", "canceling wait for synchronous replication", "canceling wait for"),
        ("WARNING", None, "a warning without words"),
        ("NOTICE", "relation exists, skipping", ""),
    ],
)
def test_a_warning_that_comes_with_commit_is_told(
    severity: str, words: str | None, expected: str
) -> None:
    session = a_session(FakeConnection(notices=[FakeNotice(severity, words)]))

    told = session.commit()

    assert told.startswith(expected)
    assert bool(told) == bool(expected)


def test_a_warning_belongs_to_one_transaction() -> None:
    connection = FakeConnection(notices=[FakeNotice("WARNING", "once")])
    session = a_session(connection)

    assert session.commit() == "once"
    connection.notices = []
    assert session.commit() == ""
    assert connection.handler is not None
    connection.handler(FakeNotice("WARNING", "before a rollback"))
    session.rollback()
    assert session.commit() == ""


def test_isolation_is_asked_for_where_it_is_wanted() -> None:
    plain, strict = FakeConnection(), FakeConnection()
    a_session(plain)
    a_session(strict, serializable=True)

    assert plain.isolation_level is None
    assert strict.isolation_level is psycopg.IsolationLevel.SERIALIZABLE


@pytest.mark.parametrize(
    ("connection", "usable"),
    [
        (FakeConnection(), True),
        (FakeConnection(broken=True), False),
        (FakeConnection(error=psycopg.OperationalError("gone")), False),
    ],
    ids=["well", "broken", "gone"],
)
def test_a_rolled_back_session_says_whether_it_can_go_on(
    *, connection: FakeConnection, usable: bool
) -> None:
    assert a_session(connection).rollback() is usable


def test_a_cut_session_wakes_whoever_waits_on_its_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        a_session(FakeConnection(pgconn=FakePgconn(socket=ours.fileno()))).sever()

        assert ours.recv(1) == b""
        assert theirs.recv(1) == b""


def test_the_watch_wakes_a_client_whose_server_is_silent() -> None:
    ours, theirs = socket.socketpair()
    session = a_session(FakeConnection(pgconn=FakePgconn(socket=ours.fileno())))
    watch, stop = Watch(time.monotonic), threading.Event()
    thread = threading.Thread(target=watch.run, args=(stop,))
    thread.start()
    with ours, theirs, watch.limit(session, 0.01):
        assert ours.recv(1) == b""  # for ever, were it not cut
    stop.set()
    thread.join()


def test_a_session_without_a_socket_can_be_cut_and_closed() -> None:
    connection = FakeConnection()
    session = a_session(connection)

    session.sever()
    session.close()

    assert connection.closed


def test_an_endpoint_names_all_its_hosts_and_what_it_wants() -> None:
    both = Endpoint(name="proxies", hosts=("10.1.1.1", "10.2.1.1"), port=5432, read_write=True)
    node = Endpoint(name="db", hosts=("10.1.2.1",), port=5433)

    told = conninfo_to_dict(both.conninfo(user="app", dbname="app"))
    assert told["host"] == "10.1.1.1,10.2.1.1"
    assert told["target_session_attrs"] == "read-write"
    assert told["application_name"] == "pgmend-checker"
    assert "password" not in told
    told = conninfo_to_dict(node.conninfo(user="app", dbname="app"))
    assert (told["host"], str(told["port"])) == ("10.1.2.1", "5433")
    assert "target_session_attrs" not in told
