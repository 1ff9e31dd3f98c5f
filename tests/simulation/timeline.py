"""Simulated time: what happens when, and who may go on.

Healers are ordinary blocking code, so each runs in a thread of its own, but only one thread ever moves: whoever sleeps
works off what is due until its own turn comes, or hands over to the one whose turn it is. The same seed therefore gives
the same order, always. It must never look at a real clock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from heapq import heappop, heappush

Event = Callable[[], None]


class EndedError(BaseException):
    """The simulation is over; unwinds a sleeping thread. Nothing may catch it."""


class Fiber:
    """One line of blocking code. `turn` is held while it may not move."""

    __slots__ = ("body", "ended", "turn")

    def __init__(self, body: Event | None) -> None:
        self.body, self.ended = body, False
        self.turn = threading.Lock()
        self.turn.acquire()


class Timeline:
    """A heap of events and sleepers."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._heap: list[tuple[float, int, Event | Fiber]] = []
        self._order = 0
        self._root = Fiber(None)
        self._current = self._root
        self._sleeping: set[Fiber] = set()
        self._workers: list[_Worker] = []
        self._error: BaseException | None = None

    def at(self, when: float, what: Event | Fiber) -> None:
        """Let something happen; what is due at one time happens in the order it was asked for."""
        self._order += 1
        heappush(self._heap, (when, self._order, what))

    def after(self, seconds: float, what: Event) -> None:
        """Let something happen later."""
        self.at(self.now + seconds, what)

    def next_due(self) -> float:
        """When something happens next."""
        return self._heap[0][0] if self._heap else float("inf")

    def spawn(self, body: Event) -> None:
        """Run blocking code beside everything else, from now on."""
        self.at(self.now, Fiber(body))

    def sleep(self, seconds: float) -> None:
        """Let the world go on. Raises EndedError when it has ended meanwhile."""
        until = self.now + seconds
        if self.next_due() > until:
            self.now = until
            return
        me = self._current
        self.at(until, me)
        self._sleeping.add(me)
        self._pump(me)
        self._sleeping.discard(me)

    def run_until(self, when: float) -> None:
        """From outside: let the world go on until then. Raises what an event raised."""
        self.sleep(max(0.0, when - self.now))

    def end(self) -> None:
        """Unwind everybody who still sleeps and let the threads go."""
        self._heap.clear()
        self._sleeping.discard(self._root)
        for fiber in sorted(self._sleeping, key=id):
            fiber.ended = True
            self.at(self.now, fiber)
        if self._heap:
            self.at(self.now, self._root)
            self._pump(self._root)
        for worker in self._workers:
            worker.dismiss()

    # -- whose turn it is

    def _pump(self, me: Fiber) -> None:
        """Work off what is due until it is my turn again."""
        while True:
            other = self._next_fiber()
            if other is not me:
                self._give_turn(other)
                me.turn.acquire()
            self._current = me
            if me.ended:
                raise EndedError
            if me is self._root and self._error is not None:
                error, self._error = self._error, None
                raise error
            return

    def _next_fiber(self) -> Fiber:
        """Let events happen until it is somebody's turn."""
        heap = self._heap
        while True:
            when, _, what = heappop(heap)
            self.now = max(self.now, when)
            if isinstance(what, Fiber):
                return what
            try:
                what()
            except Exception as error:  # noqa: BLE001 - whoever began the simulation gets it
                self._error = error
                return self._root

    def _give_turn(self, fiber: Fiber) -> None:
        if fiber.body is None:
            fiber.turn.release()
            return
        worker = next((w for w in self._workers if w.idle), None)
        if worker is None:
            worker = _Worker(self)
            self._workers.append(worker)
        worker.take(fiber)

    def begin(self, fiber: Fiber) -> None:
        """In a worker's thread: run a fiber to its end, then pass the turn on."""
        self._current = fiber
        body, fiber.body = fiber.body, None
        try:
            if body is not None:
                body()
        except EndedError:
            pass
        except Exception as error:  # noqa: BLE001 - as above
            self._error = error
            self.at(self.now, self._root)

    def pass_on(self) -> None:
        """After a fiber's end: whose turn is it?"""
        self._give_turn(self._next_fiber())


class _Worker:
    """A thread that runs fibers, one at a time, and is kept for the next."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._fiber: Fiber | None = None
        self._asked = threading.Lock()
        self._asked.acquire()
        self.idle = True
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def take(self, fiber: Fiber) -> None:
        self.idle, self._fiber = False, fiber
        self._asked.release()

    def dismiss(self) -> None:
        self._fiber = None
        self._asked.release()
        self._thread.join()

    def _work(self) -> None:
        while True:
            self._asked.acquire()
            fiber = self._fiber
            if fiber is None:
                return
            self._timeline.begin(fiber)
            self.idle = True
            self._timeline.pass_on()
