"""Calls that run side by side while a look waits for them, and what has to be done meanwhile.

A region that answers slowly may take longer than the run's lease lasts, so whoever waits does something else every
second: the run renews its lease.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, Final, TypeVar

T = TypeVar("T")
EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """One look's calls. `meanwhile` is called in the waiting thread: each second of waiting, and after each answer."""

    pool: ThreadPoolExecutor
    meanwhile: Callable[[], None]

    def ask(self, call: Callable[..., T], *args: Any) -> Callable[[], T]:  # noqa: ANN401 - the call's own
        """Begin the call. What is given back waits for its answer, and raises what it or `meanwhile` raised."""
        over = Event()

        def asked() -> T:
            try:
                return call(*args)
            finally:
                over.set()

        future = self.pool.submit(asked)

        def answer() -> T:
            while not over.wait(EVERY_S):
                self.meanwhile()
            found = future.result()
            self.meanwhile()
            return found

        return answer
