"""The adapters' ports as the real healer uses them, over the simulated world: slow, lossy, throttled, sometimes deadly.

Every call takes time, may fail as its adapter would fail, and may be the last of its run. What changes something is
shown to the watch first. They decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from lambdas.adapters.ssm import CommandState
from lambdas.adapters.table import RawReport, State
from lambdas.core.model import Birth, Incident, Instance, OpenAction, Phase, Slot, Volume
from lambdas.errors import BusRefusedError, RegionSilentError
from tests.simulation.aws import refusal
from tests.simulation.things import Disk, Host

if TYPE_CHECKING:
    from tests.simulation.healers import Healer

T = TypeVar("T")
LAG_S = 1.0  # how far descriptions are behind, on a good day
CALL_S, ANSWER_LOST_S = 0.05, 7.0


def iso(at: float) -> str:
    """As the composition root's, without its cost."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


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
            impaired=impaired,
            hands_off=host.hands_off,
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

    def launch(self, slot: Slot, *, action_id: str, incident: str) -> str:
        assert incident

        def carry_out() -> str:
            if self._w.weather.on("no-capacity", slot.name):
                raise refusal("InsufficientInstanceCapacity", "RunInstances")
            return self._w.aws.launch(slot, token=action_id, by_us=True).instance_id

        return self._change("launch", slot.name, "", carry_out)

    def create_volume(self, slot: Slot, *, action_id: str) -> str:
        def carry_out() -> str:
            return self._w.aws.create_volume(slot, token=action_id).volume_id

        return self._change("create-disk", slot.name, action_id, carry_out)

    def attach(self, *, volume_id: str, instance_id: str) -> None:
        host, disk = self._host(instance_id, "AttachVolume"), self._w.aws.disks[volume_id]
        self._change(
            "attach-disk", host.slot.name, volume_id, lambda: self._w.aws.attach(disk, host)
        )

    def start(self, instance_id: str) -> None:
        host = self._host(instance_id, "StartInstances")
        self._change("start", host.slot.name, instance_id, lambda: self._w.aws.start(host))

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
        except (ClientError, BotoCoreError):
            self._w.watch.refused(kind)
            raise

    def _attempt(self, kind: str, slot: str, what: str, carry_out: Callable[[], T]) -> T:
        weather, region = self._w.weather, self._region
        self._h.spend(CALL_S)
        if weather.on("ec2-silent", region) or weather.on("region-lost", region):
            raise ReadTimeoutError(endpoint_url=f"https://ec2.{region}")
        if self._h.dice_say("ec2-throttled", region):
            raise refusal("RequestLimitExceeded", kind)
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
        what = parameters.get("Service", parameters.get("Birth", ""))
        self._w.watch.call(self._h, kind, host.slot.name, what, comment)
        command = self._w.documents.send(host, document, parameters, comment, timeout_s)
        self._w.watch.called()
        if self._w.weather.use_up("answer-lost"):
            command.known = False
            self._h.spend(ANSWER_LOST_S)
            raise ReadTimeoutError(endpoint_url=f"https://ssm.{self._region}")
        self._h.perhaps_die()
        return command.command_id

    def state(self, *, command_id: str, instance_id: str) -> CommandState | None:
        assert instance_id
        self._h.spend(CALL_S)
        if self._down():
            raise RegionSilentError(f"SSM in {self._region} did not answer: as simulated")
        return self._w.documents.state(self._w.documents.commands[command_id])


