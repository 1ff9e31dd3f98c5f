"""A client claims nothing that it was not told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab.checker.calls import Transfer
from lab.checker.client import Client
from lab.checker.history import Operation, Recorder, read
from lab.checker.session import RolledBackError
from lab.checker.settings import Settings, unique
from lab.checker.watch import Watch
from lab.checker.workloads import append, bank, register
from lab.checker.workloads.append import AppendWorkload
from lab.checker.workloads.bank import BankWorkload
from lab.checker.workloads.base import Workload
from lab.checker.workloads.register import RegisterWorkload
from lab.load.history import Outcome
from tests.unit.lab.checker.executions import seeded
from tests.unit.lab.checker.fakes import COMMIT_WARNING, Database, FakeSession, an_error, raising

SETTINGS = Settings(keys=2, accounts=3, rate_hz=1e9)


class Clock:
    """Goes on by a second whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def a_client(
    recorder: Recorder,
    workload: Workload,
    *,
    connect: Callable[[], FakeSession] | None = None,
    stop: threading.Event | None = None,
    watch: Watch | None = None,
    seed: int = 1,
) -> Client:
    return Client(
        4,
        workload,
        path="proxy",
        connect=connect or raising(AssertionError("nobody may connect")),
        recorder=recorder,
        watch=watch or Watch(lambda: 0.0),
        settings=SETTINGS,
        rng=seeded(seed),
        clock=Clock(),
        stop=stop or threading.Event(),
    )


def one_append(
    tmp_path: Path, database: Database, session: FakeSession | None = None
) -> tuple[Operation, bool]:
    """The history of one append, and whether its session may go on."""
    path = tmp_path / "append.jsonl"
    with Recorder(path) as recorder:
        client = a_client(recorder, AppendWorkload(4))
        reusable = client.step(session or FakeSession(database))
    (operation,) = read(path).operations
    return operation, reusable


def test_a_commit_without_a_warning_is_acknowledged(tmp_path: Path) -> None:
    database = Database()

    operation, reusable = one_append(tmp_path, database)

    assert (operation.outcome, operation.reason, reusable) == (Outcome.ACKED, "", True)
    assert (operation.invoked_at, operation.completed_at) == (1.0, 2.0)
    assert database.tables.appended == [unique(4, 1)]


@pytest.mark.parametrize("sqlstate", [None, "40001", "25006", "57P01", "53300"])
def test_whatever_fails_before_commit_is_sent_surely_did_not_happen(
    tmp_path: Path, sqlstate: str | None
) -> None:
    database = Database(before_commit=raising(an_error(sqlstate)))

    operation, _ = one_append(tmp_path, database)

    assert (operation.outcome, operation.result) == (Outcome.FAILED, ())
    assert operation.reason
    assert database.tables.appended == []


@pytest.mark.parametrize(
    ("sqlstate", "outcome"),
    [
        (None, Outcome.UNKNOWN),
        ("57P01", Outcome.UNKNOWN),
        ("57014", Outcome.UNKNOWN),
        ("08006", Outcome.UNKNOWN),
        ("40001", Outcome.FAILED),
        ("23505", Outcome.FAILED),
    ],
)
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "gone"])
def test_once_commit_is_sent_only_the_servers_refusal_is_a_failure(
    *, tmp_path: Path, sqlstate: str | None, outcome: Outcome, kept: bool
) -> None:
    step = raising(an_error(sqlstate))
    database = Database(after_commit=step) if kept else Database(at_commit=step)

    operation, reusable = one_append(tmp_path, database)

    assert (operation.outcome, reusable) == (outcome, False)
    assert (operation.result, bool(operation.reason)) == ((), True)


def test_a_commit_with_a_warning_is_unknown(tmp_path: Path) -> None:
    operation, reusable = one_append(tmp_path, Database(at_commit=lambda: COMMIT_WARNING))

    assert (operation.outcome, operation.reason) == (Outcome.UNKNOWN, COMMIT_WARNING)
    assert not reusable


def test_a_commit_answered_with_rollback_surely_did_not_happen(tmp_path: Path) -> None:
    error = RolledBackError("the server answered COMMIT with ROLLBACK")

    operation, _ = one_append(tmp_path, Database(at_commit=raising(error)))

    assert operation.outcome is Outcome.FAILED


@pytest.mark.parametrize("usable", [True, False])
def test_after_a_failure_the_session_goes_on_if_it_can(*, tmp_path: Path, usable: bool) -> None:
    database = Database(before_commit=raising(an_error("40001")))
    session = FakeSession(database)
    session.usable = usable

    _, reusable = one_append(tmp_path, database, session)

    assert (reusable, session.rollbacks) == (usable, 1)


def test_an_error_of_the_program_itself_is_not_swallowed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        one_append(tmp_path, Database(before_commit=raising(ZeroDivisionError())))

    (operation,) = read(tmp_path / "append.jsonl").operations
    assert (operation.outcome, operation.completed_at) == (Outcome.UNKNOWN, None)


@pytest.mark.parametrize("when", ["before", "commit"])
def test_what_does_not_answer_in_time_is_cut_and_is_unknown_only_after_commit(
    tmp_path: Path, when: str
) -> None:
    """The clock jumps while the server is silent; the cut wakes the client with an error."""
    now = [0.0]
    watch = Watch(lambda: now[0])
    database = Database()
    session = FakeSession(database)

    def silence(*_: object) -> Any:
        now[0] += SETTINGS.deadline_s
        watch.sever_overdue()
        assert session.severed
        raise an_error(None)

    if when == "before":
        database.before_commit = silence
    else:
        database.at_commit = silence
    with Recorder(tmp_path / "append.jsonl") as recorder:
        a_client(recorder, AppendWorkload(4), watch=watch).step(session)

    (operation,) = read(tmp_path / "append.jsonl").operations
    assert operation.outcome is (Outcome.FAILED if when == "before" else Outcome.UNKNOWN)


