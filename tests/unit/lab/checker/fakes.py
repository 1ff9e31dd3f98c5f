"""A database in memory that knows the checker's statements, and breaks when it is told to."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from lab.checker import look
from lab.checker.session import Endpoint
from lab.checker.workloads import append, bank, register
from lab.checker.workloads.base import Row

COMMIT_WARNING = "canceling wait for synchronous replication due to user request"


@dataclass
class Tables:
    """Everything the checker makes."""

    appended: list[int] = field(default_factory=list)
    registers: dict[int, tuple[int, int]] = field(default_factory=dict)
    balances: dict[int, int] = field(default_factory=dict)
    ledger: list[tuple[int, int, int, int]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)


@dataclass
class Database:
    """One at a time: a transaction holds the lock from its first statement to its end."""

    tables: Tables = field(default_factory=Tables)
    lock: threading.Lock = field(default_factory=threading.Lock)
    replica: bool = False
    still_open: list[int] = field(default_factory=list)  # answers to come; then 0
    replayed: list[bool | None] = field(default_factory=list)  # answers to come; then True
    before_commit: Callable[[str], None] = lambda _: None  # may raise; gets the statement
    at_commit: Callable[[], str] = lambda: ""  # may raise, before anything is kept
    after_commit: Callable[[], None] = lambda: None  # may raise, after it was kept
    sessions: list[FakeSession] = field(default_factory=list)

    def open(self, endpoint: Endpoint, *, serializable: bool) -> FakeSession:
        session = FakeSession(self, path=endpoint.name, serializable=serializable)
        self.sessions.append(session)
        return session


class FakeSession:
    """A session of that database."""

    def __init__(
        self, database: Database, *, path: str = "proxy", serializable: bool = False
    ) -> None:
        self.path = path
        self.serializable = serializable
        self.closed = False
        self.severed = False
        self.rollbacks = 0
        self.usable = True
        self._database = database
        self._tables: Tables | None = None

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[Row]:
        tables = self._within(statement)
        return _rows(self._database, tables, statement, tuple(parameters))

    def change(self, statement: str, parameters: Sequence[object] = ()) -> int:
        return _change(self._within(statement), statement, tuple(parameters))

    def commit(self) -> str:
        try:
            warning = self._database.at_commit()
            if self._tables is not None:
                self._database.tables = self._tables
            self._database.after_commit()
        finally:
            self._end()
        return warning

    def rollback(self) -> bool:
        self.rollbacks += 1
        self._end()
        return self.usable

    def close(self) -> None:
        self.closed = True
        self._end()

    def sever(self) -> None:
        self.severed = True

    def _within(self, statement: str) -> Tables:
        self._database.before_commit(statement)
        if self._tables is None:
            self._database.lock.acquire()
            self._tables = copy.deepcopy(self._database.tables)
        return self._tables

    def _end(self) -> None:
        if self._tables is not None:
            self._tables = None
            self._database.lock.release()


def _rows(
    database: Database, tables: Tables, statement: str, parameters: tuple[Any, ...]
) -> list[Row]:
    answers: dict[str, Callable[[], list[Row]]] = {
        append.READ_ALL: lambda: [(id_,) for id_ in sorted(tables.appended)],
        register.READ: lambda: [(database.replica, *it) for it in _one(tables, parameters)],
        register.LOCK: lambda: [(value,) for value, _ in _one(tables, parameters)],
        register.READ_ALL: lambda: [(k, *it) for k, it in sorted(tables.registers.items())],
        bank.BALANCE: lambda: [(tables.balances[parameters[0]],)],
        bank.BALANCES: lambda: [
            (database.replica, held) for _, held in sorted(tables.balances.items())
        ],
        bank.READ_LEDGER: lambda: [*sorted(tables.ledger)],
        look.OPEN: lambda: [(database.still_open.pop(0) if database.still_open else 0,)],
        look.PLACE: lambda: [("0/5000028",)],
        look.REPLAYED: lambda: [(database.replayed.pop(0) if database.replayed else True,)],
    }
    for table, content in _contents(tables).items():
        answers[look.DIGEST.format(table=table)] = _counted(content)
    return answers[statement]()


def _one(tables: Tables, parameters: tuple[Any, ...]) -> list[tuple[int, int]]:
    found = tables.registers.get(parameters[0])
    return [] if found is None else [found]


def _contents(tables: Tables) -> dict[str, list[Any]]:
    return {
        append.TABLE: sorted(tables.appended),
        register.TABLE: sorted(tables.registers.items()),
        bank.ACCOUNTS: sorted(tables.balances.items()),
        bank.LEDGER: sorted(tables.ledger),
    }


def _counted(content: list[Any]) -> Callable[[], list[Row]]:
    return lambda: [(len(content), str(content))]


def _change(tables: Tables, statement: str, parameters: tuple[Any, ...]) -> int:
    match statement:
        case append.INSERT:
            tables.appended.append(parameters[0])
        case register.WRITE:
            value, writer, key = parameters
            if key not in tables.registers:
                return 0
            tables.registers[key] = (value, writer)
        case bank.SET_BALANCE:
            held, account = parameters
            tables.balances[account] = held
        case bank.NOTE:
            tables.ledger.append(parameters)
        case look.ONE_SNAPSHOT:
            return -1
        case _:
            tables.made.append(statement)
            return _make(tables, statement)
    return 1


def _make(tables: Tables, statement: str) -> int:
    if statement.startswith(f"INSERT INTO {register.TABLE}"):
        tables.registers = dict.fromkeys(range(_rows_of(statement)), (0, register.NOBODY))
    if statement.startswith(f"INSERT INTO {bank.ACCOUNTS}"):
        each = int(statement.split("SELECT id, ")[1].split(maxsplit=1)[0])
        tables.balances = dict.fromkeys(range(_rows_of(statement)), each)
    return -1


def _rows_of(statement: str) -> int:
    return int(statement.split("generate_series(0, ")[1].split(")", maxsplit=1)[0]) + 1


def an_error(sqlstate: str | None) -> psycopg.Error:
    """An error of the driver: with a SQLSTATE the server sent it, without the line broke."""
    if sqlstate is None:
        return psycopg.OperationalError("server closed the connection unexpectedly")
    return psycopg.errors.lookup(sqlstate)(f"the server said {sqlstate}")


def raising(error: BaseException) -> Callable[..., Any]:
    """A step that fails."""

    def step(*_: object) -> Any:
        raise error

    return step
