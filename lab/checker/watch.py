"""A limit on every wait: a connection that does not answer in time is cut.

The driver waits for a frozen server for ever. One thread looks after the limits of all clients; it
cuts by shutting the socket down, which wakes whoever waits on it with an error.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final, Protocol

LOOK_EVERY_S: Final = 0.05


class Severable(Protocol):
    """What can be cut from another thread."""

    def sever(self) -> None:
        """Cut it; never waits, never raises."""


class Watch:
    """Cuts what is overdue."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[int, tuple[float, Severable]] = {}

    @contextlib.contextmanager
    def limit(self, session: Severable, seconds: float) -> Iterator[None]:
        """Cut this session if the block takes longer. It is never cut after the block."""
        with self._lock:
            self._due[id(session)] = (self._clock() + seconds, session)
        try:
            yield
        finally:
            with self._lock:
                self._due.pop(id(session), None)

    def sever_overdue(self) -> None:
        """Cut every session whose time is over, once."""
        now = self._clock()
        with self._lock:
            overdue = [key for key, (due, _) in self._due.items() if due <= now]
            for key in overdue:
                self._due.pop(key)[1].sever()

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.wait(LOOK_EVERY_S):
            self.sever_overdue()
