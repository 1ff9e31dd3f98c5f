"""What EC2 asks IAM about: for each call every resource it touches, with the condition keys AWS lists for it.

AWS gives a resource's tags to a condition only where the Service Authorization Reference lists `aws:ResourceTag`
for the action and the kind of resource. RunInstances has them for templates, subnets, groups, images and key pairs,
and not for network interfaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lab.aws.iam import ec2_records as records
from lab.aws.iam.launch_asks import launch
from lab.aws.iam.model import Ask, Call, NotUnderstood, Value
from lab.aws.iam.tagging import creation_tags, request_tags, tags_for


def ec2_asks(call: Call) -> Iterator[Ask]:
    """Everything an EC2 call needs to be allowed. Raises NotUnderstood."""
    if call.operation.startswith("Describe"):
        yield Ask(action=call.action, resource="*", keys=_region(call))
        return
    make = TABLE.get(call.operation)
    if make is None:
        raise NotUnderstood(f"which resources {call.action} is about")
    yield from make(call)


def _region(call: Call) -> Mapping[str, Value]:
    return {"ec2:Region": call.region}


def _existing(call: Call, resource_id: str) -> Ask:
    return Ask(
        action=call.action,
        resource=records.arn_by_id(call.region, resource_id),
        keys=_region(call),
        tags=records.tags(call.region, resource_id),
    )


def _each(*members: str) -> Callable[[Call], Iterator[Ask]]:
    """Asks for every id that the members of the request hold."""

    def make(call: Call) -> Iterator[Ask]:
        for member in members:
            ids = call.get(member) or []
            for resource_id in [ids] if isinstance(ids, str) else ids:
                yield _existing(call, resource_id)

    return make


def _attach(call: Call) -> Iterator[Ask]:
    if not (call.get("VolumeId") and call.get("InstanceId")):
        raise NotUnderstood(f"{call.action} without a volume and an instance")
    yield from _each("VolumeId", "InstanceId")(call)


def _create_volume(call: Call) -> Iterator[Ask]:
    if call.get("KmsKeyId"):
        raise NotUnderstood("CreateVolume with a key of one's own, which asks KMS too")
    asked = tags_for("volume", call.get("TagSpecifications"))
    keys: dict[str, Value] = {**_region(call), **request_tags(asked)}
    for name, member in (
        ("ec2:AvailabilityZone", "AvailabilityZone"),
        ("ec2:Encrypted", "Encrypted"),
        ("ec2:VolumeIops", "Iops"),
        ("ec2:VolumeSize", "Size"),
        ("ec2:VolumeThroughput", "Throughput"),
        ("ec2:VolumeType", "VolumeType"),
    ):
        if call.get(member) is not None:
            keys[name] = (
                str(call.get(member)).lower() if member == "Encrypted" else str(call.get(member))
            )
    yield Ask(action=call.action, resource=records.arn(call.region, "volume", "*"), keys=keys)
    if call.get("SnapshotId"):
        yield _existing(call, call.get("SnapshotId"))
    yield from creation_tags(call, {"volume": asked})


def _create_snapshot(call: Call) -> Iterator[Ask]:
    asked = tags_for("snapshot", call.get("TagSpecifications"))
    parent = records.arn_by_id(call.region, call.get("VolumeId"))
    yield Ask(
        action=call.action,
        resource=records.arn(call.region, "snapshot", "*"),
        keys={**_region(call), **request_tags(asked), "ec2:ParentVolume": parent},
    )
    yield _existing(call, call.get("VolumeId"))
    yield from creation_tags(call, {"snapshot": asked})


def _change_tags(call: Call) -> Iterator[Ask]:
    """CreateTags and DeleteTags of their own: without ec2:CreateAction, which what is made brings along."""
    changed = {tag["Key"]: tag.get("Value", "") for tag in call.get("Tags") or []}
    for resource_id in call.get("Resources") or []:
        yield Ask(
            action=call.action,
            resource=records.arn_by_id(call.region, resource_id),
            keys={**_region(call), **request_tags(changed)},
            tags=records.tags(call.region, resource_id),
        )


TABLE: Mapping[str, Callable[[Call], Iterator[Any]]] = {
    "AttachVolume": _attach,
    "CreateSnapshot": _create_snapshot,
    "CreateTags": _change_tags,
    "CreateVolume": _create_volume,
    "DeleteSnapshot": _each("SnapshotId"),
    "DeleteTags": _change_tags,
    "DeleteVolume": _each("VolumeId"),
    "DetachVolume": _each("VolumeId", "InstanceId"),
    "ModifyVolume": _each("VolumeId"),
    "RebootInstances": _each("InstanceIds"),
    "RunInstances": launch,
    "StartInstances": _each("InstanceIds"),
    "StopInstances": _each("InstanceIds"),
    "TerminateInstances": _each("InstanceIds"),
}
