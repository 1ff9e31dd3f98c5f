"""Healer and lifecycle from event to answer, on moto: handlers, composition, observation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.adapters.clients import Clients
from lambdas.adapters.ssm import Ssm
from lambdas.compose import Deployment, iso
from lambdas.errors import (
    FatalError,
    MalformedEventError,
    RegionSilentError,
    RetryableError,
    WrongClusterError,
)
from lambdas.handlers import healer, lifecycle
from lambdas.observe import observe
from lambdas.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "contract" / "examples"
HUB = "eu-central-1"
NOW = 1_800_000_000.0
LOOK = {"source": "pgmend.operator", "detail-type": "Look", "detail": {"version": 1}}


class Context(LambdaContext):
    """As much of Lambda's context as the handlers use."""

    def __init__(self, remaining_s: float = 12.0) -> None:
        self._remaining_s = remaining_s

    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]  # static there
        return int(self._remaining_s * 1000)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Everything OpenTofu would have made in the observer region."""
    boto3.client("dynamodb", region_name=HUB).create_table(
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
    s3: Any = boto3.client("s3", region_name=HUB)
    s3.create_bucket(Bucket="specs", CreateBucketConfiguration={"LocationConstraint": HUB})
    s3.put_object(Bucket="specs", Key="spec.json", Body=(EXAMPLES / "spec.json").read_bytes())
    boto3.client("events", region_name=HUB).create_event_bus(Name="pgmend")
    topic = boto3.client("sns", region_name=HUB).create_topic(Name="pgmend-notices")["TopicArn"]
    for name, value in {
        "PGMEND_CLUSTER": "pgmend",
        "PGMEND_HUB_REGION": HUB,
        "PGMEND_TABLE": "pgmend",
        "PGMEND_SPEC_BUCKET": "specs",
        "PGMEND_SPEC_KEY": "spec.json",
        "PGMEND_BUS": "pgmend",
        "PGMEND_TOPIC_ARN": topic,
    }.items():
        monkeypatch.setenv(name, value)
    # moto does not know describe_instance_information
    monkeypatch.setattr(Ssm, "online", lambda _self: frozenset())
    for module in (healer, lifecycle):
        module.deployment.cache_clear()
    yield topic
    for module in (healer, lifecycle):
        module.deployment.cache_clear()


def items(pk: str) -> list[dict[str, Any]]:
    found = boto3.client("dynamodb", region_name=HUB).scan(TableName="pgmend")["Items"]
    return [item for item in found if item["pk"]["S"] == pk]


# -- the healer


def test_a_malformed_event_is_counted_and_raised(
    hub: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hub
    with pytest.raises(MalformedEventError):
        healer.handler({"source": "who"}, Context())
    assert '"MalformedEvents":[1.0]' in capsys.readouterr().out.replace(" ", "")
    assert items("CLUSTER") == []


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
def test_a_stale_wake_is_ignored_by_its_age(hub: str) -> None:
    assert hub
    old = {
        "source": "aws.events",
        "detail-type": "Scheduled Event",
        "time": "2020-01-01T00:00:00Z",
        "detail": {},
    }
    answer = healer.handler(old, Context())
    assert "stale" in str(answer["sentence"])
    assert items("CLUSTER") == []


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
def test_the_healer_answers_as_the_contract_says_and_gives_the_lease_back(hub: str) -> None:
    assert hub
    client = boto3.client("dynamodb", region_name=HUB)
    mark = {"pk": {"S": "CLUSTER"}, "sk": {"S": "closed"}}
    client.put_item(TableName="pgmend", Item=mark)
    answer = healer.handler(LOOK, Context())
    assert set(answer) >= {"version", "sentence", "looks", "actions", "full_strength", "missing"}
    assert answer["looks"] == 1
    assert answer["actions"] == []
    assert answer["full_strength"] is False
    json.dumps(answer)
    (lease,) = (item for item in items("CLUSTER") if item["sk"]["S"] == "lease")
    assert float(lease["expires_at"]["N"]) == 0.0


def test_the_spec_of_another_cluster_is_refused(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub
    monkeypatch.setenv("PGMEND_CLUSTER", "another")
    with pytest.raises(WrongClusterError):
        Deployment.from_env().spec()


# -- observation


def test_a_region_whose_api_failed_is_unknown_and_the_others_are_not(
    hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub
    world = Deployment.from_env().world()

    def silent() -> None:
        raise RegionSilentError("no answer")

    monkeypatch.setattr(world.ec2["eu-west-1"], "instances", silent)
    with ThreadPoolExecutor(4) as pool:
        look = observe(world, now=NOW, pool=pool)
    assert dict(look.observation.unknown_regions) == {"eu-west-1": "no answer"}


def put_report(sequence: int, *, instance_id: str = "i-00000000000000304") -> None:
    document = json.loads((EXAMPLES / "report-replica.json").read_text())
    document.update(sequence=sequence, instance_id=instance_id)
    boto3.client("dynamodb", region_name=HUB).put_item(
        TableName="pgmend",
        Item={
            "pk": {"S": "REPORT"},
            "sk": {"S": "db-euw1-b"},
            "body": {"S": json.dumps(document)},
        },
    )


def age_at(now: float) -> float:
    """By a run that looks then."""
    world = Deployment.from_env().world()
    assert world.table.take_lease(owner="a run", now=now, lease_s=0.5) is not None
    with ThreadPoolExecutor(4) as pool:
        return observe(world, now=now, pool=pool).observation.reports["db-euw1-b"].age_s


def test_a_report_is_as_old_as_the_healers_clock_says(hub: str) -> None:
    assert hub
    put_report(33)
    assert age_at(NOW) == 0.0
    assert age_at(NOW + 7) == 7.0
    put_report(34)
    assert age_at(NOW + 8) == 0.0


def test_a_sequence_that_fell_back_is_no_sign_of_life(hub: str) -> None:
    assert hub
    put_report(33)
    age_at(NOW)
    put_report(12)
    assert age_at(NOW + 5) == 5.0


def test_a_new_occupant_begins_its_own_count(hub: str) -> None:
    assert hub
    put_report(33)
    age_at(NOW)
    put_report(1, instance_id="i-00000000000000999")
    assert age_at(NOW + 5) == 0.0


def test_a_report_that_cannot_be_trusted_is_set_aside_with_its_reason(hub: str) -> None:
    assert hub
    for slot, body in (("db-euw1-a", "{"), ("db-nowhere-a", "{}")):
        boto3.client("dynamodb", region_name=HUB).put_item(
            TableName="pgmend",
            Item={"pk": {"S": "REPORT"}, "sk": {"S": slot}, "body": {"S": body}},
        )
    world = Deployment.from_env().world()
    with ThreadPoolExecutor(4) as pool:
        look = observe(world, now=NOW, pool=pool)
    assert look.observation.reports == {}
    assert len(look.refused_reports) == 2


# -- lifecycle


def tf(action: str, **more: Any) -> dict[str, Any]:
    """A request of OpenTofu's, of a cluster that may be emptied unless it says otherwise."""
    given = {"deletion_protection": False, "final_snapshot": False, "opening": 1, **more}
    return {"version": 1, "tf": {"action": action}, **given}


