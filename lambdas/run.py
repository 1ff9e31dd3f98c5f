"""One run of the healer: take the lease, look until the cluster is quiet or time is up, say one sentence.

It must never act without the lease, and never end silently while something is under way.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.act import Actor, Done
from lambdas.adapters.notices import Bus, Metrics, Teller
from lambdas.books import Books
from lambdas.books_unread import for_a_person, holding, write_anew
from lambdas.core.actions import Action, Hold, Wait
from lambdas.core.diagnose import QUIET, Diagnosis, Finding, diagnose
from lambdas.core.model import BIRTH, Incident, Observation
from lambdas.core.plan import plan
from lambdas.core.strength import Strength, judge
from lambdas.errors import LeaseLostError, MetricsRefusedError
from lambdas.observe import Look, World, observe
from lambdas.second_look import SecondLook

METRICS_EVERY_S = 10.0
SETTLES_IN = 3  # what an incident says may open another one: its stand-in's


class Clock(Protocol):
    """Time as the run sees it."""

    def now(self) -> float:
        """Epoch seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(kw_only=True)
class Outcome:
    """What a run says of itself; the function's answer."""

    sentence: str = ""
    looks: int = 0
    actions: list[str] = field(default_factory=list)
    full_strength: bool = False
    missing: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    quiet: bool = False

    def as_json(self) -> dict[str, object]:
        """The contract's answer."""
        return {
            "version": 1,
            "sentence": self.sentence,
            "looks": self.looks,
            "actions": self.actions,
            "full_strength": self.full_strength,
            "missing": list(self.missing),
            "holds": list(self.holds),
        }


