"""What lies in the hub table, told so that a person who was just woken understands it. Pure: facts in, text out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lambdas.core.consent import Window
from lambdas.core.incident import Incident
from lambdas.core.model import Mode
from lambdas.core.rails import RAILS
from lambdas.people.facts import Facts, Order, Past, Said, Step
from lambdas.people.times import spent, written

STALE_S = 180.0  # the healer looks every minute; three missed looks are worth a word
TRIED_MAX = 6  # of an open incident's steps, the last ones
RAIL_WHY = {rail.id: rail.why for rail in RAILS}
DOES = {
    Mode.AUTO: "heals",
    Mode.OBSERVE: "plans, says, and does nothing",
    Mode.OFF: "does nothing",
}


def status(facts: Facts, steps: Sequence[Step], *, now: float) -> str:
    """The cluster on one page."""
    lines = [_strength(facts, now), *_consent(facts, now), _planned(facts, now)]
    if not facts.incidents:
        lines.append("incidents   none open")
    for incident in sorted(facts.incidents, key=lambda i: i.opened_at):
        lines += _open(facts, incident, steps, now)
    return "\n".join([*lines, _lease(facts, now)])


def holds(facts: Facts, *, now: float) -> tuple[str, ...]:
    """What keeps the healer from acting now, one sentence each."""
    found = []
    if facts.closed:
        found.append("the cluster is closed for a destroy")
    mode = facts.mode_at(now)
    if mode is not Mode.AUTO:
        end = "" if facts.mode_until is None else f" until {written(facts.mode_until)}"
        found.append(f"mode is {mode}{end}{_by(facts.mode_said)}")
    window = facts.window_at(now)
    if window is not None:
        end = "without end" if window.until == math.inf else f"until {written(window.until)}"
        found.append(f"a window is on {end}: {window.why}")
    if facts.paused_by:
        who = ", ".join(facts.paused_by)
        found.append(f"Patroni is paused, says {who}: nothing that runs is disturbed")
    if facts.breaker is not None and facts.breaker.open:
        found.append("the breaker is open: nothing is stopped, rebooted, removed or launched")
    return tuple(found)


def windows(facts: Facts, *, now: float) -> str:
    """Windows that are on or to come."""
    listed = [w for w in sorted(facts.windows, key=lambda w: w.from_) if w.until > now]
    if not listed:
        return "no window is on or to come"
    return "\n".join(
        f"{'on now ' if w.holds(now) else 'to come'}  {_span(w)}: {w.why}" for w in listed
    )


def _span(window: Window) -> str:
    if window.until == math.inf:  # it stands for a list that nobody can read
        return "without end"
    length = spent(window.until - window.from_)
    return f"{written(window.from_)} to {written(window.until)} ({length})"


def history(
    pasts: Sequence[Past], steps: Sequence[Step], orders: Sequence[Order], *, alone: bool = False
) -> str:
    """Incidents with their steps, and between them what people ordered and what belongs to no incident shown.

    `alone`: the incidents and nothing else.
    """
    shown = {past.incident.incident_id for past in pasts}
    told = [(past.incident.opened_at, "\n".join(_past(past, steps))) for past in pasts]
    if not alone:
        told += [
            (order.at, f"{written(order.at)}  {order.by}: {order.sentence}") for order in orders
        ]
        others = (step for step in steps if step.incident not in shown)
        told += [(step.at, f"{written(step.at)}  {step.sentence}") for step in others]
    if not told:
        return "nothing is known to have happened"
    return "\n".join(text for _, text in sorted(told, key=lambda pair: pair[0]))


def _strength(facts: Facts, now: float) -> str:
    if facts.strength is None:
        return "strength    the healer has never looked"
    age_s = now - facts.strength.at
    late = " - it should look every minute: is it alive?" if age_s > STALE_S else ""
    full = "full" if facts.strength.full else "below full"
    return f"strength    {full}: {facts.strength.sentence} (said {spent(age_s)} ago{late})"


def _consent(facts: Facts, now: float) -> Iterator[str]:
    """Mode, windows, breaker."""
    if facts.closed:
        yield "closed      the cluster is being emptied; nothing is refilled"
    mode = facts.mode_at(now)
    end = ""
    if mode is not Mode.AUTO and facts.mode_until is not None:
        end = f" until {written(facts.mode_until)} (in {spent(facts.mode_until - now)})"
    said = "" if mode is Mode.AUTO else _by(facts.mode_said)
    yield f"mode        {mode}{end}{said}: the healer {DOES[mode]}"
    if any(w.until > now for w in facts.windows):
        yield from (f"window      {line}" for line in windows(facts, now=now).splitlines())
    if facts.paused_by:
        yield f"patroni     paused, says {', '.join(facts.paused_by)}: nothing that runs is disturbed"
    yield _breaker(facts, now)


def _breaker(facts: Facts, now: float) -> str:
    breaker = facts.breaker
    if breaker is not None and breaker.open:
        since = f"since {written(breaker.opened_at)} ({spent(now - breaker.opened_at)})"
        return f"breaker     OPEN {since}: {breaker.why}; heal-ack closes it"
    if breaker is None or not breaker.acknowledged_at:
        return "breaker     closed"
    when = written(breaker.acknowledged_at)
    return f"breaker     closed; last acknowledged {when} by {facts.breaker_said.by or 'somebody'}"


def _planned(facts: Facts, now: float) -> str:
    planned = facts.planned
    if facts.planned_unread is not None:
        what = f"an order{_by(facts.planned_said)} that cannot be read: {facts.planned_unread}"
        return f"planned     {what}; it is not carried out, order it again"
    if planned is None:
        return "planned     nothing"
    what = f"{planned.kind} to {planned.to}" if planned.to else str(planned.kind)
    return f"planned     {what}, ordered {spent(now - planned.since)} ago{_by(facts.planned_said)}"


def _lease(facts: Facts, now: float) -> str:
    lease = facts.lease
    if lease is None:
        return "run         the healer has never run"
    if lease.expires_at == 0.0:
        return f"run         none under way (the last one had token {lease.token})"
    if lease.expires_at < now:
        ago = spent(now - lease.expires_at)
        return f"run         run {lease.token} let its lease run out {ago} ago: it died; the next wake takes over"
    since = "" if lease.taken_at is None else f", taken {spent(now - lease.taken_at)} ago"
    return f"run         run {lease.token} holds the lease{since}"


def _open(facts: Facts, incident: Incident, steps: Sequence[Step], now: float) -> Iterator[str]:
    yield f"incident    {incident.slot} is {incident.diagnosis}, open for {spent(now - incident.opened_at)}"
    yield f"            {incident.incident_id}, woken by {incident.wake}"
    own = [step for step in steps if step.incident == incident.incident_id]
    for step in own[-TRIED_MAX:]:
        yield f"            {_offset(step.at - incident.opened_at)} {step.sentence}"
    if incident.tried:
        yield f"            tried: {incident.story}"
    action = (facts.actions or {}).get(incident.slot)
    if action is not None:
        yield f"            under way: {action.kind}, asked {spent(now - action.started_at)} ago"
    if incident.stand_in is not None:
        yield f"            {incident.stand_in} carries on in its place"
    if incident.held is not None:
        why = RAIL_WHY.get(incident.held)
        yield f"            HELD by {incident.held}" + (f": {why}" if why else "")


def _past(past: Past, steps: Sequence[Step]) -> Iterator[str]:
    incident = past.incident
    end = "still open"
    if past.healed_at is not None:
        end = f"healed after {spent(past.healed_at - incident.opened_at)}"
    yield f"{written(incident.opened_at)}  {incident.slot} is {incident.diagnosis}; {end}"
    yield f"    {incident.incident_id}, woken by {incident.wake}"
    for step in steps:
        if step.incident == incident.incident_id:
            yield f"    {_offset(step.at - incident.opened_at)} {step.sentence}"
    if past.healed_at is not None and past.sentence:
        yield f"    {_offset(past.healed_at - incident.opened_at)} {past.sentence}"


def _offset(after_s: float) -> str:
    """Seconds after the incident was opened, in a column of their own."""
    return f"{f'+{max(0.0, after_s):.0f} s':>8} "


def _by(said: Said) -> str:
    by = f" by {said.by}" if said.by else ""
    return by + (f" ({said.why})" if said.why else "")
