"""The hub table: reports, lease, birth, incidents, open actions, journal. See docs/contracts.md for the items."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from lambdas.core.model import Birth, Incident, Mode, OpenAction

CONDITION_FAILED = "ConditionalCheckFailedException"
KEEP_S = 90 * 24 * 3600


def _s(value: str) -> dict[str, str]:
    return {"S": value}


def _n(value: float) -> dict[str, str]:
    return {"N": str(value)}


def _text(item: Mapping[str, Any], name: str) -> str | None:
    value = item.get(name)
    return None if value is None else value.get("S")


def _number(item: Mapping[str, Any], name: str) -> float | None:
    value = item.get(name)
    return None if value is None or "N" not in value else float(value["N"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RawReport:
    """A report as it lies in the table."""

    slot: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything the healer wrote or was told, read in one go."""

    reports: tuple[RawReport, ...]
    birth: Birth | None
    closed: bool
    mode: Mode
    freshness: Mapping[str, Any]
    open_actions: Mapping[str, OpenAction]
    incidents: Mapping[str, Incident]


class Table:
    """Typed access to the one table."""

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401
        self._client, self._name = client, name

    def state(self) -> State:
        """Read reports, cluster items, open actions and open incidents (four queries)."""
        cluster = {item["sk"]["S"]: item for item in self._query("CLUSTER")}
        mode = _text(cluster.get("mode", {}), "mode")
        return State(
            reports=tuple(
                RawReport(slot=item["sk"]["S"], body=_text(item, "body") or "")
                for item in self._query("REPORT")
            ),
            birth=_birth(cluster.get("birth")),
            closed="closed" in cluster,
            mode=_mode(mode),
            freshness=json.loads(_text(cluster.get("freshness", {}), "slots") or "{}"),
            open_actions={i["sk"]["S"]: _open_action(i) for i in self._query("ACTION")},
            incidents={i.slot: i for i in map(_incident, self._query("OPEN"))},
        )

    def _query(self, pk: str) -> list[dict[str, Any]]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": _s(pk)},
            ConsistentRead=True,
        )
        return [item for page in pages for item in page["Items"]]

    def _put(
        self, pk: str, sk: str, attributes: Mapping[str, Any], condition: str | None = None
    ) -> bool:
        """Write one item; False when the condition did not hold."""
        extra = {} if condition is None else {"ConditionExpression": condition}
        item = {"pk": _s(pk), "sk": _s(sk), **attributes}
        try:
            self._client.put_item(TableName=self._name, Item=item, **extra)
        except ClientError as error:
            if error.response["Error"]["Code"] == CONDITION_FAILED:
                return False
            raise
        return True

    def _delete(self, pk: str, sk: str) -> None:
        self._client.delete_item(TableName=self._name, Key={"pk": _s(pk), "sk": _s(sk)})

    # -- the cluster's items

    def declare_birth(self, birth: Birth) -> bool:
        """Write the birth item; False when there is one already."""
        attributes = {
            "state": _s(birth.state),
            "first_leader": _s(birth.first_leader),
            "etcd_token": _s(birth.etcd_token),
        }
        if birth.declared_at is not None:
            attributes["declared_at"] = _n(birth.declared_at)
        return self._put("CLUSTER", "birth", attributes, "attribute_not_exists(pk)")

    def declare_born(self, *, etcd_cluster_id: str, system_identifier: str) -> None:
        """Close the birth, once."""
        self._client.update_item(
            TableName=self._name,
            Key={"pk": _s("CLUSTER"), "sk": _s("birth")},
            UpdateExpression="SET #s = :born, etcd_cluster_id = :e, system_identifier = :i",
            ConditionExpression="#s = :pending",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={
                ":born": _s("born"),
                ":pending": _s("pending"),
                ":e": _s(etcd_cluster_id),
                ":i": _s(system_identifier),
            },
        )

    def save_freshness(self, slots: Mapping[str, Any]) -> None:
        """Remember when which sequence was first seen."""
        self._put("CLUSTER", "freshness", {"slots": _s(json.dumps(slots))})

    def save_strength(
        self, *, full: bool, missing: tuple[str, ...], leader: str | None, sentence: str, at: float
    ) -> None:
        """The last look's verdict, for people and pages."""
        self._put(
            "CLUSTER",
            "strength",
            {
                "full": {"BOOL": full},
                "missing": _s(json.dumps(missing)),
                "leader": _s(leader or ""),
                "sentence": _s(sentence),
                "at": _n(at),
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

    # -- incidents, actions, journal

    def save_incident(self, incident: Incident) -> None:
        """Write an open incident: once for the loop (by slot), once for history (by id)."""
        attributes = {
            "incident": _s(incident.incident_id),
            "slot": _s(incident.slot),
            "diagnosis": _s(incident.diagnosis),
            "opened_at": _n(incident.opened_at),
            "wake": _s(incident.wake),
            "state": _s("open"),
            "steps": _n(incident.steps),
            "tries": _n(incident.tries),
            "failures": _n(incident.failures),
        }
        if incident.failing is not None:
            attributes["failing"] = _s(incident.failing)
        if incident.last_exit_code is not None:
            attributes["last_exit_code"] = _n(incident.last_exit_code)
        if incident.last_acted_at is not None:
            attributes["last_acted_at"] = _n(incident.last_acted_at)
        if incident.held is not None:
            attributes["held"] = _s(incident.held)
        self._put("OPEN", incident.slot, attributes)
        self._put("INCIDENT", incident.incident_id, attributes)

    def heal_incident(self, incident: Incident, *, at: float, sentence: str) -> None:
        """Close an incident in the history, then take it out of the loop."""
        self._client.update_item(
            TableName=self._name,
            Key={"pk": _s("INCIDENT"), "sk": _s(incident.incident_id)},
            UpdateExpression="SET #s = :healed, healed_at = :at, sentence = :sentence",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={
                ":healed": _s("healed"),
                ":at": _n(at),
                ":sentence": _s(sentence),
            },
        )
        self._delete("OPEN", incident.slot)

    def save_action(self, slot: str, action: OpenAction, *, token: int) -> None:
        """Write the intent before acting, and again with what came of it."""
        attributes = {
            "action_id": _s(action.action_id),
            "kind": _s(action.kind),
            "incident": _s(action.incident),
            "started_at": _n(action.started_at),
            "token": _n(token),
        }
        if action.instance_id is not None:
            attributes["instance_id"] = _s(action.instance_id)
        if action.command_id is not None:
            attributes["command_id"] = _s(action.command_id)
        self._put("ACTION", slot, attributes)

    def clear_action(self, slot: str) -> None:
        """The slot's last action is over."""
        self._delete("ACTION", slot)

    def journal(
        self, *, at_iso: str, action_id: str, entry: Mapping[str, str], token: int, at: float
    ) -> None:
        """Append one step."""
        attributes: dict[str, Any] = {key: _s(value) for key, value in entry.items()}
        attributes["token"] = _n(token)
        attributes["at"] = _n(at)
        attributes["ttl"] = _n(int(at) + KEEP_S)
        self._put("JOURNAL", f"{at_iso}#{action_id}", attributes)

    def journal_since(self, at_iso: str) -> list[dict[str, str]]:
        """The journal's entries from a time on, oldest first."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression="pk = :pk AND sk >= :since",
            ExpressionAttributeValues={":pk": _s("JOURNAL"), ":since": _s(at_iso)},
        )
        return [
            {key: next(iter(value.values())) for key, value in item.items()}
            for page in pages
            for item in page["Items"]
        ]

    # -- the lease

    def take_lease(self, *, owner: str, now: float, lease_s: float) -> int | None:
        """The new token, or None when another run holds the lease and was told to look once more."""
        for _ in range(3):
            token = self._take_free_lease(owner=owner, now=now, lease_s=lease_s)
            if token is not None:
                return token
            if self._mark_held_lease(now=now):
                return None
            # It was given back between the two calls: the mark would lie where nobody looks.
        return None

    def _take_free_lease(self, *, owner: str, now: float, lease_s: float) -> int | None:
        try:
            answer = self._client.update_item(
                TableName=self._name,
                Key={"pk": _s("CLUSTER"), "sk": _s("lease")},
                UpdateExpression="SET #o = :owner, expires_at = :until, wake_pending = :no ADD #t :one",
                ConditionExpression="attribute_not_exists(pk) OR expires_at < :now",
                ExpressionAttributeNames={"#o": "owner", "#t": "token"},
                ExpressionAttributeValues={
                    ":owner": _s(owner),
                    ":until": _n(now + lease_s),
                    ":now": _n(now),
                    ":no": {"BOOL": False},
                    ":one": _n(1),
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
        try:
            self._client.update_item(
                TableName=self._name,
                Key={"pk": _s("CLUSTER"), "sk": _s("lease")},
                UpdateExpression="SET wake_pending = :yes",
                ConditionExpression="expires_at >= :now",
                ExpressionAttributeValues={":yes": {"BOOL": True}, ":now": _n(now)},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == CONDITION_FAILED:
                return False
            raise
        return True

    def renew_lease(
        self, *, owner: str, token: int, now: float, lease_s: float
    ) -> tuple[bool, bool]:
        """(still ours, a wake came meanwhile). Takes note of the wake."""
        try:
            answer = self._client.update_item(
                TableName=self._name,
                Key={"pk": _s("CLUSTER"), "sk": _s("lease")},
                UpdateExpression="SET expires_at = :until, wake_pending = :no",
                ConditionExpression="#o = :owner AND #t = :token AND expires_at >= :now",
                ExpressionAttributeNames={"#o": "owner", "#t": "token"},
                ExpressionAttributeValues={
                    ":owner": _s(owner),
                    ":token": _n(token),
                    ":until": _n(now + lease_s),
                    ":now": _n(now),
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
        try:
            self._client.update_item(
                TableName=self._name,
                Key={"pk": _s("CLUSTER"), "sk": _s("lease")},
                UpdateExpression="SET expires_at = :zero",
                ConditionExpression="#o = :owner AND #t = :token AND wake_pending = :no",
                ExpressionAttributeNames={"#o": "owner", "#t": "token"},
                ExpressionAttributeValues={
                    ":owner": _s(owner),
                    ":token": _n(token),
                    ":zero": _n(0),
                    ":no": {"BOOL": False},
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == CONDITION_FAILED:
                return False
            raise
        return True


def _mode(text: str | None) -> Mode:
    """The operator's mode; one that nobody knows is no permission to act."""
    if text is None:
        return Mode.AUTO
    return Mode(text) if text in set(Mode) else Mode.OBSERVE


def _birth(item: Mapping[str, Any] | None) -> Birth | None:
    if item is None:
        return None
    return Birth(
        state=_text(item, "state") or "pending",
        first_leader=_text(item, "first_leader") or "",
        etcd_token=_text(item, "etcd_token") or "",
        declared_at=_number(item, "declared_at"),
        etcd_cluster_id=_text(item, "etcd_cluster_id"),
        system_identifier=_text(item, "system_identifier"),
    )


def _open_action(item: Mapping[str, Any]) -> OpenAction:
    return OpenAction(
        action_id=_text(item, "action_id") or "",
        kind=_text(item, "kind") or "",
        incident=_text(item, "incident") or "",
        started_at=_number(item, "started_at") or 0.0,
        instance_id=_text(item, "instance_id"),
        command_id=_text(item, "command_id"),
    )


def _incident(item: Mapping[str, Any]) -> Incident:
    exit_code = _number(item, "last_exit_code")
    return Incident(
        incident_id=_text(item, "incident") or "",
        slot=_text(item, "slot") or "",
        diagnosis=_text(item, "diagnosis") or "",
        opened_at=_number(item, "opened_at") or 0.0,
        wake=_text(item, "wake") or "",
        steps=int(_number(item, "steps") or 0),
        tries=int(_number(item, "tries") or 0),
        failures=int(_number(item, "failures") or 0),
        failing=_text(item, "failing"),
        last_exit_code=None if exit_code is None else int(exit_code),
        last_acted_at=_number(item, "last_acted_at"),
        held=_text(item, "held"),
    )
