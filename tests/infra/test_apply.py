"""`tofu/` applied to the local AWS by the real command and provider, with IAM enforced, used, and destroyed again.

One test, since an apply takes half a minute: what each step shows is a function with a sentence for a name.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab.deploy import Deployment, find_mirror
from lab.errors import LabError
from lab.ports import REGIONS
from lambdas.core.parse import spec_from_json
from tests.infra.local_cloud import LocalCloud, local_cloud
from tests.infra.planned import example, kinds_of_events

ACCOUNT = "123456789012"
FIRST, SECOND, OBSERVER = (region.name for region in REGIONS)
WANTED = {"size": "minimal", "durability": "region", "clock": "fast"}
VOTERS = {FIRST: "db-euw1-a", SECOND: "db-euw3-a", OBSERVER: "witness-euc1-a"}
PROBE, ALLOWED, REFUSED = "probe", "DryRunOperation", "UnauthorizedOperation"
DISKS = {"db-euw1-a", "db-euw1-b", "db-euw3-a", "witness-euc1-a"}


@pytest.mark.timeout(900)
def test_the_hcl_is_applied_wakes_the_healer_and_is_undone_without_a_trace(
    tmp_path: Path, command: str
) -> None:
    assert command
    with local_cloud(tmp_path) as cloud:
        lenient = cloud.deployment()
        strict = {"deletion_protection": True, "notice_emails": ["somebody@example.org"]}
        deployment = replace(lenient, more=strict)
        try:
            deployment.apply(**WANTED)
        except LabError as error:
            if find_mirror(os.environ) is None and " init' failed" in str(error):
                pytest.skip(f"the AWS provider is neither on this computer nor to be had: {error}")
            raise
        assert deployment.plan_is_clean(**WANTED), (tmp_path / "tofu/plan.log").read_text()
        no_password_is_in_the_state_or_in_what_was_said(cloud)
        every_bucket_has_a_spec_that_the_healer_reads(cloud)
        every_kind_of_event_reaches_the_healer_from_either_region(cloud)
        alarms_of_every_region_reach_the_healer(cloud)
        the_healer_fills_every_active_slot(cloud)
        the_healers_role_disturbs_its_own_cluster_only(cloud)
        a_destroy_of_a_protected_cluster_is_refused_and_touches_nothing(cloud, deployment)
        a_new_opening_lifts_the_closed_mark(cloud, replace(lenient, more={"opening": 2}))
        lenient.destroy(**WANTED)
        nothing_is_left_but_the_disks_last_snapshots(cloud)
        nobody_was_refused_anything(cloud)


def no_password_is_in_the_state_or_in_what_was_said(cloud: LocalCloud) -> None:
    texts = [p.read_text(errors="replace") for p in files_of(cloud.state / "tofu")]
    for region in REGIONS:
        secret = cloud.client("secretsmanager", region.name).get_secret_value(
            SecretId="pgmend/database"
        )
        passwords = json.loads(secret["SecretString"])
        assert passwords.keys() == {"superuser", "replication", "rewind", "app", "monitor"}
        assert len(set(passwords.values())) == len(passwords)
        for password in passwords.values():
            assert len(password) == 32
            assert not any(password in text for text in texts)


def files_of(work: Path) -> Iterator[Path]:
    """State, plans and logs of the command; not the provider."""
    yield from (p for p in work.iterdir() if p.is_file())
    yield from (work / "config/tofu").glob("*tfstate*")


def every_bucket_has_a_spec_that_the_healer_reads(cloud: LocalCloud) -> None:
    found = set()
    for region in REGIONS:
        bucket = f"pgmend-{ACCOUNT}-{region.name}"
        answer = cloud.client("s3", region.name).get_object(Bucket=bucket, Key="spec.json")
        found.add(answer["Body"].read())
    (text,) = found
    spec = spec_from_json(text)
    assert all(slot.interface_id.startswith("eni-") for slot in spec.slots)
    assert all(slot.launch_template_id.startswith("lt-") for slot in spec.slots)


def every_kind_of_event_reaches_the_healer_from_either_region(cloud: LocalCloud) -> None:
    detail = json.dumps(example("event.json")["detail"])
    for region in (FIRST, SECOND):
        for kind in kinds_of_events():
            entry = {
                "Source": "pgmend.agent",
                "DetailType": kind,
                "Detail": detail,
                "EventBusName": "pgmend",
            }
            answer = cloud.client("events", region).put_events(Entries=[entry])
            assert answer["FailedEntryCount"] == 0
    wanted = {(region, kind) for region in (FIRST, SECOND) for kind in kinds_of_events()}
    until(lambda: wanted <= woken(cloud), lambda: f"the healer got only {woken(cloud)}")


def alarms_of_every_region_reach_the_healer(cloud: LocalCloud) -> None:
    for region, slot in VOTERS.items():
        dimensions = [{"Name": "Cluster", "Value": "pgmend"}, {"Name": "Slot", "Value": slot}]
        point = {"MetricName": "EtcdHealthy", "Dimensions": dimensions, "Value": 0.0}
        cloud.client("cloudwatch", region).put_metric_data(Namespace="pgmend", MetricData=[point])
    wanted = {(region, "CloudWatch Alarm State Change") for region in VOTERS}
    until(lambda: wanted <= woken(cloud), lambda: f"the healer got only {woken(cloud)}")


def woken(cloud: LocalCloud) -> set[tuple[str, str]]:
    """(region it comes from, detail type) of every event that EventBridge gave to the healer."""
    return {
        (record["event"]["region"], record["event"]["detail-type"])
        for record in cloud.evidence("events")
        if record["target"].endswith(":function:pgmend-healer") and record["error"] is None
    }


def the_healer_fills_every_active_slot(cloud: LocalCloud) -> None:
    bucket = f"pgmend-{ACCOUNT}-{OBSERVER}"
    text = cloud.client("s3", OBSERVER).get_object(Bucket=bucket, Key="spec.json")["Body"].read()
    active = {slot.name for slot in spec_from_json(text).slots if slot.active}
    until(lambda: occupied(cloud) == active, lambda: f"only {occupied(cloud)} are occupied")
    until(lambda: attached(cloud) == DISKS, lambda: f"only {attached(cloud)} have their disk")


def the_healers_role_disturbs_its_own_cluster_only(cloud: LocalCloud) -> None:
    """Each call is tried dry: allowed, or not, without doing anything."""
    operator, healer = cloud.client("ec2", FIRST), cloud.client_of("pgmend-healer", PROBE, FIRST)
    theirs = {"VolumeId": a_volume(operator, "other"), "Size": 20}
    ours = {"VolumeId": a_volume(operator, "pgmend"), "Size": 20}
    instance_id = next(i["InstanceId"] for i in instances(cloud, FIRST) if is_running(i))
    for verb in ("reboot_instances", "stop_instances", "start_instances"):
        assert outcome(healer, verb, InstanceIds=[instance_id]) == ALLOWED, verb
    assert outcome(healer, "modify_volume", **ours) == ALLOWED
    assert outcome(healer, "modify_volume", **theirs) == REFUSED
    for tags, verdict in (
        ({"pgmend:disk": "quarantined"}, ALLOWED),
        ({"pgmend:disk": "current"}, REFUSED),
        ({"pgmend:slot": "db-euw1-a"}, REFUSED),
        ({"pgmend:disk": "quarantined", "pgmend:cluster": "other"}, REFUSED),
    ):
        wanted = [{"Key": key, "Value": value} for key, value in tags.items()]
        found = outcome(healer, "create_tags", Resources=[ours["VolumeId"]], Tags=wanted)
        assert found == verdict, tags
    aside = [{"Key": "pgmend:disk", "Value": "quarantined"}]
    assert outcome(healer, "create_tags", Resources=[theirs["VolumeId"]], Tags=aside) == REFUSED
    assert outcome(healer, "create_tags", Resources=[instance_id], Tags=aside) == REFUSED
    assert outcome(healer, "delete_volume", VolumeId=ours["VolumeId"]) == REFUSED
    for volume in (ours, theirs):
        operator.delete_volume(VolumeId=volume["VolumeId"])


def a_volume(operator: Any, cluster: str) -> str:
    """A volume of a cluster that belongs to no slot."""
    tags = [{"Key": "pgmend:cluster", "Value": cluster}]
    made = operator.create_volume(
        AvailabilityZone=f"{FIRST}a",
        Size=10,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
    )
    return str(made["VolumeId"])


def outcome(client: Any, verb: str, **arguments: Any) -> str:
    """What EC2 answers to a call that is only tried."""
    with pytest.raises(ClientError) as caught:
        getattr(client, verb)(**arguments, DryRun=True)
    return str(caught.value.response["Error"]["Code"])


def is_running(instance: Mapping[str, Any]) -> bool:
    """Whether EC2 calls it running."""
    return bool(instance["State"]["Name"] == "running")


def tags_of(thing: Mapping[str, Any]) -> Mapping[str, str]:
    """Tags by key."""
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", ())}


def occupied(cloud: LocalCloud) -> set[str]:
    """Slots with a running instance."""
    return {
        tags_of(instance)["pgmend:slot"]
        for region in REGIONS
        for instance in instances(cloud, region.name)
        if instance["State"]["Name"] == "running"
    }


def instances(cloud: LocalCloud, region: str) -> list[Mapping[str, Any]]:
    """Every instance that EC2 shows."""
    found = cloud.client("ec2", region).describe_instances()["Reservations"]
    return [instance for reservation in found for instance in reservation["Instances"]]


def attached(cloud: LocalCloud) -> set[str]:
    """Slots whose disk is attached."""
    return {
        tags_of(volume)["pgmend:slot"]
        for region in REGIONS
        for volume in cloud.client("ec2", region.name).describe_volumes()["Volumes"]
        if "pgmend:disk" in tags_of(volume) and volume["State"] == "in-use"
    }


def a_destroy_of_a_protected_cluster_is_refused_and_touches_nothing(
    cloud: LocalCloud, deployment: Deployment
) -> None:
    before = occupied(cloud)
    with pytest.raises(LabError, match="apply with deletion_protection=false, then destroy"):
        deployment.destroy(**WANTED)
    planned = deployment.plan(**WANTED)["resource_changes"]
    assert [c["address"] for c in planned if c["change"]["actions"] != ["no-op"]] == []
    assert occupied(cloud) == before
    assert not closed(cloud)


def a_new_opening_lifts_the_closed_mark(cloud: LocalCloud, deployment: Deployment) -> None:
    mark = {"pk": {"S": "CLUSTER"}, "sk": {"S": "closed"}}
    cloud.client("dynamodb", OBSERVER).put_item(TableName="pgmend", Item=mark)
    assert closed(cloud)
    deployment.apply(**WANTED)
    assert not closed(cloud)


def closed(cloud: LocalCloud) -> bool:
    """Whether the mark is there that keeps the healer from filling slots."""
    key = {"pk": {"S": "CLUSTER"}, "sk": {"S": "closed"}}
    return "Item" in cloud.client("dynamodb", OBSERVER).get_item(TableName="pgmend", Key=key)


def nothing_is_left_but_the_disks_last_snapshots(cloud: LocalCloud) -> None:
    assert {r.name: left_in(cloud, r.name) for r in REGIONS} == {r.name: {} for r in REGIONS}
    iam = cloud.client("iam", "us-east-1")
    assert iam.list_roles()["Roles"] == iam.list_instance_profiles()["InstanceProfiles"] == []
    assert cloud.client("s3", "us-east-1").list_buckets()["Buckets"] == []
    kept = [
        snapshot["Description"]
        for region in REGIONS
        for snapshot in cloud.client("ec2", region.name).describe_snapshots()["Snapshots"]
        if tags_of(snapshot).get("pgmend:cluster") == "pgmend"
    ]
    assert sorted(kept) == sorted(f"final {slot}" for slot in DISKS)


def left_in(cloud: LocalCloud, region: str) -> Mapping[str, list[Any]]:
    """What a region still has of what an apply or the healer makes, by kind; its own defaults do not count."""

    def ask(service: str, call: str, answer: str, **arguments: Any) -> list[Any]:
        found = getattr(cloud.client(service, region), call)(**arguments)
        return list(found.get(answer, []))

    own = [{"Key": "Owner", "Values": ["Self"]}]
    mine = [{"Name": "tag:pgmend:cluster", "Values": ["pgmend"]}]
    found = {
        "instances": [i for i in instances(cloud, region) if i["State"]["Name"] != "terminated"],
        "volumes": ask("ec2", "describe_volumes", "Volumes", Filters=mine),
        "interfaces": ask("ec2", "describe_network_interfaces", "NetworkInterfaces"),
        "templates": ask("ec2", "describe_launch_templates", "LaunchTemplates"),
        "addresses": ask("ec2", "describe_addresses", "Addresses"),
        "networks": ask("ec2", "describe_vpcs", "Vpcs", Filters=mine),
        "groups": ask("ec2", "describe_security_groups", "SecurityGroups", Filters=mine),
        "alarms": ask("cloudwatch", "describe_alarms", "MetricAlarms"),
        "rules": ask("events", "list_rules", "Rules"),
        "buses": [
            b for b in ask("events", "list_event_buses", "EventBuses") if b["Name"] != "default"
        ],
        "functions": ask("lambda", "list_functions", "Functions"),
        "logs": ask("logs", "describe_log_groups", "logGroups"),
        "queues": ask("sqs", "list_queues", "QueueUrls"),
        "topics": ask("sns", "list_topics", "Topics"),
        "tables": ask("dynamodb", "list_tables", "TableNames"),
        "documents": ask("ssm", "list_documents", "DocumentIdentifiers", Filters=own),
        "secrets": ask("secretsmanager", "list_secrets", "SecretList"),
    }
    return {kind: things for kind, things in found.items() if things}


def nobody_was_refused_anything(cloud: LocalCloud) -> None:
    """The functions' policies allow what the functions do; what this test tried in their name does not count."""
    denied = [r for r in cloud.evidence("denied") if f"/{PROBE} is not" not in r["sentence"]]
    assert denied == []


def until(
    condition: Callable[[], bool], otherwise: Callable[[], str], *, limit_s: float = 150.0
) -> None:
    """Wait for something that must come true."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.25)
