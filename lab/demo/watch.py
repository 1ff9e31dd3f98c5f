"""Watches the cluster heal: strength, leader, and what the healer wrote since the last look.

It only reads and tells. A look that fails (the local AWS is busy, say) is told and tried again, up
to a limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from lab.demo.record import Mark, Run, Sample
from lab.demo.timeline import Timeline
from lab.errors import LabError
from lab.strength import Strength

LOOK_EVERY_S: Final = 1.0
FAILED_LOOKS_MAX: Final = 30


class Looker(Protocol):
    """`lab.strength_probe.StrengthProbe`, or a fake."""

    def look(self) -> Strength:
        """One verdict."""


class Hub(Protocol):
    """The part of `lab.operator.Operator` the watch reads."""

    def journal(self, *, after: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Journal steps."""

    def incidents(self) -> Sequence[Mapping[str, Any]]:
        """Incidents."""

    def healer_sentence(self) -> str:
        """The healer's verdict."""


class Watch:
    """One object for a whole run."""

    def __init__(
        self,
        *,
        looker: Looker,
        hub: Hub,
        timeline: Timeline,
        run: Run,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._looker = looker
        self._hub = hub
        self._timeline = timeline
        self._run = run
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._last_journal: str | None = None
        self._sentence = ""
        self._known: dict[str, str] = {}
        self._previous: Strength | None = None
        self._failed = 0

    def until_full(self, *, limit_s: float, weak_first: bool = False) -> float | None:
        """Monotonic time at which strength was full, None past the limit.

        With `weak_first` the strength must have been seen below full before it counts.
        """
        end = self._clock() + limit_s
        seen_weak = not weak_first
        with self._timeline.watching("waiting for full strength"):
            while self._clock() < end:
                strength = self.look()
                if strength is not None:
                    seen_weak = seen_weak or not strength.full
                    if strength.full and seen_weak:
                        return self._run.samples[-1].at
                self._sleep(LOOK_EVERY_S)
        return None

    def look(self) -> Strength | None:
        """One look, told and remembered.

        None when it failed. Raises LabError after too many in a row.
        """
        at = self._clock()
        try:
            strength = self._looker.look()
            self._tell_healer()
        except LabError as error:
            self._failed += 1
            if self._failed >= FAILED_LOOKS_MAX:
                raise
            self._timeline.still(str(error))
            return None
        self._failed = 0
        self._run.samples.append(
            Sample(at=at, full=strength.full, leader=strength.leader, missing=strength.missing)
        )
        self._tell_strength(strength)
        return strength

    def _tell_strength(self, strength: Strength) -> None:
        before = self._previous
        self._previous = strength
        if before is None or before.leader != strength.leader:
            self._timeline.say("leader", f"{strength.leader or 'nobody'} leads")
        if before is None or before.missing != strength.missing:
            kind = "healed" if strength.full else "strength"
            self._timeline.say(kind, strength.sentence)
        self._timeline.still(strength.sentence)

    def _tell_healer(self) -> None:
        for item in self._hub.journal(after=self._last_journal):
            self._last_journal = str(item["sk"])
            text = str(item.get("sentence") or item.get("kind") or "")
            self._timeline.say("healer", f"{item.get('slot', '')}: {text}")
            self._mark(str(item["sk"]).partition("#")[0], "action", item, str(item.get("kind", "")))
        for item in self._hub.incidents():
            self._tell_incident(item)
        sentence = self._hub.healer_sentence()
        if sentence and sentence != self._sentence:
            self._sentence = sentence
            self._timeline.say("healer", sentence)

    def _tell_incident(self, item: Mapping[str, Any]) -> None:
        name, state = str(item["sk"]), str(item.get("state", ""))
        before = self._known.get(name)
        self._known[name] = state
        if before is None:
            text = f"{item.get('diagnosis', '')} (woken by {item.get('wake', 'unknown')})"
            self._timeline.say("healer", f"{item.get('slot', '')}: incident opened, {text}")
            self._mark(item.get("opened_at"), "incident", item, str(item.get("diagnosis", "")))
        if state == "healed" and before != "healed":
            self._timeline.say("healer", f"{item.get('slot', '')}: incident closed")
            self._mark(item.get("healed_at"), "healed", item, "healed")

    def _mark(self, when: object, kind: str, item: Mapping[str, Any], text: str) -> None:
        wall = epoch(when)
        at = self._clock() if wall is None else wall - self._wall() + self._clock()
        self._run.marks.append(Mark(at=at, kind=kind, slot=str(item.get("slot", "")), text=text))


def epoch(value: object) -> float | None:
    """Epoch seconds of a number or an ISO time; None when it is neither."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str) or not value:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError:
        return None
