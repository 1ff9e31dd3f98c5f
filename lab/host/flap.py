"""Regions that flap: cut from the others and mended again, by a seed, until the time is over or somebody ends it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lab.ports import REGIONS, RegionSwitch

TURN_S = (20.0, 60.0)
log = logging.getLogger("lab")


def turns_s(seed: int) -> Iterator[float]:
    """How long each turn lasts, cut and mended by turns, without end; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - a schedule
    while True:
        yield round(rng.uniform(*TURN_S), 1)


@dataclass(slots=True, kw_only=True)
class Flap:
    """One region that flaps."""

    region: str
    seed: int
    for_s: float
    over: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Flaps:
    """All regions that flap now. However it ends, the region is mended; what others cut by `cut` is mended with it."""

    def __init__(
        self,
        switch: RegionSwitch,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._switch, self._clock, self._wait = switch, clock, wait
        self._now: dict[str, Flap] = {}
        self._lock = threading.Lock()

    def begin(self, region: str, *, seed: int, for_s: float) -> None:
        """The first cut comes at once; the rest in the background. A region that flaps already begins anew."""
        self.end(region)
        self._set(region, cut=True)
        flap = Flap(region=region, seed=seed, for_s=for_s)
        flap.thread = threading.Thread(
            target=self._run, args=(flap,), name=f"flap {region}", daemon=True
        )
        with self._lock:
            self._now[region] = flap
            flap.thread.start()

    def end(self, region: str) -> None:
        """No more; the region is mended if it flapped. Returns once that is so."""
        with self._lock:
            flap = self._now.pop(region, None)
        if flap is None or flap.thread is None:
            return
        flap.over.set()
        flap.thread.join()

    def end_all(self) -> None:
        """The same for all."""
        for region in list(self._now):
            self.end(region)

    def sentences(self) -> list[str]:
        """What flaps, for people."""
        return [
            f"{flap.region} flaps: cut and mended by turns, seed {flap.seed}"
            for _, flap in sorted(self._now.items())
        ]

    def _run(self, flap: Flap) -> None:
        """Cut already; the turns follow."""
        end, cut = self._clock() + flap.for_s, True
        try:
            for turn_s in turns_s(flap.seed):
                left_s = end - self._clock()
                if self._wait(flap.over, max(0.0, min(turn_s, left_s))) or turn_s >= left_s:
                    return
                cut = not cut
                self._set(flap.region, cut=cut)
        finally:
            self._set(flap.region, cut=False)
            with self._lock:
                if self._now.get(flap.region) is flap:
                    del self._now[flap.region]

    def _set(self, region: str, *, cut: bool) -> None:
        for other in REGIONS:
            if other.name != region:
                (self._switch.cut if cut else self._switch.mend)(region, other.name)
        log.info("%s flaps: %s", region, "cut" if cut else "mended")
