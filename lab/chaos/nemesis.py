"""Strikes and takes back what the schedule says, when it is due, and writes down what it really did.

One thread: a blow that takes long delays those after it, and the record has the real times. A blow that cannot be
struck is passed over with its reason; one that cannot be taken back is tried again in the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from lab.chaos.aim import aim
from lab.chaos.kinds import Effect
from lab.chaos.schedule import Blow, kind_of
from lab.demo.timeline import Timeline
from lab.errors import LabError
from lab.faults.base import Fault
from lab.faults.bench import Bench
from lab.faults.catalogue import Injected, fault_named

TRY_AGAIN_S: Final = 2.0
HEAL_WITHIN_S: Final = 180.0


class Deed(StrEnum):
    """What became of a blow."""

    STRUCK = "struck"
    PASSED_OVER = "passed over"  # nobody fitted, or it could not be done
    TAKEN_BACK = "taken back"
    STAYS = "stays"  # could not be taken back yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Thaw:
    """A host that stood still goes on where it stood."""

    slot: str
    begin: float  # monotonic seconds
    end: float


@dataclass(slots=True, kw_only=True)
class _Open:
    blow: Blow
    done: Injected
    told: bool = False  # that it stays


@dataclass(slots=True, kw_only=True)
class Nemesis:
    """One block's blows."""

    bench: Bench
    schedule: Sequence[Blow]
    timeline: Timeline
    path: Path
    clock: Callable[[], float]
    wall: Callable[[], float]
    sleep: Callable[[float], None]
    began: float  # monotonic: the schedule's zero
    thaws: list[Thaw] = field(default_factory=list)
    counts: dict[str, dict[Deed, int]] = field(default_factory=dict)  # by kind
    _next: int = 0
    _open: list[_Open] = field(default_factory=list)
    _whole: bool = True  # strength was full since data was last taken

    @property
    def open_names(self) -> tuple[str, ...]:
        """What lies now, in words."""
        return tuple(f"{it.blow.kind} on {it.done.target}" for it in self._open)

    def seen(self, *, full: bool) -> None:
        """What a look at the cluster said."""
        self._whole = self._whole or full

    def due(self) -> None:
        """Take back and strike whatever it is time for, in the order of its times."""
        while True:
            now_s = self.clock() - self.began
            ending = [it for it in self._open if it.blow.end_s <= now_s and not it.told]
            coming = self.schedule[self._next : self._next + 1]
            first = min(ending, key=lambda it: it.blow.end_s, default=None)
            strikes = bool(coming) and coming[0].begin_s <= now_s
            if first is not None and not (strikes and coming[0].begin_s < first.blow.end_s):
                self._take_back(first)
            elif strikes:
                self._next += 1
                self._strike(coming[0])
            else:
                return

    def heal_all(self) -> tuple[str, ...]:
        """Take back everything, newest first, again and again. What stays after all, in words."""
        end = self.clock() + HEAL_WITHIN_S
        while True:
            for it in reversed(tuple(self._open)):
                self._take_back(it)
            if not self._open or self.clock() > end:
                return self.open_names
            self.sleep(TRY_AGAIN_S)

    def _strike(self, blow: Blow) -> None:
        fault = fault_named(blow.kind)
        try:
            done = self._inject(blow, fault)
        except LabError as error:
            self._write(Deed.PASSED_OVER, blow, target=blow.target, words=str(error))
            self.timeline.say("note", f"{blow.kind} on {blow.target} passed over: {error}")
            return
        self._open.append(_Open(blow=blow, done=done))
        self._write(Deed.STRUCK, blow, target=done.target, words=fault.describe)
        self.timeline.say("fault", f"{done.target}: {fault.describe}")

    def _inject(self, blow: Blow, fault: Fault) -> Injected:
        """Raises LabError when it cannot be done, or must not be done now."""
        takes_data = kind_of(blow).effect is Effect.DATA
        if takes_data and not self._whole:
            raise LabError("strength has not been full since data was last taken")
        target = aim(
            blow,
            fault,
            slots=self.bench.api.slots(),
            leader=self.bench.leader,
            taken=[it.done.target for it in self._open],
        )
        # Half of the damage may be done although the other half failed.
        self._whole = self._whole and not takes_data
        return fault.inject(self.bench, target)

    def _take_back(self, it: _Open) -> None:
        begin = self.clock()
        try:
            fault_named(it.done.fault).heal(self.bench, it.done)
        except LabError as error:
            if not it.told:
                self._write(Deed.STAYS, it.blow, target=it.done.target, words=str(error))
                self.timeline.say("note", f"{it.blow.kind} on {it.done.target} stays: {error}")
            it.told = True
            return
        self._open.remove(it)
        if kind_of(it.blow).stands_still:
            self.thaws.append(Thaw(slot=it.done.target, begin=begin, end=self.clock()))
        self._write(Deed.TAKEN_BACK, it.blow, target=it.done.target, words="")
        self.timeline.say("note", f"{it.done.target}: {it.blow.kind} is taken back")

    def _write(self, deed: Deed, blow: Blow, *, target: str, words: str) -> None:
        by_deed = self.counts.setdefault(blow.kind, {})
        by_deed[deed] = by_deed.get(deed, 0) + 1
        line = {
            "at_s": round(self.clock() - self.began, 3),
            "at": self.clock(),
            "wall": self.wall(),
            "deed": deed.value,
            "number": blow.number,
            "kind": blow.kind,
            "target": target,
            "words": words,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
