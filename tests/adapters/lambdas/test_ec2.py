"""EC2 of one region, on moto."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from lambdas.adapters.ec2 import Ec2
from lambdas.core.model import InstanceState, ScheduledEvent, Slot
from lambdas.errors import RegionSilentError
from tests.adapters.lambdas.desk import REGION
from tests.unit.lambdas.builders import the_spec


@pytest.fixture
def client() -> Any:
    return boto3.client("ec2", region_name=REGION)


@pytest.fixture
def ec2(client: Any) -> Ec2:
    return Ec2(client, cluster="pgmend", region=REGION)


@pytest.fixture
def slot(client: Any) -> Slot:
    """db-euw3-a with an interface and a launch template that exist."""
    vpc = client.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    subnet = client.create_subnet(
        VpcId=vpc, CidrBlock="10.20.10.0/24", AvailabilityZone=f"{REGION}a"
    )["Subnet"]["SubnetId"]
    interface = client.create_network_interface(SubnetId=subnet, PrivateIpAddress="10.20.10.11")
    template = client.create_launch_template(
        LaunchTemplateName="db",
        LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "t3.micro"},
    )
    return replace(
        the_spec().by_name["db-euw3-a"],
        interface_id=interface["NetworkInterface"]["NetworkInterfaceId"],
        launch_template_id=template["LaunchTemplate"]["LaunchTemplateId"],
    )


@pytest.fixture
def occupant(ec2: Ec2, slot: Slot) -> str:
    return ec2.launch(slot, action_id="inc-1-launch", incident="inc")


def test_a_launched_instance_is_seen_in_its_slot(ec2: Ec2, occupant: str) -> None:
    (seen,) = ec2.instances()
    assert seen.instance_id == occupant
    assert (seen.slot, seen.region, seen.state) == ("db-euw3-a", REGION, InstanceState.RUNNING)
    assert not seen.hands_off


def test_a_launched_instance_stands_on_the_slots_own_interface(
    client: Any, slot: Slot, occupant: str
) -> None:
    raw = client.describe_instances(InstanceIds=[occupant])["Reservations"][0]["Instances"][0]
    assert [i["NetworkInterfaceId"] for i in raw["NetworkInterfaces"]] == [slot.interface_id]
    tags = {t["Key"]: t["Value"] for t in raw["Tags"]}
    assert tags["pgmend:role"] == "db"
    assert tags["pgmend:incident"] == "inc"


def test_a_launch_carries_its_action_id_as_client_token(slot: Slot) -> None:
    asked: dict[str, Any] = {}

    class Client:
        def run_instances(self, **request: Any) -> dict[str, Any]:
            asked.update(request)
            return {"Instances": [{"InstanceId": "i-1"}]}

    assert (
        Ec2(Client(), cluster="pgmend", region=REGION).launch(
            slot, action_id="inc-1-launch", incident="inc"
        )
        == "i-1"
    )
    assert asked["ClientToken"] == "inc-1-launch"
    assert (asked["MinCount"], asked["MaxCount"]) == (1, 1)


def test_other_clusters_are_not_seen(client: Any, occupant: str) -> None:
    assert occupant
    assert Ec2(client, cluster="another", region=REGION).instances() == ()


def test_a_hands_off_tag_is_seen(client: Any, ec2: Ec2, occupant: str) -> None:
    client.create_tags(Resources=[occupant], Tags=[{"Key": "pgmend:hands-off", "Value": "true"}])
    assert ec2.instances()[0].hands_off


def test_a_terminated_instance_is_seen_as_such_and_ended_again_without_error(
    ec2: Ec2, occupant: str
) -> None:
    ec2.terminate(occupant)
    ec2.terminate(occupant)
    ec2.terminate("i-0123456789abcdef0")
    assert ec2.instances()[0].state is InstanceState.TERMINATED


def test_a_stopped_instance_is_started(client: Any, ec2: Ec2, occupant: str) -> None:
    client.stop_instances(InstanceIds=[occupant])
    assert ec2.instances()[0].state is InstanceState.STOPPED
    ec2.start(occupant)
    assert ec2.instances()[0].state is InstanceState.RUNNING


@pytest.mark.parametrize(
    ("instance", "system", "verdict"),
    [
        ("ok", "ok", False),
        ("impaired", "ok", True),
        ("ok", "impaired", True),
        ("initializing", "initializing", None),
        ("insufficient-data", "ok", None),
    ],
)
def test_a_status_check_without_a_verdict_is_unknown(
    instance: str,
    system: str,
    verdict: bool | None,
) -> None:
    class Client:
        def describe_instance_status(self, **_request: Any) -> dict[str, Any]:
            return {
                "InstanceStatuses": [
                    {
                        "InstanceId": "i-1",
                        "InstanceStatus": {"Status": instance},
                        "SystemStatus": {"Status": system},
                    }
                ]
            }

    ec2 = Ec2(Client(), cluster="pgmend", region=REGION)
    assert ec2._statuses(["i-1"])["i-1"] == (verdict, None, ())


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ({"AttachedEbsStatus": {"Status": "impaired"}}, True),
        ({"AttachedEbsStatus": {"Status": "ok"}}, False),
        ({"AttachedEbsStatus": {"Status": "insufficient-data"}}, None),
        ({"AttachedEbsStatus": {"Status": "not-applicable"}}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_volume_that_ends_no_io_is_told_apart_from_an_ill_host(
    said: dict[str, Any], verdict: bool | None
) -> None:
    class Client:
        def describe_instance_status(self, **_request: Any) -> dict[str, Any]:
            ok = {"Status": "ok"}
            item = {"InstanceId": "i-1", "InstanceStatus": ok, "SystemStatus": ok, **said}
            return {"InstanceStatuses": [item]}

    ec2 = Ec2(Client(), cluster="pgmend", region=REGION)
    assert ec2._statuses(["i-1"])["i-1"] == (False, verdict, ())


def test_only_what_is_still_to_come_is_announced() -> None:
    soon = datetime(2027, 1, 20, tzinfo=UTC)

    class Client:
        def describe_instance_status(self, **_request: Any) -> dict[str, Any]:
            events = [
                {"Code": "instance-stop", "Description": "retires", "NotBefore": soon},
                {"Code": "system-reboot", "Description": "[Completed] done", "NotBefore": soon},
                {"Code": "system-reboot", "Description": "[Canceled] not", "NotBefore": soon},
                {"Code": "instance-retirement", "Description": "some day"},
            ]
            ok = {"Status": "ok"}
            return {
                "InstanceStatuses": [
                    {
                        "InstanceId": "i-1",
                        "InstanceStatus": ok,
                        "SystemStatus": ok,
                        "Events": events,
                    }
                ]
            }

    ec2 = Ec2(Client(), cluster="pgmend", region=REGION)
    *_, events = ec2._statuses(["i-1"])["i-1"]
    assert events == (ScheduledEvent(code="instance-stop", not_before=soon.timestamp()),)


def test_an_instance_is_rebooted_and_stopped(ec2: Ec2, occupant: str) -> None:
    ec2.reboot(occupant)
    assert ec2.instances()[0].state is InstanceState.RUNNING
    ec2.stop(occupant, force=True)
    assert ec2.instances()[0].state is InstanceState.STOPPED


@pytest.mark.parametrize("kind", [None, "m6i.large"])
def test_a_launch_may_name_another_type(ec2: Ec2, slot: Slot, kind: str | None) -> None:
    ec2.launch(slot, action_id="inc-1-launch", incident="inc", instance_type=kind)
    assert ec2.instances()[0].instance_type == (kind or "t3.micro")


def test_a_disk_grows_and_ec2_says_how_far_it_is(ec2: Ec2, slot: Slot) -> None:
    volume_id = ec2.create_volume(slot, action_id="inc-1-create-disk")
    assert (ec2.volumes()[0].size_gib, ec2.volumes()[0].modification) == (20, None)
    ec2.grow(volume_id, size_gib=30)
    assert (ec2.volumes()[0].size_gib, ec2.volumes()[0].modification) == (30, "completed")


def test_an_unknown_modification_hides_no_disk(ec2: Ec2, slot: Slot) -> None:
    ec2.create_volume(slot, action_id="inc-1-create-disk")
    real = ec2._client

    class Client:
        def __getattr__(self, name: str) -> Any:
            if name == "describe_volumes_modifications":
                raise EndpointConnectionError(endpoint_url="http://nowhere")
            return getattr(real, name)

    (seen,) = Ec2(Client(), cluster="pgmend", region=REGION).volumes()
    assert seen.modification is None


def test_changes_that_may_not_be_seen_are_no_silence_about_changes(ec2: Ec2, slot: Slot) -> None:
    ec2.create_volume(slot, action_id="inc-1-create-disk")
    real = ec2._client

    class Client:
        def __getattr__(self, name: str) -> Any:
            if name == "describe_volumes_modifications":
                raise ClientError({"Error": {"Code": "UnauthorizedOperation"}}, "Describe")
            return getattr(real, name)

    denied = Ec2(Client(), cluster="pgmend", region=REGION)
    with pytest.raises(RegionSilentError, match="does not let changes of volumes be seen"):
        denied.volumes()
    assert len(denied.volumes(changes=False)) == 1


def test_a_disk_may_be_made_larger_than_the_spec_says(ec2: Ec2, slot: Slot) -> None:
    ec2.create_volume(slot, action_id="inc-1-create-disk", size_gib=45)
    assert ec2.volumes()[0].size_gib == 45


def test_an_instance_that_ec2_has_just_forgotten_hides_no_other(ec2: Ec2, occupant: str) -> None:
    assert ec2._statuses([occupant, "i-0123456789abcdef0"])[occupant][0] is False


def test_a_disk_is_made_to_the_specs_measure_and_attached(
    client: Any, ec2: Ec2, slot: Slot, occupant: str
) -> None:
    volume_id = ec2.create_volume(slot, action_id="inc-1-create-disk")
    (free,) = ec2.volumes()
    assert (free.volume_id, free.slot, free.attached_to) == (volume_id, "db-euw3-a", None)
    raw = client.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
    assert (raw["Size"], raw["VolumeType"], raw["Encrypted"]) == (20, "gp3", True)
    assert raw["AvailabilityZone"] == f"{REGION}a"
    ec2.attach(volume_id=volume_id, instance_id=occupant)
    (held,) = ec2.volumes()
    assert held.attached_to == occupant


def test_a_disk_set_aside_is_told_from_a_current_one(ec2: Ec2, slot: Slot) -> None:
    volume_id = ec2.create_volume(slot, action_id="inc-1-create-disk")
    assert not ec2.volumes()[0].set_aside
    ec2.set_aside(volume_id)
    (seen,) = ec2.volumes()
    assert (seen.volume_id, seen.slot, seen.set_aside) == (volume_id, "db-euw3-a", True)


def test_a_slot_without_a_disk_in_the_spec_gets_none(ec2: Ec2, slot: Slot) -> None:
    with pytest.raises(ValueError, match="no disk"):
        ec2.create_volume(replace(slot, disk=None), action_id="x")


def test_a_final_snapshot_and_the_end_of_a_disk(ec2: Ec2, slot: Slot) -> None:
    volume_id = ec2.create_volume(slot, action_id="inc-1-create-disk")
    assert ec2.snapshot(volume_id, description="final db-euw3-a").startswith("snap-")
    ec2.delete_volume(volume_id)
    assert ec2.volumes() == ()


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://nowhere"),
        ClientError(
            {"Error": {"Code": "RequestLimitExceeded", "Message": "slow down"}}, "Describe"
        ),
    ],
    ids=["no answer", "throttled"],
)
def test_an_api_that_fails_is_silent_and_not_empty(error: Exception) -> None:
    class Client:
        def get_paginator(self, _name: str) -> Any:
            raise error

    ec2 = Ec2(Client(), cluster="pgmend", region=REGION)
    with pytest.raises(RegionSilentError):
        ec2.instances()
    with pytest.raises(RegionSilentError):
        ec2.volumes()


@pytest.mark.usefixtures("occupant")
def test_a_stop_and_start_makes_no_new_instance(client: Any, ec2: Ec2) -> None:
    """EC2's LaunchTime is the last start's; the primary interface stays attached since the launch."""

    class StartedSince:
        def get_paginator(self, name: str) -> Any:
            pages = list(client.get_paginator(name).paginate())
            (instance,) = pages[0]["Reservations"][0]["Instances"]
            instance["LaunchTime"] += timedelta(hours=3)
            return SimpleNamespace(paginate=lambda **_: pages)

        def describe_instance_status(self, **_: Any) -> dict[str, Any]:
            return {"InstanceStatuses": []}

    (before,) = ec2.instances()
    (after,) = Ec2(StartedSince(), cluster="pgmend", region=REGION).instances()
    assert after.launched_at == before.launched_at + 3 * 3600
    assert after.made_at == before.made_at == pytest.approx(before.launched_at, abs=5.0)
