"""moto's EC2 records as asks need them: tags, templates, interfaces. It changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from lab.aws.context import ACCOUNT
from lab.aws.iam.model import NotUnderstood

KINDS = {
    "i": "instance",
    "vol": "volume",
    "snap": "snapshot",
    "eni": "network-interface",
    "lt": "launch-template",
    "sg": "security-group",
    "subnet": "subnet",
    "vpc": "vpc",
    "ami": "image",
}
OWNERLESS = frozenset({"image", "snapshot"})


def arn(region: str, kind: str, resource_id: str) -> str:
    """The ARN of an EC2 resource, or of all of a kind with `*`."""
    return f"arn:aws:ec2:{region}:{'' if kind in OWNERLESS else ACCOUNT}:{kind}/{resource_id}"


def arn_by_id(region: str, resource_id: str) -> str:
    """The ARN of a resource whose id tells its kind. Raises NotUnderstood."""
    kind = KINDS.get(resource_id.rpartition("-")[0])
    if kind is None:
        raise NotUnderstood(f"what kind of resource {resource_id} is")
    return arn(region, kind, resource_id)


def tags(region: str, resource_id: str) -> Mapping[str, str]:
    """Tags of a resource; none of one that does not exist, which AWS refuses by tag in the same way."""
    found: Mapping[str, str] = ec2_backends[ACCOUNT][region].tags.get(resource_id, {})
    return dict(found)


def region_of(instance_id: str) -> str | None:
    """Where an instance is."""
    for region, backend in list(ec2_backends[ACCOUNT].items()):
        for reservation in list(backend.reservations.values()):
            if any(instance.id == instance_id for instance in reservation.instances):
                return str(region)
    return None


def interface(region: str, interface_id: str) -> Any:
    """moto's interface. Raises NotUnderstood."""
    found = ec2_backends[ACCOUNT][region].enis.get(interface_id)
    if found is None:
        raise NotUnderstood(f"there is no interface {interface_id} in {region}")
    return found


def vpc_of_subnet(region: str, subnet_id: str) -> str | None:
    """The VPC of a subnet."""
    for subnets in ec2_backends[ACCOUNT][region].subnets.values():
        if subnet_id in subnets:
            return str(subnets[subnet_id].vpc_id)
    return None


def vpc_of_group(region: str, group_id: str) -> str | None:
    """The VPC of a security group."""
    for vpc_id, groups in ec2_backends[ACCOUNT][region].groups.items():
        if group_id in groups:
            return str(vpc_id)
    return None


def template(region: str, spec: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """(id, data) of the launch template version that a launch names. Raises NotUnderstood."""
    templates = ec2_backends[ACCOUNT][region].launch_templates
    wanted_id, name = spec.get("LaunchTemplateId"), spec.get("LaunchTemplateName")
    found = next(
        (t for t in templates.values() if t.id == wanted_id or (name and t.name == name)), None
    )
    version = str(spec.get("Version") or "$Default")
    if found is None or not (version.startswith("$") or 0 < int(version) <= len(found.versions)):
        raise NotUnderstood(f"there is no launch template {wanted_id or name} version {version}")
    data: Mapping[str, Any] = found.get_version(version).data
    return str(found.id), data


def profile(spec: Mapping[str, Any]) -> tuple[str, str]:
    """(ARN of an instance profile, ARN of its role). Raises NotUnderstood."""
    for found in iam_backends[ACCOUNT]["aws"].get_instance_profiles():
        if spec.get("Name") == found.name or spec.get("Arn") == found.arn:
            return str(found.arn), str(found.roles[0].arn)
    raise NotUnderstood(f"there is no instance profile {dict(spec)}")
