"""Volumes: of one zone, with one running instance at a time, and there after it is gone."""

from __future__ import annotations

from tests.adapters.local_aws.cloud import Names, Place
from tests.adapters.local_aws.setting import REGION
from tests.adapters.local_aws.waiting import consistently, eventually, refused


def attached(place: Place, volume_id: str, instance_id: str) -> None:
    place.attach(volume_id, instance_id)
    eventually(lambda: place.volume_state(volume_id) == ("in-use", "attached"))


# -- making


def test_the_same_token_makes_the_same_volume_once(place: Place, name: Names) -> None:
    token = name("token")
    first, second = place.volume(ClientToken=token), place.volume(ClientToken=token)
    assert first == second
    volumes = place.ec2.describe_volumes(VolumeIds=[first])["Volumes"]
    assert [v["Size"] for v in volumes] == [8]


def test_another_volume_under_the_same_token_is_refused(place: Place, name: Names) -> None:
    token = name("token")
    place.volume(ClientToken=token)
    code = refused(place.volume, size=9, ClientToken=token)
    assert code == "IdempotentParameterMismatch"


def test_without_a_token_every_request_makes_a_volume(place: Place) -> None:
    assert place.volume() != place.volume()


# -- attaching


def test_attaching_takes_a_moment_and_shows_the_disk_to_the_machine(place: Place) -> None:
    instance_id, volume_id = place.running(), place.volume(size=5)
    place.attach(volume_id, instance_id)
    assert place.volume_state(volume_id) == ("in-use", "attaching")
    eventually(lambda: place.volume_state(volume_id) == ("in-use", "attached"))
    assert place.local.machines.of(volume_id) == [
        ("create_disk", volume_id, "5 GiB"),
        ("attach_disk", instance_id, volume_id),
    ]


def test_a_volume_of_another_zone_is_refused(place: Place) -> None:
    instance_id, volume_id = place.running(), place.volume(f"{REGION}a")
    assert refused(place.attach, volume_id, instance_id) == "InvalidVolume.ZoneMismatch"


def test_a_volume_in_use_is_refused_to_another_instance(place: Place) -> None:
    first, second, volume_id = place.running(), place.running(), place.volume()
    place.attach(volume_id, first)
    assert refused(place.attach, volume_id, second) == "VolumeInUse"


def test_a_volume_goes_only_to_a_running_instance(place: Place) -> None:
    instance_id, volume_id = place.running(), place.volume()
    place.ec2.stop_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    assert refused(place.attach, volume_id, instance_id) == "IncorrectState"


def test_a_device_name_that_is_taken_is_refused(place: Place) -> None:
    instance_id = place.running()
    place.attach(place.volume(), instance_id, "/dev/sdf")
    assert refused(place.attach, place.volume(), instance_id, "/dev/sdf") == "InvalidParameterValue"


# -- surviving


def test_a_volume_survives_its_instance_and_serves_the_next(place: Place) -> None:
    first, volume_id = place.running(), place.volume()
    attached(place, volume_id, first)
    gone = place.local.machines.holds("destroy", first)
    place.ec2.terminate_instances(InstanceIds=[first])
    place.reaches(first, "shutting-down")
    consistently(lambda: place.volume_state(volume_id)[0] == "in-use", for_s=0.2)
    gone.set()
    place.reaches(first, "terminated")
    assert place.volume_state(volume_id) == ("available", "")
    attached(place, volume_id, place.running())
    assert ("delete_disk", volume_id) not in place.local.machines.calls


def test_the_root_volume_goes_with_its_instance(place: Place) -> None:
    instance_id = place.running()
    (root,) = place.describe(instance_id)["BlockDeviceMappings"]
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "terminated")
    code = refused(place.ec2.describe_volumes, VolumeIds=[root["Ebs"]["VolumeId"]])
    assert code == "InvalidVolume.NotFound"


def test_a_volume_stays_with_an_instance_that_is_stopped(place: Place) -> None:
    instance_id, volume_id = place.running(), place.volume()
    attached(place, volume_id, instance_id)
    place.ec2.stop_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    assert place.volume_state(volume_id) == ("in-use", "attached")


