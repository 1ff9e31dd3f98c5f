"""A spare slot that carries on where AWS has no capacity for an active one. Pure.

The active slot's incident names its stand-in, one and no other, for as long as it is open: until then the spare slot is
filled and healed like an active one. When the active slot has been healthy for a while, the stand-in is ended like a
node that a person has replaced; its disk stays the slot's current one. Only then is the incident over.
"""

from __future__ import annotations

from lambdas.core.incident import Incident
from lambdas.core.ladder import machine_wait_s
from lambdas.core.model import Observation

HEALTHY = "healthy"  # the diagnosis of a slot that is well


def carried_by(slot: str, o: Observation) -> Incident | None:
    """The incident in which a spare slot stands in, None while it does not."""
    return next((i for i in o.incidents.values() if i.stand_in == slot), None)


def is_wanted(slot: str, o: Observation) -> bool:
    """Whether a spare slot is to be filled: it stands in for one that is not well."""
    incident = carried_by(slot, o)
    return incident is not None and incident.found != HEALTHY


def is_relieved(slot: str, o: Observation) -> bool:
    """Whether the slot that it stands in for has been well for long enough to be relied upon."""
    incident = carried_by(slot, o)
    if incident is None or incident.found != HEALTHY or incident.found_at is None:
        return False
    return o.now - incident.found_at > machine_wait_s(o.spec.timings)


def is_over(incident: Incident, o: Observation) -> bool:
    """Whether nothing of a stand-in is left that the incident would have to remember."""
    slot = incident.stand_in
    return slot is None or not (o.occupants(slot) or slot in o.open_actions)


def choose(slot: str, o: Observation) -> str | None:
    """A free spare slot of the same role and region in another zone; None when there is none."""
    own = o.spec.by_name[slot]
    if not own.active or o.birth is None or o.birth.state != "born":
        return None
    for spare in o.spec.slots:
        alike = (spare.role, spare.region) == (own.role, own.region) and spare.zone != own.zone
        if spare.active or not alike:
            continue
        if not o.occupants(spare.name) and carried_by(spare.name, o) is None:
            return spare.name
    return None
