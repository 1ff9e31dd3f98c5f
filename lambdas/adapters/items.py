"""The hub table's items, from DynamoDB's words to ours and back. Pure; docs/contracts.md lists them.

What a person or an older healer left there is never fatal: what cannot be read is taken as what forbids the most, and
`read_...` says beside it, in words, what is wrong with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from lambdas.adapters.attributes import (
    NOT_OURS,
    PROSE_MAX,
    Attributes,
    Item,
    as_number,
    as_text,
    is_finite,
    number,
    plain,
    said,
    text,
)
from lambdas.core.consent import Breaker, Planned, PlannedKind, Window
from lambdas.core.incident import ACKNOWLEDGED
from lambdas.core.model import Birth, Incident, Mode, OpenAction
from lambdas.core.parse import INTEGER_MAX

__all__ = [
    "Item",
    "as_number",
    "as_text",
    "number",
    "plain",
    "text",
]

UNREAD: Final = "what-cannot-be-read"  # among the rungs, in the place of all that was tried before
KEPT: Final = frozenset({UNREAD, ACKNOWLEDGED})


# -- what people and the breaker say


def read_mode(item: Item) -> tuple[Mode, str | None]:
    """The operator's mode, and what is wrong; one that nobody knows is no permission to act."""
    if not item:
        return Mode.AUTO, None
    a = Attributes(item)
    word = a.name("mode", needed=True)
    a.number("until")
    if word is not None and word not in set(Mode):
        a.wrong["mode"] = f"is {word!r}, which nobody knows"
    return (Mode(word) if word in set(Mode) else Mode.OBSERVE), a.why


def mode(item: Item) -> Mode:
    """The operator's mode."""
    return read_mode(item)[0]


def read_windows(item: Item) -> tuple[tuple[Window, ...], str | None]:
    """The maintenance windows, and what is wrong. A list that cannot be read is one window without end."""
    if not item:
        return (), None
    a = Attributes(item)
    document = text(item, "windows")
    try:
        if document is None:
            raise ValueError("it is no string")
        return windows_from_json(document), None
    except NOT_OURS as error:
        a.wrong["windows"] = f"cannot be read ({said(error)})"
    why = f"the list of windows cannot be read ({a.wrong['windows']}); write it again"
    return (Window(from_=0.0, until=math.inf, why=why),), a.why


def windows(item: Item) -> tuple[Window, ...]:
    """The maintenance windows."""
    return read_windows(item)[0]


def windows_from_json(document: str) -> tuple[Window, ...]:
    """The windows in the attribute. Raises one of NOT_OURS when it is not the contract's list."""
    listed = json.loads(document)
    if not isinstance(listed, list):
        raise TypeError("it is not a list")
    read = [
        Window(from_=float(w["from"]), until=float(w["until"]), why=str(w["why"])[:PROSE_MAX])
        for w in listed
    ]
    if not all(math.isfinite(at) for window in read for at in (window.from_, window.until)):
        raise ValueError("a time is no number")
    return tuple(read)


def windows_to_json(listed: tuple[Window, ...]) -> str:
    """The attribute of these windows."""
    return json.dumps([{"from": w.from_, "until": w.until, "why": w.why} for w in listed])


def read_breaker(item: Item | None) -> tuple[Breaker | None, str | None]:
    """The breaker, and what is wrong; what cannot be read is open. None while nothing was ever written."""
    if item is None:
        return None, None
    a = Attributes(item)
    state = a.name("state", needed=True)
    if state not in (None, "open", "closed"):
        a.wrong["state"] = f"is {state!r}, which nobody knows"
    found = Breaker(
        open=state != "closed",
        why=a.prose("why") or "",
        opened_at=a.number("opened_at") or 0.0,
        acknowledged_at=a.number("acknowledged_at") or 0.0,
    )
    return (found if a.why is None else unread_breaker(a.why)), a.why


def unread_breaker(why: str) -> Breaker:
    """The breaker that stands for one that cannot be read: open, and nobody has acknowledged anything."""
    return Breaker(open=True, why=f"its item in the hub table cannot be read: {why}", opened_at=0.0)


def breaker(item: Item | None) -> Breaker | None:
    """The breaker, None while there is none."""
    return read_breaker(item)[0]


def read_planned(item: Item | None) -> tuple[Planned | None, str | None]:
    """The order under way, and what is wrong. None when it is done, cancelled, or cannot be read."""
    if item is None:
        return None, None
    a = Attributes(item)
    state = a.name("state", needed=True)
    if state is not None and state != "open":
        return None, None
    kind = a.name("kind", needed=True)
    if kind is not None and kind not in set(PlannedKind):
        a.wrong["kind"] = f"is {kind!r}, which nobody knows"
    plan_id, since, to = (
        a.name("plan_id", needed=True),
        a.number("since", needed=True),
        a.name("to"),
    )
    if a.why is not None or plan_id is None or since is None:
        return None, a.why
    return Planned(plan_id=plan_id, kind=PlannedKind(kind or ""), since=since, to=to), None


def planned(item: Item | None) -> Planned | None:
    """The order under way."""
    return read_planned(item)[0]


# -- the healer's own