@pytest.mark.parametrize("protected", [True, False])
def test_create_and_update_lift_the_closed_mark(hub: str, protected: bool) -> None:
    assert hub
    table = Deployment.from_env().table()
    for action in ("create", "update"):
        table.set_closed(closed=True)
        request = tf(action, deletion_protection=protected)
        assert lifecycle.handler(request, Context())["ok"] is True
        assert not table.state().closed


@pytest.mark.parametrize("said", [{"deletion_protection": True}, {"deletion_protection": None}, {}])
def test_a_delete_of_a_cluster_that_nobody_gave_up_touches_nothing(
    hub: str, said: dict[str, Any]
) -> None:
    assert hub
    ours, disk = an_instance("pgmend"), a_disk()
    request = {"version": 1, "tf": {"action": "delete"}, "final_snapshot": True, **said}
    with pytest.raises(FatalError, match="apply with deletion_protection=false, then destroy"):
        lifecycle.handler(request, Context(60))
    assert items("CLUSTER") == []
    client = boto3.client("ec2", region_name="eu-west-3")
    (found,) = client.describe_instances(InstanceIds=[ours])["Reservations"]
    assert found["Instances"][0]["State"]["Name"] == "running"
    assert client.describe_volumes(VolumeIds=[disk])["Volumes"]


