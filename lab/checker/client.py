"""One client: asks, remembers, and never claims to know more than it was told.

What fails before COMMIT is sent surely did not happen. From then on only the server's own word
counts: refused is failed; a broken connection, silence, or a commit with a warning is unknown. No
operation is asked twice.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import psycopg

from lab.checker.calls import Call, Result
from lab.checker.history import Recorder
from lab.checker.session import RolledBackError
from lab.checker.settings import Settings
from lab.checker.watch import Severable, Watch
from lab.checker.workloads.base import NotPrimaryError, RefusedError, Transaction, Workload
from lab.load.history import Outcome
from lab.load.writer import judge

RECONNECT_AFTER_S: Final = 0.1
RECONNECT_AFTER_S_MAX: Final = 1.0


class Usable(Transaction, Severable, Protocol):
    """A session: see `lab.checker.session.Session`."""

    def commit(self) -> str:
        """COMMIT; the warning that came with it, or nothing."""

    def rollback(self) -> bool:
        """Whether it can still be used."""

    def close(self) -> None:
        """No more of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How one call ended."""

    outcome: Outcome
    result: Result = ()
    reason: str = ""
    reusable: bool  # whether the session may be asked again


class Client:
    """One thread's work."""

    def __init__(
        self,
        number: int,
        workload: Workload,
        *,
        path: str,
        connect: Callable[[], Usable],
        recorder: Recorder,
        watch: Watch,
        settings: Settings,
        rng: random.Random,
        clock: Callable[[], float],
        stop: threading.Event,
    ) -> None:
        self._number = number
        self._workload = workload
        self._path = path
        self._connect = connect
        self._recorder = recorder
        self._watch = watch
        self._settings = settings
        self._rng = rng
        self._clock = clock
        self._stop = stop
        self._calls = 0

    def run(self) -> None:
        """Ask until told to stop; the operation under way is ended first."""
        failures = 0
        while not self._stop.is_set():
            try:
                session = self._connect()
            except psycopg.Error:
                self._stop.wait(min(RECONNECT_AFTER_S * 2**failures, RECONNECT_AFTER_S_MAX))
                failures = min(failures + 1, 10)
                continue
            failures = 0
            try:
                self._use(session)
            finally:
                session.close()

    def step(self, session: Usable) -> bool:
        """One operation; whether the session may be used for another one."""
        self._calls += 1
        number = self._calls
        call = self._workload.plan(self._rng, number)
        self._recorder.invoked(
            client=self._number, number=number, path=self._path, call=call, at=self._clock()
        )
        end = self._ask(session, call)
        self._recorder.completed(
            client=self._number,
            number=number,
            at=self._clock(),
            outcome=end.outcome,
            result=end.result,
            reason=end.reason,
        )
        return end.reusable

    def _use(self, session: Usable) -> None:
        usable = True
        while usable and not self._stop.wait(self._rng.expovariate(self._settings.rate_hz)):
            usable = self.step(session)

    def _ask(self, session: Usable, call: Call) -> End:
        with self._watch.limit(session, self._settings.deadline_s):
            try:
                result = self._workload.perform(session, call)
            except (psycopg.Error, NotPrimaryError, RefusedError) as error:
                before_commit = str(error)
            else:
                return self._commit(session, result)
        return self._failed(session, before_commit)

    def _commit(self, session: Usable, result: Result) -> End:
        try:
            warning = session.commit()
        except (RolledBackError, RefusedError) as error:
            return End(outcome=Outcome.FAILED, reason=str(error), reusable=False)
        except psycopg.Error as error:
            return End(outcome=judge(error), reason=str(error), reusable=False)
        if warning:
            return End(outcome=Outcome.UNKNOWN, reason=warning, reusable=False)
        return End(outcome=Outcome.ACKED, result=result, reusable=True)

    def _failed(self, session: Usable, reason: str) -> End:
        with self._watch.limit(session, self._settings.deadline_s):
            reusable = session.rollback()
        return End(outcome=Outcome.FAILED, reason=reason, reusable=reusable)
