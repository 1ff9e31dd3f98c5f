"""EBS as AWS behaves: a volume belongs to one running instance of its zone, and outlives it.

moto keeps the records; the machine host makes the disks. Nothing here deletes a disk that nobody asked to delete.
"""

from __future__ import annotations

import json
import threading
from functools import partial
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_block_store import Volume, VolumeAttachment
from moto.ec2.models.instances import Instance
from moto.ec2.responses.elastic_block_store import ElasticBlockStore

from lab.aws.context import Context
from lab.aws.modifications import Modifications
from lab.aws.power import Power
from lab.aws.takeover import take_over
from lab.errors import LabError
from lab.ports import MachineHost


class Volumes:
    """Takes over moto's volume life cycle. `lock` is the local EC2's."""

    def __init__(
        self, context: Context, host: MachineHost | None, lock: threading.RLock, power: Power
    ) -> None:
        self._context, self._host, self._lock, self._power = context, host, lock, power
        self._tokens: dict[tuple[str, str], tuple[str, Any]] = {}
        self._modifications = Modifications(context, host)
        self._forced: set[str] = set()

    def install(self) -> None:
        """Replace moto's methods."""
        for verb in ("attach", "detach", "delete", "modify"):
            moto = getattr(EC2Backend, f"{verb}_volume")
            take_over(EC2Backend, f"{verb}_volume", partial(getattr(self, verb), moto))
        create = ElasticBlockStore.create_volume
        take_over(ElasticBlockStore, "create_volume", partial(self.create, create))
        detach = ElasticBlockStore.detach_volume
        take_over(ElasticBlockStore, "detach_volume", partial(self._detach_asked, detach))
        self._modifications.install()

    def create(self, original: Any, response: ElasticBlockStore) -> Any:
        """The same client token makes a volume once; there is none where there is no power."""
        self._power.check_volume(str(response._get_param("AvailabilityZone")))  # noqa: SLF001 - moto has no public way
        token = response._get_param("ClientToken")  # noqa: SLF001 - moto has no public way
        if not token:
            return original(response)
        asked = json.dumps(response.data, default=str, sort_keys=True)
        with self._lock:
            before = self._tokens.get((response.region, token))
            if before is None:
                self._tokens[response.region, token] = before = (asked, original(response))
            elif before[0] != asked:
                raise EC2ClientError(
                    "IdempotentParameterMismatch",
                    "The request uses the same client token as a previous, but non-identical request.",
                )
        return before[1]

    def _disk(self, volume: Volume) -> None:
        if self._host is not None:
            self._host.create_disk(volume.id, size_gib=int(volume.size))

    def attach(
        self,
        original: Any,
        backend: EC2Backend,
        volume_id: str,
        instance_id: str,
        device: str,
        delete_on_termination: bool = False,
    ) -> VolumeAttachment:
        """Only to a running instance in the volume's zone, and only a free volume; it takes a moment."""
        volume, instance = backend.get_volume(volume_id), backend.get_instance(instance_id)
        if delete_on_termination:  # the root volume of a launch
            root: VolumeAttachment = original(
                backend, volume_id, instance_id, device, delete_on_termination=True
            )
            return root
        with self._lock:
            _refuse_attaching(volume, instance, device)
            self._power.check_attachment(str(volume.availability_zone))
            attachment: VolumeAttachment = original(backend, volume_id, instance_id, device)
            attachment.status = "attaching"
        self._context.later(
            self._context.clock.attach_s,
            lambda: self._attached(attachment),
            what=f"attach {volume_id}",
        )
        return attachment

    def _attached(self, attachment: VolumeAttachment) -> None:
        volume = attachment.volume
        self._disk(volume)
        if volume.attachment is not attachment:
            return  # the instance is gone meanwhile
        if self._host is not None:
            self._host.attach_disk(attachment.instance.id, volume.id)
        with self._lock:
            if volume.attachment is attachment:
                attachment.status = "attached"

    def _detach_asked(self, original: Any, response: ElasticBlockStore) -> Any:
        """moto does not say whether a detachment is forced."""
        if response._get_bool_param("Force"):  # noqa: SLF001 - moto has no public way
            self._forced.add(str(response._get_param("VolumeId")))  # noqa: SLF001 - moto has no public way
        return original(response)

    def detach(
        self,
        original: Any,
        backend: EC2Backend,
        volume_id: str,
        instance_id: str | None,
        device: str | None,
    ) -> VolumeAttachment:
        """Taken away from the machine first; `busy` for as long as the machine has it mounted, unless it is forced."""
        with self._lock:
            held = backend.get_volume(volume_id).attachment
            if held is None:
                raise EC2ClientError(
                    "IncorrectState", f"Volume '{volume_id}' is in the 'available' state."
                )
            if (instance_id or held.instance.id, device or held.device) != (
                held.instance.id,
                held.device,
            ):
                raise EC2ClientError(
                    "InvalidAttachment.NotFound",
                    f"The volume '{volume_id}' is not attached to instance '{instance_id}' as '{device}'.",
                )
            if held.instance.state == "shutting-down":  # moto clears away the root volume
                original(backend, volume_id, held.instance.id, held.device)
                return held
            if held.status in ("detaching", "busy"):
                return held
            held.status = "detaching"
        self._context.later(
            self._context.clock.attach_s,
            lambda: self._detached(original, backend, held),
            what=f"detach {volume_id}",
        )
        return held

    def _detached(self, original: Any, backend: EC2Backend, held: VolumeAttachment) -> None:
        volume, instance_id = held.volume, held.instance.id
        while volume.attachment is held:
            try:
                if self._host is not None and instance_id in self._host.machines():
                    force = volume.id in self._forced
                    self._host.detach_disk(instance_id, volume.id, force=force)
            except LabError:
                held.status = "busy"
                if self._context.down.wait(self._context.clock.attach_s):
                    return
                continue
            with self._lock:
                self._forced.discard(volume.id)
                if volume.attachment is held:
                    original(backend, volume.id, instance_id, held.device)

    def delete(self, original: Any, backend: EC2Backend, volume_id: str) -> Volume:
        """Refused while in use."""
        volume: Volume = original(backend, volume_id)
        if self._host is not None:
            self._host.delete_disk(volume_id)
        return volume

    def modify(
        self,
        original: Any,
        backend: EC2Backend,
        volume_id: str,
        size: int | None,
        *rest: Any,
    ) -> Volume:
        """The disk grows with it, a moment later; it never shrinks."""
        with self._lock:
            volume = backend.get_volume(volume_id)
            self._modifications.begin(volume, size)
            before_gib = int(volume.size)
            original(backend, volume_id, size, *rest)
            self._modifications.grow(volume, before_gib)
        return volume

    def release(self, backend: EC2Backend, instance: Instance) -> None:
        """The volumes that were attached to an instance after its launch survive it."""
        for volume in list(backend.volumes.values()):
            held = volume.attachment
            if held is None or held.instance.id != instance.id:
                continue
            device = instance.block_device_mapping.get(held.device)
            if device is None or not device.delete_on_termination:
                instance.block_device_mapping.pop(held.device, None)
                held.status = "detached"
                volume.attachment = None


def _refuse_attaching(volume: Volume, instance: Instance, device: str) -> None:
    if volume.attachment is not None:
        raise EC2ClientError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if instance.state != "running":
        raise EC2ClientError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.availability_zone != instance.availability_zone:
        raise EC2ClientError(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
        )
    if device in instance.block_device_mapping:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
        )
