"""The operator's view of AWS, against moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from lab.errors import LabError
from lab.operator import HUB_REGION, Operator

SPEC = Path(__file__).resolve().parents[2] / "contract" / "examples" / "spec.json"
BUCKET = f"pgmend-123456789012-{HUB_REGION}"


def client(service: str, region: str) -> Any:
    return boto3.session.Session().client(service, region_name=region)  # type: ignore[call-overload]


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client("s3", HUB_REGION).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": HUB_REGION}
        )
        client("s3", HUB_REGION).put_object(Bucket=BUCKET, Key="spec.json", Body=SPEC.read_bytes())
        client("dynamodb", HUB_REGION).create_table(
            TableName="pgmend",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Operator(client)


def put(pk: str, sk: str, **attributes: Any) -> None:
    item = {"pk": {"S": pk}, "sk": {"S": sk}, **attributes}
    client("dynamodb", HUB_REGION).put_item(TableName="pgmend", Item=item)


def launch(slot: str, region: str, cluster: str = "pgmend") -> str:
    ec2 = client("ec2", region)
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    tags = [
        {"Key": "pgmend:cluster", "Value": cluster},
        {"Key": "pgmend:slot", "Value": slot},
    ]
    answer = ec2.run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    return str(answer["Instances"][0]["InstanceId"])


def test_slots_come_from_the_spec_in_the_hubs_bucket(operator: Operator) -> None:
    slots = {slot.name: slot for slot in operator.slots()}

    assert slots["db-euw1-a"].address == "10.10.10.11"
    assert slots["db-euw1-a"].active
    assert not slots["db-euw1-c"].active


def test_occupants_are_ours_in_all_regions_and_not_terminated(operator: Operator) -> None:
    west = launch("db-euw1-a", "eu-west-1")
    south = launch("db-euw3-a", "eu-west-3")
    gone = launch("db-euw1-b", "eu-west-1")
    launch("db-euw1-a", "eu-west-1", cluster="other")
    operator.terminate(gone, "eu-west-1")

    found = {item.instance_id: item for item in operator.occupants()}

    assert set(found) == {west, south}
    assert found[west].slot == "db-euw1-a"
    assert found[west].state == "running"
    assert found[west].checks == "ok"


def test_reports_journal_and_strength_are_read_as_written(operator: Operator) -> None:
    body = json.dumps({"phase": "configured"})
    put("REPORT", "db-euw1-a", instance_id={"S": "i-1"}, sequence={"N": "7"}, body={"S": body})
    for second in range(3):
        put("JOURNAL", f"2026-01-01T00:00:0{second}Z#a", kind={"S": "evict"})
    put("CLUSTER", "strength", full={"BOOL": True}, sentence={"S": "full strength"})
    put("INCIDENT", "one", opened_at={"N": "12.5"}, wake={"S": "tick"})

    assert operator.reports()["db-euw1-a"].sequence == 7
    assert operator.reports()["db-euw1-a"].body["phase"] == "configured"
    assert len(operator.journal()) == 3
    assert [item["sk"] for item in operator.journal(after="2026-01-01T00:00:01Z#a")] == [
        "2026-01-01T00:00:02Z#a"
    ]
    assert operator.healer_sentence() == "full strength"
    assert operator.incidents()[0]["opened_at"] == 12.5


def test_rules_of_both_buses_are_listed_and_can_be_switched(operator: Operator) -> None:
    events = client("events", HUB_REGION)
    events.create_event_bus(Name="pgmend")
    events.put_rule(Name="tick", ScheduleExpression="rate(1 minute)")
    events.put_rule(Name="agent", EventPattern="{}", EventBusName="pgmend")

    rules = operator.rules(HUB_REGION)
    operator.switch_rule("agent", HUB_REGION, "pgmend", enabled=False)

    assert {name: rule["EventBusName"] for name, rule in rules.items()} == {
        "tick": "default",
        "agent": "pgmend",
    }
    assert operator.rules(HUB_REGION)["agent"]["State"] == "DISABLED"


def test_an_aws_failure_is_one_sentence(operator: Operator) -> None:
    with pytest.raises(LabError, match="could not invoke the healer"):
        operator.look()
    with pytest.raises(LabError, match="could not read the database secret"):
        operator.passwords()
