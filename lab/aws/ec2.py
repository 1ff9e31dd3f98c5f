"""EC2 as AWS behaves: states take time and send events, interfaces and disks belong to one instance, tokens are honoured.

moto keeps the records; the machine host makes them real. A host that lost power stays `running` with failing checks.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.elastic_block_store import Volume
from moto.ec2.models.instances import Instance, InstanceState, Reservation
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.iam.models import iam_backends

from lab.aws import credentials
from lab.aws.bus import Bus
from lab.aws.context import ACCOUNT, Context
from lab.ports import API_PORT, REGIONS, InstanceMetadata, MachineHost, MachineSpec

CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
FORGET_S = 3600.0


@dataclass(kw_only=True)
class Record:
    """What the local EC2 knows of an instance besides moto's own record."""

    instance: Instance
    region: str
    template: dict[str, Any]
    failures: int = 0
    status: str = "initializing"
    checked: bool = False


class Ec2:
    """Takes over moto's instance and volume life cycles. Implements `lab.ports.MetadataSource`."""

    def __init__(self, context: Context, bus: Bus, host: MachineHost | None) -> None:
        self._context, self._bus, self._host = context, bus, host
        self._records: dict[str, Record] = {}
        self._tokens: dict[tuple[str, str], tuple[str, Reservation]] = {}
        self._volume_tokens: dict[tuple[str, str], Any] = {}
        self._lock = threading.RLock()

    # -- installing

    def install(self) -> None:
        """Replace moto's methods and start the status checks."""
        ec2, run = self, EC2Backend.run_instances
        terminate = Instance.terminate
        attach, create = EC2Backend.attach_volume, ElasticBlockStore.create_volume
        delete, detach = EC2Backend.delete_volume, EC2Backend.detach_volume
        modify = EC2Backend.modify_volume

        EC2Backend.run_instances = lambda b, *a, **k: ec2.run_instances(run, b, *a, **k)
        Instance.terminate = lambda i: ec2.terminate(terminate, i)
        Instance.stop = lambda i: ec2.stop(i)
        Instance.start = lambda i: ec2.start(i)
        Instance.reboot = lambda i: ec2.reboot(i)
        Instance.setup_defaults = lambda _: None
        Instance.instance_status = property(lambda i: ec2.status_of(i))
        Instance.system_status = property(lambda i: ec2.status_of(i))
        EC2Backend.attach_volume = lambda b, *a, **k: ec2.attach_volume(attach, b, *a, **k)
        EC2Backend.detach_volume = lambda b, *a, **k: ec2.detach_volume(detach, b, *a, **k)
        ElasticBlockStore.create_volume = lambda r: ec2.create_volume(create, r)
        EC2Backend.delete_volume = lambda b, volume_id: ec2.delete_volume(delete, b, volume_id)
        EC2Backend.modify_volume = lambda b, *a, **k: ec2.modify_volume(modify, b, *a, **k)
        self._context.every(
            self._context.clock.status_check_interval_s, self.check_all, what="status checks"
        )

    # -- instances

    def run_instances(
        self, original: Any, backend: EC2Backend, *args: Any, **kwargs: Any
    ) -> Reservation:
        """Launch: the same token launches once; an interface in use is refused."""
        region, token = backend.region_name, kwargs.get("client_token")
        asked = json.dumps([args, kwargs], default=str, sort_keys=True)
        with self._lock:
            if token and token != "ABCDE" and (region, token) in self._tokens:  # noqa: S105 - moto's stand-in for none
                before, reservation = self._tokens[region, token]
                if before != asked:
                    raise EC2ClientError(
                        "IdempotentParameterMismatch",
                        "The request uses the same client token as a previous, but non-identical request.",
                    )
                return reservation
            for nic in kwargs.get("nics") or []:
                self._refuse_used(backend, nic.get("NetworkInterfaceId"))
            reservation = original(backend, *args, **kwargs)
            if token and token != "ABCDE":  # noqa: S105 - moto's stand-in for none
                self._tokens[region, token] = (asked, reservation)
            template: dict[str, Any] = {}
            if kwargs.get("launch_template"):
                template = backend._get_template_from_args(kwargs["launch_template"]).data  # noqa: SLF001 - moto has no public way
            for instance in reservation.instances:
                self._born(region, instance, template)
        return reservation

    @staticmethod
    def _refuse_used(backend: EC2Backend, interface_id: str | None) -> None:
        if interface_id is None:
            return
        interface = backend.get_network_interface(interface_id)
        if interface.instance is not None:
            raise EC2ClientError(
                "InvalidNetworkInterface.InUse",
                f"Interface: [{interface_id}] in use by {interface.instance.id}.",
            )

    def _born(self, region: str, instance: Instance, template: dict[str, Any]) -> None:
        if not instance.security_groups and instance.nics:
            instance.security_groups = list(instance.nics[0]._group_set)  # noqa: SLF001 - moto has no public way
        self._records[instance.id] = Record(instance=instance, region=region, template=template)
        self._set(instance, "pending")
        self._context.later(
            self._context.clock.pending_s, lambda: self._boot(instance), what=f"boot {instance.id}"
        )

    def _boot(self, instance: Instance) -> None:
        if instance.state != "pending":
            return
        if self._host is not None:
            self._host.create(self._spec(instance))
            self._host.power_on(instance.id)
        record = self._records[instance.id]
        record.status, record.failures, record.checked = "initializing", 0, False
        self._set(instance, "running")

    def _spec(self, instance: Instance) -> MachineSpec:
        region = next(r for r in REGIONS if r.name == instance.region_name)
        return MachineSpec(
            instance_id=instance.id,
            hostname=self._tags(instance).get("pgmend:slot", instance.id),
            region=region.name,
            address=str(instance.private_ip),
            mac=_mac(instance.id),
            endpoint=region.endpoint(API_PORT),
        )

    def _set(self, instance: Instance, state: str) -> None:
        """Change a state and say so."""
        instance._state = InstanceState(state, CODES[state])  # noqa: SLF001 - moto has no public way
        self._context.evidence.add(
            "ec2", instance=instance.id, state=state, tags=self._tags(instance)
        )
        arn = f"arn:aws:ec2:{instance.region_name}:{ACCOUNT}:instance/{instance.id}"
        self._bus.put_aws_event(
            instance.region_name,
            "aws.ec2",
            "EC2 Instance State-change Notification",
            {"instance-id": instance.id, "state": state},
            (arn,),
        )

    def terminate(self, original: Any, instance: Instance) -> InstanceState:  # noqa: ANN401
        """On its way out at once, terminated when the machine is gone."""
        previous = InstanceState(instance.state, instance.state_code)
        if instance.state in ("shutting-down", "terminated"):
            return previous
        self._set(instance, "shutting-down")
        self._context.later(
            0.0, lambda: self._end(original, instance), what=f"terminate {instance.id}"
        )
        return previous

    def _end(self, original: Any, instance: Instance) -> None:  # noqa: ANN401
        clock = self._context.clock
        alive = self._host is not None and self._host.healthy(instance.id)
        began = time.monotonic()
        if self._host is not None and alive:
            self._host.shut_down(instance.id, timeout_s=max(clock.terminating_s, 5.0))
        least = clock.terminating_s if alive or self._host is None else clock.hung_terminating_s
        self._context.down.wait(max(0.0, least - (time.monotonic() - began)))
        if self._host is not None:
            self._host.destroy(instance.id)
        with self._lock:
            backend = ec2_backends[ACCOUNT][instance.region_name]
            for volume in list(backend.volumes.values()):
                held = volume.attachment
                if held is not None and held.instance.id == instance.id:
                    self._release(backend, volume)
            for interface in list(instance.nics.values()):
                interface.instance = None
                interface.attachment_id = None
                interface.attach_time = None
                interface.status = "available"
                interface.device_index = None
            original(instance)
        self._set(instance, "terminated")
        self._context.later(FORGET_S, lambda: self._forget(instance), what="forget")

    @staticmethod
    def _release(backend: EC2Backend, volume: Volume) -> None:
        """A volume attached after launch survives its instance."""
        held = volume.attachment
        device = held.instance.block_device_mapping.get(held.device)
        if device is not None and device.delete_on_termination:
            return
        held.instance.block_device_mapping.pop(held.device, None)
        held.status = "detached"
        volume.attachment = None
        backend.volumes[volume.id] = volume

    def _forget(self, instance: Instance) -> None:
        backend = ec2_backends[ACCOUNT][instance.region_name]
        for key, reservation in list(backend.reservations.items()):
            if reservation.instances == [instance]:
                del backend.reservations[key]
        self._records.pop(instance.id, None)

    def stop(self, instance: Instance) -> InstanceState:
        """Stopping, then stopped."""
        previous = InstanceState(instance.state, instance.state_code)
        if instance.state == "running":
            self._set(instance, "stopping")
            self._context.later(0.0, lambda: self._stopped(instance), what=f"stop {instance.id}")
        return previous

    def _stopped(self, instance: Instance) -> None:
        began = time.monotonic()
        if self._host is not None:
            self._host.shut_down(instance.id, timeout_s=max(self._context.clock.stopping_s, 10.0))
        self._context.down.wait(
            max(0.0, self._context.clock.stopping_s - (time.monotonic() - began))
        )
        self._set(instance, "stopped")

    def went_off(self, instance_id: str) -> None:
        """The guest powered itself off."""
        record = self._records.get(instance_id)
        if record is not None and record.instance.state == "running":
            self._set(record.instance, "stopping")
            self._set(record.instance, "stopped")

    def start(self, instance: Instance) -> InstanceState:
        """Pending, then running."""
        previous = InstanceState(instance.state, instance.state_code)
        if instance.state == "stopped":
            self._set(instance, "pending")
            self._context.later(
                self._context.clock.pending_s,
                lambda: self._boot(instance),
                what=f"start {instance.id}",
            )
        return previous

    def reboot(self, instance: Instance) -> None:
        """The machine reboots; its state stays."""
        if self._host is not None and instance.state == "running":
            host = self._host
            self._context.later(0.0, lambda: host.reboot(instance.id), what=f"reboot {instance.id}")

    # -- status checks

    def check_all(self) -> None:
        """One round of status checks."""
        for record in list(self._records.values()):
            if record.instance.state != "running":
                continue
            if self._host is None or self._host.healthy(record.instance.id):
                record.failures, record.status = 0, "ok"
                continue
            record.failures += 1
            if record.failures >= self._context.clock.status_checks_to_impair:
                record.status = "impaired"

    def status_of(self, instance: Instance) -> dict[str, Any]:
        """What DescribeInstanceStatus says of either check."""
        if instance.state != "running":
            return {"Status": "not-applicable"}
        record = self._records.get(instance.id)
        status = "ok" if record is None else record.status
        detail = {"ok": "passed", "impaired": "failed"}.get(status, "initializing")
        return {"Status": status, "Details": [{"Name": "reachability", "Status": detail}]}

    # -- volumes

    def create_volume(self, original: Any, response: ElasticBlockStore) -> Any:  # noqa: ANN401
        """The same client token makes a volume once."""
        token = response._get_param("ClientToken")  # noqa: SLF001 - moto has no public way
        key = (response.region, token)
        with self._lock:
            if not token or key not in self._volume_tokens:
                self._volume_tokens[key] = original(response)
            return self._volume_tokens[key]

    def _disk(self, volume: Volume) -> None:
        if self._host is not None:
            self._host.create_disk(volume.id, size_gib=int(volume.size))

    def attach_volume(
        self,
        original: Any,  # noqa: ANN401
        backend: EC2Backend,
        volume_id: str,
        instance_id: str,
        device_path: str,
        delete_on_termination: bool = False,  # noqa: FBT001, FBT002 - moto's signature
    ) -> Any:  # noqa: ANN401
        """Only to a running instance in the volume's zone, and only a free volume; it takes a moment."""
        volume, instance = backend.get_volume(volume_id), backend.get_instance(instance_id)
        if delete_on_termination:  # the root volume of a launch
            return original(backend, volume_id, instance_id, device_path, delete_on_termination)
        with self._lock:
            if volume.attachment is not None:
                raise EC2ClientError(
                    "VolumeInUse", f"{volume_id} is already attached to an instance"
                )
            if instance.state != "running":
                raise EC2ClientError(
                    "IncorrectState", f"Instance '{instance_id}' is not 'running'."
                )
            if volume.zone.name != instance.availability_zone:
                raise EC2ClientError(
                    "InvalidVolume.ZoneMismatch",
                    f"The volume '{volume_id}' is not in the same availability zone as instance '{instance_id}'",
                )
            attachment = original(
                backend, volume_id, instance_id, device_path, delete_on_termination
            )
            attachment.status = "attaching"
        self._context.later(
            self._context.clock.attach_s,
            lambda: self._attached(volume, instance),
            what=f"attach {volume_id}",
        )
        return attachment

    def _attached(self, volume: Volume, instance: Instance) -> None:
        if self._host is not None:
            self._disk(volume)
            self._host.attach_disk(instance.id, volume.id)
        if volume.attachment is not None and volume.attachment.instance.id == instance.id:
            volume.attachment.status = "attached"

    def detach_volume(
        self,
        original: Any,
        backend: EC2Backend,
        volume_id: str,
        instance_id: str,
        device_path: str,
    ) -> Any:  # noqa: ANN401
        """Taken away from the machine first."""
        if self._host is not None and instance_id in self._host.machines():
            self._host.detach_disk(instance_id, volume_id)
        return original(backend, volume_id, instance_id, device_path)

    def delete_volume(self, original: Any, backend: EC2Backend, volume_id: str) -> Volume:  # noqa: ANN401
        """Refused while in use."""
        volume: Volume = original(backend, volume_id)
        if self._host is not None:
            self._host.delete_disk(volume_id)
        return volume

    def modify_volume(self, original: Any, backend: EC2Backend, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Grow the disk too."""
        result = original(backend, *args, **kwargs)
        volume_id = kwargs.get("volume_id") or args[0]
        size = backend.get_volume(volume_id).size
        if self._host is not None:
            self._host.grow_disk(volume_id, size_gib=int(size))
        return result

    # -- metadata

    @staticmethod
    def _tags(instance: Instance) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in instance.get_tags()}

    def metadata(self, instance_id: str) -> InstanceMetadata | None:
        """The instance's metadata now."""
        record = self._records.get(instance_id)
        if record is None:
            return None
        instance, template = record.instance, record.template
        options = template.get("MetadataOptions") or {}
        role_name, profile_arn, role_arn = _role(template)
        tags = self._tags(instance)
        show_tags = options.get("InstanceMetadataTags") == "enabled"
        return InstanceMetadata(
            instance_id=instance_id,
            region=record.region,
            zone=str(instance.availability_zone),
            address=str(instance.private_ip),
            mac=_mac(instance_id),
            hostname=tags.get("pgmend:slot", instance_id),
            image_id=str(instance.image_id),
            instance_type=instance.instance_type,
            account_id=ACCOUNT,
            user_data=_user_data(instance),
            tags={k: v for k, v in tags.items() if "/" not in k and " " not in k}
            if show_tags
            else {},
            role_name=role_name,
            profile_arn=profile_arn,
            credentials=None
            if role_arn is None
            else lambda: credentials.of_role(role_arn, instance_id),
            hop_limit=int(options.get("HttpPutResponseHopLimit") or 1),
        )

    def record(self, instance_id: str) -> Record | None:
        """For the other parts of the local AWS."""
        return self._records.get(instance_id)

    def tags(self, instance_id: str) -> dict[str, str]:
        """Tags of an instance."""
        record = self._records.get(instance_id)
        return {} if record is None else self._tags(record.instance)


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


def _mac(instance_id: str) -> str:
    tail = instance_id[-8:]
    return "02:5e:" + ":".join(tail[n : n + 2] for n in range(0, 8, 2))
