"""What the healer has begun: incidents, from first diagnosis to proven recovery, and actions under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

BIRTH: Final = "birth"
EMPTY: Final = "slot-empty"  # the diagnosis of a slot without an occupant
OCCUPANTS_OWN: Final = frozenset({"configure", "start"})  # what an occupant fails at goes with it
# Kinds whose failures one after another decide what comes next.
COUNTED: Final = frozenset({"configure", "start", "launch", "create-disk", "attach-disk"})
ACKNOWLEDGED: Final = "acknowledged"  # among the rungs: when a person last had them begin anew
# Among the rungs, before a kind of step: that AWS gave no answer to it.
UNANSWERED: Final = "unanswered:"
BEFORE: Final = "before:"  # among the rungs, before a kind of step: that it was taken before that
GIVEN: Final = frozenset({"create-disk", "attach-disk"})  # what gives the slot its disk
# A person's look ends none of these: a machine may still be coming back, a copy be made, a disk not be listed yet.
TAKE_TIME: Final = GIVEN | {"reboot", "stop", "start", "reinit", "set-disk-aside"}


def incident_id(slot: str, opened_at: str) -> str:
    """The id of the slot's incident that was opened at this time, in ISO 8601."""
    stamp = opened_at.replace("-", "").replace(":", "").split(".")[0]
    return f"{stamp}-{slot}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAction:
    """An action under way on a slot. `command_state` is SSM's status, None when there is no command."""

    action_id: str
    kind: str
    incident: str
    started_at: float
    instance_id: str | None = None
    command_id: str | None = None
    command_state: str | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """From first diagnosis to proven recovery of one slot."""

    incident_id: str
    slot: str
    diagnosis: str
    opened_at: float
    wake: str
    steps: int = 0
    tries: int = 0  # steps since the slot was last emptied
    failures: int = 0  # of `failing`, one after another
    failing: str | None = None  # the kind of step that failed last
    last_exit_code: int | None = None
    last_acted_at: float | None = None
    held: str | None = None
    rungs: Mapping[str, int] = field(default_factory=dict)  # attempts by rung of the ladder
    stand_in: str | None = None  # the spare slot that carries on in this one's place
    found: str | None = None  # the present diagnosis
    found_at: float | None = None  # since when it is that

    def rung(self, key: str) -> int:
        """How often a rung has been tried."""
        return self.rungs.get(key, 0)

    def took(self, kind: str) -> bool:
        """Whether it has taken such a step, if only before a person had its tries begin anew."""
        return self.rung(kind) > 0 or self.rung(BEFORE + kind) > 0

    def acted_since(self, at: float) -> bool:
        """Whether it has taken a step since then; one that AWS gave no answer to is still to be taken."""
        unanswered = any(key.startswith(UNANSWERED) for key in self.rungs)
        return not unanswered and self.last_acted_at is not None and self.last_acted_at > at

    def climbed(self, key: str) -> Incident:
        """One attempt more at a rung."""
        return replace(self, rungs={**self.rungs, key: self.rung(key) + 1})

    def without(self, kinds: frozenset[str]) -> Incident:
        """As though it had taken no such steps."""
        kept = {key: n for key, n in self.rungs.items() if key.removeprefix(BEFORE) not in kinds}
        return replace(self, rungs=kept)

    @property
    def story(self) -> str:
        """What was tried, in words."""
        parts = [f"{key} {n}x" for key, n in self.tried.items()]
        return ", ".join(parts) if parts else "nothing could be tried"

    @property
    def tried(self) -> Mapping[str, int]:
        """The attempts that count."""
        marks = (ACKNOWLEDGED, BEFORE)
        return {key: n for key, n in self.rungs.items() if not key.startswith(marks)}

    def begun_anew(self, acknowledged_at: float) -> Incident:
        """A person has looked: what was tried before does not count any more. Kept among the rungs, to do so once."""
        taken = {BEFORE + kind: 1 for kind in sorted(TAKE_TIME) if self.took(kind)}
        marked = {ACKNOWLEDGED: int(acknowledged_at), **taken}
        return replace(self, rungs=marked, tries=0, failures=0, failing=None, held=None)

    def now_found(self, diagnosis: str, *, now: float, counts: Callable[[str], bool]) -> Incident:
        """With the present diagnosis and since when. `counts`: whether attempts at a rung still do.

        What was tried against an illness that is over says nothing of the next.
        """
        if diagnosis == self.found:
            return self
        found = replace(self, found=diagnosis, found_at=now)
        if diagnosis == EMPTY and self.failing in OCCUPANTS_OWN:
            found = replace(found, failing=None, failures=0)
        rungs = {key: n for key, n in self.rungs.items() if key == ACKNOWLEDGED or counts(key)}
        if len(rungs) == len(self.rungs):
            return found
        return replace(found, rungs=rungs, tries=0, failures=0, failing=None)

    def older_than(self, acknowledged_at: float) -> bool:
        """Whether a person has looked since it began, or since it was last begun anew."""
        return int(acknowledged_at) > max(int(self.opened_at), self.rung(ACKNOWLEDGED))

    @property
    def passing(self) -> bool:
        """The birth's own steps: journaled, but nothing is wrong, so nothing is opened or healed."""
        return self.diagnosis == BIRTH

    def failures_of(self, kind: str) -> int:
        """How often this kind of step has failed, one after another."""
        return self.failures if self.failing == kind else 0

    def failed(self, kind: str) -> Incident:
        """One failure more of a kind; another kind's count is over, unless more hangs on that than on this."""
        if self.failing in COUNTED and kind not in COUNTED:
            return self
        return replace(self, failing=kind, failures=self.failures_of(kind) + 1)

    def succeeded(self, kind: str) -> Incident:
        """This kind's failures are over."""
        return replace(self, failing=None, failures=0) if self.failing == kind else self

    def next_action_id(self, kind: str) -> str:
        """The id of the next step, the same until it is counted: a crash replays it."""
        return f"{self.incident_id}-{self.steps + 1}-{kind}"[:64]
