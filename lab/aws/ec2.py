"""EC2 as AWS behaves: states take time and send events, an interface belongs to one instance, tokens are honoured.

moto keeps the records; the machine host makes them real. A host that lost power stays `running` with failing checks.
"""

from __future__ import annotations

import json
import threading
import time
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
from moto.ec2.responses.instances import InstanceResponse

from lab.aws.bus import Bus
from lab.aws.checks import Checks
from lab.aws.context import ACCOUNT, Context, log
from lab.aws.credentials import OfInstances
from lab.aws.launches import Refusals
from lab.aws.maintenance import Maintenance
from lab.aws.metadata import mac, metadata_of
from lab.aws.power import Power, zone_of
from lab.aws.records import Record, Records
from lab.aws.takeover import take_over
from lab.aws.volumes import Volumes
from lab.errors import LabError
from lab.ports import API_PORT, REGIONS, InstanceMetadata, MachineHost, MachineSpec

FORGET_S = 3600.0
POLITE_S = 15.0  # what a guest that answers is given to go down


class Ec2:
    """Takes over moto's instance and volume life cycles. Implements `lab.ports.MetadataSource`."""

    def __init__(self, context: Context, bus: Bus, host: MachineHost | None) -> None:
        self._context, self._bus, self._host = context, bus, host
        self._tokens: dict[tuple[str, str], tuple[str, Reservation]] = {}
        self._lock = threading.RLock()
        self._records = Records(context, bus, self._lock)
        self.power = Power(self._records, host)
        self._volumes = Volumes(context, host, self._lock, self.power)
        self._credentials = OfInstances()
        self.checks = Checks(context, self._records, host)
        self.maintenance = Maintenance(context, bus, self._records)
        self.refusals = Refusals()

    # -- installing

    def install(self) -> None:
        """Replace moto's methods."""
        self._moto_terminate = Instance.terminate
        take_over(
            EC2Backend, "run_instances", partial(self.run_instances, EC2Backend.run_instances)
        )
        for verb in (self.terminate, self.stop, self.start, self.reboot):
            take_over(Instance, verb.__name__, verb)
        take_over(Instance, "setup_defaults", lambda _: None)
        stop = InstanceResponse.stop_instances
        take_over(InstanceResponse, "stop_instances", partial(self._stop_asked, stop))
        self._volumes.install()
        self.refusals.install()
        self.checks.install()
        self.maintenance.install()
        self.maintenance.stop, self.maintenance.reboot = self.stop, self.reboot

    # -- instances

    def run_instances(
        self, original: Any, backend: EC2Backend, *args: Any, **kwargs: Any
    ) -> Reservation:
        """Launch: the same token launches once; an interface in use and what there is no capacity for are refused."""
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
            template: dict[str, Any] = {}
            if kwargs.get("launch_template"):
                template = backend._get_template_from_args(kwargs["launch_template"]).data  # noqa: SLF001 - moto has no public way
            kind, zone = _type(kwargs, template), str(kwargs.get("placement"))
            self.refusals.check(kind, zone)
            self.power.check_launch(kind, zone)
            made: Reservation = original(backend, *args, **kwargs)
            if token and token != "ABCDE":  # noqa: S105 - moto's stand-in for none
                self._tokens[region, token] = (asked, made)
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
        record = Record(instance=instance, region=region, template=template)
        self._records.add(record)
        self._records.set_state(record, "pending")
        self._context.later(
            self._context.clock.pending_s, lambda: self._boot(instance), what=f"boot {instance.id}"
        )

    def _boot(self, instance: Instance) -> None:
        """The machine comes up. A launch that fails ends the instance, as on AWS; a start leaves it stopped."""
        record = self._records.known(instance.id)
        with record.machine:
            if instance.state != "pending":
                return
            try:
                self._power_on(record)
            except LabError as error:
                log.exception("%s does not boot", instance.id)
                self._context.evidence.add("errors", what=f"boot {instance.id}", error=str(error))
                self._did_not_boot(record)
                return
            record.status, record.failures, record.booted = "initializing", 0, True
            self._records.move(record, "pending", "running")

    def _power_on(self, record: Record) -> None:
        if self._host is None:
            return
        instance_id = record.instance.id
        self._lit(record)
        self._host.create(_spec(record))
        if record.booted:  # a start is on another host, whose cable is in
            self._host.set_link(instance_id, up=True)
        self._host.power_on(instance_id)
        self._lit(record)

    def _lit(self, record: Record) -> None:
        if self.power.dark(zone_of(record)):
            raise LabError(f"there is no power in {zone_of(record)}")

    def _did_not_boot(self, record: Record) -> None:
        text = "Server.InternalError: Internal error on launch"
        record.instance.state_reason = StateReason(text, "Server.InternalError")
        if record.booted:
            self._records.move(record, "pending", "stopped")
        else:
            self.terminate(record.instance)

    def terminate(self, instance: Instance) -> InstanceState:
        """On its way out at once, terminated when the machine is gone."""
        record = self._records.known(instance.id)
        with self._lock:
            before = InstanceState(instance.state, instance.state_code)
            if before.name in ("shutting-down", "terminated"):
                return before
            self._records.set_state(record, "shutting-down")
        self._context.later(
            0.0, lambda: self._end(record, before.name), what=f"terminate {instance.id}"
        )
        return before

    def _end(self, record: Record, before: str) -> None:
        clock, instance = self._context.clock, record.instance
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
            self._records.set_state(record, "terminated")
        self.maintenance.clear(instance.id)
        self._context.later(FORGET_S, lambda: self._forget(instance), what="forget")

    def _forget(self, instance: Instance) -> None:
        backend = ec2_backends[ACCOUNT][instance.region_name]
        for key, reservation in list(backend.reservations.items()):
            if reservation.instances == [instance]:
                del backend.reservations[key]
        self._records.forget(instance.id)
        self._credentials.forget(instance.id)

    def _stop_asked(self, original: Any, response: InstanceResponse) -> Any:
        """moto does not say whether a stop is forced."""
        forced = bool(response._get_bool_param("Force"))  # noqa: SLF001 - moto has no public way
        for instance_id in response._get_param("InstanceIds", []):  # noqa: SLF001 - moto has no public way
            record = self._records.get(instance_id)
            if record is not None:
                record.forced = forced
        return original(response)

    def stop(self, instance: Instance) -> InstanceState:
        """Stopping, then stopped. A host that does not answer takes as long as one that is terminated."""
        record = self._records.known(instance.id)
        with self._lock:
            before = InstanceState(instance.state, instance.state_code)
            if before.name in ("stopping", "stopped"):
                return before
            if before.name != "running":
                raise _unfit(instance, "from which it can be stopped")
            self._records.set_state(record, "stopping")
        self._context.later(0.0, lambda: self._stopped(record), what=f"stop {instance.id}")
        return before

    def _stopped(self, record: Record) -> None:
        clock, instance_id, began = self._context.clock, record.instance.id, time.monotonic()
        with record.machine:
            hung = self._host is not None and not self._host.healthy(instance_id)
            if self._host is not None:
                timeout_s = 0.0 if record.forced or hung else max(clock.stopping_s, POLITE_S)
                self._host.shut_down(instance_id, timeout_s=timeout_s)
            least = clock.hung_terminating_s if hung else clock.stopping_s
            self._context.down.wait(max(0.0, least - (time.monotonic() - began)))
            self.maintenance.clear(instance_id)
            record.forced, record.verdict = False, None
            self._records.move(record, "stopping", "stopped")

    def went_off(self, instance_id: str) -> None:
        """The guest powered itself off."""
        record = self._records.get(instance_id)
        if record is not None and self._records.move(record, "running", "stopping"):
            self._records.move(record, "stopping", "stopped")

    def start(self, instance: Instance) -> InstanceState:
        """Pending, then running."""
        record = self._records.known(instance.id)
        with self._lock:
            before = InstanceState(instance.state, instance.state_code)
            if before.name in ("pending", "running"):
                return before
            if before.name != "stopped":
                raise _unfit(instance, "from which it can be started")
            self.refusals.check(instance.instance_type, zone_of(record))
            self.power.check_launch(instance.instance_type, zone_of(record))
            self._records.set_state(record, "pending")
        self._context.later(
            self._context.clock.pending_s, lambda: self._boot(instance), what=f"start {instance.id}"
        )
        return before

    def reboot(self, instance: Instance) -> None:
        """The machine reboots, hard when it does not go down by itself; its state stays."""
        record = self._records.known(instance.id)
        if instance.state != "running":
            raise EC2ClientError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
        self._context.later(0.0, lambda: self._reboot(record), what=f"reboot {instance.id}")

    def _reboot(self, record: Record) -> None:
        host, instance = self._host, record.instance
        hard_s = self._context.clock.hard_reboot_s
        with record.machine:
            if host is None or instance.state != "running":
                return
            hung = not host.healthy(instance.id)
            if hung and self._context.down.wait(hard_s):
                return
            if instance.state == "running" and not self.power.dark(zone_of(record)):
                host.reboot(instance.id, timeout_s=0.0 if hung else max(hard_s, POLITE_S))
                record.verdict = None

    # -- for the other parts

    def metadata(self, instance_id: str) -> InstanceMetadata | None:
        """The instance's metadata now."""
        record = self._records.get(instance_id)
        return None if record is None else metadata_of(record, self._credentials)

    def record(self, instance_id: str) -> Record | None:
        """For the other parts of the local AWS."""
        return self._records.get(instance_id)

    def tags(self, instance_id: str) -> dict[str, str]:
        """Tags of an instance."""
        record = self._records.get(instance_id)
        return {} if record is None else record.tags


def _unfit(instance: Instance, what: str) -> EC2ClientError:
    return EC2ClientError(
        "IncorrectInstanceState", f"The instance '{instance.id}' is not in a state {what}."
    )


def _type(kwargs: dict[str, Any], template: dict[str, Any]) -> str:
    """The instance type of a launch: the call's own, else its template's."""
    named = template.get("InstanceType") if kwargs.get("is_instance_type_default") else None
    return str(named or kwargs.get("instance_type"))


def _spec(record: Record) -> MachineSpec:
    instance = record.instance
    region = next(r for r in REGIONS if r.name == record.region)
    return MachineSpec(
        instance_id=instance.id,
        hostname=record.tags.get("pgmend:slot", instance.id),
        region=region.name,
        address=str(instance.private_ip),
        mac=mac(instance.id),
        endpoint=region.endpoint(API_PORT),
    )
