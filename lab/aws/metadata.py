"""What instance metadata says of an instance: the local EC2's side of it. `lab.host.imds` serves it to the machine."""

from __future__ import annotations

import base64
from typing import Any

from moto.ec2.models.instances import Instance
from moto.iam.models import iam_backends

from lab.aws.context import ACCOUNT
from lab.aws.credentials import OfInstances
from lab.aws.records import Record
from lab.ports import InstanceMetadata


def metadata_of(record: Record, credentials: OfInstances) -> InstanceMetadata:
    """The instance's metadata now."""
    instance, template, tags = record.instance, record.template, record.tags
    options = template.get("MetadataOptions") or {}
    role_name, profile_arn, role_arn = _role(template)
    show_tags = options.get("InstanceMetadataTags") == "enabled"
    return InstanceMetadata(
        instance_id=instance.id,
        region=record.region,
        zone=str(instance.availability_zone),
        address=str(instance.private_ip),
        mac=mac(instance.id),
        hostname=tags.get("pgmend:slot", instance.id),
        image_id=str(instance.image_id),
        instance_type=instance.instance_type,
        account_id=ACCOUNT,
        user_data=_user_data(instance),
        tags={k: v for k, v in tags.items() if "/" not in k and " " not in k} if show_tags else {},
        role_name=role_name,
        profile_arn=profile_arn,
        credentials=None if role_arn is None else lambda: credentials.of(instance.id, role_arn),
        hop_limit=int(options.get("HttpPutResponseHopLimit") or 1),
    )


def mac(instance_id: str) -> str:
    """The hardware address of an instance's interface."""
    tail = instance_id[-8:]
    return "02:5e:" + ":".join(tail[n : n + 2] for n in range(0, 8, 2))


def _role(template: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
    """(role name, profile ARN, role ARN) of a launch template's instance profile."""
    name = (template.get("IamInstanceProfile") or {}).get("Name")
    if not name:
        return None, None, None
    profile = iam_backends[ACCOUNT]["aws"].get_instance_profile(name)
    role = profile.roles[0]
    return role.name, profile.arn, role.arn


def _user_data(instance: Instance) -> bytes:
    raw = instance.user_data
    if not raw:
        return b""
    return base64.b64decode(str(raw))
