"""The hub table: reports, lease, birth, incidents, open actions, journal. See docs/contracts.md for the items."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from lambdas.adapters import items
from lambdas.adapters.items import as_number, as_text
from lambdas.adapters.state import RawReport, State
from lambdas.core.model import Birth, Incident, OpenAction
from lambdas.errors import LeaseLostError

__all__ = ["CLOCKS_S", "RawReport", "State", "Table"]
T = TypeVar("T")
CONDITION_FAILED = "ConditionalCheckFailedException"
KEEP_S = 90 * 24 * 3600
CLOCKS_S = 300.0  # AWS takes no signature of a clock that is further off


class Table:
    """Typed access to the one table."""

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401
        self._client, self._name = client, name

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

    def _put(
        self, pk: str, sk: str, attributes: Mapping[str, Any], condition: str | None = None
    ) -> bool:
        """Write one item; False when the condition did not hold."""
        extra = {} if condition is None else {"ConditionExpression": condition}
        item = {"pk": as_text(pk), "sk": as_text(sk), **attributes}
        try:
            self._client.put_item(TableName=self._name, Item=item, **extra)
        except ClientError as error:
            if error.response["Error"]["Code"] == CONDITION_FAILED:
                return False
            raise
        return True

    def _delete(self, pk: str, sk: str) -> None:
        self._client.delete_item(TableName=self._name, Key={"pk": as_text(pk), "sk": as_text(sk)})

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
        return self._put("CLUSTER", "birth", attributes, "attribute_not_exists(pk)")

    def declare_born(self, *, etcd_cluster_id: str, system_identifier: str) -> None:
        """Close the birth, once."""
        self._client.update_item(
            TableName=self._name,
            Key={"pk": as_text("CLUSTER"), "sk": as_text("birth")},
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

    def save_freshness(self, slots: Mapping[str, Any]) -> None:
        """Remember when which sequence was first seen."""
        self._put("CLUSTER", "freshness", {"slots": as_text(json.dumps(slots))})

    def save_strength(
        self, *, full: bool, missing: tuple[str, ...], leader: str | None, sentence: str, at: float
    ) -> None:
        """The last look's verdict, for people and pages."""
        self._put(
            "CLUSTER",
            "strength",
            {
                "full": {"BOOL": full},
                "missing": as_text(json.dumps(missing)),
                "leader": as_text(leader or ""),
                "sentence": as_text(sentence),
                "at": as_number(at),
            },
        )

    def set_closed(self, *, closed: bool) -> None:
        """Write or lift the mark that the cluster is being emptied."""
        if closed:
            self._put("CLUSTER", "closed", {})
        else:
            self._delete("CLUSTER", "closed")

    def forget_birth(self) -> None:
        """After the last disk is deleted the next apply is a new birth (the lifecycle function only)."""
        self._delete("CLUSTER", "birth")
        self._delete("CLUSTER", "freshness")

    # -- the breaker and planned work

    def open_breaker(self, *, why: str, now: float) -> bool:
        """Open it, once: False when it is open already, or a person acknowledged it after `now` was read."""
        return self._change(
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

    def finish_planned(self, plan_id: str, *, state: str) -> bool:
        """The order is `done` or `cancelled`; False when it is no longer the one that is open."""
        return self._change(
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

    def _change(self, sk: str, **expressions: Any) -> bool:  # noqa: ANN401 - as DynamoDB takes them
        """Update one item of the cluster; False when the condition did not hold."""
        key = {"pk": as_text("CLUSTER"), "sk": as_text(sk)}
        try:
            self._client.update_item(TableName=self._name, Key=key, **expressions)
        except ClientError as error:
            if error.response["Error"]["Code"] == CONDITION_FAILED:
                return False
            raise
        return True

    # -- incidents, actions, journal

    def save_incident(self, incident: Incident) -> None:
        """Write an open incident: once for the loop (by slot), once for history (by id)."""
        attributes = items.incident_attributes(incident)
        self._put("OPEN", incident.slot, attributes)
        self._put("INCIDENT", incident.incident_id, attributes)

    def heal_incident(self, incident: Incident, *, at: float, sentence: str) -> None:
        """Close an incident in the history, then take it out of the loop."""
        self._client.update_item(
            TableName=self._name,
            Key={"pk": as_text("INCIDENT"), "sk": as_text(incident.incident_id)},
            UpdateExpression="SET #s = :healed, healed_at = :at, sentence = :sentence",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={
                ":healed": as_text("healed"),
                ":at": as_number(at),
                ":sentence": as_text(sentence),
            },
        )
        self._delete("OPEN", incident.slot)

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
        self._put("ACTION", slot, attributes)

    def clear_action(self, slot: str) -> None:
        """The slot's last action is over."""
        self._delete("ACTION", slot)

    def journal(
        self, *, at_iso: str, action_id: str, entry: Mapping[str, str], token: int, at: float
    ) -> None:
        """Append one step."""
        attributes: dict[str, Any] = {key: as_text(value) for key, value in entry.items()}
        attributes["token"] = as_number(token)
        attributes["at"] = as_number(at)
        attributes["ttl"] = as_number(int(at) + KEEP_S)
        self._put("JOURNAL", f"{at_iso}#{action_id}", attributes)

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
        """The new token, or None when another run holds the lease and was told to look once more.

        Raises LeaseLostError for a lease that cannot be read: from now on it is held, by whoever it was, and runs out.
        """
        for _ in range(3):
            token = self._take_free_lease(owner=owner, now=now, lease_s=lease_s)
            if token is not None:
                return token
            if self._mend_lease(now=now, lease_s=lease_s):
                raise LeaseLostError(
                    "the item CLUSTER/lease of the hub table cannot be read: it is taken as held,"
                    f" and runs out in {lease_s:.0f} s"
                )
            if self._mark_held_lease(now=now):
                return None
            # It was given back between the two calls: the mark would lie where nobody looks.
        return None

    def _mend_lease(self, *, now: float, lease_s: float) -> bool:
        """Write anew a lease that cannot be read, or that would never run out; False when it is none.

        The token is the time then: higher than any count, so whoever held the lease has lost it.
        """
        return self._change(
            "lease",
            UpdateExpression="SET expires_at = :until, #t = :token",
            ConditionExpression="attribute_exists(pk) AND (NOT attribute_type(expires_at, :number)"
            " OR NOT attribute_type(#t, :number) OR expires_at > :beyond)",
            ExpressionAttributeNames={"#t": "token"},
            ExpressionAttributeValues={
                ":until": as_number(now + lease_s),
                ":token": as_number(int(now)),
                ":number": as_text("N"),
                ":beyond": as_number(now + lease_s + CLOCKS_S),
            },
        )

    def _take_free_lease(self, *, owner: str, now: float, lease_s: float) -> int | None:
        try:
            answer = self._client.update_item(
                TableName=self._name,
                Key={"pk": as_text("CLUSTER"), "sk": as_text("lease")},
                UpdateExpression="SET #o = :owner, taken_at = :now, expires_at = :until, wake_pending = :no"
                " ADD #t :one",
                ConditionExpression="attribute_not_exists(pk)"
                " OR (attribute_type(expires_at, :number) AND attribute_type(#t, :number)"
                " AND expires_at < :now)",
                ExpressionAttributeNames={"#o": "owner", "#t": "token"},
                ExpressionAttributeValues={
                    ":owner": as_text(owner),
                    ":until": as_number(now + lease_s),
                    ":now": as_number(now),
                    ":no": {"BOOL": False},
                    ":one": as_number(1),
                    ":number": as_text("N"),
                },
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == CONDITION_FAILED:
                return None
            raise
        return int(answer["Attributes"]["token"]["N"])

    def _mark_held_lease(self, *, now: float) -> bool:
        """Leave word for the holder; False when nobody holds the lease any more."""
        return self._change(
            "lease",
            UpdateExpression="SET wake_pending = :yes",
            ConditionExpression="expires_at >= :now",
            ExpressionAttributeValues={":yes": {"BOOL": True}, ":now": as_number(now)},
        )

    def renew_lease(
        self, *, owner: str, token: int, now: float, lease_s: float
    ) -> tuple[bool, bool]:
        """(still ours, a wake came meanwhile). Takes note of the wake."""
        try:
            answer = self._client.update_item(
                TableName=self._name,
                Key={"pk": as_text("CLUSTER"), "sk": as_text("lease")},
                UpdateExpression="SET expires_at = :until, wake_pending = :no",
                ConditionExpression="#o = :owner AND #t = :token AND expires_at >= :now",
                ExpressionAttributeNames={"#o": "owner", "#t": "token"},
                ExpressionAttributeValues={
                    ":owner": as_text(owner),
                    ":token": as_number(token),
                    ":until": as_number(now + lease_s),
                    ":now": as_number(now),
                    ":no": {"BOOL": False},
                },
                ReturnValues="UPDATED_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == CONDITION_FAILED:
                return False, False
            raise
        pending = answer.get("Attributes", {}).get("wake_pending", {}).get("BOOL", False)
        return True, bool(pending)

    def release_lease(self, *, owner: str, token: int) -> bool:
        """Give the lease back unless a wake is pending; False means look once more (or that it is not ours)."""
        return self._change(
            "lease",
            UpdateExpression="SET expires_at = :zero",
            ConditionExpression="#o = :owner AND #t = :token AND wake_pending = :no",
            ExpressionAttributeNames={"#o": "owner", "#t": "token"},
            ExpressionAttributeValues={
                ":owner": as_text(owner),
                ":token": as_number(token),
                ":zero": as_number(0),
                ":no": {"BOOL": False},
            },
        )
