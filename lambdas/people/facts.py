"""What lies in the hub table, as people's commands read it: the healer's items, what people said, the past.

It reads and never writes. An item that is not there is None or empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lambdas.adapters import items
from lambdas.adapters.items import Item, as_text, number, text
from lambdas.core.consent import Breaker, Planned, Window, window_at
from lambdas.core.incident import Incident, OpenAction
from lambdas.core.model import Mode
from lambdas.core.parse import document


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Who said it last, and why; None where nobody did."""

    by: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """The healer's last verdict, and when (epoch seconds) it gave it."""

    full: bool
    leader: str | None
    sentence: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who looks, or looked last. `taken_at` is None for a lease that an older healer took."""

    token: int
    taken_at: float | None
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the journal."""

    at: float
    slot: str
    incident: str
    kind: str
    outcome: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person ordered, in one sentence."""

    at: float
    by: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An incident of the history; `healed_at` is None while it is open."""

    incident: Incident
    healed_at: float | None = None
    sentence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the cluster's own items say, and what is open."""

    closed: bool = False
    mode: Mode = Mode.AUTO
    mode_until: float | None = None
    mode_said: Said = Said()
    windows: tuple[Window, ...] = ()
    breaker: Breaker | None = None
    breaker_said: Said = Said()
    planned: Planned | None = None
    planned_said: Said = Said()
    planned_unread: str | None = None  # what is wrong with an order that cannot be read
    strength: Strength | None = None
    lease: Lease | None = None
    paused_by: tuple[str, ...] = ()  # slots whose last report says that Patroni is paused
    incidents: tuple[Incident, ...] = ()
    actions: Mapping[str, OpenAction] | None = None
    raw: Mapping[str, Item] | None = (
        None  # the cluster's items as they were read, for conditional writes
    )

    def mode_at(self, now: float) -> Mode:
        """The mode that holds now."""
        return Mode.AUTO if self.mode_until is not None and now >= self.mode_until else self.mode

    def window_at(self, now: float) -> Window | None:
        """The window that is on."""
        return window_at(self.windows, now)

    def item(self, sk: str) -> Item | None:
        """One of the cluster's items as it was read."""
        return None if self.raw is None else self.raw.get(sk)


class Reader:
    """Reads the hub table for people."""

    def __init__(self, client: Any, table: str) -> None:  # noqa: ANN401 - boto3 makes clients at run time
        self._client, self._table = client, table

    def facts(self) -> Facts:
        """The cluster's items, open incidents and actions under way."""
        cluster = {item["sk"]["S"]: item for item in self._query("CLUSTER")}
        return facts_of(
            cluster,
            reports=self._query("REPORT"),
            incidents=tuple(map(items.incident, self._query("OPEN"))),
            actions={i["sk"]["S"]: items.open_action(i) for i in self._query("ACTION")},
        )

    def occupied(self, slot: str) -> bool:
        """Whether a node of the slot ever reported."""
        key = {"pk": as_text("REPORT"), "sk": as_text(slot)}
        return "Item" in self._client.get_item(TableName=self._table, Key=key)

    def incidents(self, *, last: int, slot: str | None) -> tuple[Past, ...]:
        """The last incidents, oldest first."""
        found: list[Past] = []
        for page in self._pages("INCIDENT", ScanIndexForward=False):
            read = (_past(item) for item in page["Items"])
            found += [past for past in read if slot is None or past.incident.slot == slot]
            if len(found) >= last:
                break
        return tuple(reversed(found[:last]))

    def incident(self, incident_id: str) -> Past | None:
        """One incident of the history."""
        key = {"pk": as_text("INCIDENT"), "sk": as_text(incident_id)}
        item = self._client.get_item(TableName=self._table, Key=key).get("Item")
        return None if item is None else _past(item)

    def steps(self, since_iso: str) -> tuple[Step, ...]:
        """The journal from a time on, oldest first."""
        return tuple(map(_step, self._query("JOURNAL", since_iso)))

    def orders(self, since_iso: str) -> tuple[Order, ...]:
        """What people ordered from a time on, oldest first."""
        return tuple(map(_order, self._query("ORDER", since_iso)))

    def _query(self, pk: str, since: str = "") -> list[Item]:
        return [item for page in self._pages(pk, since=since) for item in page["Items"]]

    def _pages(self, pk: str, *, since: str = "", **more: Any) -> Any:  # noqa: ANN401
        values = {":pk": as_text(pk)} | ({":since": as_text(since)} if since else {})
        return self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk" + (" AND sk >= :since" if since else ""),
            ExpressionAttributeValues=values,
            ConsistentRead=True,
            **more,
        )


