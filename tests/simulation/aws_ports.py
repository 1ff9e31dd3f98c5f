"""EC2 and SSM as the real healer uses them, over the simulated world: slow, lossy, throttled, sometimes deadly.

Every call takes time, may fail as its adapter would fail, and may be the last of its run. What changes something is
shown to the watch first. They decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from lambdas.adapters.ssm import CommandState
from lambdas.core.model import Instance, Phase, ScheduledEvent, Slot, Volume
from lambdas.errors import RegionSilentError
from tests.simulation.aws import TOO_MANY, refusal
from tests.simulation.things import Disk, Host

if TYPE_CHECKING:
    from tests.simulation.healers import Healer

T = TypeVar("T")
LAG_S = 1.0  # how far descriptions are behind, on a good day
CALL_S, ANSWER_LOST_S = 0.05, 7.0


class Ec2Port:
    """One region's EC2 for one run."""

    def __init__(self, healer: Healer, region: str) -> None:
        self._h, self._w, self._region = healer, healer.world, region

    def _read(self) -> None:
        """Raises RegionSilentError where EC2 does not answer."""
        weather = self._w.weather
        down = weather.on("ec2-silent", self._region) or weather.on("region-lost", self._region)
        if down or self._h.dice_say("ec2-throttled", self._region):
            self._h.spend(2.0)
            raise RegionSilentError(f"EC2 in {self._region} did not answer: as simulated")

    def _lag_s(self) -> float:
        return LAG_S + self._w.weather.amount("describe-lag", self._region)

    def instances(self) -> tuple[Instance, ...]:
        self._read()
        seen_at = self._w.now - self._lag_s()
        self._h.looked_at_instances(self._region)
        found = []
        for host in self._w.aws.hosts.values():
            if host.slot.region != self._region:
                continue
            state = host.seen(seen_at)
            if state is not None:
                found.append(self._instance(host, state))
        self._h.spend(CALL_S)
        return tuple(found)

    def _instance(self, host: Host, state: Any) -> Instance:
        impaired = self._w.aws.impaired(host) if state == "running" else None
        self._h.verdicts[host.instance_id] = impaired
        return Instance(
            instance_id=host.instance_id,
            slot=host.slot.name,
            region=self._region,
            state=state,
            launched_at=host.launched_at,
            first_launched_at=host.made_at,
            impaired=impaired,
            hands_off=host.hands_off,
            instance_type=host.instance_type,
            events=tuple(
                ScheduledEvent(code=code, not_before=when)
                for at, code, when in host.announced
                if at <= self._w.now - self._lag_s()
            ),
        )

    def volumes(self) -> tuple[Volume, ...]:
        self._read()
        seen_at = self._w.now - self._lag_s()
        found = []
        for disk in self._w.aws.disks.values():
            state = None if disk.lost else disk.seen(seen_at)
            if state is None or self._unlisted(disk):
                continue
            if disk.slot.region == self._region:
                found.append(
                    Volume(
                        volume_id=disk.volume_id,
                        slot=disk.slot.name,
                        state=state[0],
                        attached_to=state[1],
                        attachment_state=state[2],
                        size_gib=int(disk.gib),
                        modification=self._w.storage.modification(disk),
                        set_aside=disk.aside_at <= seen_at,
                    )
                )
        self._h.spend(CALL_S)
        return tuple(found)

    def _unlisted(self, disk: Disk) -> bool:
        """A person has taken its tag away under a node that runs on it."""
        holder = disk.holder
        if holder is None or not self._w.weather.on("unlisted", disk.volume_id):
            return False
        runs = holder.phase is Phase.CONFIGURED and holder.up(self._w.now)
        return runs and self._w.now - holder.told_at < 15.0

    def launch(
        self, slot: Slot, *, action_id: str, incident: str, instance_type: str | None = None
    ) -> str:
        assert incident
        kind = instance_type or slot.instance_types[0]

        def carry_out() -> str:
            weather = self._w.weather
            if weather.on("launch-forbidden", slot.region):
                raise refusal("UnauthorizedOperation", "RunInstances")
            if weather.on("no-capacity", slot.name) or weather.on(
                "no-capacity", f"{slot.name}/{kind}"
            ):
                raise refusal("InsufficientInstanceCapacity", "RunInstances")
            before = len(self._w.aws.hosts)
            host = self._w.aws.launch(slot, token=action_id, by_us=True, instance_type=kind)
            if len(self._w.aws.hosts) > before:  # else it was launched before, and nobody heard
                refills = self._w.watch.refills
                refills[slot.name] = refills.get(slot.name, 0) + 1
            return host.instance_id

        return self._change("launch", slot.name, "", carry_out)

    def create_volume(self, slot: Slot, *, action_id: str, size_gib: int | None = None) -> str:
        def carry_out() -> str:
            disk = self._w.aws.create_volume(slot, token=action_id, size_gib=size_gib)
            return disk.volume_id

        return self._change("create-disk", slot.name, action_id, carry_out)

    def attach(self, *, volume_id: str, instance_id: str) -> None:
        host, disk = self._host(instance_id, "AttachVolume"), self._w.aws.disks[volume_id]
        self._change(
            "attach-disk", host.slot.name, volume_id, lambda: self._w.aws.attach(disk, host)
        )

    def start(self, instance_id: str) -> None:
        host = self._host(instance_id, "StartInstances")
        self._change("start", host.slot.name, instance_id, lambda: self._w.aws.start(host))

    def reboot(self, instance_id: str) -> None:
        host = self._host(instance_id, "RebootInstances")
        self._change("reboot", host.slot.name, instance_id, lambda: self._w.aws.reboot(host))

    def stop(self, instance_id: str, *, force: bool) -> None:
        host = self._host(instance_id, "StopInstances")

        def carry_out() -> None:
            host.stopped_by_us_at = self._w.now
            self._w.aws.stop(host, force=force)

        self._change("stop", host.slot.name, instance_id, carry_out)

    def set_aside(self, volume_id: str) -> None:
        disk = self._w.aws.disks[volume_id]
        self._change(
            "set-disk-aside", disk.slot.name, volume_id, lambda: self._w.aws.set_aside(disk)
        )

    def grow(self, volume_id: str, *, size_gib: int) -> None:
        disk = self._w.aws.disks[volume_id]
        self._change(
            "grow-disk",
            disk.slot.name,
            f"{volume_id} {size_gib}",
            lambda: self._w.storage.enlarge(disk, size_gib),
        )

    def terminate(self, instance_id: str) -> None:
        host = self._w.aws.hosts.get(instance_id)
        if host is None:
            return  # the adapter takes NotFound for done

        def carry_out() -> None:
            if host.ended_by_us_at is None and host.stands:
                host.ended_by_us_at = self._w.now
            self._w.aws.terminate(host)

        self._change("terminate", host.slot.name, instance_id, carry_out)

    def delete_volume(self, volume_id: str) -> None:
        disk = self._w.aws.disks[volume_id]
        self._change("delete-disk", disk.slot.name, volume_id, lambda: self._w.aws.lose(disk))

    def _host(self, instance_id: str, operation: str) -> Host:
        host = self._w.aws.hosts.get(instance_id)
        if host is None or host.seen(self._w.now - self._lag_s()) is None:
            raise refusal("InvalidInstanceID.NotFound", operation)
        return host

    def _change(self, kind: str, slot: str, what: str, carry_out: Callable[[], T]) -> T:
        try:
            return self._attempt(kind, slot, what, carry_out)
        except (ClientError, BotoCoreError) as error:
            self._w.watch.refused(kind, slot, for_want_of_room="Capacity" in str(error))
            raise

    def _attempt(self, kind: str, slot: str, what: str, carry_out: Callable[[], T]) -> T:
        weather, region = self._w.weather, self._region
        self._h.spend(CALL_S)
        if weather.on("ec2-silent", region) or weather.on("region-lost", region):
            raise ReadTimeoutError(endpoint_url=f"https://ec2.{region}")
        if self._h.dice_say("ec2-throttled", region):
            raise refusal("RequestLimitExceeded", kind, status=TOO_MANY)
        self._w.watch.call(self._h, kind, slot, what)
        answer = carry_out()
        self._w.watch.called()
        if weather.use_up("answer-lost") or weather.use_up("answer-lost", kind):
            self._h.spend(ANSWER_LOST_S)
            raise ReadTimeoutError(endpoint_url=f"https://ec2.{region}")
        self._h.perhaps_die()
        return answer


