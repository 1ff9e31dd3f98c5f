"""Reboot, stop and start: polite to a guest that answers, hard to one that does not, and always the same instance."""

from __future__ import annotations

import time

import pytest

from tests.adapters.local_aws.cloud import Place
from tests.adapters.local_aws.setting import CLOCK
from tests.adapters.local_aws.waiting import consistently, eventually


def verbs(place: Place, instance_id: str) -> list[str]:
    """What was done to the machine, in order."""
    return [call[0] for call in place.local.machines.of(instance_id)]


def impaired(place: Place) -> str:
    """An instance whose host has lost power, as EC2 sees it."""
    instance_id = place.running()
    place.local.machines.loses_power(instance_id)
    eventually(lambda: place.checks(instance_id) == {"impaired"})
    return instance_id


# -- reboot


def test_a_guest_that_answers_is_asked_to_reboot_and_its_state_stays(place: Place) -> None:
    instance_id = place.running()
    before = place.describe(instance_id)
    place.ec2.reboot_instances(InstanceIds=[instance_id])
    asked = ("reboot", instance_id, "politely")
    eventually(lambda: asked in place.local.machines.calls)
    after = place.describe(instance_id)
    assert after["State"]["Name"] == "running"
    for kept in ("LaunchTime", "PrivateIpAddress", "BlockDeviceMappings", "NetworkInterfaces"):
        assert after[kept] == before[kept], kept


def test_a_host_that_hangs_is_reset_after_the_clocks_time_and_is_well_again(place: Place) -> None:
    instance_id = impaired(place)
    began = time.monotonic()
    place.ec2.reboot_instances(InstanceIds=[instance_id])
    eventually(lambda: ("reboot", instance_id, "hard") in place.local.machines.calls)
    assert time.monotonic() - began >= CLOCK.hard_reboot_s
    eventually(lambda: place.checks(instance_id) == {"ok"})
    assert place.state(instance_id) == "running"


def test_an_instance_terminated_while_its_reset_waits_is_not_booted_again(place: Place) -> None:
    instance_id = impaired(place)
    place.ec2.reboot_instances(InstanceIds=[instance_id])
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "terminated")
    assert "reboot" not in verbs(place, instance_id)


# -- stop and start


def test_a_guest_that_answers_is_asked_to_power_off(place: Place) -> None:
    instance_id = place.running()
    place.ec2.stop_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    assert ("shut_down", instance_id, "politely") in place.local.machines.calls


def test_a_forced_stop_does_not_ask(place: Place) -> None:
    instance_id = place.running()
    place.ec2.stop_instances(InstanceIds=[instance_id], Force=True)
    place.reaches(instance_id, "stopped")
    assert ("shut_down", instance_id, "hard") in place.local.machines.calls


def test_a_hung_host_takes_the_hung_time_to_stop(place: Place) -> None:
    instance_id = impaired(place)
    began = time.monotonic()
    place.ec2.stop_instances(InstanceIds=[instance_id], Force=True)
    place.reaches(instance_id, "stopping")
    place.reaches(instance_id, "stopped")
    assert time.monotonic() - began >= CLOCK.hung_terminating_s


def test_a_stop_and_a_start_bring_back_a_host_that_lost_power(place: Place) -> None:
    instance_id, volume_id = impaired(place), place.volume()
    address = place.describe(instance_id)["PrivateIpAddress"]
    place.attach(volume_id, instance_id)
    eventually(lambda: place.volume_state(volume_id) == ("in-use", "attached"))
    place.ec2.stop_instances(InstanceIds=[instance_id], Force=True)
    place.reaches(instance_id, "stopped")
    place.ec2.start_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "running")
    eventually(lambda: place.checks(instance_id) == {"ok"})
    assert place.describe(instance_id)["PrivateIpAddress"] == address
    assert place.volume_state(volume_id) == ("in-use", "attached")
    assert verbs(place, instance_id)[-3:] == ["create", "set_link", "power_on"]


# -- what the checks are told to say


def test_a_host_may_hang_without_ec2_noticing(place: Place) -> None:
    instance_id = place.running()
    eventually(lambda: place.checks(instance_id) == {"ok"})
    place.local.aws.ec2.checks.say(instance_id, "ok")
    place.local.machines.freeze(instance_id)
    consistently(lambda: place.checks(instance_id) == {"ok"})
    place.local.aws.ec2.checks.say(instance_id, None)
    eventually(lambda: place.checks(instance_id) == {"impaired"})


def test_ec2_may_call_a_host_impaired_that_is_well(place: Place) -> None:
    instance_id = place.running()
    place.local.aws.ec2.checks.say(instance_id, "impaired")
    assert place.checks(instance_id) == {"impaired"}
    place.ec2.stop_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    place.ec2.start_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "running")
    eventually(lambda: place.checks(instance_id) == {"ok"})  # on other hardware


def test_a_check_says_nothing_else(place: Place) -> None:
    with pytest.raises(Exception, match="ok or impaired"):
        place.local.aws.ec2.checks.say(place.running(), "unwell")
