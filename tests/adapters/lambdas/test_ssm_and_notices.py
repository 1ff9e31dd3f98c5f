"""SSM, the bus and the metrics."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from lambdas.adapters.notices import Bus, Metrics
from lambdas.adapters.ssm import Ssm
from lambdas.errors import BusRefusedError, RegionSilentError
from tests.adapters.lambdas.desk import REGION


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Call")


class FakeSsmClient:
    """What moto does not have: who is online, and what a command came to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get_command_invocation(self, **_request: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def get_paginator(self, _name: str) -> Any:
        client = self

        class Pages:
            def paginate(self, **_request: Any) -> Any:
                if isinstance(client.answer, Exception):
                    raise client.answer
                return client.answer

        return Pages()


def ssm(client: Any) -> Ssm:
    return Ssm(client, cluster="pgmend", region=REGION)


def test_a_document_is_sent_and_found_again_by_its_comment() -> None:
    ec2 = boto3.client("ec2", region_name=REGION)
    launched = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
    instance_id = launched["Instances"][0]["InstanceId"]
    client = boto3.client("ssm", region_name=REGION)
    client.create_document(
        Name="pgmend-configure-node",
        DocumentType="Command",
        Content=json.dumps({"schemaVersion": "2.2", "description": "x", "mainSteps": []}),
    )
    command_id = ssm(client).send(
        document="pgmend-configure-node",
        instance_id=instance_id,
        parameters={"Slot": "db-euw3-a"},
        comment="inc-4-configure",
        timeout_s=300,
    )
    assert ssm(client).find(comment="inc-4-configure", instance_id=instance_id) == command_id
    assert ssm(client).find(comment="inc-5-configure", instance_id=instance_id) is None


def test_only_instances_whose_ping_is_online_are_online() -> None:
    pages = [
        {"InstanceInformationList": [{"InstanceId": "i-1", "PingStatus": "Online"}]},
        {"InstanceInformationList": [{"InstanceId": "i-2", "PingStatus": "ConnectionLost"}]},
        {"InstanceInformationList": [{"InstanceId": "i-3"}]},
    ]
    assert ssm(FakeSsmClient(pages)).online() == {"i-1"}


@pytest.mark.parametrize(
    ("status", "finished"),
    [("Pending", False), ("InProgress", False), ("Delayed", False), ("Cancelling", False)]
    + [
        (status, True) for status in ("Success", "Failed", "TimedOut", "Cancelled", "Undeliverable")
    ],
)
def test_a_command_is_finished_when_ssm_will_not_change_it(
    status: str,
    finished: bool,
) -> None:
    state = ssm(FakeSsmClient({"Status": status, "ResponseCode": 0})).state(
        command_id="c", instance_id="i"
    )
    assert state is not None
    assert state.finished is finished


def test_a_command_that_ssm_does_not_know_yet_is_unknown() -> None:
    client = FakeSsmClient(refused("InvocationDoesNotExist"))
    assert ssm(client).state(command_id="c", instance_id="i") is None


@pytest.mark.parametrize(
    "error", [refused("ThrottlingException"), ConnectTimeoutError(endpoint_url="http://x")]
)
def test_an_ssm_that_fails_is_silent(error: Exception) -> None:
    with pytest.raises(RegionSilentError):
        ssm(FakeSsmClient(error)).state(command_id="c", instance_id="i")
    with pytest.raises(RegionSilentError):
        ssm(FakeSsmClient(error)).online()


def test_an_event_reaches_the_hub_bus_with_its_version() -> None:
    seen: dict[str, Any] = {}

    class Client:
        def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
            seen.update(Entries[0])
            return {"FailedEntryCount": 0}

    Bus(Client(), bus="pgmend").say("Held", {"slot": "db-euw3-a"})
    assert (seen["EventBusName"], seen["Source"]) == ("pgmend", "pgmend.healer")
    assert seen["DetailType"] == "Held"
    assert json.loads(seen["Detail"]) == {"version": 1, "slot": "db-euw3-a"}


def test_a_real_bus_takes_our_events() -> None:
    client = boto3.client("events", region_name=REGION)
    client.create_event_bus(Name="pgmend")
    Bus(client, bus="pgmend").say("Action Taken", {"slot": "db-euw3-a"})


def test_a_refused_event_is_not_lost_in_silence() -> None:
    class Client:
        def put_events(self, **_request: Any) -> dict[str, Any]:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "X"}]}

    with pytest.raises(BusRefusedError, match="refused"):
        Bus(Client(), bus="pgmend").say("Held", {})


def test_metrics_carry_the_cluster_and_the_slot() -> None:
    client = boto3.client("cloudwatch", region_name=REGION)
    values: dict[tuple[str, str | None], float] = {
        ("StatusCheckFailed", "db-euw3-a"): 1.0,
        ("Strength", None): 0.0,
    }
    Metrics(client, cluster="pgmend").put(values)
    listed = client.list_metrics(Namespace="pgmend")["Metrics"]
    dimensions = {m["MetricName"]: {d["Name"]: d["Value"] for d in m["Dimensions"]} for m in listed}
    assert dimensions == {
        "StatusCheckFailed": {"Cluster": "pgmend", "Slot": "db-euw3-a"},
        "Strength": {"Cluster": "pgmend"},
    }


def test_no_metrics_is_no_call() -> None:
    Metrics(None, cluster="pgmend").put({})
