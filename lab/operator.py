"""The lab's AWS as an operator uses it: boto3 against the local endpoint, with the operator's
keys.

It reads what any person could read (instances, reports, journal, secrets) and does what any person
could do (terminate an instance, disable a rule, invoke the healer). It must never reach behind the
API. In one thing it has more than people: it is answered for a region whose API is gone, since
who breaks and judges must see.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lab.errors import LabError
from lab.ports import API_PORT, LAB_TOOL, OPERATOR_KEY, REGIONS

ENDPOINT: Final = os.environ.get("PGMEND_LAB_ENDPOINT", f"http://127.0.0.1:{API_PORT}")
CLUSTER: Final = "pgmend"
HUB_REGION: Final = "eu-central-1"
LIVE_STATES: Final = ("pending", "running", "stopping", "stopped", "shutting-down")

ClientFactory = Callable[[str, str], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One slot of the cluster spec, as far as the lab's tools need it."""

    name: str
    role: str
    region: str
    zone: str
    address: str
    active: bool
    etcd_voter: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """An EC2 instance that is not yet gone, and the slot it was launched for."""

    instance_id: str
    slot: str
    state: str
    checks: str  # ok, impaired, initializing, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """One REPORT item: what a node agent wrote last."""

    slot: str
    instance_id: str
    sequence: int
    body: Mapping[str, Any]


def make_client(service: str, region: str) -> Any:  # noqa: ANN401 - one factory for all services
    """A boto3 client of the local AWS with the operator's keys and short time-outs."""
    return boto3.session.Session().client(
        service,  # type: ignore[call-overload]
        region_name=region,
        endpoint_url=ENDPOINT,
        aws_access_key_id=OPERATOR_KEY,
        aws_secret_access_key=OPERATOR_KEY,
        config=Config(
            connect_timeout=2,
            read_timeout=20,
            retries={"total_max_attempts": 2, "mode": "standard"},
            user_agent_extra=LAB_TOOL,
            s3={"addressing_style": "path"},
        ),
    )


