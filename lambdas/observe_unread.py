"""What lies in the hub table and cannot be read: set aside with a sentence, and what is taken in its place.

What is not known never allows anything: a slot whose past is not known is a person's, and of a memory that is lost
nothing is fresh. It must never change anything; books_unread.py writes what was taken in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from lambdas.adapters.items import UNREAD, unread_breaker
from lambdas.adapters.table import CLOCKS_S, RawReport, State
from lambdas.core.actions import DISCARDS, STOPS
from lambdas.core.incident import ACKNOWLEDGED, Incident, OpenAction, incident_id
from lambdas.core.model import Role, Spec
from lambdas.core.parse import BadReportError, report_from_json
from lambdas.core.report import Report

FRESHNESS: Final = "CLUSTER/freshness"
NO_SLOT: Final = "it is no slot of this cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """What cannot be read, for the run: `sentences` for the log and the count, the rest for what depends on it."""

    sentences: tuple[str, ...] = ()
    pasts: Mapping[str, str] = field(
        default_factory=dict
    )  # slot → what is wrong with its open incident
    actions: frozenset[str] = frozenset()  # slots whose action under way was
    birth: str | None = None  # why nothing may be configured
    memory: str | None = None  # why nothing may be decided by this look


@dataclass(kw_only=True)
class _Reading:
    now: float
    iso: Callable[[float], str]
    why: dict[str, str]
    taken: dict[str, str] = field(default_factory=dict)

    def late(self, key: str, *times: float | None) -> bool:
        """Whether it cannot be taken as it is: it was marked so, or is from a time that has not come."""
        if any(at is not None and at > self.now + CLOCKS_S for at in times):
            self.why.setdefault(key, "a time in it has not come yet")
        return key in self.why

    def sentences(self) -> tuple[str, ...]:
        said = (
            f"the item {key} of the hub table cannot be read: {why}"
            for key, why in self.why.items()
        )
        return tuple(f"{s}; {self.taken[k]}" for s, k in zip(said, self.why, strict=True))


def set_aside(
    state: State, spec: Spec, *, now: float, iso: Callable[[float], str]
) -> tuple[State, Unread]:
    """The state with something safe in the place of what cannot be read, and what that was."""
    r = _Reading(now=now, iso=iso, why=dict(state.unread), taken=dict(TAKEN))
    breaker = state.breaker
    if breaker is not None and r.late("CLUSTER/breaker", breaker.acknowledged_at):
        breaker = unread_breaker(r.why["CLUSTER/breaker"])
    planned = state.planned
    if planned is not None and r.late("CLUSTER/planned", planned.since):
        planned = None
    incidents, pasts = _incidents(state, spec, r)
    open_actions, actions = _actions(state, spec, r)
    lost = _is_lost(state.freshness, r)
    freshness = _nothing_is_fresh(state.reports, spec, now) if lost else state.freshness
    settled = replace(
        state,
        breaker=breaker,
        planned=planned,
        incidents=incidents,
        open_actions=open_actions,
        freshness=freshness,
    )
    return settled, Unread(
        sentences=r.sentences(),
        pasts=pasts,
        actions=actions,
        birth=r.why.get("CLUSTER/birth"),
        memory=_blind(freshness, spec, now),
    )


TAKEN: Final[Mapping[str, str]] = {
    "CLUSTER/birth": "nothing is configured until it is put right",
    "CLUSTER/mode": "it is taken as observe",
    "CLUSTER/windows": "it is taken as a window without end",
    "CLUSTER/breaker": "it is taken as open",
    "CLUSTER/planned": "it is not carried out",
    FRESHNESS: "no report counts as fresh until a newer one comes",
}


def _incidents(state: State, spec: Spec, r: _Reading) -> tuple[dict[str, Incident], dict[str, str]]:
    incidents, pasts = {}, {}
    for slot, incident in state.incidents.items():
        key = f"OPEN/{slot}"
        if slot not in spec.by_name:
            r.why[key], r.taken[key] = NO_SLOT, "it is left alone"
            continue
        incidents[slot] = incident
        times = (incident.opened_at, incident.last_acted_at, incident.found_at)
        if r.late(key, *times):
            r.taken[key] = f"nothing is done with {slot} until a person acknowledges"
            incidents[slot] = _unknown_past(incident, slot, r)
            pasts[slot] = r.why[key]
        if incidents[slot].rung(UNREAD):
            incidents[slot] = _worst_assumed(incidents[slot])
    return incidents, pasts


def _unknown_past(incident: Incident, slot: str, r: _Reading) -> Incident:
    """It acted a moment ago, for all we know. Whoever acknowledged something did so before this was seen."""
    known = incident.opened_at if 0.0 < incident.opened_at <= r.now else r.now
    return replace(
        incident,
        incident_id=incident.incident_id or incident_id(slot, r.iso(r.now)),
        diagnosis=incident.diagnosis or UNREAD,
        opened_at=known,
        rungs={UNREAD: 1, ACKNOWLEDGED: math.ceil(r.now)},
        last_acted_at=r.now,
        held=None,
        found=None,
        found_at=None,
    )


def _worst_assumed(incident: Incident) -> Incident:
    """As though it had been stopped and its copy given up: others wait for it. Never written to the table."""
    return replace(incident, rungs={**dict.fromkeys(sorted(STOPS | DISCARDS), 1), **incident.rungs})


def _actions(state: State, spec: Spec, r: _Reading) -> tuple[dict[str, OpenAction], frozenset[str]]:
    actions, strange = {}, set()
    for slot, action in state.open_actions.items():
        key = f"ACTION/{slot}"
        if slot not in spec.by_name:
            r.why[key], r.taken[key] = NO_SLOT, "it is left alone"
            continue
        actions[slot] = action
        if r.late(key, action.started_at):
            r.taken[key] = (
                f"{slot} is left alone in this look, and others as if it were being ended"
            )
            actions[slot] = replace(action, started_at=r.now, command_id=None)
            strange.add(slot)
    return actions, frozenset(strange)


# -- what was first seen when


def _is_lost(freshness: Mapping[str, Any], r: _Reading) -> bool:
    times = [entry[name] for entry in freshness.values() for name in SEEN if entry.get(name)]
    return r.late(FRESHNESS, *times)


SEEN: Final = ("at", "led_at", "mute_since", "lag_since", "stalled_since", "unread_at")


def _nothing_is_fresh(
    reports: tuple[RawReport, ...], spec: Spec, now: float
) -> dict[str, dict[str, Any]]:
    """As though every report that lies there had been seen just too long ago, and every database may have led."""
    memory: dict[str, dict[str, Any]] = {}
    for raw in reports:
        report = _read(raw, spec)
        if report is None:
            continue
        memory[raw.slot] = {
            "instance_id": report.instance_id,
            "sequence": report.sequence,
            "at": now - spec.timings.agent_silent_after_s - 1.0,
            "unread_at": now,
        }
        if spec.by_name[raw.slot].role is Role.DB:
            memory[raw.slot]["led_at"] = now
    return memory


def _read(raw: RawReport, spec: Spec) -> Report | None:
    if raw.slot not in spec.by_name:
        return None
    try:
        return report_from_json(raw.body, cluster=spec.cluster, slot=raw.slot)
    except BadReportError:
        return None  # observe.py sets it aside, and says so


def _blind(memory: Mapping[str, Any], spec: Spec, now: float) -> str | None:
    """Why nothing is decided yet: whoever lives has had no time to speak again since the memory was lost."""
    lost_at = max((float(e.get("unread_at") or 0.0) for e in memory.values()), default=0.0)
    left_s = lost_at + spec.timings.agent_silent_after_s - now
    if not lost_at or left_s <= 0.0:
        return None
    return (
        "which report came when could not be read, so nothing is decided before everybody has"
        f" spoken again, for {left_s:.0f} s at the longest"
    )


def remember_what_was_lost(memory: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Carry the mark on while no newer report has come; whoever spoke is known again."""
    for slot, entry in memory.items():
        known = before.get(slot, {})
        if "unread_at" in known and known["at"] == entry["at"]:
            entry["unread_at"] = known["unread_at"]
