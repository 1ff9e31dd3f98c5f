"""What people write into the hub table: modes, windows, acknowledgements, planned work.

Every order is one transaction: the item, on the condition that it is still what the person was shown, and a line that
says who ordered what. So two people never overwrite each other unseen, and nothing changes without a trace.
It must never write what only the healer knows, and never act on a node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from lambdas.adapters.items import Item, as_number, as_text, windows_to_json
from lambdas.compose import iso
from lambdas.core.consent import PlannedKind, Window
from lambdas.core.model import Mode
from lambdas.people.errors import RefusedError
from lambdas.people.facts import Facts
from lambdas.people.times import spent, written

KEEP_S = 90 * 24 * 3600
WINDOWS_MAX = 50
WORDS_MAX = 500  # of a reason: it is shown to everybody, again and again
# What an item that people write may have; one that appeared since it was read is a change too.
ATTRIBUTES = frozenset(
    "mode until why by windows state opened_at acknowledged_at kind plan_id since to".split()
)
LOST_RACES = frozenset({"ConditionalCheckFailed", "TransactionConflict"})
CHANGED = "somebody changed it at the same moment, so nothing was written; look at heal-status and order again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who orders, and when (epoch seconds)."""

    by: str
    now: float

    @property
    def stamp(self) -> str:
        """The moment, short, for an id."""
        return datetime.fromtimestamp(self.now, UTC).strftime("%Y%m%dT%H%M%S")


class Orders:
    """One person's orders, given what the person was shown. Each returns the sentence that confirms it.

    Raises RefusedError when it makes no sense, or when the world changed meanwhile; then nothing was written.
    """

    def __init__(self, client: Any, table: str, person: Person, facts: Facts) -> None:  # noqa: ANN401
        self._client, self._table = client, table
        self._person, self._facts = person, facts

    # -- modes

    def pause(self, mode: Mode, *, until: float | None, why: str, replace: bool) -> str:
        """`observe` or `off`, for a time or until resume. Another's pause is only replaced when asked to."""
        facts, person, why = self._facts, self._person, _why(why)
        said = facts.mode_said
        standing = facts.mode_at(person.now)
        if standing is not Mode.AUTO and said.by != person.by and not replace:
            raise RefusedError(f"{_paused(facts, standing)}; --replace puts yours in its place")
        attributes = {"mode": as_text(mode), "why": as_text(why), "by": as_text(person.by)}
        end = "until heal-resume"
        if until is not None:
            attributes["until"] = as_number(until)
            end = f"until {written(until)} (for {spent(until - person.now)})"
        does = "plans, says, and does nothing" if mode is Mode.OBSERVE else "does nothing"
        sentence = f"mode is {mode} {end}: the healer {does}. Why: {why}"
        self._write("mode", attributes, sentence)
        return sentence

    def resume(self) -> str:
        """Auto again, whoever paused."""
        standing = self._facts.mode_at(self._person.now)
        if standing is Mode.AUTO:
            raise RefusedError("mode is auto: there is no pause to end")
        sentence = f"mode is auto again; {_paused(self._facts, standing)}"
        self._write("mode", {"mode": as_text(Mode.AUTO), "by": as_text(self._person.by)}, sentence)
        return sentence

    # -- windows

    def open_window(self, *, from_: float, until: float, why: str) -> str:
        """One maintenance window more."""
        window = Window(from_=from_, until=until, why=_why(why))
        if any(int(w.from_) == int(from_) for w in self._facts.windows):
            raise RefusedError(f"a window begins at {written(from_)} already; cancel it first")
        kept = self._windows_to_come()
        if len(kept) >= WINDOWS_MAX:
            raise RefusedError(f"there are {WINDOWS_MAX} windows already; cancel one first")
        sentence = f"in the window {_when(window)} every step is a hold. Why: {window.why}"
        self._write_windows((*kept, window), sentence)
        return sentence

    def cancel_window(self, from_: float) -> str:
        """Take back the window that begins at that second."""
        kept = self._windows_to_come()
        found = next((w for w in self._facts.windows if int(w.from_) == int(from_)), None)
        if found is None:
            raise RefusedError(f"no window begins at {written(from_)}; `window` lists them")
        sentence = f"the window {_when(found)} is cancelled ({found.why})"
        self._write_windows(tuple(w for w in kept if w is not found), sentence)
        return sentence

    def _windows_to_come(self) -> tuple[Window, ...]:
        """Those that are over, and the one that stands for a list nobody can read, are not written again."""
        now = self._person.now
        return tuple(w for w in self._facts.windows if now < w.until < math.inf)

    def _write_windows(self, windows: tuple[Window, ...], sentence: str) -> None:
        listed = tuple(sorted(windows, key=lambda w: w.from_))
        self._write("windows", {"windows": as_text(windows_to_json(listed))}, sentence)

    # -- the breaker and holds

    def acknowledge(self, why: str | None) -> str:
        """A person has looked: the breaker closes, and what was tried does not count any more."""
        facts, person, why = self._facts, self._person, _words(why or "")
        breaker = facts.breaker
        is_open = breaker is not None and breaker.open
        if not is_open and not facts.incidents:
            raise RefusedError("there is nothing to acknowledge: no breaker, no open incident")
        attributes: dict[str, Any] = {
            name: value
            for name, value in (facts.item("breaker") or {}).items()
            if name in ("opened_at", "why")
        }
        attributes |= {
            "state": as_text("closed"),
            "acknowledged_at": as_number(person.now),
            "by": as_text(person.by),
        }
        said = []
        if breaker is not None and breaker.open:
            since = spent(person.now - breaker.opened_at)
            said.append(
                f"the breaker, open for {since}, is closed (it opened because {breaker.why})"
            )
        if facts.incidents:
            slots = ", ".join(sorted(i.slot for i in facts.incidents))
            said.append(f"the healer begins anew with {slots}")
        sentence = "acknowledged: " + "; ".join(said) + (f". Why: {why}" if why else "")
        self._write("breaker", attributes, sentence)
        return sentence

    # -- planned work

    def plan(self, kind: PlannedKind, *, to: str | None = None, why: str | None = None) -> str:
        """Order a switchover or a roll, one at a time."""
        facts, person, why = self._facts, self._person, _words(why or "")
        if facts.planned is not None:
            open_ = facts.planned
            raise RefusedError(
                f"a {open_.kind} ordered by {facts.planned_said.by or 'somebody'} at {written(open_.since)} "
                f"is not done yet; `{open_.kind} --cancel` takes it back"
            )
        attributes = {
            "kind": as_text(kind),
            "plan_id": as_text(f"{person.stamp}-{kind}"),
            "since": as_number(person.now),
            "state": as_text("open"),
            "by": as_text(person.by),
        }
        attributes |= {n: as_text(said) for n, said in (("to", to), ("why", why)) if said}
        what = {
            PlannedKind.SWITCHOVER: f"switchover to {to or 'the best replica'}",
            PlannedKind.ROLL: "every node is replaced, one at a time, the leader last by a switchover",
        }[kind]
        sentence = f"ordered: {what}" + (f". Why: {why}" if why else "")
        self._write("planned", attributes, sentence)
        return sentence

    def cancel_plan(self, kind: PlannedKind) -> str:
        """Take back what is not done yet; a step under way is finished."""
        facts = self._facts
        open_, item = facts.planned, facts.item("planned")
        if open_ is None or item is None or open_.kind is not kind:
            raise RefusedError(f"no {kind} is under way, so there is none to cancel")
        sentence = (
            f"the {kind} ordered by {facts.planned_said.by or 'somebody'} at {written(open_.since)} is "
            "cancelled; a step under way is finished, no other begins"
        )
        kept = {name: value for name, value in item.items() if name not in ("pk", "sk")}
        self._write("planned", {**kept, "state": as_text("cancelled")}, sentence)
        return sentence

    # -- the one way in

    def _write(self, sk: str, attributes: Mapping[str, Any], sentence: str) -> None:
        """The item and who ordered it, or neither."""
        line = {
            **_key("ORDER", f"{iso(self._person.now)}#{self._person.by}"),
            "sentence": as_text(sentence),
            "by": as_text(self._person.by),
            "at": as_number(self._person.now),
            "ttl": as_number(int(self._person.now) + KEEP_S),
        }
        put = {"TableName": self._table, "Item": {**_key("CLUSTER", sk), **attributes}}
        try:
            self._client.transact_write_items(
                TransactItems=[
                    {"Put": {**put, **_unchanged(self._facts.item(sk))}},
                    {"Put": {"TableName": self._table, "Item": line}},
                ]
            )
        except ClientError as error:
            response: Mapping[str, Any] = error.response
            reasons = {reason.get("Code") for reason in response.get("CancellationReasons", ())}
            if reasons & LOST_RACES:
                raise RefusedError(CHANGED) from error
            raise


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": as_text(pk), "sk": as_text(sk)}