def test_a_volume_whose_instance_ends_while_it_is_attached_is_not_shown_to_it(
    place: Place,
) -> None:
    instance_id, volume_id = place.running(), place.volume()
    held = place.local.machines.holds("create_disk", volume_id)
    place.attach(volume_id, instance_id)
    eventually(lambda: place.local.machines.of(volume_id))
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "terminated")
    held.set()
    consistently(lambda: place.volume_state(volume_id) == ("available", ""), for_s=0.3)
    assert ("attach_disk", instance_id, volume_id) not in place.local.machines.calls


# -- detaching, deleting


def test_a_detached_volume_is_taken_from_the_machine_and_is_free(place: Place) -> None:
    instance_id, volume_id = place.running(), place.volume()
    attached(place, volume_id, instance_id)
    place.ec2.detach_volume(VolumeId=volume_id)
    assert place.volume_state(volume_id) == ("in-use", "detaching")
    eventually(lambda: place.volume_state(volume_id) == ("available", ""))
    assert place.local.machines.of(volume_id)[-1] == ("detach_disk", instance_id, volume_id)


def test_a_mounted_volume_stays_busy_until_the_machine_lets_go(place: Place) -> None:
    instance_id, volume_id = place.running(), place.volume()
    attached(place, volume_id, instance_id)
    place.local.machines.refuses("detach_disk", volume_id, "still mounted")
    place.ec2.detach_volume(VolumeId=volume_id)
    eventually(lambda: place.volume_state(volume_id) == ("in-use", "busy"))
    place.local.machines.agrees("detach_disk", volume_id)
    eventually(lambda: place.volume_state(volume_id) == ("available", ""))


def test_a_forced_detachment_takes_a_volume_also_from_under_a_mounted_file_system(
    place: Place,
) -> None:
    instance_id, volume_id = place.running(), place.volume()
    attached(place, volume_id, instance_id)
    place.ec2.detach_volume(VolumeId=volume_id, Force=True)
    eventually(lambda: place.volume_state(volume_id) == ("available", ""))
    taken = place.local.machines.of(volume_id)[-1]
    assert taken == ("force_detach_disk", instance_id, volume_id)
    assert place.state(instance_id) == "running"
    attached(place, volume_id, instance_id)
    place.ec2.detach_volume(VolumeId=volume_id)
    eventually(lambda: place.local.machines.of(volume_id)[-1][0] == "detach_disk")


def test_a_disk_is_set_aside_by_a_tag_and_is_found_by_it(place: Place) -> None:
    tagged = [{"ResourceType": "volume", "Tags": [{"Key": "pgmend:disk", "Value": "current"}]}]
    volume_id = place.volume(TagSpecifications=tagged)
    aside = {"Key": "pgmend:disk", "Value": "quarantined"}
    place.ec2.create_tags(Resources=[volume_id], Tags=[aside])
    mine = [{"Name": "volume-id", "Values": [volume_id]}]
    for value, found in (("current", 0), ("quarantined", 1)):
        by_tag = [*mine, {"Name": "tag:pgmend:disk", "Values": [value]}]
        assert len(place.ec2.describe_volumes(Filters=by_tag)["Volumes"]) == found


def test_a_free_volume_cannot_be_detached(place: Place) -> None:
    assert refused(place.ec2.detach_volume, VolumeId=place.volume()) == "IncorrectState"


def test_a_volume_is_not_detached_from_an_instance_that_has_it_not(place: Place) -> None:
    instance_id, other, volume_id = place.running(), place.running(), place.volume()
    attached(place, volume_id, instance_id)
    code = refused(place.ec2.detach_volume, VolumeId=volume_id, InstanceId=other)
    assert code == "InvalidAttachment.NotFound"


def test_a_volume_in_use_cannot_be_deleted(place: Place) -> None:
    instance_id, volume_id = place.running(), place.volume()
    attached(place, volume_id, instance_id)
    assert refused(place.ec2.delete_volume, VolumeId=volume_id) == "VolumeInUse"
    assert ("delete_disk", volume_id) not in place.local.machines.calls


def test_a_deleted_volume_takes_its_disk_with_it(place: Place) -> None:
    volume_id = place.volume()
    place.ec2.delete_volume(VolumeId=volume_id)
    assert place.local.machines.of(volume_id) == [("delete_disk", volume_id)]