class SsmPort:
    """One region's SSM for one run."""

    def __init__(self, healer: Healer, region: str) -> None:
        self._h, self._w, self._region = healer, healer.world, region

    def _down(self) -> bool:
        weather = self._w.weather
        return weather.on("ssm-silent", self._region) or weather.on("region-lost", self._region)

    def online(self) -> frozenset[str]:
        self._h.spend(CALL_S)
        if self._down():
            raise RegionSilentError(f"SSM in {self._region} did not answer: as simulated")
        return self._w.documents.online(self._region)

    def find(self, *, comment: str, instance_id: str) -> str | None:
        self._h.spend(CALL_S)
        if self._down():
            raise ReadTimeoutError(endpoint_url=f"https://ssm.{self._region}")
        for command in self._w.documents.commands.values():
            if command.comment == comment and command.host.instance_id == instance_id:
                command.known = True
                return command.command_id
        return None

    def send(
        self,
        *,
        document: str,
        instance_id: str,
        parameters: dict[str, str],
        comment: str,
        timeout_s: float,
    ) -> str:
        self._h.spend(CALL_S)
        host = self._w.aws.hosts.get(instance_id)
        if self._down():
            raise ReadTimeoutError(endpoint_url=f"https://ssm.{self._region}")
        if host is None or not host.stands:
            raise refusal("InvalidInstanceId", "SendCommand")
        kind = document.removeprefix("pgmend-")
        what = next(
            (
                parameters[n]
                for n in ("Service", "Birth", "To", "ReplicationSlot")
                if n in parameters
            ),
            "",
        )
        self._w.watch.call(self._h, kind, host.slot.name, what, comment)
        command = self._w.documents.send(host, document, parameters, comment, timeout_s)
        self._w.watch.called()
        if self._w.weather.use_up("answer-lost"):
            command.known = False
            self._h.spend(ANSWER_LOST_S)
            raise ReadTimeoutError(endpoint_url=f"https://ssm.{self._region}")
        command.known = False  # until whoever sent it has lived to write its id down
        self._h.perhaps_die()
        command.known = True
        return command.command_id

    def state(self, *, command_id: str, instance_id: str) -> CommandState | None:
        assert instance_id
        self._h.spend(CALL_S)
        if self._down():
            raise RegionSilentError(f"SSM in {self._region} did not answer: as simulated")
        return self._w.documents.state(self._w.documents.commands[command_id])
