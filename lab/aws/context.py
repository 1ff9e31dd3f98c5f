"""What every part of the local AWS shares: account, clock, evidence, and work done later."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.aws.evidence import Evidence
from lab.aws.outages import Outages
from lab.ports import Clock

ACCOUNT = "123456789012"
log = logging.getLogger("lab.aws")


@dataclass(frozen=True, kw_only=True)
class Context:
    """Shared by all parts; `down` is set when the local AWS stops."""

    clock: Clock
    evidence: Evidence
    outages: Outages = field(default_factory=Outages)
    down: threading.Event = field(default_factory=threading.Event)

    def later(self, delay_s: float, work: Callable[[], None], *, what: str) -> None:
        """Do something after a delay in a thread of its own, unless the local AWS stops before."""

        def run() -> None:
            if not self.down.wait(delay_s):
                self.guarded(work, what)

        threading.Thread(target=run, daemon=True, name=what).start()

    def every(self, interval_s: float, work: Callable[[], None], *, what: str) -> None:
        """Do something again and again, at a steady pace."""

        def run() -> None:
            due = time.monotonic() + interval_s
            while not self.down.wait(max(0.0, due - time.monotonic())):
                due = max(due + interval_s, time.monotonic())
                self.guarded(work, what)

        threading.Thread(target=run, daemon=True, name=what).start()

    def guarded(self, work: Callable[[], None], what: str) -> None:
        """The edge of every background thread: a failure is logged with its trace and recorded."""
        try:
            work()
        except Exception as error:
            log.exception("%s failed", what)
            self.evidence.add("errors", what=what, error=repr(error))
