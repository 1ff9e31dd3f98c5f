"""What is observed about the healer by somebody who knows the truth: when things were told, how long they were well.

It remembers; the invariants judge. It must never help the healer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambdas.core.consent import Planned, PlannedKind, Window
from lambdas.core.model import Phase, Role
from tests.simulation.things import FOREVER, NEVER, Host

if TYPE_CHECKING:
    from tests.simulation.healers import Healer
    from tests.simulation.world import World

WELL_EVERY_S = 5.0
LATE_S = 90.0
SKEWS_KEPT_S = 3600.0
BOUNDED = frozenset(
    {
        "launch",
        "start",
        "create-disk",
        "attach-disk",
        "restart-service",
        "join-replica",
        "reboot",
        "stop",
        "reinit-replica",
    }
)
DISTURBING = frozenset({"terminate", "stop", "reboot", "reinit-replica", "set-disk-aside"})
UNIT_OF = {Role.HAPROXY: "haproxy", Role.APP: "pgmend-app"}


def _since(book: dict[str, float], name: str, holds: bool, now: float) -> None:
    """Note since when it holds; forget it once it does not."""
    if holds:
        book.setdefault(name, now)
    else:
        book.pop(name, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One changing call of the healer, seen just before it takes effect."""

    world: World
    healer: Healer
    kind: str
    slot: str
    what: str  # a volume, an instance, a service: whatever the call names besides its slot
    comment: str = ""  # a document's

    @property
    def host(self) -> Host | None:
        """The slot's occupant now."""
        return self.world.aws.occupant(self.slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A sentence that should never have to be written."""

    at_s: float
    invariant: str
    sentence: str


CallCheck = Callable[[Call], str | None]
WorldCheck = Callable[["World"], str | None]


class Watch:
    """Sees every changing call and every second of the world."""

    def __init__(
        self, world: World, *, calls: Mapping[str, CallCheck], states: Mapping[str, WorldCheck]
    ) -> None:
        self._w = world
        self._began = world.now
        self._call_checks, self._state_checks = calls, states
        self.violations: list[Violation] = []
        self.steps = 0
        self.acted_at = world.now
        self.removed: list[float] = []
        self.refused_launches: list[float] = []
        self.no_room: dict[str, list[float]] = {}  # slot → when AWS had no capacity for it
        self.roll_switchovers: list[float] = []  # of ours, for nothing but a roll
        self.handing_on: set[str] = set()  # slots whose last switchover was asked for that
        self.acknowledged_at = NEVER
        self.breaker_since = FOREVER
        self.promoted_at = NEVER
        self.last_order: Planned | None = None
        self.windows_set: dict[Window, float] = {}
        self.tried: dict[str, set[str]] = {}  # what was done to a slot since it was last well
        self.disturbed: dict[str, float] = {}  # slot → when a step of ours last did
        self.refills: dict[str, int] = {}  # launches of ours since the slot was last well
        self.grown: dict[str, list[float]] = {}
        self.unwell_since: dict[str, float] = {}  # slots that are not as they should be
        self.ordered_at: dict[str, float] = {}  # by order
        self.tries: dict[str, int] = {}  # steps on a slot since it was last well or emptied
        self.restarted_at: dict[
            tuple[str, str], float
        ] = {}  # (slot, unit) → when our last restart ended
        self.steps_on: dict[str, int] = {}  # all of ours on a slot, of whatever kind, since then
        self.configures_failed: dict[str, int] = {}  # by slot, whoever sat there
        self.thin_since: dict[str, float] = {}  # voters without whom etcd has no majority
        self.few_since: dict[str, float] = {}  # copies without whom too few are current
        self.marks: dict[str, float] = {}  # what a person has set, and since when
        self._looked_at = world.now
        self._read_at = world.now
        self._skews: list[tuple[float, float]] = []
        self._slow: list[tuple[float, float]] = []
        self._gap: tuple[float, float] = (
            0.0,
            0.0,
        )  # how long nobody read the table, and when that ended

    # -- calls

    def call(self, healer: Healer, kind: str, slot: str, what: str, comment: str = "") -> None:
        """Before it takes effect."""
        self.steps += 1
        self.acted_at = self._w.now
        call = Call(world=self._w, healer=healer, kind=kind, slot=slot, what=what, comment=comment)
        self._w.tell(f"run {healer.number} does {kind} {slot} {what}".rstrip())
        for name, check in self._call_checks.items():
            self._judge(name, check(call))
        self._count(call)

    def _count(self, call: Call) -> None:
        host, now = call.host, self._w.now
        if call.kind == "terminate":
            self.tries[call.slot] = self.steps_on[call.slot] = 0
            if host is not None and host.ended_by_us_at is None and not self._is_planned(host):
                self.removed.append(now)
        elif call.kind in BOUNDED:
            self.tries[call.slot] = self.tries.get(call.slot, 0) + 1
        self.steps_on[call.slot] = 1 + self.steps_on.get(call.slot, 0)
        if call.kind == "switchover" and host is not None:
            self._note_why(call, host)
        self.tried.setdefault(call.slot, set()).add(call.kind)
        if call.kind in DISTURBING:
            self.disturbed[call.slot] = now

    def _note_why(self, call: Call, host: Host) -> None:
        """Whether a switchover is asked for because of nothing but a roll."""
        verdict = call.healer.verdicts.get(host.instance_id)
        ill = host.told_ill_since < FOREVER or verdict is True
        if self._rolls(host) and not host.announced and not ill:
            self.handing_on.add(call.slot)
        else:
            self.handing_on.discard(call.slot)

    def _is_planned(self, host: Host) -> bool:
        """Its end is in no budget: it is rolled, or stood in for a slot that is well again."""
        return host.relieved or self._rolls(host)

    def _rolls(self, host: Host) -> bool:
        """It is replaced because a person ordered that."""
        order = self._w.hub.planned
        roll = order is not None and order.kind is PlannedKind.ROLL
        return roll and order is not None and host.made_at < order.since

    def stands(self, slot: str) -> bool:
        """Whether what a step of ours disturbed is not back, or gone, yet."""
        host = self._w.aws.occupant(slot)
        return host is not None and host.made_at < self.disturbed.get(slot, FOREVER)

    def called(self) -> None:
        """After it took effect."""
        self.judge_state()

    def judge_state(self) -> None:
        """What must hold at any time."""
        for name, check in self._state_checks.items():
            self._judge(name, check(self._w))

    def switched_over(self, old: Host, new: Host) -> None:
        """A document of ours makes another copy lead."""
        self._w.tell(f"our switchover from {old.slot.name} to {new.slot.name}")
        if old.slot.name in self.handing_on:
            self.roll_switchovers.append(self._w.now)

    def breaker_opened(self, why: str) -> None:
        """The healer asks for a person."""
        self._w.tell(f"the breaker opens: {why}")
        self.breaker_since = self._w.now

    def promoted(self) -> None:
        """Another copy leads, whoever wanted it."""
        self.promoted_at = self._w.now

    def window_set(self, window: Window) -> None:
        """A person has written a maintenance window."""
        self.windows_set[window] = self._w.now

    def acknowledged(self) -> None:
        """A person has looked: what was tried before does not count any more."""
        self.tries.clear()
        self.steps_on.clear()
        self.configures_failed.clear()
        for host in self._w.aws.sits.values():
            host.configures_failed = 0
        self.removed.clear()
        self.refused_launches.clear()
        self.no_room.clear()
        self.refills.clear()
        self.acknowledged_at, self.breaker_since = self._w.now, FOREVER

    def ordered(self, order: Planned) -> None:
        """A person has ordered something."""
        self.ordered_at[order.plan_id], self.last_order = self._w.now, order

    def refused(self, kind: str, slot: str, *, for_want_of_room: bool) -> None:
        """AWS said no, or said nothing."""
        if kind == "launch" and for_want_of_room:
            self.no_room.setdefault(slot, []).append(self._w.now)
        elif kind == "launch":
            self.refused_launches.append(self._w.now)

    def _judge(self, name: str, sentence: str | None) -> None:
        if sentence is None:
            return
        self.note(name, sentence)

    def note(self, name: str, sentence: str) -> None:
        """Write a violation down."""
        at_s = self._w.now - self._began
        self._w.tell(f"VIOLATION of {name}: {sentence}")
        self.violations.append(Violation(at_s=at_s, invariant=name, sentence=sentence))

    def lift_marks(self) -> None:
        """People have taken back what they set."""
        for name in [n for n in self.marks if n not in ("birth", "born")]:
            del self.marks[name]

    # -- what is well, and what is told to be

    def told(self, host: Host, parts: dict[str, bool], leader: str | None) -> None:
        """A new word of the host's agent has reached the table."""
        now = self._w.now
        if now - host.told_at > self._w.spec.timings.agent_silent_after_s:
            host.telling_since = now
        host.told_at, host.told_body = now, host.spoken
        if all(parts.values()):
            host.told_ill_since = FOREVER
        else:
            host.told_ill_since = min(host.told_ill_since, now)
        led = None if leader is None else self._w.aws.occupant(leader)
        if led is not None:
            led.named_at = now
        for unit in host.services:
            _since(host.active, unit, host.runs(unit, now), now)
        for part, well in parts.items():
            _since(host.told_well, part, well, now)

    def passed(self) -> None:
        """A second has gone by."""
        now = self._w.now
        self.judge_state()
        if now - self._looked_at < WELL_EVERY_S:
            return
        self._looked_at = now
        for host in self._w.aws.sits.values():
            self._look_at(host)
        self._look_for_the_unwell()
        self._look_for_the_few()
        for slot in self._w.etcd.voting():
            etcd = self._w.etcd
            _since(self.thin_since, slot, etcd.serves(slot) and not etcd.enough_without(slot), now)

    def _look_for_the_few(self) -> None:
        patroni = self._w.patroni
        for host in patroni.hosts():
            _since(
                self.few_since,
                host.slot.name,
                patroni.streams(host) and not patroni.enough_without(host.slot.name),
                self._w.now,
            )

    def _look_for_the_unwell(self) -> None:
        for slot in self._w.spec.slots:
            host = self._w.aws.occupant(slot.name)
            why = self._w.ill(host) if host is not None else "is empty" if slot.active else None
            _since(
                self.unwell_since,
                slot.name,
                why is not None and host is not None and not host.announced,
                self._w.now,
            )

    def _look_at(self, host: Host) -> None:
        now, parts = self._w.now, self._parts(host)
        for unit in host.services:
            _since(host.active, unit, host.runs(unit, now), now)
        for part, well in parts.items():
            _since(host.well, part, well, now)
        if host.phase is Phase.CONFIGURED and all(parts.values()) and host.agent == "up":
            self._well_for(host)
        if not any(
            self._w.agents.sees(h, host.slot.name) != "silent" for h in self.heard(host, 12.0)
        ):
            host.reached_since = FOREVER
        elif host.reached_since == FOREVER:
            host.reached_since = now

    def _well_for(self, host: Host) -> None:
        """All parts well, and told to be, for a while when a healer last read that: whatever was tried is forgotten.

        What was told before a silence, no look that fell into it has seen.
        """
        now, told, telling = self._w.now, host.told_well, host.telling_since
        known = (max(since, told.get(part, FOREVER), telling) for part, since in host.well.items())
        if now - host.told_at < 12.0 and all(self._read_at - since > 30.0 for since in known):
            self.tries.pop(host.slot.name, None)
            if self._w.ill(host) is None and self._w.aws.impaired(host) is not True:
                self.steps_on.pop(host.slot.name, None)
                self.tried.pop(host.slot.name, None)
                self.refills.pop(host.slot.name, None)

    def heard(self, but: Host, within_s: float) -> list[Host]:
        """The others whose agents' words have come lately."""
        now = self._w.now
        return [
            h
            for h in self._w.aws.sits.values()
            if h is not but
            and h.phase is Phase.CONFIGURED
            and now - max(h.told_at, h.heard_at) < within_s
        ]

    def read(self, skew_s: float) -> float:
        """A healer reads the table; its clock is so much wrong.

        Words that waited for a reader count as new when they are read: how long those may have waited.
        """
        now = self._w.now
        self._note_skew(skew_s)
        self._slow = [(at, slow_s) for at, slow_s in self._slow if now - at < 90.0]
        self._slow.append((now, self._w.weather.amount("slow-calls")))
        self._gap = max(
            (g for g in (self._gap, (now - self._read_at, now)) if now - g[1] < 30.0),
            default=(0.0, 0.0),
        )
        self._read_at = now
        last = self._w.patroni.last_host
        if last is not None and now - last.named_at < 10.0:
            last.known_to_lead = True
        return self._gap[0]

    def _note_skew(self, skew_s: float) -> None:
        """How wrong the clock of a look was. One that stays as it is has one entry, with its last time."""
        now = self._w.now
        if self._skews and self._skews[-1][1] == skew_s:
            self._skews.pop()
        self._skews = [(at, skew) for at, skew in self._skews if now - at < SKEWS_KEPT_S]
        self._skews.append((now, skew_s))

    def ages_off_s(self, of_s: float = LATE_S) -> float:
        """How wrong the healer may be about an age, of so many seconds or less.

        The clocks of the looks since are apart: ages are measured with one and judged with another. And a look reads
        its clock before the table, which takes a call.
        """
        now = self._w.now
        skews = [skew for at, skew in self._skews if now - at <= of_s]
        apart_s = max(skews) - min(skews) if skews else 0.0
        return apart_s + max((slow_s for _, slow_s in self._slow), default=0.0)

    def _parts(self, host: Host) -> dict[str, bool]:
        w, now, slot = self._w, self._w.now, host.slot
        parts = {}
        if slot.role is Role.DB:
            well = w.patroni.leads(host) or w.patroni.streams(host)
            hindered = any(w.weather.on(x, host.instance_id) for x in ("lagging", "patroni-hung"))
            parts["patroni"] = host.runs("patroni", now) and well and not hindered
        if slot.etcd_voter:
            alarm = slot.name in w.etcd.alarms
            parts["etcd"] = slot.name in w.etcd.healthy() and not alarm
        if slot.role in UNIT_OF:
            parts[UNIT_OF[slot.role]] = w.agents.serves(host)
        return parts
