"""The hub table: reports, lease, birth, incidents, open actions, journal. See docs/contracts.md for the items.

Whatever a run writes goes through the lease (lambdas/adapters/lease.py) and is refused with LeaseLostError once that is
another's. Only the lifecycle function, which takes no lease, writes without: the closed mark, and the end of a birth.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lambdas.adapters import items
from lambdas.adapters.items import as_number, as_text
from lambdas.adapters.lease import CLOCKS_S, Lease, patiently
from lambdas.adapters.state import RawReport, State
from lambdas.core.model import Birth, Incident, OpenAction

__all__ = ["CLOCKS_S", "RawReport", "State", "Table"]
T = TypeVar("T")
KEEP_S = 90 * 24 * 3600


class Table:
    """Typed access to the one table."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401
        name: str,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._name, self._pause = client, name, pause
        self._lease = Lease(client, name, pause)

    def state(self) -> State:
        """Read reports, cluster items, open actions and open incidents (four queries)."""
        cluster = {item["sk"]["S"]: item for item in self._query("CLUSTER")}
        reports, actions, opened = (self._query(pk) for pk in ("REPORT", "ACTION", "OPEN"))
        unread: dict[str, str] = {}

        def noted(key: str, read: tuple[T, str | None]) -> T:
            if read[1] is not None:
                unread[key] = read[1]
            return read[0]

        mode = cluster.get("mode", {})
        return State(
            reports=tuple(
                RawReport(slot=item["sk"]["S"], body=items.text(item, "body") or "")
                for item in reports
            ),
            birth=noted("CLUSTER/birth", items.read_birth(cluster.get("birth"))),
            closed="closed" in cluster,
            mode=noted("CLUSTER/mode", items.read_mode(mode)),
            mode_until=items.number(mode, "until"),
            windows=noted("CLUSTER/windows", items.read_windows(cluster.get("windows", {}))),
            breaker=noted("CLUSTER/breaker", items.read_breaker(cluster.get("breaker"))),
            planned=noted("CLUSTER/planned", items.read_planned(cluster.get("planned"))),
            freshness=noted(
                "CLUSTER/freshness", items.read_freshness(cluster.get("freshness", {}))
            ),
            open_actions={
                slot: noted(f"ACTION/{slot}", items.read_open_action(item))
                for slot, item in ((i["sk"]["S"], i) for i in actions)
            },
            incidents={
                slot: noted(f"OPEN/{slot}", items.read_incident(item))
                for slot, item in ((i["sk"]["S"], i) for i in opened)
            },
            unread=unread,
        )

    def _query(self, pk: str) -> list[dict[str, Any]]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": as_text(pk)},
            ConsistentRead=True,
        )
        return [item for page in pages for item in page["Items"]]

    # -- changes, as a transaction takes them

    def _key(self, pk: str, sk: str) -> Mapping[str, Any]:
        return {"TableName": self._name, "Key": {"pk": as_text(pk), "sk": as_text(sk)}}

    def _put(
        self, pk: str, sk: str, attributes: Mapping[str, Any], **conditions: str
    ) -> Mapping[str, Any]:
        item = {"pk": as_text(pk), "sk": as_text(sk), **attributes}
        return {"Put": {"TableName": self._name, "Item": item, **conditions}}

    def _update(self, pk: str, sk: str, **expressions: Any) -> Mapping[str, Any]:  # noqa: ANN401
        return {"Update": {**self._key(pk, sk), **expressions}}

    def _delete(self, pk: str, sk: str) -> Mapping[str, Any]:
        return {"Delete": self._key(pk, sk)}

    # -- the cluster's items

    def declare_birth(self, birth: Birth) -> bool:
        """Write the birth item; False when there is one already."""
        attributes = {
            "state": as_text(birth.state),
            "first_leader": as_text(birth.first_leader),
            "etcd_token": as_text(birth.etcd_token),
        }
        if birth.declared_at is not None:
            attributes["declared_at"] = as_number(birth.declared_at)
        absent = "attribute_not_exists(pk)"
        return self._lease.write(
            self._put("CLUSTER", "birth", attributes, ConditionExpression=absent)
        )

    def declare_born(self, *, etcd_cluster_id: str, system_identifier: str) -> None:
        """Close the birth, once. Raises ClientError when it is closed already."""
        self._lease.must_write(
            self._update(
                "CLUSTER",
                "birth",
                UpdateExpression="SET #s = :born, etcd_cluster_id = :e, system_identifier = :i",
                ConditionExpression="#s = :pending",
                ExpressionAttributeNames={"#s": "state"},
                ExpressionAttributeValues={
                    ":born": as_text("born"),
                    ":pending": as_text("pending"),
                    ":e": as_text(etcd_cluster_id),
                    ":i": as_text(system_identifier),
                },
            )
        )

    def save_freshness(self, slots: Mapping[str, Any]) -> None:
        """Remember when which sequence was first seen."""
        attributes = {"slots": as_text(json.dumps(slots))}
        self._lease.must_write(self._put("CLUSTER", "freshness", attributes))

    def save_strength(
        self, *, full: bool, missing: tuple[str, ...], leader: str | None, sentence: str, at: float
    ) -> None:
        """The last look's verdict, for people and pages."""
        attributes = {
            "full": {"BOOL": full},
            "missing": as_text(json.dumps(missing)),
            "leader": as_text(leader or ""),
            "sentence": as_text(sentence),
            "at": as_number(at),
        }
        self._lease.must_write(self._put("CLUSTER", "strength", attributes))

    # -- the lifecycle function's, without a lease

    def set_closed(self, *, closed: bool) -> None:
        """Write or lift the mark that the cluster is being emptied."""
        mark = {"pk": as_text("CLUSTER"), "sk": as_text("closed")}
        if closed:
            self._patiently(lambda: self._client.put_item(TableName=self._name, Item=mark))
        else:
            self._forget("closed")

    def forget_birth(self) -> None:
        """After the last disk is deleted the next apply is a new birth."""
        self._forget("birth")
        self._forget("freshness")

    def _forget(self, sk: str) -> None:
        self._patiently(lambda: self._client.delete_item(**self._key("CLUSTER", sk)))

    def _patiently(self, ask: Callable[[], object]) -> None:
        """A run's transaction may have the item at the same moment."""
        patiently(ask, self._pause)

    # -- the breaker and planned work

    def open_breaker(self, *, why: str, now: float) -> bool:
        """Open it, once: False when it is open already, or a person acknowledged it after `now` was read."""
        change = self._update(
            "CLUSTER",
            "breaker",
            UpdateExpression="SET #s = :open, opened_at = :now, why = :why",
            ConditionExpression="(attribute_not_exists(pk) OR #s <> :open)"
            " AND (attribute_not_exists(acknowledged_at) OR acknowledged_at < :now)",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={
                ":open": as_text("open"),
                ":now": as_number(now),
                ":why": as_text(why),
            },
        )
        return self._lease.write(change)

    def finish_planned(self, plan_id: str, *, state: str) -> bool:
        """The order is `done` or `cancelled`; False when it is no longer the one that is open."""
        change = self._update(
            "CLUSTER",
            "planned",
            UpdateExpression="SET #s = :state",
            ConditionExpression="plan_id = :id AND #s = :open",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={
                ":state": as_text(state),
                ":id": as_text(plan_id),
                ":open": as_text("open"),
            },
        )
        return self._lease.write(change)

    # -- incidents, actions, journal

    def save_incident(self, incident: Incident) -> None:
        """Write an open incident: once for the loop (by slot), once for history (by id)."""
        attributes = items.incident_attributes(incident)
        self._lease.must_write(
            self._put("OPEN", incident.slot, attributes),
            self._put("INCIDENT", incident.incident_id, attributes),
        )

    def heal_incident(self, incident: Incident, *, at: float, sentence: str) -> None:
        """Close an incident in the history, and take it out of the loop."""
        healed = self._update(
            "INCIDENT",
            incident.incident_id,
            UpdateExpression="SET #s = :healed, healed_at = :at, sentence = :sentence",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={
                ":healed": as_text("healed"),
                ":at": as_number(at),
                ":sentence": as_text(sentence),
            },
        )
        self._lease.must_write(healed, self._delete("OPEN", incident.slot))

    def save_action(self, slot: str, action: OpenAction, *, token: int) -> None:
        """Write the intent before acting, and again with what came of it."""
        attributes = {
            "action_id": as_text(action.action_id),
            "kind": as_text(action.kind),
            "incident": as_text(action.incident),
            "started_at": as_number(action.started_at),
            "token": as_number(token),
        }
        if action.instance_id is not None:
            attributes["instance_id"] = as_text(action.instance_id)
        if action.command_id is not None:
            attributes["command_id"] = as_text(action.command_id)
        self._lease.must_write(self._put("ACTION", slot, attributes))

    def clear_action(self, slot: str) -> None:
        """The slot's last action is over."""
        self._lease.must_write(self._delete("ACTION", slot))

    def journal(
        self, *, at_iso: str, action_id: str, entry: Mapping[str, str], token: int, at: float
    ) -> None:
        """Append one step."""
        attributes: dict[str, Any] = {key: as_text(value) for key, value in entry.items()}
        attributes["token"] = as_number(token)
        attributes["at"] = as_number(at)
        attributes["ttl"] = as_number(int(at) + KEEP_S)
        self._lease.must_write(self._put("JOURNAL", f"{at_iso}#{action_id}", attributes))

    def journal_since(self, at_iso: str) -> list[dict[str, str]]:
        """The journal's entries from a time on, oldest first."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression="pk = :pk AND sk >= :since",
            ExpressionAttributeValues={":pk": as_text("JOURNAL"), ":since": as_text(at_iso)},
        )
        return [items.plain(item) for page in pages for item in page["Items"]]

    # -- the lease

    def take_lease(self, *, owner: str, now: float, lease_s: float) -> int | None:
        """The new token, under which everything is written from now on; None when another run holds the lease."""
        return self._lease.take(owner=owner, now=now, lease_s=lease_s)

    def renew_lease(
        self, *, owner: str, token: int, now: float, lease_s: float
    ) -> tuple[bool, bool]:
        """(still ours, a wake came meanwhile). Takes note of the wake."""
        return self._lease.renew(owner=owner, token=token, now=now, lease_s=lease_s)

    def release_lease(self, *, owner: str, token: int) -> bool:
        """Give the lease back unless a wake is pending; False means look once more (or that it is not ours)."""
        return self._lease.release(owner=owner, token=token)
