"""The checker as a whole, against a database in memory: one that keeps its promises holds, and
whatever such a database does wrong is found."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from lab.checker import look
from lab.checker.final import FinalState
from lab.checker.history import read
from lab.checker.judge import Verdict, judge
from lab.checker.look import NoPrimaryError
from lab.checker.run import Checker, CheckerError
from lab.checker.session import APPLICATION_NAME, Endpoint
from lab.checker.settings import Kind, Settings
from lab.checker.verdicts.finding import Anomaly
from lab.checker.verdicts.windows import Window
from lab.checker.workloads import append
from lab.load.history import Outcome
from tests.unit.lab.checker.fakes import COMMIT_WARNING, Database, FakeSession, an_error, raising

PROXIES = (
    Endpoint(name="euw1", hosts=("10.1.1.1",), port=5432),
    Endpoint(name="euw3", hosts=("10.2.1.1",), port=5432),
)
COPY = Endpoint(name="db-euw3-a", hosts=("10.2.1.2",), port=5433)
SETTINGS = Settings(clients=2, rate_hz=2000.0, keys=2, accounts=4)
ENOUGH = 25  # commits of each client
CLIENTS = len(Kind) * SETTINGS.clients


class Slept:
    """A clock that goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def a_checker(
    directory: Path,
    database: Database,
    *,
    copy_of: Database | None = None,
    clock: Slept | None = None,
) -> Checker:
    def connect(endpoint: Endpoint, *, serializable: bool) -> FakeSession:
        if endpoint == COPY and copy_of is not None:
            return copy_of.open(endpoint, serializable=serializable)
        return database.open(endpoint, serializable=serializable)

    times = {} if clock is None else {"clock": clock, "sleep": clock.sleep}
    return Checker(
        PROXIES,
        directory,
        seed=1,
        password="",
        settings=SETTINGS,
        open_session=connect,
        **times,  # type: ignore[arg-type]
    )


def until_enough(database: Database) -> threading.Event:
    """Set when every client has come to its COMMIT so often; a client is a thread."""
    enough = threading.Event()
    commits: Counter[str] = Counter()
    before = database.at_commit

    def at_commit() -> str:
        commits[threading.current_thread().name] += 1
        clients = [number for name, number in commits.items() if name.startswith("checker_")]
        if len(clients) == CLIENTS and min(clients) >= ENOUGH:
            enough.set()
        return before()

    database.at_commit = at_commit
    return enough


def run(directory: Path, database: Database) -> tuple[Checker, FinalState]:
    checker = a_checker(directory, database)
    enough = until_enough(database)
    with checker:
        assert enough.wait(60.0)
    database.at_commit = lambda: ""
    return checker, checker.final([COPY])


def the_verdict(directory: Path, final: FinalState) -> Verdict:
    return judge(directory, final, (), ())


def test_a_database_that_keeps_its_promises_holds(tmp_path: Path) -> None:
    database = Database()

    _, final = run(tmp_path, database)

    verdict = the_verdict(tmp_path, final)
    assert (verdict.sentences, verdict.doubts) == ((), ())
    assert all(sum(verdict.counts[kind].values()) >= ENOUGH for kind in Kind)
    assert {copy.copy for copy in final.copies} == {look.PRIMARY, COPY.name}
    assert FinalState.load(tmp_path) == final


def test_clients_take_turns_over_the_endpoints_and_the_bank_is_serializable(
    tmp_path: Path,
) -> None:
    database = Database()
    run(tmp_path, database)

    for kind in Kind:
        operations = read(kind.history(tmp_path)).operations
        assert {it.path for it in operations} == {"euw1", "euw3"}
    assert {session.serializable for session in database.sessions} == {True, False}
    assert all(session.closed for session in database.sessions)


def test_a_line_that_breaks_at_commit_now_and_then_is_no_finding(tmp_path: Path) -> None:
    database = Database()
    turn = [0]

    def now_and_then() -> None:
        turn[0] += 1
        if turn[0] > 5 and turn[0] % 7 == 0:
            raise an_error(None)

    database.after_commit = now_and_then
    _, final = run(tmp_path, database)

    verdict = the_verdict(tmp_path, final)
    assert verdict.holds
    assert any(Outcome.UNKNOWN in counts for counts in verdict.counts.values())


def test_acknowledged_rows_that_are_taken_away_are_found(tmp_path: Path) -> None:
    database = Database()
    checker, _ = run(tmp_path, database)
    del database.tables.appended[-3:]
    database.tables.ledger.pop()

    found = the_verdict(tmp_path, checker.final([]))

    assert {it.anomaly for it in found.broken} == {Anomaly.LOST, Anomaly.MONEY}
    assert found.lost == 4
    everything = Window(begin=0.0, end=float("inf"))
    excused = judge(tmp_path, checker.final([]), (), (everything,))
    assert {it.anomaly for it in excused.broken} == {Anomaly.MONEY}


