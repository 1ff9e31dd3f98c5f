"""ModifyVolume: larger only, a moment later, seen by the machine; and then the volume is left alone for a while."""

from __future__ import annotations

from typing import Any

from tests.adapters.local_aws.cloud import Place
from tests.adapters.local_aws.waiting import eventually, refused


def modification(place: Place, volume_id: str) -> dict[str, Any]:
    answer = place.ec2.describe_volumes_modifications(VolumeIds=[volume_id])
    (found,) = answer["VolumesModifications"]
    return dict(found)


def size(place: Place, volume_id: str) -> int:
    (found,) = place.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    return int(found["Size"])


def completed(place: Place, volume_id: str) -> None:
    eventually(lambda: modification(place, volume_id)["ModificationState"] == "completed")


def test_a_volume_has_its_new_size_once_it_is_optimizing(place: Place) -> None:
    volume_id = place.volume(size=8)
    answer = place.ec2.modify_volume(VolumeId=volume_id, Size=10)["VolumeModification"]
    assert (answer["ModificationState"], answer["Progress"]) == ("modifying", 0)
    assert (answer["OriginalSize"], answer["TargetSize"]) == (8, 10)
    assert size(place, volume_id) == 8
    eventually(lambda: modification(place, volume_id)["ModificationState"] == "optimizing")
    assert size(place, volume_id) == 10
    assert ("grow_disk", volume_id, "10 GiB") in place.local.machines.of(volume_id)
    completed(place, volume_id)
    assert modification(place, volume_id)["Progress"] == 100


def test_a_volume_grows_while_a_machine_has_it(place: Place) -> None:
    instance_id, volume_id = place.running(), place.volume(size=8)
    place.attach(volume_id, instance_id)
    eventually(lambda: place.volume_state(volume_id) == ("in-use", "attached"))
    place.ec2.modify_volume(VolumeId=volume_id, Size=9)
    eventually(lambda: size(place, volume_id) == 9)
    assert place.volume_state(volume_id) == ("in-use", "attached")
    assert place.local.machines.of(volume_id)[-1] == ("grow_disk", volume_id, "9 GiB")


def test_a_volume_never_shrinks(place: Place) -> None:
    volume_id = place.volume(size=8)
    code = refused(place.ec2.modify_volume, VolumeId=volume_id, Size=7)
    assert code == "InvalidParameterValue"
    assert size(place, volume_id) == 8


def test_a_change_under_way_is_not_joined_by_another(place: Place) -> None:
    volume_id = place.volume(size=8)
    place.ec2.modify_volume(VolumeId=volume_id, Size=10)
    code = refused(place.ec2.modify_volume, VolumeId=volume_id, Size=12)
    assert code == "IncorrectModificationState"


def test_a_volume_may_be_changed_again_only_after_its_rest(place: Place) -> None:
    volume_id = place.volume(size=8)
    place.ec2.modify_volume(VolumeId=volume_id, Size=10)
    completed(place, volume_id)
    code = refused(place.ec2.modify_volume, VolumeId=volume_id, Size=12)
    assert code == "VolumeModificationRateExceeded"

    def agreed() -> bool:
        try:
            place.ec2.modify_volume(VolumeId=volume_id, Size=12)
        except place.ec2.exceptions.ClientError:
            return False
        return True

    eventually(agreed)
    eventually(lambda: size(place, volume_id) == 12)
    assert modification(place, volume_id)["OriginalSize"] == 10  # only the newest is told


def test_a_disk_that_does_not_grow_fails_its_modification(place: Place) -> None:
    volume_id = place.volume(size=8)
    place.local.machines.refuses("grow_disk", volume_id, "no room")
    place.ec2.modify_volume(VolumeId=volume_id, Size=10)
    eventually(lambda: modification(place, volume_id)["ModificationState"] == "failed")
    assert size(place, volume_id) == 8


def test_a_volume_that_was_never_changed_has_no_modification(place: Place) -> None:
    volume_id = place.volume()
    code = refused(place.ec2.describe_volumes_modifications, VolumeIds=[volume_id])
    assert code == "InvalidVolumeModification.NotFound"


def test_modifications_are_found_by_their_state(place: Place) -> None:
    volume_id = place.volume(size=8)
    place.ec2.modify_volume(VolumeId=volume_id, Size=10)
    completed(place, volume_id)
    for state, count in (("completed", 1), ("optimizing", 0)):
        filters = [
            {"Name": "volume-id", "Values": [volume_id]},
            {"Name": "modification-state", "Values": [state]},
        ]
        found = place.ec2.describe_volumes_modifications(Filters=filters)["VolumesModifications"]
        assert len(found) == count
