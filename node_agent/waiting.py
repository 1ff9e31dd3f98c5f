"""Waiting with a bound: nothing here sleeps longer than its deadline, and whoever tests it brings the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.2


class Deadline:
    """So many seconds from now."""

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._end = clock() + seconds

    @property
    def left_s(self) -> float:
        """What is left; never negative."""
        return max(0.0, self._end - self._clock())

    def within(self, seconds: float) -> Deadline:
        """A shorter one that never outlasts this one."""
        return Deadline(min(seconds, self.left_s), clock=self._clock, sleep=self._sleep)

    def until(self, ask: Callable[[], T | None], *, every_s: float = POLL_S) -> T | None:
        """The first answer that is neither None nor False; None when time is up. Asks once at least."""
        while True:
            found = ask()
            if found is not None and found is not False:
                return found
            if self.left_s <= 0:
                return None
            self._sleep(min(every_s, self.left_s))
