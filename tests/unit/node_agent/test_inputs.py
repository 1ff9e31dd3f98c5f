"""What AWS tells `configure`: read by the node's own role, refused with a reason, retried for a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws

from node_agent.errors import AgentError, HoldError
from node_agent.inputs import Birth, fetch, patiently
from node_agent.node import Node
from tests.unit.node_agent.builders import PASSWORDS, SYSTEM, TOKEN, Clock, a_node, example

REGION: Final = "eu-west-1"
HUB: Final = "eu-central-1"


class Aws:
    """A bucket, a secret and a table."""

    def __init__(self) -> None:
        self.s3 = boto3.client("s3", region_name=REGION)
        self.secrets = boto3.client("secretsmanager", region_name=REGION)
        self.table = boto3.client("dynamodb", region_name=HUB)
        self.node = a_node()
        self.s3.create_bucket(
            Bucket=self.node.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.spec(example("spec.json"))
        self.secrets.create_secret(Name="pgmend/database", SecretString=json.dumps(PASSWORDS))
        self.table.create_table(
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

    def spec(self, document: dict[str, Any]) -> None:
        self.s3.put_object(Bucket=self.node.bucket, Key="spec.json", Body=json.dumps(document))

    def birth(self, **attributes: str) -> None:
        item = {name: {"S": value} for name, value in attributes.items()}
        self.table.put_item(
            TableName="pgmend", Item={"pk": {"S": "CLUSTER"}, "sk": {"S": "birth"}, **item}
        )


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield Aws()


def read(node: Node, *, birthing: bool = False) -> Any:
    return fetch(node, Clock().deadline(60), birthing=birthing)


def test_a_database_node_reads_spec_passwords_and_birth(aws: Aws) -> None:
    aws.birth(
        state="born",
        first_leader="db-euw1-a",
        etcd_token=TOKEN,
        etcd_cluster_id="cdf818194e3a8c32",
        system_identifier=SYSTEM,
    )
    found = read(aws.node)
    assert found.spec.raw == example("spec.json")
    assert found.passwords == PASSWORDS
    assert found.birth.system_identifier == SYSTEM
    assert not found.birth.pending


def test_a_pending_birth_names_its_first_leader_and_token(aws: Aws) -> None:
    aws.birth(state="pending", first_leader="db-euw1-a", etcd_token=TOKEN)
    found = read(aws.node, birthing=True).birth
    assert found.pending
    assert (found.first_leader, found.etcd_token) == ("db-euw1-a", TOKEN)
    assert found.system_identifier is None


def test_no_birth_item_is_no_birth(aws: Aws) -> None:
    assert read(aws.node).birth is None


@pytest.mark.parametrize("slot", ["haproxy-euw1-a", "app-euw1-a", "witness-euc1-a"])
def test_other_roles_read_no_password(aws: Aws, slot: str) -> None:
    aws.secrets.delete_secret(SecretId="pgmend/database", ForceDeleteWithoutRecovery=True)
    found = read(a_node(slot))
    assert found.passwords == {}
    assert found.birth is None


def test_a_missing_bucket_is_an_error_that_may_be_tried_again(aws: Aws) -> None:
    assert aws.node.bucket
    with pytest.raises(AgentError, match="cluster spec could not be read") as failure:
        read(a_node(bucket="another"))
    assert failure.value.exit_code == 1


def test_half_a_secret_is_refused(aws: Aws) -> None:
    aws.secrets.put_secret_value(
        SecretId="pgmend/database", SecretString=json.dumps({"superuser": "x", "app": ""})
    )
    with pytest.raises(AgentError, match="replication, rewind, app, monitor"):
        read(aws.node)


def test_another_clusters_spec_is_a_hold(aws: Aws) -> None:
    aws.spec({**example("spec.json"), "cluster": "other"})
    with pytest.raises(HoldError, match="other"):
        read(aws.node)


def test_a_slot_that_the_spec_does_not_know_is_a_hold(aws: Aws) -> None:
    with pytest.raises(HoldError, match="no slot db-euw1-d"):
        read(a_node("db-euw1-d", bucket=aws.node.bucket))


def test_joining_goes_on_without_the_hub_and_a_birth_does_not(aws: Aws) -> None:
    aws.table.delete_table(TableName="pgmend")
    assert read(aws.node).birth is None
    with pytest.raises(AgentError, match="birth item could not be read"):
        read(aws.node, birthing=True)


def test_a_role_that_takes_a_moment_to_work_is_waited_for() -> None:
    clock, granted = Clock(), []
    clock.after(3.0, lambda: granted.append(1))

    def ask() -> str:
        if not granted:
            raise PermissionError("not yet")
        return "here"

    assert patiently("it", ask, (PermissionError,), clock.deadline(60)) == "here"
    assert clock.now < 1005.0


def test_an_answer_of_nothing_is_an_answer() -> None:
    assert patiently("it", lambda: None, (OSError,), Clock().deadline(5)) is None


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"state": {"S": "dead"}, "first_leader": {"S": "a"}, "etcd_token": {"S": "b"}},
        {"state": {"S": "born"}, "first_leader": {"S": ""}, "etcd_token": {"S": "b"}},
        {"state": {"N": "1"}, "first_leader": {"S": "a"}, "etcd_token": {"S": "b"}},
        {"state": "born"},
    ],
    ids=str,
)
def test_a_birth_that_says_nothing_is_a_hold(item: dict[str, Any]) -> None:
    with pytest.raises(HoldError, match="incomplete"):
        Birth.parse(item)


def test_a_birth_is_young_for_some_minutes_by_the_time_in_its_item() -> None:
    item = {name: {"S": value} for name, value in PENDING.items()}
    birth = Birth.parse({**item, "declared_at": {"N": "1000.5"}})
    assert birth.declared_at == 1000.5
    assert [birth.young(now) for now in (900.0, 1000.5, 1500.0, 1700.0)] == [
        True,
        True,
        True,
        False,
    ]
    born = Birth.parse({**item, "state": {"S": "born"}, "declared_at": {"N": "1000.5"}})
    assert not born.young(1000.5)


@pytest.mark.parametrize("value", [None, {"S": "1000"}, {"N": "soon"}, {"N": None}, 5], ids=str)
def test_a_birth_without_a_time_is_old(value: object) -> None:
    item = {name: {"S": text} for name, text in PENDING.items()}
    assert not Birth.parse({**item, "declared_at": value}).young(1000.0)


PENDING: Final = {"state": "pending", "first_leader": "db-euw1-a", "etcd_token": TOKEN}
