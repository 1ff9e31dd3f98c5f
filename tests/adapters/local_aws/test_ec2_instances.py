"""Instances: launched once, in nobody's place, through states that take time and are told."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.adapters.local_aws.cloud import USER_DATA, Names, Place, Queue, a_place, a_watch
from tests.adapters.local_aws.setting import CLOCK, OTHER_REGION, REGION, Local
from tests.adapters.local_aws.waiting import consistently, eventually, refused

# -- client tokens


def test_the_same_token_launches_the_same_instance_once(place: Place, name: Names) -> None:
    interface, token = place.interface(), name("token")
    first, second = place.launch(interface, token), place.launch(interface, token)
    assert first["InstanceId"] == second["InstanceId"]
    assert len(place.local.machines.of(first["InstanceId"])) <= 2  # create, power_on


def test_another_request_under_the_same_token_is_refused(place: Place, name: Names) -> None:
    token = name("token")
    place.launch(place.interface(), token)
    code = refused(place.launch, place.interface(), token)
    assert code == "IdempotentParameterMismatch"


def test_a_token_is_of_its_region(local: Local, place: Place, name: Names) -> None:
    there = a_place(local, lambda word: f"{name(word)}-there", OTHER_REGION)
    token = name("token")
    here_id = place.launch(place.interface(), token)["InstanceId"]
    assert there.launch(there.interface(), token)["InstanceId"] != here_id


def test_without_a_token_every_request_launches(place: Place) -> None:
    launched = {place.launch(place.interface())["InstanceId"] for _ in range(2)}
    assert len(launched) == 2


def test_a_token_still_names_its_instance_after_it_ended(place: Place, name: Names) -> None:
    interface, token = place.interface(), name("token")
    instance_id = place.launch(interface, token)["InstanceId"]
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "terminated")
    assert place.launch(interface, token)["InstanceId"] == instance_id
    assert place.state(instance_id) == "terminated"


# -- interfaces


def test_an_interface_in_use_is_refused_to_another_instance(place: Place) -> None:
    interface = place.interface()
    place.launch(interface)
    assert refused(place.launch, interface) == "InvalidNetworkInterface.InUse"


def test_an_interface_is_free_again_only_when_its_instance_is_terminated(place: Place) -> None:
    interface = place.interface()
    instance_id = str(place.launch(interface)["InstanceId"])
    place.reaches(instance_id, "running")
    gone = place.local.machines.holds("destroy", instance_id)
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "shutting-down")
    consistently(lambda: place.interface_status(interface) == "in-use")
    assert refused(place.launch, interface) == "InvalidNetworkInterface.InUse"
    gone.set()
    place.reaches(instance_id, "terminated")
    assert place.interface_status(interface) == "available"
    assert place.launch(interface)["InstanceId"] != instance_id


def test_an_instance_is_in_the_zone_and_has_the_address_of_its_interface(place: Place) -> None:
    interface = place.interface()
    launched = place.launch(interface)
    (found,) = place.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])[
        "NetworkInterfaces"
    ]
    assert launched["Placement"]["AvailabilityZone"] == place.zone == f"{REGION}b"
    assert launched["PrivateIpAddress"] == found["PrivateIpAddress"]


def test_an_unknown_interface_is_refused(place: Place) -> None:
    assert refused(place.launch, "eni-00000000") == "InvalidNetworkInterfaceID.NotFound"


# -- states


def states_told(watch: Queue, instance_id: str) -> Counter[str]:
    details = [event["detail"] for event in watch.bodies()]
    return Counter(d["state"] for d in details if d["instance-id"] == instance_id)


def test_every_state_of_a_life_is_told_once(local: Local, place: Place, name: Names) -> None:
    watch = a_watch(local, name, {"detail-type": ["EC2 Instance State-change Notification"]})
    instance_id = place.running()
    place.ec2.stop_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    place.ec2.start_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "running")
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "terminated")
    expected = Counter(
        {
            "pending": 2,
            "running": 2,
            "stopping": 1,
            "stopped": 1,
            "shutting-down": 1,
            "terminated": 1,
        }
    )
    eventually(lambda: states_told(watch, instance_id) == expected)
    consistently(lambda: states_told(watch, instance_id) == expected, for_s=0.2)


def test_a_state_change_is_told_in_awss_shape(local: Local, place: Place, name: Names) -> None:
    watch = a_watch(local, name, {"source": ["aws.ec2"], "detail": {"state": ["running"]}})
    instance_id = place.running()
    event = next(e for e in watch.gets() if e["detail"]["instance-id"] == instance_id)
    assert event["detail-type"] == "EC2 Instance State-change Notification"
    assert event["detail"] == {"instance-id": instance_id, "state": "running"}
    arn = f"arn:aws:ec2:{REGION}:123456789012:instance/{instance_id}"
    assert (event["region"], event["resources"]) == (REGION, [arn])
    assert set(event) == {
        *("version", "id", "detail-type", "source", "account", "time", "region"),
        *("resources", "detail"),
    }


def test_a_launch_is_pending_until_the_machine_is_up(place: Place) -> None:
    launched = place.launch(place.interface())
    assert launched["State"]["Name"] == "pending"
    place.reaches(launched["InstanceId"], "running")
    spec = place.local.machines.specs[launched["InstanceId"]]
    assert (spec.region, spec.address) == (REGION, launched["PrivateIpAddress"])


def test_a_machine_is_named_after_its_slot(place: Place) -> None:
    instance_id = place.running(tags={"pgmend:slot": "db-euw1-b"})
    assert place.local.machines.specs[instance_id].hostname == "db-euw1-b"


def test_an_instance_whose_machine_does_not_boot_ends(place: Place, name: Names) -> None:
    place.local.machines.refuses("create", name("slot"), "no room")
    launched = place.launch(place.interface(), tags={"pgmend:slot": name("slot")})
    instance_id = str(launched["InstanceId"])
    place.reaches(instance_id, "terminated")
    assert place.describe(instance_id)["StateReason"]["Code"] == "Server.InternalError"


def test_an_instance_terminated_while_it_boots_never_runs(place: Place, name: Names) -> None:
    up = place.local.machines.holds("create", name("slot"))
    launched = place.launch(place.interface(), tags={"pgmend:slot": name("slot")})
    instance_id = str(launched["InstanceId"])
    eventually(lambda: place.local.machines.of(name("slot")))
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    up.set()
    seen: set[str] = set()

    def look() -> bool:
        seen.add(place.state(instance_id))
        return "terminated" in seen

    eventually(look)
    assert "running" not in seen
    assert not place.local.machines.healthy(instance_id)


def test_a_stopped_instance_starts_again_on_a_host_with_its_cable_in(place: Place) -> None:
    instance_id = place.running()
    place.ec2.stop_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    assert not place.local.machines.healthy(instance_id)
    place.ec2.start_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "running")
    verbs = [call[0] for call in place.local.machines.of(instance_id)]
    assert verbs[-3:] == ["create", "set_link", "power_on"]


def test_a_start_that_fails_leaves_the_instance_stopped(place: Place) -> None:
    instance_id = place.running()
    place.ec2.stop_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    place.local.machines.refuses("power_on", instance_id, "no capacity")
    place.ec2.start_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    place.local.machines.agrees("power_on", instance_id)
    place.ec2.start_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "running")


def test_a_guest_that_powers_itself_off_is_stopped(place: Place) -> None:
    instance_id = place.running()
    place.local.aws.ec2.went_off(instance_id)
    assert place.state(instance_id) == "stopped"


@pytest.mark.parametrize("verb", ["start_instances", "stop_instances", "reboot_instances"])
def test_what_is_terminated_can_only_stay_so(place: Place, verb: str) -> None:
    instance_id = place.running()
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "terminated")
    code = refused(getattr(place.ec2, verb), InstanceIds=[instance_id])
    assert code in ("IncorrectInstanceState", "IncorrectState")
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    assert place.state(instance_id) == "terminated"


# -- hosts that fail


def test_a_host_without_power_goes_on_running_and_becomes_impaired(place: Place) -> None:
    instance_id = place.running()
    eventually(lambda: place.checks(instance_id) == {"ok"})
    place.local.machines.loses_power(instance_id)
    eventually(lambda: place.checks(instance_id) == {"impaired"})
    assert place.state(instance_id) == "running"
    place.local.machines.gets_power_back(instance_id)
    eventually(lambda: place.checks(instance_id) == {"ok"})


def test_a_host_is_impaired_only_after_the_clocks_number_of_checks(place: Place) -> None:
    instance_id = place.running()
    record = place.local.aws.ec2.record(instance_id)
    assert record is not None
    eventually(lambda: place.checks(instance_id) == {"ok"})
    place.local.machines.loses_power(instance_id)
    eventually(lambda: place.checks(instance_id) == {"impaired"})
    assert record.failures >= CLOCK.status_checks_to_impair


def test_a_hung_host_takes_the_hung_time_to_terminate(place: Place) -> None:
    instance_id = place.running()
    place.local.machines.loses_power(instance_id)
    began = time.monotonic()
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "terminated")
    assert time.monotonic() - began >= CLOCK.hung_terminating_s
    assert not [c for c in place.local.machines.of(instance_id) if c[0] == "shut_down"]


def test_a_stopped_instance_is_not_taken_for_a_hung_one(place: Place) -> None:
    instance_id = place.running()
    place.ec2.stop_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "stopped")
    began = time.monotonic()
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "terminated")
    assert time.monotonic() - began < CLOCK.hung_terminating_s


# -- metadata


def test_metadata_has_user_data_zone_and_address(place: Place) -> None:
    instance_id = place.running()
    found = place.local.aws.ec2.metadata(instance_id)
    assert found is not None
    assert found.user_data == USER_DATA.encode()
    assert (found.region, found.zone) == (REGION, place.zone)
    assert found.address == place.describe(instance_id)["PrivateIpAddress"]


def test_metadata_shows_tags_where_the_template_says_so(place: Place) -> None:
    instance_id = place.running(tags={"pgmend:slot": "db-euw1-b", "with space": "x"})
    found = place.local.aws.ec2.metadata(instance_id)
    assert found is not None
    assert found.tags["pgmend:slot"] == "db-euw1-b"
    assert "with space" not in found.tags
    place.ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "later", "Value": "on"}])
    again = place.local.aws.ec2.metadata(instance_id)
    assert again is not None
    assert again.tags["later"] == "on"


def test_metadata_gives_credentials_of_the_profiles_role(place: Place) -> None:
    found = place.local.aws.ec2.metadata(place.running())
    assert found is not None
    assert found.credentials is not None
    assert (found.role_name or "").startswith("node-")
    keys = found.credentials()
    assert keys["AccessKeyId"].startswith("ASIA")
    assert {"SecretAccessKey", "Token", "Expiration"} <= set(keys)


def test_metadata_options_of_the_template_are_the_instances(place: Place) -> None:
    instance_id = place.running()
    options = place.describe(instance_id)["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 2)
    found = place.local.aws.ec2.metadata(instance_id)
    assert found is not None
    assert found.hop_limit == 2


def test_there_is_no_metadata_of_an_unknown_instance(local: Local) -> None:
    assert local.aws.ec2.metadata("i-0000000000000dead") is None