@dataclass(kw_only=True)
class Run:
    """The composition of one run. `wake` says what began it."""

    world: World
    bus: Bus
    metrics: Metrics
    clock: Clock
    wake: str
    remaining_s: Callable[[], float]
    log: Callable[[str, Mapping[str, object]], None]
    _token: int = 0
    _owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    _metrics_at: float = 0.0
    _woken: bool = False
    _breakers_told: set[float] = field(default_factory=set)
    _kept_at: float = 0.0
    _looked_for_s: float = 0.0  # how long the look before took to observe
    _first_look_at: float | None = None

    def __post_init__(self) -> None:
        self._teller = Teller(self.bus, self.log)
        self._second_look = SecondLook(limit_s=self.world.spec.timings.agent_silent_after_s / 2)

    def go(self) -> Outcome:
        """Run until quiet or out of time. Without the lease it only leaves a mark for the holder."""
        timings = self.world.spec.timings
        try:
            token = self.world.table.take_lease(
                owner=self._owner, now=self.clock.now(), lease_s=timings.lease_s
            )
        except LeaseLostError as error:
            self.log(str(error), {})
            return Outcome(sentence=str(error), quiet=True)
        if token is None:
            return Outcome(
                sentence="another run holds the lease; it will look once more", quiet=True
            )
        self._token = token
        outcome = Outcome()
        try:
            with ThreadPoolExecutor(max_workers=12) as pool:
                self._loop(outcome, pool)
        except LeaseLostError:
            raise
        except Exception:
            self._give_up_lease()
            raise
        if not outcome.quiet:
            self._hand_over(outcome)
        return outcome

    def _give_up_lease(self) -> None:
        """A run that fails must not keep the next one waiting. If this fails too, the lease runs out by itself."""
        try:
            self.world.table.release_lease(owner=self._owner, token=self._token)
        except (BotoCoreError, ClientError) as error:
            self.log("the lease could not be given back", {"why": str(error)})

    def _loop(self, outcome: Outcome, pool: ThreadPoolExecutor) -> None:
        timings = self.world.spec.timings
        end = self.clock.now() + timings.run_budget_s
        while True:
            started = self.clock.now()
            quiet = self._look(outcome, pool)
            outcome.looks += 1
            self._renew()
            woken, self._woken = self._woken, False
            if (
                quiet
                and not woken
                and self.world.table.release_lease(owner=self._owner, token=self._token)
            ):
                outcome.quiet = True
                return
            spent_s = self.clock.now() - started
            if (
                min(self.remaining_s(), end - self.clock.now())
                < 2 * timings.look_interval_s + spent_s + 5
            ):
                return
            self.clock.sleep(max(0.0, timings.look_interval_s - spent_s))

    def _renew(self) -> None:
        """Keep the lease and note whether a wake came meanwhile. Raises LeaseLostError."""
        ours, woken = self.world.table.renew_lease(
            owner=self._owner,
            token=self._token,
            now=self.clock.now(),
            lease_s=self.world.spec.timings.lease_s,
        )
        if not ours:
            raise LeaseLostError("another run took the lease over; this one stops acting")
        self._woken = self._woken or woken

    def _keep(self) -> None:
        """Keep the lease while observing, which may take longer than it lasts. Raises LeaseLostError."""
        now = self.clock.now()
        if now - self._kept_at > self.world.spec.timings.lease_s / 3:
            self._kept_at = now
            self._renew()

    def _hand_over(self, outcome: Outcome) -> None:
        """Time is nearly up and the cluster is not quiet: give the lease back and wake a successor."""
        self._renew()
        self.world.table.release_lease(owner=self._owner, token=self._token)
        self._teller.say(
            "Reconcile Unfinished",
            {
                "cluster": self.world.spec.cluster,
                "sentence": outcome.sentence,
                "token": self._token,
            },
        )

    def _look(self, outcome: Outcome, pool: ThreadPoolExecutor) -> bool:
        """One look: observe, note what ended, diagnose, plan, act. Whether the cluster is quiet."""
        self._second_look.begin()
        began = self._kept_at = self.clock.now()
        look = observe(
            self.world, now=began, pool=pool, keep=self._keep, looked_for_s=self._looked_for_s
        )
        self._looked_for_s = max(0.0, self.clock.now() - began)
        self._renew()  # looking may have taken long: what another run wrote meanwhile is not overwritten
        self._say_what_was_set_aside(look)
        if look.unread.memory is not None:
            outcome.sentence = look.unread.memory
            self.log(outcome.sentence, {"token": self._token})
            return False
        write_anew(look, self.world, Actor(self.world, self._teller, token=self._token))
        books = Books(
            world=self.world,
            teller=self._teller,
            token=self._token,
            wake=self.wake,
            breakers_told=self._breakers_told,
        )
        observation = books.note_finished(look).observation
        findings = for_a_person(diagnose(observation))
        strength = judge(observation, findings)
        after = books.finish_planned(observation, strength)
        if after is not observation:  # the order is over, and what it asked for with it
            observation, findings = after, for_a_person(diagnose(after))
        incidents = books.incidents(observation, findings, strength)
        for _ in range(SETTLES_IN):
            if incidents == observation.incidents:
                break
            observation = replace(observation, incidents=incidents)
            findings = for_a_person(diagnose(observation))
            incidents = books.incidents(observation, findings, strength)
        actions = holding(plan(observation, findings), findings, look.unread)
        done, put_off = self._act(actions, incidents, findings, looked_at=observation.now)
        books.say_holds(actions, incidents, observation)
        said = sentence_of(strength, actions, done, findings)
        outcome.sentence = "; ".join([said, *put_off, *look.mute_ssm, *look.unread.sentences])
        outcome.actions += [d.action_id for d in done]
        outcome.full_strength, outcome.missing = strength.full, strength.missing
        outcome.holds = tuple(f"{a.rail}: {a.because}" for a in actions if isinstance(a, Hold))
        self._publish(observation, strength, outcome.sentence, look)
        self.log(outcome.sentence, {"missing": list(strength.missing), "token": self._token})
        if self._first_look_at is None:
            self._first_look_at = observation.now
        if self.wake.startswith("alarm") and _unheard_since(self._first_look_at, observation):
            return False
        return not put_off and _quiet(actions, done, observation, findings)

    def _say_what_was_set_aside(self, look: Look) -> None:
        for refused in look.refused_reports:
            self.log("a report was set aside", {"why": refused})
        for unread in look.unread.sentences:
            self.log("an item of the hub table was set aside", {"why": unread})

    def _act(
        self,
        actions: tuple[Action, ...],
        incidents: dict[str, Incident],
        findings: Mapping[str, Finding],
        *,
        looked_at: float,
    ) -> tuple[list[Done], list[str]]:
        """What was done, and what is said of steps that wait for another look."""
        actor = Actor(self.world, self._teller, token=self._token)
        done: list[Done] = []
        put_off: list[str] = []
        for step in (a for a in actions if not isinstance(a, Wait | Hold)):
            self._renew()  # a run that lost its lease must not act, between two steps either
            now = self.clock.now()
            waits = self._second_look.puts_off(step, age_s=now - looked_at)
            if waits is not None:
                put_off.append(waits)
                continue
            incident = incidents.get(step.slot) or Incident(
                incident_id=f"{BIRTH}-{self._token}",
                slot=step.slot,
                diagnosis=BIRTH,
                opened_at=now,
                wake=self.wake,
            )
            found = None if incident.passing else findings[step.slot].diagnosis
            result = actor.act(step, incident, now=now, found=found)
            incidents[step.slot] = result.incident
            done.append(result)
        return done, put_off

    def _publish(self, o: Observation, strength: Strength, sentence: str, look: Look) -> None:
        self.world.table.save_strength(
            full=strength.full,
            missing=strength.missing,
            leader=strength.leader,
            sentence=sentence,
            at=o.now,
        )
        if o.now - self._metrics_at < METRICS_EVERY_S:
            return
        self._metrics_at = o.now
        values: dict[tuple[str, str | None], float] = {
            ("StatusCheckFailed", i.slot): float(i.impaired)
            for i in o.instances
            if i.impaired is not None and i.slot
        }
        values["Strength", None] = float(strength.full)
        values["ReportsRefused", None] = float(len(look.refused_reports))
        values["ItemsUnread", None] = float(len(look.unread.sentences))
        opened = [i.opened_at for i in o.incidents.values()]
        values["OldestIncidentAge", None] = o.now - min(opened, default=o.now)
        try:
            self.metrics.put(values)
        except MetricsRefusedError as error:
            self.log("metrics were not taken", {"why": str(error)})  # healing goes on without them


