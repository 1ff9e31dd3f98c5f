"""EC2 as AWS behaves: states take time and send events, an interface belongs to one instance, tokens are honoured.

moto keeps the records; the machine host makes them real. A host that lost power stays `running` with failing checks.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instances import (
    Instance,
    InstanceState,
    MetadataOptions,
    Reservation,
    StateReason,
)
from moto.iam.models import iam_backends

from lab.aws import credentials
from lab.aws.bus import Bus
from lab.aws.context import ACCOUNT, Context, log
from lab.aws.takeover import take_over, take_over_property
from lab.aws.volumes import Volumes
from lab.errors import LabError
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
    booted: bool = False
    machine: threading.RLock = field(default_factory=threading.RLock)  # one thing at a time


class Ec2:
    """Takes over moto's instance and volume life cycles. Implements `lab.ports.MetadataSource`."""

    def __init__(self, context: Context, bus: Bus, host: MachineHost | None) -> None:
        self._context, self._bus, self._host = context, bus, host
        self._records: dict[str, Record] = {}
        self._tokens: dict[tuple[str, str], tuple[str, Reservation]] = {}
        self._lock = threading.RLock()
        self._volumes = Volumes(context, host, self._lock)

    # -- installing

    def install(self) -> None:
        """Replace moto's methods and start the status checks."""
        self._moto_terminate = Instance.terminate
        take_over(
            EC2Backend, "run_instances", partial(self.run_instances, EC2Backend.run_instances)
        )
        for verb in (self.terminate, self.stop, self.start, self.reboot):
            take_over(Instance, verb.__name__, verb)
        take_over(Instance, "setup_defaults", lambda _: None)
        for check in ("instance_status", "system_status"):
            take_over_property(Instance, check, self.status_of)
        self._volumes.install()
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
                interface_id = nic.get("NetworkInterfaceId")
                if interface_id is not None:
                    kwargs["placement"] = self._zone_of_free(backend, interface_id)
            made: Reservation = original(backend, *args, **kwargs)
            if token and token != "ABCDE":  # noqa: S105 - moto's stand-in for none
                self._tokens[region, token] = (asked, made)
            template: dict[str, Any] = {}
            if kwargs.get("launch_template"):
                template = backend._get_template_from_args(kwargs["launch_template"]).data  # noqa: SLF001 - moto has no public way
            for instance in made.instances:
                self._born(region, instance, template)
        return made

    @staticmethod
    def _zone_of_free(backend: EC2Backend, interface_id: str) -> str:
        """The zone that an interface ties its instance to; refused while another instance has it."""
        interface = backend.get_network_interface(interface_id)
        if interface.instance is not None:
            raise EC2ClientError(
                "InvalidNetworkInterface.InUse",
                f"Interface: [{interface_id}] in use by {interface.instance.id}.",
            )
        zone: str = interface.subnet.availability_zone
        return zone

    def _born(self, region: str, instance: Instance, template: dict[str, Any]) -> None:
        if not instance.security_groups and instance.nics:
            instance.security_groups = list(instance.nics[0]._group_set)  # noqa: SLF001 - moto has no public way
        if template.get("MetadataOptions"):
            instance.metadata_options = MetadataOptions(template["MetadataOptions"])
        self._records[instance.id] = Record(instance=instance, region=region, template=template)
        self._set(instance, "pending")
        self._context.later(
            self._context.clock.pending_s, lambda: self._boot(instance), what=f"boot {instance.id}"
        )

    def _boot(self, instance: Instance) -> None:
        """The machine comes up. A launch that fails ends the instance, as on AWS; a start leaves it stopped."""
        record = self._records[instance.id]
        with record.machine:
            if instance.state != "pending":
                return
            try:
                self._power_on(instance, again=record.booted)
            except LabError as error:
                log.exception("%s does not boot", instance.id)
                self._context.evidence.add("errors", what=f"boot {instance.id}", error=str(error))
                self._did_not_boot(record)
                return
            record.status, record.failures, record.booted = "initializing", 0, True
            self._move(instance, "pending", "running")

    def _power_on(self, instance: Instance, *, again: bool) -> None:
        if self._host is None:
            return
        self._host.create(self._spec(instance))
        if again:  # a start is on another host, whose cable is in
            self._host.set_link(instance.id, up=True)
        self._host.power_on(instance.id)

    def _did_not_boot(self, record: Record) -> None:
        text = "Server.InternalError: Internal error on launch"
        record.instance.state_reason = StateReason(text, "Server.InternalError")
        if record.booted:
            self._move(record.instance, "pending", "stopped")
        else:
            self.terminate(record.instance)

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

    def _move(self, instance: Instance, before: str, after: str) -> bool:
        """Change a state unless something else has changed it meanwhile."""
        with self._lock:
            if instance.state != before:
                return False
            self._set(instance, after)
            return True

    def terminate(self, instance: Instance) -> InstanceState:
        """On its way out at once, terminated when the machine is gone."""
        with self._lock:
            before = InstanceState(instance.state, instance.state_code)
            if before.name in ("shutting-down", "terminated"):
                return before
            self._set(instance, "shutting-down")
        self._context.later(
            0.0, lambda: self._end(instance, before.name), what=f"terminate {instance.id}"
        )
        return before

    def _end(self, instance: Instance, before: str) -> None:
        clock, record = self._context.clock, self._records[instance.id]
        with record.machine:  # after a boot or a stop that is under way
            alive = self._host is None or self._host.healthy(instance.id)
            hung = before == "running" and not alive
            began = time.monotonic()
            if self._host is not None and alive:
                self._host.shut_down(instance.id, timeout_s=max(clock.terminating_s, 5.0))
            least = clock.hung_terminating_s if hung else clock.terminating_s
            self._context.down.wait(max(0.0, least - (time.monotonic() - began)))
            if self._host is not None:
                self._host.destroy(instance.id)
        with self._lock:
            self._volumes.release(ec2_backends[ACCOUNT][instance.region_name], instance)
            reason = instance.state_reason
            self._moto_terminate(instance)
            if reason.code == "Server.InternalError":
                instance.state_reason = reason
            for interface in list(instance.nics.values()):
                interface.instance = None
                interface.attachment_id = None
                interface.attach_time = None
                interface.status = "available"
                interface.device_index = None
            self._set(instance, "terminated")
        self._context.later(FORGET_S, lambda: self._forget(instance), what="forget")

    def _forget(self, instance: Instance) -> None:
        backend = ec2_backends[ACCOUNT][instance.region_name]
        for key, reservation in list(backend.reservations.items()):
            if reservation.instances == [instance]:
                del backend.reservations[key]
        self._records.pop(instance.id, None)

    def stop(self, instance: Instance) -> InstanceState:
        """Stopping, then stopped."""
        with self._lock:
            before = InstanceState(instance.state, instance.state_code)
            if before.name in ("stopping", "stopped"):
                return before
            if before.name != "running":
                raise _unfit(instance, "from which it can be stopped")
            self._set(instance, "stopping")
        self._context.later(0.0, lambda: self._stopped(instance), what=f"stop {instance.id}")
        return before

    def _stopped(self, instance: Instance) -> None:
        clock, began = self._context.clock, time.monotonic()
        with self._records[instance.id].machine:
            if self._host is not None:
                self._host.shut_down(instance.id, timeout_s=max(clock.stopping_s, 10.0))
            self._context.down.wait(max(0.0, clock.stopping_s - (time.monotonic() - began)))
            self._move(instance, "stopping", "stopped")

    def went_off(self, instance_id: str) -> None:
        """The guest powered itself off."""
        record = self._records.get(instance_id)
        if record is not None and self._move(record.instance, "running", "stopping"):
            self._move(record.instance, "stopping", "stopped")

    def start(self, instance: Instance) -> InstanceState:
        """Pending, then running."""
        with self._lock:
            before = InstanceState(instance.state, instance.state_code)
            if before.name in ("pending", "running"):
                return before
            if before.name != "stopped":
                raise _unfit(instance, "from which it can be started")
            self._set(instance, "pending")
        self._context.later(
            self._context.clock.pending_s, lambda: self._boot(instance), what=f"start {instance.id}"
        )
        return before

    def reboot(self, instance: Instance) -> None:
        """The machine reboots; its state stays."""
        if instance.state != "running":
            raise EC2ClientError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
        self._context.later(0.0, lambda: self._reboot(instance), what=f"reboot {instance.id}")

    def _reboot(self, instance: Instance) -> None:
        with self._records[instance.id].machine:
            if self._host is not None and instance.state == "running":
                self._host.reboot(instance.id)

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


def _unfit(instance: Instance, what: str) -> EC2ClientError:
    return EC2ClientError(
        "IncorrectInstanceState", f"The instance '{instance.id}' is not in a state {what}."
    )


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
