"""Asks every database twice a second who it is and what its `synchronous_standby_names` is, and keeps the answers.

Asked over SQL, not read from the servers' logs: an answer survives the host it came from, and a host that dies between
two questions leaves at most half a second unsaid.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

import psycopg

from lab.chaos.promise import Sample
from lab.checker.session import Endpoint, Session
from lab.checker.watch import Severable, Watch
from lab.checker.workloads.base import Row
from lab.errors import LabError

EVERY_S: Final = 0.5
DEADLINE_S: Final = 1.0
END_S: Final = 10.0  # one may be connecting to a host that is silent
QUESTION: Final = "SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names')"


class Asked(Severable, Protocol):
    """The part of a session that is used."""

    def rows(self, statement: str) -> list[Row]:
        """What the statement returns; `psycopg.Error`."""

    def rollback(self) -> bool:
        """Whether it can still be used."""

    def close(self) -> None:
        """No more of it."""


class Sampler:
    """One thread a database, from `start` to `stop`."""

    def __init__(
        self,
        databases: Mapping[str, Callable[[], Asked]],  # by slot; connecting raises `psycopg.Error`
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._databases = databases
        self._path = path
        self._clock = clock
        self._watch = Watch(clock)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._threads: list[threading.Thread] = []

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
        """Begin to ask."""
        self._file = self._path.open("x", encoding="utf-8", buffering=1)
        jobs = [("watch", lambda: self._watch.run(self._stop))]
        jobs += [(slot, self._job(slot)) for slot in self._databases]
        for name, job in jobs:
            thread = threading.Thread(target=job, name=f"sampler-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the questions under way. Raises LabError when one does not end."""
        self._stop.set()
        end = time.monotonic() + END_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
        left = [thread.name for thread in self._threads if thread.is_alive()]
        if left:
            raise LabError(f"these did not end within {END_S:.0f} s: {', '.join(left)}")

    def _job(self, slot: str) -> Callable[[], None]:
        return lambda: self._ask_on(slot)

    def _ask_on(self, slot: str) -> None:
        session: Asked | None = None
        while not self._stop.is_set():
            began = self._clock()
            sample, session = self.ask(slot, session)
            self._write(sample)
            self._stop.wait(max(0.0, began + EVERY_S - self._clock()))
        if session is not None:
            session.close()

    def ask(self, slot: str, session: Asked | None) -> tuple[Sample, Asked | None]:
        """One question and its answer, and the session for the next one if it can be used."""
        at = self._clock()
        try:
            used = self._databases[slot]() if session is None else session
        except psycopg.Error:
            return Sample(slot=slot, at=at, until=self._clock(), primary=None), None
        try:
            with self._watch.limit(used, DEADLINE_S):
                ((in_recovery, names),) = used.rows(QUESTION)
                usable = used.rollback()
        except psycopg.Error:
            used.close()
            return Sample(slot=slot, at=at, until=self._clock(), primary=None), None
        answer = Sample(
            slot=slot, at=at, until=self._clock(), primary=not in_recovery, names=str(names)
        )
        if usable:
            return answer, used
        used.close()
        return answer, None

    def _write(self, sample: Sample) -> None:
        with self._lock:
            if self._file is not None:
                self._file.write(sample.line())


def databases(addresses: Mapping[str, str], *, password: str) -> Mapping[str, Callable[[], Asked]]:
    """Ways to the databases at these addresses, by slot."""

    def way(endpoint: Endpoint) -> Callable[[], Asked]:
        dsn = endpoint.conninfo(user="app", dbname="app")
        return lambda: Session.open(dsn, password=password, serializable=False)

    return {
        slot: way(Endpoint(name=slot, hosts=(address,), port=5432))
        for slot, address in addresses.items()
    }
