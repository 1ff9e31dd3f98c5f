"""Who is on the way out, comes back, or is made anew: what one step at a time has to wait for. Pure."""

from __future__ import annotations

from lambdas.core.actions import DISCARDS, Step
from lambdas.core.diagnose import Finding
from lambdas.core.evidence import gather
from lambdas.core.ladder import machine_wait_s, was_stopped
from lambdas.core.model import Instance, InstanceState, Observation
from lambdas.core.rules.databases import CLONING

DOWN_FOR_A_MOMENT = frozenset({InstanceState.STOPPED, InstanceState.PENDING})


def going(step: Step, o: Observation, kinds: frozenset[str]) -> list[Instance]:
    """Other occupants that are on their way out or down. What was asked counts before EC2 shows it."""
    asked = {slot for slot, action in o.open_actions.items() if action.kind in kinds}
    ending = (InstanceState.SHUTTING_DOWN, InstanceState.STOPPING)
    return [
        i
        for i in o.instances
        if i.slot != step.slot
        and i.state is not InstanceState.TERMINATED
        and (i.state in ending or i.slot in asked)
    ]


def comes_back(instance: Instance, step: Step, o: Observation) -> bool:
    """It was stopped or rebooted and has not spoken since, or its copy was given up and is not there again."""
    incident = o.incidents.get(instance.slot)
    if instance.slot == step.slot or incident is None or incident.last_acted_at is None:
        return False
    since_s = o.now - incident.last_acted_at
    given_up = any(incident.took(kind) for kind in DISCARDS)
    if given_up and (since_s < o.spec.timings.restart_wait_s or _is_cloned(instance.slot, o)):
        return True
    if incident.took("stop") and instance.state in DOWN_FOR_A_MOMENT:
        return True
    return (
        was_stopped(incident)
        and since_s < machine_wait_s(o.spec.timings)
        and not _spoke_since(instance, o)
    )


def is_given_up(slot: str, o: Observation) -> bool:
    """Whether the slot's copy was given up a moment ago and is not there again."""
    incident = o.incidents.get(slot)
    if incident is None or not any(incident.took(kind) for kind in DISCARDS):
        return False
    e = gather(o, o.spec.by_name[slot])
    streams = e.standby is not None and e.standby.state == "streaming"
    recent = o.now - (incident.last_acted_at or 0.0) < machine_wait_s(o.spec.timings)
    return not streams and (recent or e.set_aside is not None or _is_cloned(slot, o))


def _spoke_since(instance: Instance, o: Observation) -> bool:
    """Whether its word is younger than what was last done to it."""
    seen, incident = o.reports.get(instance.slot), o.incidents[instance.slot]
    young = o.fresh(instance.slot) is not None
    at = 0.0 if seen is None else o.now - seen.age_s
    return young and at > (incident.last_acted_at or 0.0)


def _is_cloned(slot: str, o: Observation) -> bool:
    """Whether the copy that was given up is still being made anew."""
    own = o.fresh(slot)
    return own is not None and own.patroni is not None and own.patroni.state == CLONING


def crowded(leaving: list[Instance], finding: Finding, o: Observation, what: str) -> str | None:
    """Why another one has to wait: one at a time in a region, two in all."""
    same = [i for i in leaving if i.region == finding.evidence.slot.region]
    if same or len(leaving) >= 2:
        return f"{(same or leaving)[0].slot} is being {what}; one at a time"
    if len(leaving) + len(o.unknown_regions) >= 2:
        return f"what is being {what} in {', '.join(o.unknown_regions)} is not known"
    return None
