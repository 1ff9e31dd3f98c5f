"""Zones and regions without power: what EC2 says and refuses meanwhile, and how it all comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.aws.power import Power
from lab.errors import LabError
from tests.adapters.local_aws.cloud import Names, Place, a_place
from tests.adapters.local_aws.setting import REGION, Local
from tests.adapters.local_aws.waiting import consistently, eventually, refused


@pytest.fixture
def power(place: Place) -> Iterator[Power]:
    """Back everywhere afterwards."""
    power = place.local.aws.ec2.power
    yield power
    power.on(REGION)
    power.on(REGION, place.zone)


@pytest.fixture(scope="package")
def elsewhere(local: Local) -> Place:
    """Another zone of the region."""
    return a_place(local, lambda word: f"{word}-elsewhere", letter="c")


def boots(place: Place, instance_id: str) -> int:
    return sum(call[0] == "power_on" for call in place.local.machines.of(instance_id))


def test_hosts_of_the_zone_go_off_and_ec2_calls_them_running_and_soon_impaired(
    place: Place, power: Power, elsewhere: Place
) -> None:
    lost, well = place.running(), elsewhere.running()
    eventually(lambda: place.checks(lost) == {"ok"})
    power.off(REGION, place.zone)
    assert not place.local.machines.healthy(lost)
    assert place.local.machines.healthy(well)
    assert place.state(lost) == "running"
    eventually(lambda: place.checks(lost) == {"impaired"})
    power.on(REGION, place.zone)
    assert place.local.machines.healthy(lost)
    eventually(lambda: place.checks(lost) == {"ok"})
    assert (boots(place, lost), boots(place, well)) == (2, 1)


def test_a_volume_stays_attached_through_it(place: Place, power: Power) -> None:
    instance_id, volume_id = place.running(), place.volume()
    place.attach(volume_id, instance_id)
    eventually(lambda: place.volume_state(volume_id) == ("in-use", "attached"))
    power.off(REGION, place.zone)
    power.on(REGION, place.zone)
    assert place.volume_state(volume_id) == ("in-use", "attached")
    assert not any("detach" in call[0] for call in place.local.machines.of(volume_id))


def test_nothing_is_launched_started_made_or_attached_there_and_elsewhere_it_is(
    place: Place, power: Power, elsewhere: Place
) -> None:
    stopped, running, volume_id = place.running(), place.running(), place.volume()
    place.ec2.stop_instances(InstanceIds=[stopped])
    place.reaches(stopped, "stopped")
    power.off(REGION, place.zone)
    code = "InsufficientInstanceCapacity"
    assert refused(place.launch, place.interface()) == code
    assert refused(place.ec2.start_instances, InstanceIds=[stopped]) == code
    assert refused(place.volume) == "InsufficientVolumeCapacity"
    assert refused(place.attach, volume_id, running) == "Unavailable"
    assert place.state(stopped) == "stopped"
    assert place.volume_state(volume_id) == ("available", "")
    elsewhere.attach(elsewhere.volume(), elsewhere.running())
    power.on(REGION, place.zone)
    place.attach(volume_id, running)
    place.ec2.start_instances(InstanceIds=[stopped])
    place.reaches(stopped, "running")


def test_a_launch_that_is_under_way_ends(place: Place, power: Power) -> None:
    instance_id = str(place.launch(place.interface())["InstanceId"])
    power.off(REGION, place.zone)
    place.reaches(instance_id, "terminated")
    assert place.describe(instance_id)["StateReason"]["Code"] == "Server.InternalError"


def test_a_host_that_boots_while_the_power_goes_is_off_too(place: Place, power: Power) -> None:
    instance_id = str(place.launch(place.interface())["InstanceId"])
    gate = place.local.machines.holds("power_on", instance_id)
    eventually(lambda: boots(place, instance_id))
    power.off(REGION, place.zone)
    gate.set()
    place.reaches(instance_id, "terminated")


def test_a_reboot_brings_nothing_back_without_power(place: Place, power: Power) -> None:
    instance_id = place.running()
    power.off(REGION, place.zone)
    place.ec2.reboot_instances(InstanceIds=[instance_id])
    consistently(lambda: not place.local.machines.healthy(instance_id), for_s=0.6)


def test_what_was_ended_or_stopped_meanwhile_does_not_come_back(place: Place, power: Power) -> None:
    ended, stopped = place.running(), place.running()
    power.off(REGION, place.zone)
    place.ec2.terminate_instances(InstanceIds=[ended])
    place.ec2.stop_instances(InstanceIds=[stopped], Force=True)
    place.reaches(ended, "terminated")
    place.reaches(stopped, "stopped")
    power.on(REGION, place.zone)
    assert (boots(place, ended), boots(place, stopped)) == (1, 1)


def test_off_and_on_twice_are_once_and_on_alone_is_nothing(place: Place, power: Power) -> None:
    instance_id = place.running()
    power.on(REGION, place.zone)
    assert boots(place, instance_id) == 1
    for _ in range(2):
        power.off(REGION, place.zone)
    for _ in range(2):
        power.on(REGION, place.zone)
    assert boots(place, instance_id) == 2


def test_a_zone_in_a_dark_region_stays_dark_until_both_are_back(place: Place, power: Power) -> None:
    instance_id = place.running()
    power.off(REGION)
    power.off(REGION, place.zone)
    assert power.sentences() == [
        f"no host in {REGION} has power",
        f"no host in {place.zone} has power",
    ]
    power.on(REGION)
    assert not place.local.machines.healthy(instance_id)
    power.on(REGION, place.zone)
    assert place.local.machines.healthy(instance_id)
    assert power.sentences() == []


def test_a_host_that_does_not_boot_is_named_and_the_others_are_on(
    place: Place, power: Power, name: Names
) -> None:
    broken, well = place.running(), place.running()
    power.off(REGION, place.zone)
    place.local.machines.refuses("power_on", broken, f"{name('host')} does not boot")
    with pytest.raises(LabError, match=name("host")):
        power.on(REGION, place.zone)
    place.local.machines.agrees("power_on", broken)
    assert place.local.machines.healthy(well)