class TablePort:
    """The hub table for one run."""

    def __init__(self, healer: Healer) -> None:
        self._h, self._w, self._hub = healer, healer.world, healer.world.hub

    def _call(self) -> None:
        self._h.spend(CALL_S)
        if self._w.weather.on("table-silent") or self._h.dice_say("table-throttled", ""):
            raise refusal("ProvisionedThroughputExceededException", "PutItem")

    def state(self) -> State:
        self._call()
        self._h.read_the_table()
        hub = self._hub
        return State(
            reports=tuple(RawReport(slot=s, body=b) for s, b in hub.reports.items()),
            birth=hub.birth,
            closed=hub.closed,
            mode=hub.mode,
            freshness=dict(hub.freshness),
            open_actions=dict(hub.actions),
            incidents=dict(hub.open),
        )

    def declare_birth(self, birth: Birth) -> bool:
        self._call()
        self._w.watch.call(self._h, "declare-birth", birth.first_leader, "")
        done = self._hub.declare_birth(birth)
        self._h.perhaps_die()
        return done

    def declare_born(self, *, etcd_cluster_id: str, system_identifier: str) -> None:
        self._call()
        self._w.watch.call(self._h, "declare-born", self._hub.first_leader(), "")
        done = self._hub.declare_born(
            etcd_cluster_id=etcd_cluster_id, system_identifier=system_identifier
        )
        if not done:
            raise refusal("ConditionalCheckFailedException", "UpdateItem")
        self._h.perhaps_die()

    def save_freshness(self, slots: Mapping[str, Any]) -> None:
        self._call()
        self._hub.freshness = dict(slots)
        self._h.perhaps_die()

    def save_strength(self, **verdict: Any) -> None:
        self._call()
        assert verdict
        self._h.perhaps_die()

    def save_incident(self, incident: Incident) -> None:
        self._call()
        self._hub.open[incident.slot] = incident
        self._h.perhaps_die()

    def heal_incident(self, incident: Incident, *, at: float, sentence: str) -> None:
        assert at
        assert sentence
        self._call()
        self._hub.open.pop(incident.slot, None)
        self._h.perhaps_die()

    def save_action(self, slot: str, action: OpenAction, *, token: int) -> None:
        self._call()
        self._h.intends(token)
        self._hub.actions[slot] = action
        self._h.perhaps_die()

    def clear_action(self, slot: str) -> None:
        self._call()
        self._hub.actions.pop(slot, None)
        self._h.perhaps_die()

    def journal(
        self, *, at_iso: str, action_id: str, entry: Mapping[str, str], token: int, at: float
    ) -> None:
        self._call()
        row = {**entry, "token": str(token), "at": str(at)}
        self._hub.journal[f"{at_iso}#{action_id}"] = row
        self._h.perhaps_die()

    def journal_since(self, at_iso: str) -> list[Mapping[str, str]]:
        self._call()
        return [row for key, row in self._hub.journal.items() if key >= at_iso]

    def take_lease(self, *, owner: str, now: float, lease_s: float) -> int | None:
        self._call()
        token = self._hub.take_lease(owner=owner, now=now, lease_s=lease_s)
        self._h.took(token)
        self._h.perhaps_die()
        return token

    def renew_lease(
        self, *, owner: str, token: int, now: float, lease_s: float
    ) -> tuple[bool, bool]:
        self._call()
        answer = self._hub.renew_lease(owner=owner, token=token, now=now, lease_s=lease_s)
        self._h.perhaps_die()
        return answer

    def release_lease(self, *, owner: str, token: int) -> bool:
        self._call()
        done = self._hub.release_lease(owner=owner, token=token)
        self._h.perhaps_die()
        return done


class BusPort:
    """The hub bus: what the healer says may wake another run."""

    def __init__(self, healer: Healer) -> None:
        self._h, self._w = healer, healer.world

    def say(self, detail_type: str, detail: Mapping[str, object]) -> None:
        self._h.spend(CALL_S)
        if self._w.weather.on("bus-refuses"):
            raise BusRefusedError(f"the hub bus did not take {detail_type!r}: as simulated")
        assert detail
        if detail_type == "Reconcile Unfinished":
            self._w.wake("unfinished")
        self._h.perhaps_die()


class MetricsPort:
    """CloudWatch."""

    def __init__(self, healer: Healer) -> None:
        self._h = healer

    def put(self, values: Mapping[tuple[str, str | None], float]) -> None:
        assert values
        self._h.spend(CALL_S)
