"""A question asked in a thread of its own, because its answer may take long or never come."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")


class Beside(Generic[T]):
    """One question at a time. Who asks waits so long and no longer; a question that hangs stays the only one."""

    def __init__(self, name: str, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._asked: Future[T] | None = None

    @property
    def pending(self) -> bool:
        """Whether a question waits for its answer."""
        return self._asked is not None

    def answer(self, timeout_s: float) -> tuple[T] | None:
        """The answer in a tuple, None while it has not come. Raises what the question raised."""
        if self._asked is None:
            self._asked = self._pool.submit(self._ask)
        if not wait([self._asked], timeout=timeout_s).done:
            return None
        asked, self._asked = self._asked, None
        return (asked.result(),)

    def forget(self) -> None:
        """What is still to come is no answer any more."""
        self._asked = None