class Operator:
    """Everything the hand tools and the demo ask of AWS.

    One object a thread group; clients are made once.
    """

    def __init__(
        self,
        factory: ClientFactory = make_client,
        *,
        cluster: str = CLUSTER,
        hub_region: str = HUB_REGION,
    ) -> None:
        self._client: ClientFactory = cache(factory)
        self._cluster = cluster
        self._hub = hub_region
        self._spec: Mapping[str, Any] | None = None

    # what the cluster should be

    def spec(self) -> Mapping[str, Any]:
        """The cluster spec from the hub's bucket, read once."""
        if self._spec is None:
            with _said("read the cluster spec; was the infrastructure applied?"):
                account = self._client("sts", self._hub).get_caller_identity()["Account"]
                answer = self._client("s3", self._hub).get_object(
                    Bucket=f"{self._cluster}-{account}-{self._hub}", Key="spec.json"
                )
                self._spec = json.loads(answer["Body"].read())
        return self._spec

    def slots(self) -> tuple[Slot, ...]:
        """Every slot, active and spare."""
        names = Slot.__dataclass_fields__
        return tuple(Slot(**{name: item[name] for name in names}) for item in self.spec()["slots"])

    def passwords(self) -> Mapping[str, str]:
        """The database passwords by role."""
        with _said("read the database secret"):
            answer = self._client("secretsmanager", self._hub).get_secret_value(
                SecretId=str(self.spec()["secret"])
            )
        passwords: Mapping[str, str] = json.loads(answer["SecretString"])
        return passwords

    # what is there

    def occupants(self) -> tuple[Occupant, ...]:
        """Every instance of the cluster that is not terminated, in all regions."""
        with _said("list the instances"):
            return tuple(
                occupant for region in REGIONS for occupant in self._occupants_in(region.name)
            )

    def _occupants_in(self, region: str) -> Iterator[Occupant]:
        ec2 = self._client("ec2", region)
        filters = [
            {"Name": "tag:pgmend:cluster", "Values": [self._cluster]},
            {"Name": "instance-state-name", "Values": list(LIVE_STATES)},
        ]
        found = [
            instance
            for page in ec2.get_paginator("describe_instances").paginate(Filters=filters)
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
        ]
        if not found:
            return
        checks = _checks(ec2, [instance["InstanceId"] for instance in found])
        for instance in found:
            tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())}
            yield Occupant(
                instance_id=instance["InstanceId"],
                slot=tags.get("pgmend:slot", ""),
                state=instance["State"]["Name"],
                checks=checks.get(instance["InstanceId"], "unknown"),
            )

    def reports(self) -> Mapping[str, StoredReport]:
        """The last report of every slot."""
        return {item["sk"]: _report(item) for item in self._query("REPORT")}

    def incidents(self) -> Sequence[Mapping[str, Any]]:
        """All incidents, oldest first."""
        return self._query("INCIDENT")

    def journal(self, *, after: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Journal steps, oldest first; `after` is the sort key of the last one already seen."""
        return self._query("JOURNAL", after=after)

    def healer_sentence(self) -> str:
        """The healer's last verdict about strength, in its own words.

        Empty before its first run.
        """
        for item in self._query("CLUSTER"):
            if item["sk"] == "strength":
                return str(item.get("sentence", ""))
        return ""

    def _query(self, pk: str, *, after: str | None = None) -> list[Mapping[str, Any]]:
        condition = "pk = :pk" if after is None else "pk = :pk AND sk > :after"
        values: dict[str, Any] = {":pk": {"S": pk}}
        if after is not None:
            values[":after"] = {"S": after}
        with _said("read the hub table"):
            pages = (
                self._client("dynamodb", self._hub)
                .get_paginator("query")
                .paginate(
                    TableName=self._cluster,
                    KeyConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    ConsistentRead=True,
                )
            )
            return [_plain(item) for page in pages for item in page["Items"]]

    # what a person can do

    def terminate(self, instance_id: str, region: str) -> None:
        """End an instance through the API."""
        with _said(f"terminate {instance_id}"):
            self._client("ec2", region).terminate_instances(InstanceIds=[instance_id])

    def look(self) -> None:
        """Invoke the healer by hand, without waiting for its answer."""
        event = {"source": "pgmend.operator", "detail-type": "Look", "detail": {"version": 1}}
        with _said("invoke the healer"):
            self._client("lambda", self._hub).invoke(
                FunctionName=f"{self._cluster}-healer",
                InvocationType="Event",
                Payload=json.dumps(event).encode(),
            )

    def look_and_wait(self) -> Mapping[str, Any]:
        """Invoke the healer by hand and wait for its answer."""
        event = {"source": "pgmend.operator", "detail-type": "Look", "detail": {"version": 1}}
        with _said("invoke the healer"):
            answer = self._client("lambda", self._hub).invoke(
                FunctionName=f"{self._cluster}-healer", Payload=json.dumps(event).encode()
            )
        said: Mapping[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise LabError(f"the healer failed: {said.get('errorMessage')}")
        return said

    def rules(self, region: str) -> Mapping[str, Mapping[str, Any]]:
        """EventBridge rules of the cluster's bus and the default bus.

        Name -> the rule as described.
        """
        events = self._client("events", region)
        found: dict[str, Mapping[str, Any]] = {}
        with _said(f"list the rules of {region}"):
            for bus in (self._cluster, "default"):
                for rule in events.list_rules(EventBusName=bus)["Rules"]:
                    found[rule["Name"]] = {**rule, "EventBusName": bus}
        return found

    def switch_rule(self, name: str, region: str, bus: str, *, enabled: bool) -> None:
        """Disable or enable one rule, through the AWS API."""
        events = self._client("events", region)
        with _said(f"{'enable' if enabled else 'disable'} rule {name}"):
            change = events.enable_rule if enabled else events.disable_rule
            change(Name=name, EventBusName=bus)


class _said:  # noqa: N801 - reads as a phrase where it is used
    """Turns an API failure into one sentence for the person."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (BotoCoreError, ClientError)):
            raise LabError(f"the local AWS could not {self._doing}: {error}") from error


def _checks(ec2: Any, ids: Sequence[str]) -> Mapping[str, str]:  # noqa: ANN401 - a boto3 client
    answer = ec2.describe_instance_status(InstanceIds=list(ids), IncludeAllInstances=True)
    return {
        item["InstanceId"]: str(item.get("InstanceStatus", {}).get("Status", "unknown"))
        for item in answer["InstanceStatuses"]
    }


def _report(item: Mapping[str, Any]) -> StoredReport:
    return StoredReport(
        slot=str(item["sk"]),
        instance_id=str(item.get("instance_id", "")),
        sequence=int(item.get("sequence", 0)),
        body=json.loads(item.get("body") or "{}"),
    )


def _plain(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A DynamoDB item without its type marks; numbers become int or float."""
    return {name: _value(value) for name, value in item.items()}


def _value(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the item holds
    kind, inner = next(iter(value.items()))
    match kind:
        case "N":
            return float(inner) if "." in inner else int(inner)
        case "L":
            return [_value(item) for item in inner]
        case "M":
            return _plain(inner)
        case "NULL":
            return None
        case _:
            return inner
