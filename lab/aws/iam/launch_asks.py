"""What RunInstances asks for: the template and all in it, what is made, what is used, and the role passed on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lab.aws.iam import ec2_records as records
from lab.aws.iam.model import Ask, Call, NotUnderstood, Value
from lab.aws.iam.tagging import creation_tags, request_tags, tags_for

MADE = ("instance", "volume", "network-interface")


def launch(call: Call) -> Iterator[Ask]:
    """Every resource of a launch. Raises NotUnderstood."""
    template_id, data = _template(call)
    keys: dict[str, Value] = {"ec2:Region": call.region}
    if template_id is not None:
        keys["ec2:LaunchTemplate"] = records.arn(call.region, "launch-template", template_id)
        yield _used(call, "launch-template", template_id, keys)
    tags = {
        kind: tags_for(kind, data.get("TagSpecifications"))
        | tags_for(kind, call.get("TagSpecifications"))
        for kind in MADE
    }
    profile = call.get("IamInstanceProfile") or data.get("IamInstanceProfile")
    yield from _instance(call, data, profile, {**keys, **request_tags(tags["instance"])})
    yield _made(call, "volume", {**keys, **request_tags(tags["volume"])})
    yield _image(call, data, keys)
    yield from _network(call, data, keys, request_tags(tags["network-interface"]))
    if key_name := call.get("KeyName") or data.get("KeyName"):
        arn = records.arn(call.region, "key-pair", key_name)
        yield Ask(action=call.action, resource=arn, keys=keys, tags=None)
    yield from creation_tags(call, tags)


def _template(call: Call) -> tuple[str | None, Mapping[str, Any]]:
    spec = call.get("LaunchTemplate")
    return (None, {}) if not spec else records.template(call.region, spec)


def _either(call: Call, data: Mapping[str, Any], member: str, what: str) -> str:
    found = call.get(member) or data.get(member)
    if not found:
        raise NotUnderstood(f"RunInstances without {what}")
    return str(found)


def _used(call: Call, kind: str, resource_id: str, keys: Mapping[str, Value]) -> Ask:
    return Ask(
        action=call.action,
        resource=records.arn(call.region, kind, resource_id),
        keys=keys,
        tags=records.tags(call.region, resource_id),
    )


def _image(call: Call, data: Mapping[str, Any], keys: Mapping[str, Value]) -> Ask:
    """The image; a condition can tell one that the template names from one that the caller put in its place."""
    from_template = str(call.get("ImageId") in (None, data.get("ImageId"))).lower()
    image_id = _either(call, data, "ImageId", "an image")
    return _used(call, "image", image_id, {**keys, "ec2:IsLaunchTemplateResource": from_template})


def _made(call: Call, kind: str, keys: Mapping[str, Value]) -> Ask:
    return Ask(action=call.action, resource=records.arn(call.region, kind, "*"), keys=keys)


def _instance(
    call: Call, data: Mapping[str, Any], profile: Mapping[str, Any] | None, keys: dict[str, Value]
) -> Iterator[Ask]:
    """The instance, and the role that it is given."""
    options = {**(data.get("MetadataOptions") or {}), **(call.get("MetadataOptions") or {})}
    if kind := call.get("InstanceType") or data.get("InstanceType"):
        keys["ec2:InstanceType"] = str(kind)
    if options.get("HttpTokens"):
        keys["ec2:MetadataHttpTokens"] = str(options["HttpTokens"])
    if profile is None:
        yield _made(call, "instance", keys)
        return
    profile_arn, role_arn = records.profile(profile)
    yield _made(call, "instance", {**keys, "ec2:InstanceProfile": profile_arn})
    yield Ask(
        action="iam:PassRole",
        resource=role_arn,
        keys={
            "iam:PassedToService": "ec2.amazonaws.com",
            "iam:AssociatedResourceArn": records.arn(call.region, "instance", "*"),
        },
    )


def _network(
    call: Call, data: Mapping[str, Any], keys: Mapping[str, Value], tagged: Mapping[str, Value]
) -> Iterator[Ask]:
    """Interfaces with the subnets and groups they lie in, also those that an existing interface brings along."""
    specs = call.get("NetworkInterfaces") or data.get("NetworkInterfaces") or [{}]
    if call.get("SecurityGroups") or data.get("SecurityGroups"):
        raise NotUnderstood("RunInstances with security groups by name")
    subnets: set[str] = set()
    groups: set[str] = set(call.get("SecurityGroupIds") or data.get("SecurityGroupIds") or [])
    for spec in specs:
        interface_id = spec.get("NetworkInterfaceId")
        if interface_id:
            found = records.interface(call.region, interface_id)
            subnet = str(found.subnet.id)
            groups |= {str(group.id) for group in found.group_set}
        else:
            subnet = str(spec.get("SubnetId") or _either(call, data, "SubnetId", "a subnet"))
            groups |= set(spec.get("Groups") or [])
        subnets.add(subnet)
        yield _interface(call, interface_id, subnet, {**keys, **({} if interface_id else tagged)})
    if not groups:
        raise NotUnderstood("RunInstances without a security group")
    for subnet in sorted(subnets):
        vpc = records.vpc_of_subnet(call.region, subnet)
        yield _used(call, "subnet", subnet, {**keys, **_vpc(call, vpc)})
    for group in sorted(groups):
        vpc = records.vpc_of_group(call.region, group)
        yield _used(call, "security-group", group, {**keys, **_vpc(call, vpc)})


def _interface(call: Call, interface_id: str | None, subnet: str, keys: Mapping[str, Value]) -> Ask:
    """An interface: AWS gives no tags of it to a condition here, but where it lies."""
    more: dict[str, Value] = {"ec2:Subnet": records.arn(call.region, "subnet", subnet)}
    more |= _vpc(call, records.vpc_of_subnet(call.region, subnet))
    if interface_id is not None:
        more["ec2:NetworkInterfaceID"] = interface_id
    arn = records.arn(call.region, "network-interface", interface_id or "*")
    return Ask(action=call.action, resource=arn, keys={**keys, **more})


def _vpc(call: Call, vpc_id: str | None) -> dict[str, Value]:
    return {} if vpc_id is None else {"ec2:Vpc": records.arn(call.region, "vpc", vpc_id)}
