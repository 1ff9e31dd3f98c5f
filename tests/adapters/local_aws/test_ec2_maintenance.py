"""Scheduled events: shown with their date, told by AWS Health, done at their time, ended by a stop."""

from __future__ import annotations

import time
from typing import Any

import pytest
from moto.ec2.exceptions import EC2ClientError

from lab.errors import UsageError
from tests.adapters.local_aws.cloud import Names, Place, a_watch
from tests.adapters.local_aws.setting import REGION, Local
from tests.adapters.local_aws.waiting import consistently, eventually

DAY_S = 86400.0


def announced(place: Place, instance_id: str) -> list[dict[str, Any]]:
    (found,) = place.ec2.describe_instance_status(
        InstanceIds=[instance_id], IncludeAllInstances=True
    )["InstanceStatuses"]
    return list(found.get("Events", []))


def schedule(place: Place, instance_id: str, code: str, in_s: float = 7 * DAY_S) -> str:
    return place.local.aws.ec2.maintenance.schedule(instance_id, code, time.time() + in_s)


def test_nothing_is_announced_of_a_new_instance(place: Place) -> None:
    assert announced(place, place.running()) == []


def test_an_event_is_shown_with_its_code_and_its_date(place: Place) -> None:
    instance_id = place.running()
    event_id = schedule(place, instance_id, "instance-retirement")
    (event,) = announced(place, instance_id)
    assert (event["InstanceEventId"], event["Code"]) == (event_id, "instance-retirement")
    assert abs(event["NotBefore"].timestamp() - time.time() - 7 * DAY_S) < 60
    assert event["Description"]


def test_aws_health_tells_it_on_the_bus(local: Local, place: Place, name: Names) -> None:
    watch = a_watch(local, name, {"source": ["aws.health"], "detail": {"service": ["EC2"]}})
    instance_id = place.running()
    schedule(place, instance_id, "system-reboot")
    event = next(e for e in watch.gets() if instance_id in e["resources"])
    detail = event["detail"]
    assert (event["detail-type"], event["region"]) == ("AWS Health Event", REGION)
    assert detail["eventTypeCategory"] == "scheduledChange"
    assert detail["eventTypeCode"] == "AWS_EC2_SYSTEM_REBOOT_MAINTENANCE_SCHEDULED"
    assert [entity["entityValue"] for entity in detail["affectedEntities"]] == [instance_id]


@pytest.mark.parametrize("code", ["instance-retirement", "instance-stop"])
def test_an_instance_is_stopped_at_its_time(place: Place, code: str) -> None:
    instance_id = place.running()
    schedule(place, instance_id, code, in_s=0.1)
    place.reaches(instance_id, "stopped")
    assert announced(place, instance_id) == []


@pytest.mark.parametrize("code", ["instance-reboot", "system-reboot"])
def test_an_instance_is_rebooted_at_its_time(place: Place, code: str) -> None:
    instance_id = place.running()
    schedule(place, instance_id, code, in_s=0.1)
    eventually(lambda: ("reboot", instance_id, "politely") in place.local.machines.calls)
    assert announced(place, instance_id) == []


def test_a_stop_moves_the_instance_and_ends_what_was_announced(place: Place) -> None:
    instance_id = place.running()
    schedule(place, instance_id, "instance-retirement", in_s=1.0)
    place.ec2.stop_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    place.ec2.start_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "running")
    assert announced(place, instance_id) == []
    consistently(lambda: place.state(instance_id) == "running", for_s=1.2)


def test_ec2_may_take_an_event_back(place: Place) -> None:
    instance_id = place.running()
    schedule(place, instance_id, "instance-stop", in_s=0.3)
    place.local.aws.ec2.maintenance.clear(instance_id)
    assert announced(place, instance_id) == []
    consistently(lambda: place.state(instance_id) == "running", for_s=0.6)


def test_an_unknown_code_or_instance_is_refused(place: Place) -> None:
    with pytest.raises(UsageError, match="instance-retirement"):
        schedule(place, place.running(), "instance-upgrade")
    with pytest.raises(EC2ClientError, match="does not exist"):
        schedule(place, "i-0000000000000dead", "instance-stop")
