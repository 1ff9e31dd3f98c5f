"""Launches that EC2 refuses, and the instance type that a call puts in the place of its template's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab.errors import UsageError
from tests.adapters.local_aws.cloud import Names, Place
from tests.adapters.local_aws.setting import REGION
from tests.adapters.local_aws.waiting import refused

TEMPLATES = "t3.micro"


@pytest.fixture(autouse=True)
def willing(place: Place) -> Iterator[None]:
    """EC2 refuses nothing any more afterwards."""
    yield
    place.local.aws.ec2.refusals.clear()


def refuse(place: Place, code: str, **what: str) -> None:
    kind, zone = what.get("instance_type"), what.get("zone")
    place.local.aws.ec2.refusals.add(code, instance_type=kind, zone=zone)


def launch(place: Place, interface: str = "", **more: Any) -> dict[str, Any]:
    answer = place.ec2.run_instances(
        LaunchTemplate={"LaunchTemplateId": place.template, "Version": "1"},
        NetworkInterfaces=[
            {"DeviceIndex": 0, "NetworkInterfaceId": interface or place.interface()}
        ],
        MinCount=1,
        MaxCount=1,
        **more,
    )
    (instance,) = answer["Instances"]
    return dict(instance)


def test_the_templates_type_is_launched_unless_the_call_names_one(place: Place) -> None:
    assert launch(place)["InstanceType"] == TEMPLATES
    other = launch(place, InstanceType="m6i.large")
    assert other["InstanceType"] == "m6i.large"
    metadata = place.local.aws.ec2.metadata(str(other["InstanceId"]))
    assert metadata is not None
    assert metadata.instance_type == "m6i.large"


@pytest.mark.parametrize(
    "code",
    [
        "InsufficientInstanceCapacity",
        "InstanceLimitExceeded",
        "VcpuLimitExceeded",
        "RequestLimitExceeded",
    ],
)
def test_a_refused_launch_leaves_nothing_behind(place: Place, code: str) -> None:
    refuse(place, code)
    interface = place.interface()
    assert refused(launch, place, interface) == code
    assert place.interface_status(interface) == "available"
    place.local.aws.ec2.refusals.clear()
    launch(place, interface)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InsufficientInstanceCapacity", 500),
        ("RequestLimitExceeded", 503),
        ("VcpuLimitExceeded", 400),
        ("InstanceLimitExceeded", 400),
    ],
)
def test_what_ec2_calls_its_own_fault_is_a_server_error(
    place: Place, code: str, status: int
) -> None:
    refuse(place, code)
    with pytest.raises(ClientError) as caught:
        launch(place)
    metadata = caught.value.response["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == status


def test_a_type_without_capacity_is_refused_and_another_is_not(place: Place) -> None:
    refuse(place, "InsufficientInstanceCapacity", instance_type=TEMPLATES)
    assert refused(launch, place) == "InsufficientInstanceCapacity"
    assert launch(place, InstanceType="m6i.large")["InstanceType"] == "m6i.large"


def test_a_zone_without_capacity_is_refused_and_another_is_not(place: Place) -> None:
    refuse(place, "InsufficientInstanceCapacity", zone=f"{REGION}a")
    launch(place)
    refuse(place, "InsufficientInstanceCapacity", zone=place.zone)
    assert refused(launch, place) == "InsufficientInstanceCapacity"


def test_a_token_of_a_refused_launch_may_be_used_again(place: Place, name: Names) -> None:
    refuse(place, "InsufficientInstanceCapacity")
    interface, token = place.interface(), name("token")
    assert refused(launch, place, interface, ClientToken=token) == "InsufficientInstanceCapacity"
    place.local.aws.ec2.refusals.clear()
    first = launch(place, interface, ClientToken=token)["InstanceId"]
    refuse(place, "InsufficientInstanceCapacity")
    assert launch(place, interface, ClientToken=token)["InstanceId"] == first


def test_a_start_needs_capacity_too(place: Place) -> None:
    instance_id = place.running()
    place.ec2.stop_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    refuse(place, "InsufficientInstanceCapacity", instance_type=TEMPLATES)
    code = refused(place.ec2.start_instances, InstanceIds=[instance_id])
    assert code == "InsufficientInstanceCapacity"
    assert place.state(instance_id) == "stopped"


def test_a_code_that_ec2_does_not_have_for_this_is_refused(place: Place) -> None:
    with pytest.raises(UsageError, match="VcpuLimitExceeded"):
        refuse(place, "OutOfCoffee")
