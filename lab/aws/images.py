"""The AMIs of the local AWS: Debian's own of Debian 13, in every region, and no other."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami

from lab.aws.takeover import take_over

OWNER = "136693071363"  # Debian's account, https://wiki.debian.org/Cloud/AmazonEC2Image
NAME = "debian-13-amd64-20250814-2204"
MADE = datetime(2025, 8, 14, 22, 4, tzinfo=UTC)


def install() -> None:
    """Replace moto's list of images, which has none of Debian 13 and takes long to load."""
    take_over(EC2Backend, "_load_amis", _load)


def image_id(region: str) -> str:
    """Of Debian 13 in a region; the same in every run."""
    return f"ami-{hashlib.sha256(f'{NAME} {region}'.encode()).hexdigest()[:17]}"


def _load(backend: EC2Backend) -> None:
    found = image_id(backend.region_name)
    backend.amis[found] = Ami(
        backend,
        found,
        name=NAME,
        description="Debian 13 (20250814-2204)",
        owner_id=OWNER,
        public=True,
        virtualization_type="hvm",
        architecture="x86_64",
        hypervisor="xen",
        root_device_type="ebs",
        root_device_name="/dev/xvda",
        image_location=f"amazon/{NAME}",
        region_name=f"{backend.region_name}a",
        creation_date=MADE,
    )