def read_birth(item: Item | None) -> tuple[Birth | None, str | None]:
    """The cluster's birth, None before it is declared, and what is wrong. One that cannot be read is over."""
    if item is None:
        return None, None
    a = Attributes(item)
    state = a.name("state", needed=True)
    if state not in (None, "pending", "born"):
        a.wrong["state"] = f"is {state!r}, which nobody knows"
    pending = state == "pending"
    found = Birth(
        state=state or "",
        first_leader=a.name("first_leader", needed=pending) or "",
        etcd_token=a.name("etcd_token", needed=pending) or "",
        declared_at=a.number("declared_at"),
        etcd_cluster_id=a.name("etcd_cluster_id"),
        system_identifier=a.name("system_identifier"),
    )
    return (found if a.why is None else replace(found, state="born")), a.why


def birth(item: Item | None) -> Birth | None:
    """The cluster's birth, None before it is declared."""
    return read_birth(item)[0]


def read_freshness(item: Item) -> tuple[dict[str, Any], str | None]:
    """Slot → what was first seen of it when, and what is wrong. Of a memory that cannot be read nothing is known."""
    if not item:
        return {}, None
    document = text(item, "slots")
    if document is None:
        return {}, "slots is missing, or no string"
    try:
        entries = json.loads(document)
        strange = [str(slot) for slot, entry in entries.items() if not _is_memory(entry)]
    except NOT_OURS as error:
        return {}, f"slots cannot be read ({said(error)})"
    if strange:
        return {}, f"slots has what is no memory of {', '.join(strange)[:PROSE_MAX]}"
    return dict(entries), None


def _is_memory(entry: Mapping[str, Any]) -> bool:
    """Whether it is what a look remembers of one slot's last report."""
    least_bytes, since = entry.get("lag", [0, 0.0])
    known = (entry["at"], entry.get("late_s", 0.0), entry.get("led_at", 0.0))
    late = (entry.get("looked_for_s", 0.0), entry.get("late_since", 0.0))
    since_when = [entry.get(key, 0.0) for key in ("mute_since", "lag_since", "stalled_since")]
    more = (since, *since_when, *late)
    whole = isinstance(entry["instance_id"], str) and type(entry["sequence"]) is int
    bytes_ = type(least_bytes) is int and abs(least_bytes) < INTEGER_MAX
    return whole and bytes_ and all(is_finite(value) for value in known + more)


def read_open_action(item: Item) -> tuple[OpenAction, str | None]:
    """The action under way on a slot, and what is wrong; of a kind that cannot be read it may end its node."""
    a = Attributes(item)
    action = OpenAction(
        action_id=a.name("action_id", needed=True) or "",
        kind=a.name("kind", needed=True) or "terminate",
        incident=a.name("incident", needed=True) or "",
        started_at=a.number("started_at", needed=True) or 0.0,
        instance_id=a.name("instance_id"),
        command_id=a.name("command_id"),
    )
    # A command that cannot be asked for by its id has no state to wait for.
    return (action if a.why is None else replace(action, command_id=None)), a.why


def open_action(item: Item) -> OpenAction:
    """The action under way on a slot."""
    return read_open_action(item)[0]


def read_incident(item: Item) -> tuple[Incident, str | None]:
    """An incident, open or of the history, and what is wrong.

    Where anything is, what was tried is not known, which is marked among its rungs. Without an id, or the number of
    its steps, it has none of its own any more: an id that is used twice would make EC2 repeat an old act.
    """
    a = Attributes(item)
    of = _of(item)
    exit_code = _exit_code(a)
    found = Incident(
        incident_id=a.name("incident", needed=True) or "",
        slot=of or a.name("slot", needed=True) or "",
        diagnosis=a.name("diagnosis", needed=True) or "",
        opened_at=a.number("opened_at", needed=True) or 0.0,
        wake=a.prose("wake") or "",
        steps=a.count("steps"),
        tries=a.count("tries"),
        failures=a.count("failures"),
        failing=a.name("failing"),
        last_exit_code=exit_code,
        last_acted_at=a.number("last_acted_at"),
        held=a.name("held"),
        rungs=a.counts("rungs"),
        stand_in=a.name("stand_in"),
        found=a.name("found"),
        found_at=a.number("found_at"),
    )
    if of is not None and a.name("slot", needed=True) not in (None, of):
        a.wrong["slot"] = "is another's"
    if a.why is None:
        return found, None
    nameless = bool({"incident", "steps"} & a.wrong.keys())
    named = replace(found, incident_id="" if nameless else found.incident_id)
    return replace(named, rungs={UNREAD: 1}), a.why


def _of(item: Item) -> str | None:
    """The slot by an open incident's own key."""
    return text(item, "sk") if text(item, "pk") == "OPEN" else None


def _exit_code(a: Attributes) -> int | None:
    """A node's exit code; a command that never came to one has -1."""
    raw = number(a.item, "last_exit_code")
    if raw is not None and abs(raw) <= 255:
        return int(raw)
    if "last_exit_code" in a.item:
        a.wrong["last_exit_code"] = "is no exit code"
    return None


def incident(item: Item) -> Incident:
    """An incident, open or of the history."""
    return read_incident(item)[0]


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
    kept = {key: n for key, n in open_.rungs.items() if UNREAD not in open_.rungs or key in KEPT}
    if kept:  # what is only assumed is not written, as though it had been tried
        attributes["rungs"] = as_text(json.dumps(kept))
    return attributes
