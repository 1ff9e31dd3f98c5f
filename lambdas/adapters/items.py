"""The hub table's items, from DynamoDB's words to ours and back. Pure; docs/contracts.md lists them.

What a person or an older healer left there is never fatal: what cannot be read is taken as what forbids the most.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from lambdas.core.consent import Breaker, Planned, PlannedKind, Window
from lambdas.core.model import Birth, Incident, Mode, OpenAction

Item = Mapping[str, Any]


def as_text(value: str) -> dict[str, str]:
    """A string attribute."""
    return {"S": value}


def as_number(value: float) -> dict[str, str]:
    """A number attribute."""
    return {"N": str(value)}


def text(item: Item, name: str) -> str | None:
    """A string attribute's value, None without one."""
    value = item.get(name)
    return None if value is None else value.get("S")


def number(item: Item, name: str) -> float | None:
    """A number attribute's value, None without one."""
    value = item.get(name)
    return None if value is None or "N" not in value else float(value["N"])


def plain(item: Item) -> dict[str, str]:
    """An item of strings and numbers, as strings."""
    return {key: str(next(iter(value.values()))) for key, value in item.items()}


# -- what people and the breaker say


def mode(item: Item) -> Mode:
    """The operator's mode; one that nobody knows is no permission to act."""
    said = text(item, "mode")
    if said is None:
        return Mode.AUTO
    return Mode(said) if said in set(Mode) else Mode.OBSERVE


def windows(item: Item) -> tuple[Window, ...]:
    """The maintenance windows. A list that cannot be read is one window without end: it may have held."""
    try:
        return windows_from_json(text(item, "windows") or "[]")
    except (ValueError, KeyError, TypeError) as error:
        why = f"the list of windows cannot be read ({error}); write it again"
        return (Window(from_=0.0, until=math.inf, why=why),)


def windows_from_json(document: str) -> tuple[Window, ...]:
    """The windows in the attribute. Raises ValueError, KeyError or TypeError when it is not the contract's list."""
    listed = json.loads(document)
    if not isinstance(listed, list):
        raise TypeError("it is not a list")
    read = [
        Window(from_=float(w["from"]), until=float(w["until"]), why=str(w["why"])) for w in listed
    ]
    if not all(math.isfinite(at) for window in read for at in (window.from_, window.until)):
        raise ValueError("a time is no number")
    return tuple(read)


def windows_to_json(listed: tuple[Window, ...]) -> str:
    """The attribute of these windows."""
    return json.dumps([{"from": w.from_, "until": w.until, "why": w.why} for w in listed])


def breaker(item: Item | None) -> Breaker | None:
    """The breaker; a state that nobody knows is open. None while nothing ever opened or acknowledged it."""
    if item is None:
        return None
    return Breaker(
        open=text(item, "state") != "closed",
        why=text(item, "why") or "",
        opened_at=number(item, "opened_at") or 0.0,
        acknowledged_at=number(item, "acknowledged_at") or 0.0,
    )


def planned(item: Item | None) -> Planned | None:
    """The order under way; None when it is done, cancelled, or of a kind that nobody knows."""
    if item is None or text(item, "state") != "open":
        return None
    kind = text(item, "kind")
    if kind not in set(PlannedKind):
        return None
    return Planned(
        plan_id=text(item, "plan_id") or "",
        kind=PlannedKind(kind),
        since=number(item, "since") or 0.0,
        to=text(item, "to"),
    )


# -- the healer's own


def birth(item: Item | None) -> Birth | None:
    """The cluster's birth, None before it is declared."""
    if item is None:
        return None
    return Birth(
        state=text(item, "state") or "pending",
        first_leader=text(item, "first_leader") or "",
        etcd_token=text(item, "etcd_token") or "",
        declared_at=number(item, "declared_at"),
        etcd_cluster_id=text(item, "etcd_cluster_id"),
        system_identifier=text(item, "system_identifier"),
    )


def open_action(item: Item) -> OpenAction:
    """The action under way on a slot."""
    return OpenAction(
        action_id=text(item, "action_id") or "",
        kind=text(item, "kind") or "",
        incident=text(item, "incident") or "",
        started_at=number(item, "started_at") or 0.0,
        instance_id=text(item, "instance_id"),
        command_id=text(item, "command_id"),
    )


def incident(item: Item) -> Incident:
    """An incident, open or of the history."""
    exit_code = number(item, "last_exit_code")
    return Incident(
        incident_id=text(item, "incident") or "",
        slot=text(item, "slot") or "",
        diagnosis=text(item, "diagnosis") or "",
        opened_at=number(item, "opened_at") or 0.0,
        wake=text(item, "wake") or "",
        steps=int(number(item, "steps") or 0),
        tries=int(number(item, "tries") or 0),
        failures=int(number(item, "failures") or 0),
        failing=text(item, "failing"),
        last_exit_code=None if exit_code is None else int(exit_code),
        last_acted_at=number(item, "last_acted_at"),
        held=text(item, "held"),
        rungs={kind: int(times) for kind, times in json.loads(text(item, "rungs") or "{}").items()},
        stand_in=text(item, "stand_in"),
        found=text(item, "found"),
        found_at=number(item, "found_at"),
    )


def incident_attributes(open_: Incident) -> dict[str, dict[str, str]]:
    """The attributes of an open incident; those without a value are left out."""
    attributes = {
        "incident": as_text(open_.incident_id),
        "slot": as_text(open_.slot),
        "diagnosis": as_text(open_.diagnosis),
        "opened_at": as_number(open_.opened_at),
        "wake": as_text(open_.wake),
        "state": as_text("open"),
        "steps": as_number(open_.steps),
        "tries": as_number(open_.tries),
        "failures": as_number(open_.failures),
    }
    texts = {
        "failing": open_.failing,
        "held": open_.held,
        "stand_in": open_.stand_in,
        "found": open_.found,
    }
    numbers = {
        "last_exit_code": open_.last_exit_code,
        "last_acted_at": open_.last_acted_at,
        "found_at": open_.found_at,
    }
    attributes |= {name: as_text(value) for name, value in texts.items() if value is not None}
    attributes |= {name: as_number(value) for name, value in numbers.items() if value is not None}
    if open_.rungs:
        attributes["rungs"] = as_text(json.dumps(dict(open_.rungs)))
    return attributes