def facts_of(
    cluster: Mapping[str, Item],
    *,
    reports: Sequence[Item] = (),
    incidents: tuple[Incident, ...] = (),
    actions: Mapping[str, OpenAction] | None = None,
) -> Facts:
    """The facts in the cluster's items."""
    mode, breaker, ordered = (cluster.get(sk) for sk in ("mode", "breaker", "planned"))
    planned, planned_unread = items.read_planned(ordered)
    return Facts(
        closed="closed" in cluster,
        mode=items.mode(mode or {}),
        mode_until=number(mode or {}, "until"),
        mode_said=_said(mode),
        windows=items.windows(cluster.get("windows", {})),
        breaker=items.breaker(breaker),
        breaker_said=_said(breaker),
        planned=planned,
        planned_said=_said(ordered),
        planned_unread=planned_unread,
        strength=_strength(cluster.get("strength")),
        lease=_lease(cluster.get("lease")),
        paused_by=tuple(_pausing(reports, text(cluster.get("freshness", {}), "slots"))),
        incidents=incidents,
        actions=actions,
        raw=cluster,
    )


def _said(item: Item | None) -> Said:
    return Said() if item is None else Said(by=text(item, "by"), why=text(item, "why"))


def _strength(item: Item | None) -> Strength | None:
    if item is None:
        return None
    return Strength(
        full=bool(item.get("full", {}).get("BOOL")),
        leader=text(item, "leader") or None,
        sentence=text(item, "sentence") or "",
        at=number(item, "at") or 0.0,
    )


def _heard(freshness: str) -> Mapping[str, object]:
    """Slot → the instance the healer last heard of. People see all the rest of their page though it cannot be read."""
    try:
        return {slot: known.get("instance_id") for slot, known in document(freshness).items()}
    except (ValueError, AttributeError):
        return {}


def _pausing(reports: Sequence[Item], freshness: str | None) -> Iterator[str]:
    """Slots whose report, of the instance the healer last heard of, says that Patroni is paused."""
    heard = _heard(freshness or "{}")
    for item in reports:
        slot, instance_id = item["sk"]["S"], text(item, "instance_id")
        if heard.get(slot) != instance_id:
            continue
        try:
            patroni = document(text(item, "body") or "{}").get("patroni")
        except (ValueError, AttributeError):
            continue  # the healer sets such a report aside, counts it, and says so
        if isinstance(patroni, Mapping) and patroni.get("paused") is True:
            yield slot


def _lease(item: Item | None) -> Lease | None:
    if item is None:
        return None
    return Lease(
        token=int(number(item, "token") or 0),
        taken_at=number(item, "taken_at"),
        expires_at=number(item, "expires_at") or 0.0,
    )


def _step(item: Item) -> Step:
    return Step(
        at=number(item, "at") or 0.0,
        **{
            name: text(item, name) or ""
            for name in ("slot", "incident", "kind", "outcome", "sentence")
        },
    )


def _order(item: Item) -> Order:
    return Order(
        at=number(item, "at") or 0.0,
        by=text(item, "by") or "",
        sentence=text(item, "sentence") or "",
    )


def _past(item: Item) -> Past:
    return Past(
        incident=items.incident(item),
        healed_at=number(item, "healed_at"),
        sentence=text(item, "sentence"),
    )
