"""The checker as a whole: tables, clients, the reading at the end; and the judge beside it.

checker = Checker(endpoints, directory, seed=1, password=password)
checker.start()
...                                  # whatever is to be survived
checker.stop()
final = checker.final(copies)
verdict = judge(directory, final, probes, suspended)
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import psycopg

from lab.checker.client import Client, Usable
from lab.checker.final import FinalState
from lab.checker.history import Recorder
from lab.checker.judge import Verdict, judge
from lab.checker.look import Looking, look
from lab.checker.session import Endpoint, RolledBackError, Session
from lab.checker.settings import Kind, Settings
from lab.checker.watch import Watch
from lab.checker.workloads import append, bank, register
from lab.checker.workloads.append import AppendWorkload
from lab.checker.workloads.bank import BankWorkload
from lab.checker.workloads.base import Workload
from lab.checker.workloads.register import RegisterWorkload
from lab.errors import LabError

__all__ = ["Checker", "CheckerError", "Endpoint", "Kind", "Settings", "Verdict", "judge"]

EVERYTHING: Final = tuple(Kind)
NAME: Final = "checker"  # of its threads
TABLES_WITHIN_S: Final = 60.0
TRY_AGAIN_AFTER_S: Final = 0.5
# A client may be connecting to every host of its endpoint, then undoing what it was about to do.
STOP_MARGIN_S: Final = 15.0


class Open(Protocol):
    """A way to a session; raises `psycopg.Error` when there is none."""

    def __call__(self, endpoint: Endpoint, *, serializable: bool) -> Usable:
        """Connect."""


class CheckerError(LabError):
    """The checker could not do its own work; nothing is said about the database."""


class Checker:
    """Runs the clients of some workloads; clients of each take turns over the endpoints.

    `directory` must be empty of histories. Tables of an earlier run are dropped.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        directory: Path,
        *,
        seed: int,
        password: str,
        kinds: Collection[Kind] = EVERYTHING,
        settings: Settings | None = None,
        user: str = "app",
        dbname: str = "app",
        open_session: Open | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._directory = directory
        self._seed = seed
        self._kinds = tuple(kind for kind in Kind if kind in kinds)
        self._settings = settings or Settings()
        self._clock = clock
        self._sleep = sleep
        self._open: Open = open_session or _psycopg(user, dbname, password)
        self._watch = Watch(clock)
        self._stop = threading.Event()
        self._started = False
        self._threads: ThreadPoolExecutor | None = None
        self._work: list[Future[None]] = []
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Make the tables and begin to ask; `CheckerError` when nobody takes the tables."""
        if self._started:
            raise CheckerError("this checker has already been started; make a new one for each run")
        self._started = True
        self._directory.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            recorders = {
                kind: stack.enter_context(Recorder(kind.history(self._directory)))
                for kind in self._kinds
            }
            self._settings.save(self._directory)
            stack.enter_context(self._watching())
            self._make_tables()
            clients = [
                self._client(kind, number, recorders[kind])
                for number, (kind, _) in enumerate(
                    itertools.product(self._kinds, range(self._settings.clients))
                )
            ]
            self._threads = ThreadPoolExecutor(max_workers=len(clients), thread_name_prefix=NAME)
            self._work = [self._threads.submit(client.run) for client in clients]
            self._cleanup = stack.pop_all()

    def stop(self) -> None:
        """End every operation under way and close the histories.

        Raises what a client died of, if one did: its operations since then are missing.
        """
        if self._threads is None:
            raise CheckerError("this checker has not been started")
        self._stop.set()
        within_s = 2 * self._settings.deadline_s + STOP_MARGIN_S
        with self._cleanup:
            _, running = wait(self._work, timeout=within_s)
            self._threads.shutdown(wait=not running)
            if running:
                raise CheckerError(
                    f"{len(running)} clients of the checker did not end within {within_s:.0f} s"
                )
            for work in self._work:
                work.result()

    def final(self, copies: Sequence[Endpoint]) -> FinalState:
        """What is there now that the clients have stopped, kept beside the histories too.

        `copies` are the nodes to compare with the primary, each reached directly.
        """
        endpoints = itertools.cycle(self._endpoints)
        looking = Looking(
            primary=lambda: self._open(next(endpoints), serializable=False),
            copies={
                copy.name: functools.partial(self._open, copy, serializable=False)
                for copy in copies
            },
            watch=self._watch,
            clock=self._clock,
            sleep=self._sleep,
        )
        with self._watching():
            final = look(looking, self._kinds)
        final.save(self._directory)
        return final

    def _client(self, kind: Kind, number: int, recorder: Recorder) -> Client:
        endpoint = self._endpoints[number % len(self._endpoints)]
        workload = _workload(kind, number, self._settings)
        return Client(
            number,
            workload,
            path=endpoint.name,
            connect=functools.partial(self._open, endpoint, serializable=workload.serializable),
            recorder=recorder,
            watch=self._watch,
            settings=self._settings,
            rng=random.Random(f"{self._seed}/{number}"),  # noqa: S311 - not a secret
            clock=self._clock,
            stop=self._stop,
        )

    def _make_tables(self) -> None:
        statements = [it for kind in self._kinds for it in _schema(kind, self._settings)]
        end = self._clock() + TABLES_WITHIN_S
        for endpoint in itertools.cycle(self._endpoints):
            try:
                problem = self._make(endpoint, statements)
            except (psycopg.Error, RolledBackError) as error:
                problem = str(error)
            if not problem:
                return
            if self._clock() > end:
                raise CheckerError(
                    f"the checker could not make its tables through any endpoint: {problem}"
                )
            self._sleep(TRY_AGAIN_AFTER_S)

    def _make(self, endpoint: Endpoint, statements: Sequence[str]) -> str:
        """Why the tables may not be there on every copy; nothing when they are."""
        session = self._open(endpoint, serializable=False)
        try:
            with self._watch.limit(session, TABLES_WITHIN_S):
                for statement in statements:
                    session.change(statement)
                return session.commit()
        finally:
            session.close()

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        enough = threading.Event()
        thread = threading.Thread(
            target=self._watch.run, args=(enough,), name=f"{NAME}-watch", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()


def _psycopg(user: str, dbname: str, password: str) -> Open:
    def connect(endpoint: Endpoint, *, serializable: bool) -> Usable:
        return Session.open(
            endpoint.conninfo(user=user, dbname=dbname),
            password=password,
            serializable=serializable,
        )

    return connect


def _workload(kind: Kind, client: int, settings: Settings) -> Workload:
    match kind:
        case Kind.APPEND:
            return AppendWorkload(client)
        case Kind.REGISTER:
            return RegisterWorkload(client, settings)
        case Kind.BANK:
            return BankWorkload(client, settings)


def _schema(kind: Kind, settings: Settings) -> Sequence[str]:
    match kind:
        case Kind.APPEND:
            return append.SCHEMA
        case Kind.REGISTER:
            return register.schema(settings)
        case Kind.BANK:
            return bank.schema(settings)
