"""What was seen during a scenario, and what follows from it. Pure: items of the hub's table in, facts out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lab.demo.record import Sample
from lab.demo.watch import epoch
from lab.load.history import Outcome, Write

SLACK_S: Final = 1.0  # between the clocks of who writes an item and who reads it
END: Final = "-end"
SERVICE: Final = re.compile(r"to restart ([a-z-]+)")
GOOD: Final = frozenset({"done", "success"})
BAD: Final = frozenset({"failed", "timedout", "cancelled"})
NO_STEPS: Final = frozenset({"hold", "wait"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the healer, from its first line in the journal to its last."""

    action_id: str
    kind: str
    service: str | None
    slot: str
    at: float  # epoch seconds of its first line
    diagnosis: str
    outcomes: tuple[str, ...]  # asked, sent, done, failed, success, timedout ...
    sentences: tuple[str, ...]

    @property
    def word(self) -> str:
        """`kind` or `kind:service`."""
        return self.kind if self.service is None else f"{self.kind}:{self.service}"

    @property
    def succeeded(self) -> bool:
        """Whether it is known to have done what it was to do."""
        return bool(GOOD & set(self.outcomes))

    @property
    def failed(self) -> bool:
        """Whether it is known not to have; one of which nothing is known is neither."""
        return not self.succeeded and bool(BAD & set(self.outcomes))


def steps_of(journal: Sequence[Mapping[str, Any]], since_wall: float) -> tuple[Step, ...]:
    """The steps begun since then (epoch seconds), oldest first."""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for item in sorted(journal, key=lambda item: str(item["sk"])):
        at = epoch(str(item["sk"]).partition("#")[0])
        if at is None or at < since_wall - SLACK_S or str(item.get("kind")) in NO_STEPS:
            continue
        action_id = str(item.get("action_id") or item["sk"]).removesuffix(END)
        lines.setdefault(action_id, []).append(item)
    return tuple(_step(action_id, items) for action_id, items in lines.items())


def _step(action_id: str, items: Sequence[Mapping[str, Any]]) -> Step:
    first = items[0]
    sentences = tuple(str(item.get("sentence") or "") for item in items)
    found = next((match for text in sentences if (match := SERVICE.search(text))), None)
    kind = str(first.get("kind", "?"))
    return Step(
        action_id=action_id,
        kind=kind,
        service=found[1] if found is not None and kind == "restart-service" else None,
        slot=str(first.get("slot", "?")),
        at=epoch(str(first["sk"]).partition("#")[0]) or 0.0,
        diagnosis=str(first.get("diagnosis", "")),
        outcomes=tuple(str(item.get("outcome", "")) for item in items),
        sentences=sentences,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the healer called a slot at some look, and what held it there."""

    slot: str
    diagnosis: str
    held: str | None


def calls_of(incidents: Sequence[Mapping[str, Any]], since_wall: float) -> tuple[Call, ...]:
    """What the incidents opened since then were called: when they were opened, and as they stand now."""
    return tuple(
        Call(
            slot=str(item.get("slot", "")),
            diagnosis=diagnosis,
            held=str(item["held"]) if item.get("held") else None,
        )
        for item in _since(incidents, since_wall)
        for diagnosis in {str(item.get(name) or "") for name in ("diagnosis", "found")} - {""}
    )


def calls_with(steps: Sequence[Step]) -> tuple[Call, ...]:
    """What the healer found when it took each step."""
    return tuple(
        Call(slot=step.slot, diagnosis=step.diagnosis, held=None)
        for step in steps
        if step.diagnosis
    )


def still_open(incidents: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Slots with an incident that is not healed."""
    return tuple(str(i.get("slot", "")) for i in incidents if i.get("state") != "healed")


def first_opened(
    incidents: Sequence[Mapping[str, Any]], since_wall: float, targets: Sequence[str]
) -> float | None:
    """When (epoch seconds) the first incident since then was opened, on a target if any has one."""
    after = _since(incidents, since_wall)
    own = [item for item in after if item.get("slot") in targets]
    moments = [epoch(item.get("opened_at")) for item in own or after]
    return min((moment for moment in moments if moment is not None), default=None)


def _since(incidents: Sequence[Mapping[str, Any]], since_wall: float) -> list[Mapping[str, Any]]:
    return [i for i in incidents if (epoch(i.get("opened_at")) or 0.0) >= since_wall - SLACK_S]


def back_at(samples: Sequence[Sample], begin: float) -> float | None:
    """When strength was full for good: the first full look after the last weak one since `begin`.

    `begin` itself when no look was weak; None when the last one was.
    """
    full_since: float | None = begin
    for sample in samples:
        if sample.at < begin:
            continue
        if not sample.full:
            full_since = None
        elif full_since is None:
            full_since = sample.at
    return full_since


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Everything that was seen of one scenario. Moments are seconds of this computer's monotonic clock."""

    targets: tuple[str, ...]
    begin: float  # before the first blow
    begin_wall: float  # the same in epoch seconds
    struck: float  # after the last one
    mended: float | None  # when the damage was taken back, if that was part of the scenario
    end: float
    settled: bool  # full strength, nothing open, all done, within the time there was
    back: float | None  # full strength for good
    detected_s: float | None  # from the last blow to the first incident
    calls: frozenset[Call]
    steps: tuple[Step, ...]
    missing: tuple[str, ...]  # what strength lacked at the end
    open_slots: tuple[str, ...]  # incidents that were open at the end
    outage_s: float
    acked: int
    lost: int
    two_writable_s: float
    full_strength_s: float | None  # from the blow, or from the mending, to `back`

    def before_mending(self) -> tuple[Step, ...]:
        """The steps begun while the damage stood; all of them when nothing was taken back."""
        if self.mended is None:
            return self.steps
        limit = self.begin_wall + self.mended - self.begin
        return tuple(step for step in self.steps if step.at < limit)

    def of_kind(self, kind: str) -> tuple[Step, ...]:
        """The steps of one kind that did what they were to do."""
        return tuple(s for s in self.steps if s.kind == kind and s.succeeded)


def outages_s(writes: Sequence[Write], begin: float, end: float, *, least_s: float) -> float:
    """All time within [begin, end] in which no write was acknowledged, counting gaps of `least_s` or more."""
    acked = sorted(w.at + w.latency_s for w in writes if w.outcome is Outcome.ACKED)
    moments = [begin, *(moment for moment in acked if begin <= moment <= end), end]
    gaps = (second - first for first, second in itertools.pairwise(moments))
    return sum(gap for gap in gaps if gap >= least_s)
