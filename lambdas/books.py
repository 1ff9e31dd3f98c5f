"""The run's bookkeeping: incidents opened and healed, commands that ended, holds told once, the breaker, planned work.

It writes to the hub table and tells people. It must never act on AWS, nor decide what is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lambdas.act import Actor, notice
from lambdas.adapters.notices import Teller
from lambdas.core.actions import Action, Hold
from lambdas.core.consent import Breaker, PlannedKind
from lambdas.core.diagnose import QUIET, Diagnosis, Finding
from lambdas.core.incident import ACKNOWLEDGED, incident_id
from lambdas.core.ladder import still_counts
from lambdas.core.model import Incident, InstanceState, Observation
from lambdas.core.rails import BREAKERS
from lambdas.core.stand_in import choose, is_over
from lambdas.core.strength import Strength
from lambdas.core.wanted import proven
from lambdas.observe import Look, World

SEEN_WITHIN_S = 30.0  # what was asked without a document shows its effect in this time


@dataclass(frozen=True, kw_only=True)
class Books:
    """One run's books. `wake` says what began it."""

    world: World
    teller: Teller
    token: int
    wake: str
    breakers_told: set[float] = field(default_factory=set)  # when opened; by this run

    # -- commands that ended

    def note_finished(self, look: Look) -> Look:
        """Close commands that ended, in the table and in the observation."""
        o = look.observation
        if not look.finished:
            return self._forget_settled(look)
        actor = Actor(self.world, self.teller, token=self.token)
        incidents = dict(o.incidents)
        open_actions = dict(o.open_actions)
        for slot, state in look.finished.items():
            action = open_actions.pop(slot)
            incident = incidents.get(slot)
            if incident is None:
                self.world.table.clear_action(slot)
                continue
            incidents[slot] = actor.finish(action, state, incident, now=o.now)
            if action.kind == "switchover" and state.status == "Success":
                o = self._any_successor_will_do(o)
        after = replace(o, incidents=incidents, open_actions=open_actions)
        return self._forget_settled(replace(look, observation=after))

    def _forget_settled(self, look: Look) -> Look:
        """Drop open actions whose instance is gone, or whose effect needs no command to be seen."""
        o = look.observation
        alive = {i.instance_id for i in o.instances if i.state is not InstanceState.TERMINATED}
        kept = {}
        for slot, action in o.open_actions.items():
            fresh = o.now - action.started_at < SEEN_WITHIN_S
            orphaned = action.instance_id is not None and action.instance_id not in alive
            settled = action.command_id is None
            known = o.spec.by_name[slot].region not in o.unknown_regions
            if (orphaned or settled) and not fresh and known:
                self.world.table.clear_action(slot)
            else:
                kept[slot] = action
        return replace(look, observation=replace(o, open_actions=kept))

    # -- what people ordered

    def _any_successor_will_do(self, o: Observation) -> Observation:
        """An order to switch over that names nobody is done with the first switchover."""
        p = o.planned
        if p is None or p.kind is not PlannedKind.SWITCHOVER or p.to is not None:
            return o
        self.world.table.finish_planned(p.plan_id, state="done")
        return replace(o, planned=None)

    def finish_planned(self, o: Observation, strength: Strength) -> Observation:
        """The observation without the order, once there is nothing left of it to do."""
        p = o.planned
        if p is None:
            return o
        if p.kind is PlannedKind.SWITCHOVER:
            done = p.to is not None and o.leader == p.to
        else:
            standing = (i for i in o.instances if i.state is not InstanceState.TERMINATED)
            done = strength.full and all(i.made_at >= p.since for i in standing)
        if not done or o.unknown_regions:
            return o
        self.world.table.finish_planned(p.plan_id, state="done")
        return replace(o, planned=None)

    # -- incidents

    def incidents(
        self, o: Observation, findings: Mapping[str, Finding], strength: Strength
    ) -> dict[str, Incident]:
        """Open what is newly wrong, close what is healed, keep the rest; anew what a person has acknowledged."""
        incidents = dict(o.incidents)
        for slot, finding in findings.items():
            known = incidents.get(slot)
            if finding.diagnosis in QUIET:
                if known is not None and slot not in o.open_actions and is_over(known, o):
                    self._heal(known, o, strength)
                    del incidents[slot]
            elif known is None and proven(finding) and not o.closed:
                incidents[slot] = self._open(slot, finding, o)
        for slot, incident in incidents.items():
            acknowledged = self._acknowledged(incident, o.breaker)
            found = self._found(acknowledged, findings[slot], o.now)
            incidents[slot] = self._helped(found, incidents, o)
        return incidents

    def _helped(
        self, incident: Incident, incidents: Mapping[str, Incident], o: Observation
    ) -> Incident:
        """With a stand-in where AWS has no room for the slot itself, once an incident."""
        if incident.found != Diagnosis.NO_CAPACITY or incident.stand_in is not None:
            return incident
        spare = choose(incident.slot, replace(o, incidents=incidents))
        if spare is None:
            return incident
        helped = replace(incident, stand_in=spare)
        self.world.table.save_incident(helped)
        return helped

    def _found(self, incident: Incident, finding: Finding, now: float) -> Incident:
        d = finding.diagnosis
        found = incident.now_found(d, now=now, counts=still_counts(d))
        if found is not incident:
            self.world.table.save_incident(found)
        return found

    def _acknowledged(self, incident: Incident, breaker: Breaker | None) -> Incident:
        if breaker is None or breaker.open or not incident.older_than(breaker.acknowledged_at):
            return incident
        anew = incident.begun_anew(breaker.acknowledged_at)
        self.world.table.save_incident(anew)
        return anew

    def _open(self, slot: str, finding: Finding, o: Observation) -> Incident:
        incident = Incident(
            incident_id=incident_id(slot, self.world.iso(o.now)),
            slot=slot,
            diagnosis=finding.diagnosis,
            opened_at=o.now,
            wake=self.wake,
            found=finding.diagnosis,
            found_at=o.now,
        )
        self.world.table.save_incident(incident)
        self._tell(
            "Incident Opened", incident, f"{slot} is {finding.diagnosis}: {finding.rule.why}"
        )
        return incident

    def _heal(self, incident: Incident, o: Observation, strength: Strength) -> None:
        """Said first: a run that ends in between says it again, and people are told it once."""
        sentence = f"{incident.slot} is healed after {o.now - incident.opened_at:.0f} s"
        self._tell("Incident Healed", incident, sentence, full_strength=strength.full)
        self.world.table.heal_incident(incident, at=o.now, sentence=sentence)

    # -- holds and the breaker

    def say_holds(
        self, actions: tuple[Action, ...], incidents: dict[str, Incident], o: Observation
    ) -> None:
        """A hold is told once for one incident and reason; one that opens the breaker is told as that."""
        open_ = o.breaker is not None and o.breaker.open
        self._say_breaker(o)
        for action in actions:
            incident = incidents.get(action.slot)
            if not isinstance(action, Hold) or incident is None or incident.passing:
                continue  # the birth's own step is no incident: written, it would never be counted on
            opened = False
            if action.rail in BREAKERS and not open_:
                opened = open_ = self._open_breaker(action, incident, o)
            if incident.held == action.rail:
                continue
            told = opened or (action.rail == "breaker" and incident.held in BREAKERS)
            held = replace(incident, held=action.rail)
            incidents[action.slot] = held
            self._hold(held, action, o.now, told=told)
            self.world.table.save_incident(held)

    def _hold(self, held: Incident, action: Hold, now: float, *, told: bool) -> None:
        """Journal it, and tell it unless it was told as the breaker's opening."""
        sentence = f"holding {action.slot} ({action.rail}): {action.because}"
        actor = Actor(self.world, self.teller, token=self.token)
        actor.note("hold", held, sentence, now=now)
        if told:
            return
        acknowledged = held.rung(ACKNOWLEDGED)
        more = {"acknowledged": acknowledged} if acknowledged else {}
        self._tell("Held", held, sentence, rail=action.rail, **more)

    def _say_breaker(self, o: Observation) -> None:
        """Once a run while it is open: the run that opened it may have ended before it could say so."""
        b = o.breaker
        if b is None or not b.open or b.opened_at in self.breakers_told:
            return
        self._breaker_opened(b.why, b.opened_at)

    def _breaker_opened(self, why: str, opened_at: float) -> None:
        self.breakers_told.add(opened_at)
        detail = {
            "cluster": self.world.spec.cluster,
            "incident": None,
            "slot": None,
            "diagnosis": None,
            "sentence": f"the breaker is open: {why}",
            "action": None,
            "token": self.token,
            "opened_at": opened_at,
        }
        self.teller.say("Breaker Opened", detail)

    def _open_breaker(self, hold: Hold, incident: Incident, o: Observation) -> bool:
        """Whether it is this run that opened it."""
        why = f"{hold.slot}: {hold.because}; tried: {incident.story}"
        opened = self.world.table.open_breaker(why=why, now=o.now)
        if opened:
            self._breaker_opened(why, o.now)
        return opened

    def _tell(self, what: str, incident: Incident, sentence: str, **more: object) -> None:
        detail = notice(self.world.spec.cluster, incident, sentence, None, self.token)
        self.teller.say(what, {**detail, **more})