def _unchanged(item: Item | None) -> dict[str, Any]:
    """The condition that an item is still as it was read."""
    if item is None:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    known = {name: value for name, value in item.items() if name not in ("pk", "sk")}
    names = {f"#{name}": name for name in known.keys() | ATTRIBUTES}
    same = [
        f"#{name} = :{name}" if name in known else f"attribute_not_exists(#{name})"
        for name in names.values()
    ]
    return {
        "ConditionExpression": " AND ".join(["attribute_exists(pk)", *same]),
        "ExpressionAttributeNames": names,
        **(
            {"ExpressionAttributeValues": {f":{name}": v for name, v in known.items()}}
            if known
            else {}
        ),
    }


def _why(said: str) -> str:
    """A reason that others can read. Raises RefusedError."""
    why = _words(said)
    if not why:
        raise RefusedError("say why, in words that others understand: --why '...'")
    return why


def _words(said: str) -> str:
    """One line of letters that every terminal can show, which may be none. Raises RefusedError."""
    words = " ".join(said.split())
    if not words.isprintable():
        raise RefusedError(f"{words!r} has characters that cannot be shown; write letters")
    if len(words) > WORDS_MAX:
        raise RefusedError(f"--why takes {WORDS_MAX} characters, and these are {len(words)}")
    return words


def _paused(facts: Facts, standing: Mode) -> str:
    said = facts.mode_said
    end = "" if facts.mode_until is None else f" until {written(facts.mode_until)}"
    return (
        f"{said.by or 'somebody'} had set it to {standing}{end} ({said.why or 'no reason given'})"
    )


def _when(window: Window) -> str:
    return f"from {written(window.from_)} to {written(window.until)} ({spent(window.until - window.from_)})"