def test_nothing_is_cut_in_time_or_after_its_end() -> None:
    now = [0.0]
    watch = Watch(lambda: now[0])
    session = FakeSession(Database())

    with watch.limit(session, 5.0):
        now[0] = 4.9
        watch.sever_overdue()
    now[0] = 99.0
    watch.sever_overdue()

    assert not session.severed


def test_a_client_connects_again_and_never_asks_the_same_twice(tmp_path: Path) -> None:
    """Each third COMMIT breaks the line, each second connection is refused."""
    stop = threading.Event()
    database = Database()
    commits, connections = [0], [0]
    opened: list[FakeSession] = []

    def at_commit() -> str:
        commits[0] += 1
        if commits[0] == 20:
            stop.set()
        if commits[0] % 3 == 0:
            raise an_error(None)
        return ""

    def connect() -> FakeSession:
        connections[0] += 1
        if connections[0] % 2 == 0:
            raise psycopg.OperationalError("connection refused")
        opened.append(FakeSession(database))
        return opened[-1]

    database.at_commit = at_commit
    with Recorder(tmp_path / "append.jsonl") as recorder:
        client = a_client(recorder, AppendWorkload(4), connect=connect, stop=stop)
        client.run()

    operations = read(tmp_path / "append.jsonl").operations
    assert [it.number for it in operations] == list(range(1, 21))
    assert [it.outcome for it in operations] == [
        Outcome.UNKNOWN if n % 3 == 0 else Outcome.ACKED for n in range(1, 21)
    ]
    assert len(opened) == 7
    assert all(session.closed for session in opened)


def test_a_stopped_client_asks_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with Recorder(tmp_path / "append.jsonl") as recorder:
        a_client(recorder, AppendWorkload(4), stop=stop).run()

    assert read(tmp_path / "append.jsonl").operations == ()


def a_world(settings: Settings = SETTINGS) -> Database:
    database = Database()
    session = FakeSession(database)
    for statement in (*register.schema(settings), *bank.schema(settings), *append.SCHEMA):
        session.change(statement)
    session.commit()
    return database


@pytest.mark.parametrize(
    "make",
    [AppendWorkload, lambda n: RegisterWorkload(n, SETTINGS), lambda n: BankWorkload(n, SETTINGS)],
    ids=["append", "register", "bank"],
)
def test_the_same_seed_asks_the_same(tmp_path: Path, make: Callable[[int], Workload]) -> None:
    def asked(name: str, seed: int) -> list[Any]:
        with Recorder(tmp_path / name) as recorder:
            client = a_client(recorder, make(4), seed=seed)
            session = FakeSession(a_world())
            for _ in range(30):
                client.step(session)
        return [it.call for it in read(tmp_path / name).operations]

    first = asked("first", 7)
    assert first == asked("second", 7)
    assert len({*map(str, first)}) > 1


@pytest.mark.parametrize("make", [RegisterWorkload, BankWorkload], ids=["register", "bank"])
def test_what_a_replica_answers_is_no_reading_of_the_primary(
    tmp_path: Path, make: Callable[[int, Settings], Workload]
) -> None:
    database = a_world()
    database.replica = True
    with Recorder(tmp_path / "history") as recorder:
        client = a_client(recorder, make(4, SETTINGS))
        session = FakeSession(database)
        for _ in range(40):
            client.step(session)

    reads = [it for it in read(tmp_path / "history").operations if "read" in str(it)]
    assert reads
    assert {(it.outcome, it.reason) for it in reads} == {(Outcome.FAILED, "a replica answered")}


def test_a_row_that_is_gone_is_a_failed_operation_not_a_crash(tmp_path: Path) -> None:
    database = a_world()
    database.tables.registers = {}
    with Recorder(tmp_path / "history") as recorder:
        client = a_client(recorder, RegisterWorkload(4, SETTINGS))
        session = FakeSession(database)
        for _ in range(20):
            client.step(session)

    operations = read(tmp_path / "history").operations
    assert {it.outcome for it in operations} == {Outcome.FAILED}
    assert {type(it.call).__name__ for it in operations} == {
        "ReadRegister",
        "WriteRegister",
        "CompareAndSet",
    }


def test_compare_and_sets_that_see_what_they_expect_change_the_row(tmp_path: Path) -> None:
    database = a_world()
    with Recorder(tmp_path / "history") as recorder:
        client = a_client(recorder, RegisterWorkload(4, SETTINGS))
        other = a_client(recorder, RegisterWorkload(5, SETTINGS), seed=2)
        other._number = 5
        session = FakeSession(database)
        for _ in range(60):
            client.step(session)
            other.step(session)

    swaps = [it for it in read(tmp_path / "history").operations if "compare" in str(it)]
    succeeded = {it.result[0] == getattr(it.call, "expected", None) for it in swaps}
    assert succeeded == {True, False}


@pytest.mark.parametrize("overdraft", [True, False])
def test_a_transfer_beyond_the_balance_is_refused_where_that_is_forbidden(
    *, overdraft: bool
) -> None:
    settings = Settings(accounts=2, initial_balance=5, overdraft=overdraft)
    database = a_world(settings)
    session = FakeSession(database)
    call = Transfer(id=1, source=0, target=1, amount=6)

    result = BankWorkload(4, settings).perform(session, call)
    session.commit()

    assert result == ((1,) if overdraft else (0,))
    assert database.tables.balances == ({0: -1, 1: 11} if overdraft else {0: 5, 1: 5})
    assert database.tables.ledger == ([(1, 0, 1, 6)] if overdraft else [])