def test_a_database_that_forgets_what_it_acknowledged_is_found(tmp_path: Path) -> None:
    """From some moment on every commit is acknowledged and none is kept."""
    database = Database()
    enough = until_enough(database)
    with (checker := a_checker(tmp_path, database)):
        assert enough.wait(60.0)
        with database.lock:
            kept = database.tables
            database.at_commit = lambda: ""
            more = until_enough(database)
            database.after_commit = lambda: setattr(database, "tables", kept)
        assert more.wait(60.0)
    database.after_commit = lambda: None

    verdict = the_verdict(tmp_path, checker.final([]))

    gone = [it for it in verdict.broken if it.anomaly is Anomaly.LOST]
    assert any("acknowledged appends are gone" in it.sentence for it in gone)
    assert any("acknowledged transfers are gone" in it.sentence for it in gone)
    assert any(it.sentence.startswith("key ") for it in verdict.broken)


def test_a_copy_that_differs_is_found(tmp_path: Path) -> None:
    database = Database()
    run(tmp_path, database)
    other = Database(tables=replace(database.tables, appended=[1, 2, 3]))
    checker = a_checker(tmp_path, database, copy_of=other)

    verdict = the_verdict(tmp_path, checker.final([COPY]))

    (sentence,) = verdict.sentences
    assert sentence.startswith(f"table {append.TABLE} differs between copies at 0/5000028")


@pytest.mark.parametrize(
    ("replayed", "words"),
    [([None], "not a copy"), ([False] * 1000, "has not replayed up to 0/5000028")],
    ids=["a primary", "behind"],
)
def test_a_copy_that_cannot_be_compared_is_a_doubt(
    tmp_path: Path, replayed: list[bool | None], words: str
) -> None:
    other = Database(replayed=replayed)
    checker = a_checker(tmp_path, Database(), copy_of=other, clock=Slept())

    final = checker.final([COPY])

    (doubt,) = final.doubts
    assert doubt.startswith("db-euw3-a could not be compared")
    assert words in doubt
    assert {copy.copy for copy in final.copies} == {look.PRIMARY}


def test_a_copy_is_read_once_it_has_caught_up(tmp_path: Path) -> None:
    other = Database(replayed=[False, False])
    clock = Slept()
    checker = a_checker(tmp_path, Database(), copy_of=other, clock=clock)

    final = checker.final([COPY])

    assert final.doubts == ()
    assert clock.now == pytest.approx(2 * look.LOOK_AGAIN_AFTER_S)


def test_the_primary_is_read_once_no_transaction_of_the_checker_is_open(tmp_path: Path) -> None:
    clock = Slept()
    checker = a_checker(tmp_path, Database(still_open=[2, 1]), clock=clock)

    final = checker.final([])

    assert final.doubts == ()
    assert final.at == pytest.approx(2 * look.LOOK_AGAIN_AFTER_S)


def test_transactions_that_stay_open_are_a_doubt(tmp_path: Path) -> None:
    checker = a_checker(tmp_path, Database(still_open=[3] * 1000), clock=Slept())

    (doubt,) = checker.final([]).doubts

    assert doubt.startswith("3 transactions of the checker were still open")


def test_a_primary_that_never_answers_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    checker = a_checker(tmp_path, Database(before_commit=raising(an_error(None))), clock=Slept())

    with pytest.raises(NoPrimaryError, match="when the cluster is well"):
        checker.final([])


@pytest.mark.parametrize(
    "database",
    [
        Database(before_commit=raising(an_error("25006"))),
        Database(at_commit=raising(an_error(None))),
        Database(at_commit=lambda: COMMIT_WARNING),
    ],
    ids=["read-only", "no answer", "not replicated"],
)
def test_tables_that_nobody_takes_are_an_error(tmp_path: Path, database: Database) -> None:
    checker = a_checker(tmp_path, database, clock=Slept())

    with pytest.raises(CheckerError, match="could not make its tables"):
        checker.start()

    assert {session.path for session in database.sessions} == {"euw1", "euw3"}
    assert not _threads()


def test_an_error_in_a_client_comes_out_at_the_end(tmp_path: Path) -> None:
    database = Database()
    enough = until_enough(database)
    checker = a_checker(tmp_path, database)
    checker.start()
    assert enough.wait(60.0)
    struck = threading.Event()

    def strike(_: str) -> None:
        struck.set()
        raise ZeroDivisionError

    database.before_commit = strike
    assert struck.wait(60.0)

    with pytest.raises(ZeroDivisionError):
        checker.stop()
    assert not _threads()


def test_a_checker_runs_once(tmp_path: Path) -> None:
    checker = a_checker(tmp_path, Database())
    with pytest.raises(CheckerError, match="has not been started"):
        checker.stop()
    checker.start()
    with pytest.raises(CheckerError, match="already been started"):
        checker.start()
    checker.stop()
    assert not _threads()


def test_the_judge_never_loads_the_driver() -> None:
    """It judges from files, on any machine, and can open no connection."""
    program = "import sys, lab.checker.judge; sys.exit('psycopg' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_clients_can_be_told_from_others_by_their_application_name() -> None:
    told = PROXIES[0].conninfo(user="app", dbname="app")

    assert f"application_name={APPLICATION_NAME}" in told


def _threads() -> list[str]:
    return [it.name for it in threading.enumerate() if it.name.startswith("checker")]
