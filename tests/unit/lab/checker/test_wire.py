"""What the client says about its operation when a server treats it so, through the real driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from lab.checker.client import Client
from lab.checker.history import Recorder, read
from lab.checker.session import Endpoint, Session
from lab.checker.settings import Settings
from lab.checker.watch import Watch
from lab.checker.workloads.append import AppendWorkload
from lab.load.history import Outcome
from tests.unit.lab.checker.executions import seeded
from tests.unit.lab.checker.wire import IDLE, Wire, a_server, accept, commit, hang_up

SYNC_CANCELLED = "canceling wait for synchronous replication due to user request"
SYNC_ENDED = (
    "canceling the wait for synchronous replication and terminating connection due to"
    " administrator command"
)
Treatment = Callable[[Wire], None]


def cancelled_wait(wire: Wire) -> None:
    wire.complain(b"N", "WARNING", "01000", SYNC_CANCELLED)
    commit(wire)


def ended_wait(wire: Wire) -> None:
    wire.complain(b"N", "WARNING", "57P01", SYNC_ENDED)
    hang_up(wire)


def only_a_notice(wire: Wire) -> None:
    wire.complain(b"N", "NOTICE", "00000", "nothing to worry about")
    commit(wire)


def rolled_back(wire: Wire) -> None:
    wire.done("ROLLBACK")
    wire.ready(IDLE)


def refused(sqlstate: str) -> Treatment:
    def treat(wire: Wire) -> None:
        wire.fail(sqlstate)
        wire.ready(IDLE)

    return treat


def terminated(wire: Wire) -> None:
    wire.complain(b"E", "FATAL", "57P01", "terminating connection due to administrator command")
    hang_up(wire)


def one_operation(
    tmp_path: Path, *, insert: Treatment = accept, at_commit: Treatment = commit
) -> tuple[Outcome, str, bool]:
    """Outcome, reason, and whether the client would go on with its connection."""
    watch, stop = Watch(time.monotonic), threading.Event()
    watching = threading.Thread(target=watch.run, args=(stop,))
    watching.start()
    with (
        a_server(insert, at_commit) as (host, port),
        Recorder(tmp_path / "append.jsonl") as recorder,
    ):
        endpoint = Endpoint(name="server", hosts=(host,), port=port)
        session = Session.open(
            endpoint.conninfo(user="app", dbname="app"), password="", serializable=False
        )
        client = Client(
            1,
            AppendWorkload(1),
            path=endpoint.name,
            connect=lambda: session,
            recorder=recorder,
            watch=watch,
            settings=Settings(deadline_s=0.3),
            rng=seeded(1),
            clock=time.monotonic,
            stop=stop,
        )
        reusable = client.step(session)
        session.close()
    stop.set()
    watching.join()
    (operation,) = read(tmp_path / "append.jsonl").operations
    return operation.outcome, operation.reason, reusable


def test_a_commit_that_the_server_confirms_is_acknowledged(tmp_path: Path) -> None:
    assert one_operation(tmp_path) == (Outcome.ACKED, "", True)


def test_a_notice_that_is_no_warning_changes_nothing(tmp_path: Path) -> None:
    assert one_operation(tmp_path, at_commit=only_a_notice) == (Outcome.ACKED, "", True)


def test_a_cancelled_wait_for_replication_is_unknown(tmp_path: Path) -> None:
    told = one_operation(tmp_path, at_commit=cancelled_wait)

    assert told == (Outcome.UNKNOWN, SYNC_CANCELLED, False)


@pytest.mark.parametrize("at_commit", [hang_up, ended_wait, terminated, Wire.silence])
def test_a_line_that_ends_after_commit_was_sent_is_unknown(
    tmp_path: Path, at_commit: Treatment
) -> None:
    outcome, reason, reusable = one_operation(tmp_path, at_commit=at_commit)

    assert (outcome, reusable) == (Outcome.UNKNOWN, False)
    assert reason


@pytest.mark.parametrize("at_commit", [rolled_back, refused("40001"), refused("23505")])
def test_a_commit_that_the_server_refuses_surely_did_not_happen(
    tmp_path: Path, at_commit: Treatment
) -> None:
    outcome, reason, _ = one_operation(tmp_path, at_commit=at_commit)

    assert outcome is Outcome.FAILED
    assert reason


@pytest.mark.parametrize("insert", [hang_up, terminated, Wire.silence])
def test_a_line_that_ends_before_commit_was_sent_surely_did_nothing(
    tmp_path: Path, insert: Treatment
) -> None:
    outcome, reason, reusable = one_operation(tmp_path, insert=insert)

    assert (outcome, reusable) == (Outcome.FAILED, False)
    assert reason


@pytest.mark.parametrize("sqlstate", ["40001", "25006", "42P01"])
def test_a_refused_statement_is_failed_and_its_connection_goes_on(
    tmp_path: Path, sqlstate: str
) -> None:
    told = one_operation(tmp_path, insert=lambda wire: wire.fail(sqlstate))

    assert told == (Outcome.FAILED, f"the server said {sqlstate}", True)


def test_a_second_host_is_tried_when_the_first_refuses() -> None:
    with a_server(accept, commit) as (host, port):
        endpoint = Endpoint(name="both", hosts=("127.0.0.2", host), port=port)
        session = Session.open(
            endpoint.conninfo(user="app", dbname="app"), password="", serializable=True
        )
        assert session.change("INSERT INTO t VALUES (%s)", (1,)) == 1
        assert session.commit() == ""
        session.close()


def test_a_server_that_is_not_there_is_an_error_of_the_driver() -> None:
    with a_server(accept, commit) as (host, port):
        gone = Endpoint(name="gone", hosts=("127.0.0.2",), port=port)
        with pytest.raises(psycopg.OperationalError):
            Session.open(gone.conninfo(user="app", dbname="app"), password="", serializable=False)
        there = Endpoint(name="there", hosts=(host,), port=port)
        dsn = there.conninfo(user="app", dbname="app")
        Session.open(dsn, password="", serializable=False).close()