def _quiet(
    actions: tuple[Action, ...],
    done: list[Done],
    o: Observation,
    findings: Mapping[str, Finding],
) -> bool:
    """Nothing done, nothing under way, nothing that may soon change: healthy, or only holds."""
    if done or any(isinstance(a, Wait) or _looks_again(a) for a in actions):
        return False
    waiting = any(
        a.command_id is not None or findings[slot].diagnosis in QUIET  # soon its incident is over
        for slot, a in o.open_actions.items()
    )
    held = {a.slot for a in actions if isinstance(a, Hold)}
    growing = any(
        f.evidence.peers_silent and f.diagnosis is not Diagnosis.SPARE and f.slot not in held
        for f in findings.values()
    )
    return not waiting and not growing


def _unheard_since(at: float, o: Observation) -> bool:
    """Whether somebody's last word was there already: an alarm says that nothing comes, and one look cannot tell."""
    return any(o.now - o.reports[slot].age_s <= at for slot in o.young)


def _looks_again(action: Action) -> bool:
    """Whether a person is told, and the next look may act all the same."""
    return isinstance(action, Hold) and action.rail == "looked-away"


def sentence_of(
    strength: Strength,
    actions: tuple[Action, ...],
    done: list[Done],
    findings: Mapping[str, Finding],
) -> str:
    """What an operator would say of this look."""
    if done:
        parts = []
        for result in done:
            finding = findings.get(result.incident.slot)
            why = "" if finding is None or finding.diagnosis in QUIET else f" ({finding.diagnosis})"
            parts.append(result.sentence + why)
        return "; ".join(parts)
    holds = _grouped("holding ", [a for a in actions if isinstance(a, Hold)])
    waits = _grouped("", [a for a in actions if isinstance(a, Wait)])
    if holds or waits:
        return "; ".join(holds + waits)
    return (
        f"full strength, {strength.leader} leads" if strength.full else "; ".join(strength.missing)
    )


def _grouped(verb: str, actions: Sequence[Wait | Hold]) -> list[str]:
    """One clause a reason, with all the slots it is said of."""
    slots: dict[str, list[str]] = {}
    for action in actions:
        slots.setdefault(action.because, []).append(action.slot)
    return [f"{verb}{', '.join(names)}: {because}" for because, names in slots.items()]
