"""The run's bookkeeping: incidents opened and healed, commands that ended, holds told once, the breaker, planned work.

It writes to the hub table and tells people. It must never act on AWS, nor decide what is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lambdas.act import Actor, notice
from lambdas.adapters.notices import Teller
from lambdas.core.actions import Action, Hold
from lambdas.core.consent import Breaker, PlannedKind
from lambdas.core.diagnose import QUIET, Finding
from lambdas.core.model import Incident, InstanceState, Observation
from lambdas.core.rails import BREAKERS
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
            done = strength.full and all(i.launched_at >= p.since for i in standing)
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
                if known is not None and slot not in o.open_actions:
                    self._heal(known, o, strength)
                    del incidents[slot]
            elif known is None and proven(finding) and not o.closed:
                incidents[slot] = self._open(slot, finding, o)
        return {slot: self._acknowledged(i, o.breaker) for slot, i in incidents.items()}

    def _acknowledged(self, incident: Incident, breaker: Breaker | None) -> Incident:
        if breaker is None or breaker.open or not incident.older_than(breaker.acknowledged_at):
            return incident
        anew = incident.begun_anew(breaker.acknowledged_at)
        self.world.table.save_incident(anew)
        return anew

    def _open(self, slot: str, finding: Finding, o: Observation) -> Incident:
        stamp = self.world.iso(o.now).replace("-", "").replace(":", "").split(".")[0]
        incident = Incident(
            incident_id=f"{stamp}-{slot}",
            slot=slot,
            diagnosis=finding.diagnosis,
            opened_at=o.now,
            wake=self.wake,
        )
        self.world.table.save_incident(incident)
        self._tell(
            "Incident Opened", incident, f"{slot} is {finding.diagnosis}: {finding.rule.why}"
        )
        return incident

    def _heal(self, incident: Incident, o: Observation, strength: Strength) -> None:
        sentence = f"{incident.slot} is healed after {o.now - incident.opened_at:.0f} s"
        self.world.table.heal_incident(incident, at=o.now, sentence=sentence)
        detail = notice(o.spec.cluster, incident, sentence, None, self.token)
        self.teller.say("Incident Healed", {**detail, "full_strength": strength.full})

    # -- holds and the breaker

    def say_holds(
        self, actions: tuple[Action, ...], incidents: dict[str, Incident], o: Observation
    ) -> None:
        """A hold is told once for one incident and reason; one that opens the breaker is told as that."""
        open_ = o.breaker is not None and o.breaker.open
        for action in actions:
            incident = incidents.get(action.slot)
            if not isinstance(action, Hold) or incident is None:
                continue
            opened = False
            if action.rail in BREAKERS and not open_:
                opened = open_ = self._open_breaker(action, incident, o)
            if incident.held == action.rail:
                continue
            told = opened or (action.rail == "breaker" and incident.held in BREAKERS)
            held = replace(incident, held=action.rail)
            incidents[action.slot] = held
            self.world.table.save_incident(held)
            if not told:
                self._tell("Held", held, f"holding {action.slot} ({action.rail}): {action.because}")

    def _open_breaker(self, hold: Hold, incident: Incident, o: Observation) -> bool:
        """Whether it is this run that opened it."""
        why = f"{hold.slot}: {hold.because}; tried: {incident.story}"
        opened = self.world.table.open_breaker(why=why, now=o.now)
        if opened:
            self._tell("Breaker Opened", incident, f"the breaker is open: {why}")
        return opened

    def _tell(self, what: str, incident: Incident, sentence: str) -> None:
        detail = notice(self.world.spec.cluster, incident, sentence, None, self.token)
        self.teller.say(what, detail)