def test_a_delete_that_ran_out_of_time_says_how_to_go_on_and_how_to_go_back(hub: str) -> None:
    assert hub
    ours = an_instance("pgmend")
    with pytest.raises(
        RetryableError, match=f"{ours}; .*destroy again, or raise the variable opening"
    ):
        lifecycle.handler(tf("delete"), Context(1))
    assert Deployment.from_env().table().state().closed
    lifecycle.handler(tf("update", opening=2), Context())
    assert not Deployment.from_env().table().state().closed


def an_instance(cluster: str) -> str:
    client = boto3.client("ec2", region_name="eu-west-3")
    tags: list[Any] = [{"Key": "pgmend:cluster", "Value": cluster}]
    launched = client.run_instances(
        ImageId="ami-12c6146b",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    return str(launched["Instances"][0]["InstanceId"])


def a_disk() -> str:
    tags: list[Any] = [
        {"Key": "pgmend:cluster", "Value": "pgmend"},
        {"Key": "pgmend:slot", "Value": "db-euw3-a"},
        {"Key": "pgmend:disk", "Value": "current"},
    ]
    made = boto3.client("ec2", region_name="eu-west-3").create_volume(
        AvailabilityZone="eu-west-3a",
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
    )
    return str(made["VolumeId"])


def test_delete_ends_what_is_ours_deletes_the_disks_and_can_be_repeated(
    hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub
    monkeypatch.setattr("lambdas.lifecycle.POLL_S", 0.01)
    ours, theirs, disk = an_instance("pgmend"), an_instance("another"), a_disk()
    answer = lifecycle.handler(tf("delete"), Context(60))
    assert (answer["ok"], answer["ended"], answer["deleted"]) == (True, [ours], [disk])
    again = lifecycle.handler(tf("delete"), Context(60))
    assert (again["ok"], again["ended"], again["deleted"]) == (True, [], [])
    client = boto3.client("ec2", region_name="eu-west-3")
    states = {
        i["InstanceId"]: i["State"]["Name"]
        for r in client.describe_instances()["Reservations"]
        for i in r["Instances"]
    }
    assert states == {ours: "terminated", theirs: "running"}
    assert Deployment.from_env().table().state().closed


def test_a_final_snapshot_is_taken_when_asked_for(
    hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub
    monkeypatch.setattr("lambdas.lifecycle.POLL_S", 0.01)
    a_disk()
    answer = lifecycle.handler(tf("delete", final_snapshot=True), Context(60))
    (snapshot_id,) = cast("list[str]", answer["left"])
    client = boto3.client("ec2", region_name="eu-west-3")
    (snapshot,) = client.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert snapshot["Description"] == "final db-euw3-a"


@pytest.mark.parametrize(
    "malformed",
    [
        {},
        {"version": 1},
        tf("explode"),
        {**tf("delete"), "version": 2},
        {"version": 1, "tf": "x"},
        [],
        None,
    ],
    ids=str,
)
def test_lifecycle_refuses_what_it_does_not_know(hub: str, malformed: Any) -> None:
    assert hub
    with pytest.raises(MalformedEventError):
        lifecycle.handler(malformed, Context())
    assert items("CLUSTER") == []


# -- clients


def settings(endpoints: dict[str, str]) -> Settings:
    return Settings(
        cluster="pgmend",
        hub_region=HUB,
        table="pgmend",
        spec_bucket="specs",
        spec_key="spec.json",
        bus="pgmend",
        topic_arn="x",
        endpoints=endpoints,
    )


def test_a_client_is_made_once_and_is_impatient() -> None:
    clients = Clients(settings({}))
    client = clients.get("ec2", "eu-west-1")
    assert client is clients.get("ec2", "eu-west-1")
    assert client is not clients.get("ec2", "eu-west-3")
    assert (client.meta.config.connect_timeout, client.meta.config.read_timeout) == (2, 5)


@pytest.mark.parametrize("endpoint", ["http://10.10.255.1:4566", "http://localhost:4566"])
def test_a_local_endpoint_is_used_with_the_bucket_in_the_path(endpoint: str) -> None:
    client = Clients(settings({HUB: endpoint})).get("s3", HUB)
    url = client.generate_presigned_url("get_object", Params={"Bucket": "specs", "Key": "k"})
    assert url.startswith(f"{endpoint}/specs/k")


def test_times_sort_as_text() -> None:
    assert iso(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"
    assert iso(1_800_000_000.0) < iso(1_800_000_000.001) < iso(1_800_000_001.0)
