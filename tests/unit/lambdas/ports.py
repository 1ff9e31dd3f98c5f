"""The healer's ports over the small world: EC2, SSM, the hub table, the bus and the metrics.

They keep AWS's promises that healing leans on: client tokens, exclusive interfaces and disks, states that take time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from botocore.exceptions import ClientError

from lambdas.adapters.ssm import CommandState
from lambdas.adapters.table import RawReport, State
from lambdas.core.consent import Breaker, Planned, Window
from lambdas.core.model import Birth, Incident, Instance, Mode, OpenAction, Slot, Volume
from lambdas.errors import LeaseLostError
from tests.unit.lambdas.nodes import (
    CHECKS_S,
    CONFIGURE_S,
    ENDING_S,
    PENDING_S,
    Disk,
    Machine,
    Nodes,
    Sent,
)


class FakeEc2:
    """One region's EC2."""

    def __init__(self, nodes: Nodes, region: str) -> None:
        self._nodes, self._region = nodes, region

    def instances(self) -> tuple[Instance, ...]:
        n = self._nodes
        return tuple(
            Instance(
                instance_id=m.instance_id,
                slot=m.slot.name,
                region=m.slot.region,
                state=m.state(n.now),
                launched_at=m.launched_at,
                impaired=m.dead_since is not None and n.now - m.dead_since >= CHECKS_S,
                events=m.events,
            )
            for m in n.machines.values()
            if m.slot.region == self._region
        )

    def volumes(self) -> tuple[Volume, ...]:
        return tuple(
            Volume(
                volume_id=d.volume_id,
                slot=d.slot.name,
                state="available" if d.holder is None else "in-use",
                attached_to=d.holder,
                attachment_state=None if d.holder is None else "attached",
                size_gib=d.size_gib,
                set_aside=d.set_aside,
            )
            for d in self._nodes.disks.values()
            if d.slot.region == self._region
        )

    def launch(
        self, slot: Slot, *, action_id: str, incident: str, instance_type: str | None = None
    ) -> str:
        assert incident
        n = self._nodes
        if {instance_type or slot.instance_types[0], slot.name} & n.no_room:
            n.calls.append(f"no-room {instance_type or 'own'} {slot.name}")
            status = {"HTTPStatusCode": 500}  # AWS blames itself
            answer: Any = {
                "Error": {"Code": "InsufficientInstanceCapacity"},
                "ResponseMetadata": status,
            }
            raise ClientError(answer, "RunInstances")
        if action_id not in n.tokens:
            standing = [m for m in n.machines.values() if m.slot is slot and n._stands(m)]
            assert not standing, f"the interface of {slot.name} is still in use"
            instance_id = f"i-{next(iter(n.numbers)):04d}"
            n.machines[instance_id] = Machine(
                instance_id=instance_id,
                slot=slot,
                launched_at=n.now,
                power=slot.name not in n.stillborn,
            )
            n.tokens[action_id] = instance_id
            n.called(f"launch {slot.name}")
        return n.tokens[action_id]

    def create_volume(self, slot: Slot, *, action_id: str, size_gib: int | None = None) -> str:
        n = self._nodes
        if action_id not in n.tokens:
            volume_id = f"vol-{next(iter(n.numbers)):04d}"
            size = size_gib or 20
            n.disks[volume_id] = Disk(volume_id=volume_id, slot=slot, size_gib=size, seen_gib=size)
            n.tokens[action_id] = volume_id
            n.called(f"create-disk {slot.name}")
        return n.tokens[action_id]

    def attach(self, *, volume_id: str, instance_id: str) -> None:
        disk = self._nodes.disks[volume_id]
        assert disk.holder in (None, instance_id), "a disk cannot be on two machines"
        disk.holder = instance_id
        self._nodes.called(f"attach {disk.slot.name}")

    def start(self, instance_id: str) -> None:
        n, machine = self._nodes, self._nodes.machines[instance_id]
        machine.stopped_at, machine.restarted_at = None, n.now
        n.called(f"start {machine.slot.name}")

    def stop(self, instance_id: str, *, force: bool) -> None:
        n, machine = self._nodes, self._nodes.machines[instance_id]
        self._not_the_leader(machine)
        assert not (force and machine.speaks(n.now)), "a living machine is asked, not forced"
        machine.stopped_at, machine.events = n.now + ENDING_S, ()
        n.called(f"stop {machine.slot.name}")

    def reboot(self, instance_id: str) -> None:
        n, machine = self._nodes, self._nodes.machines[instance_id]
        self._not_the_leader(machine)
        machine.restarted_at = n.now - PENDING_S
        n.called(f"reboot {machine.slot.name}")

    def _not_the_leader(self, machine: Machine) -> None:
        n = self._nodes
        leads = n.leader == machine.slot.name and machine.speaks(n.now)
        assert not leads, f"{machine.slot.name} leads and was touched"

    def set_aside(self, volume_id: str) -> None:
        disk = self._nodes.disks[volume_id]
        disk.set_aside = True
        self._nodes.called(f"set-aside {disk.slot.name}")

    def grow(self, volume_id: str, *, size_gib: int) -> None:
        disk = self._nodes.disks[volume_id]
        assert size_gib > disk.size_gib, "a volume only grows"
        disk.size_gib = size_gib
        self._nodes.called(f"grow {disk.slot.name}")

    def terminate(self, instance_id: str) -> None:
        machine = self._nodes.machines[instance_id]
        self._not_the_leader(machine)
        ordered = machine.slot.name in self._nodes.may_end
        alive = machine.speaks(self._nodes.now) and not ordered
        assert not alive, f"{machine.slot.name} was alive and was terminated"
        machine.ends_at = machine.ends_at or self._nodes.now + ENDING_S
        self._nodes.called(f"terminate {machine.slot.name}")


class FakeSsm:
    """One region's SSM."""

    def __init__(self, nodes: Nodes, region: str) -> None:
        self._nodes, self._region = nodes, region

    def online(self) -> frozenset[str]:
        n = self._nodes
        here = (m for m in n.machines.values() if m.slot.region == self._region)
        return frozenset(m.instance_id for m in here if m.speaks(n.now))

    def find(self, *, comment: str, instance_id: str) -> str | None:
        for sent in self._nodes.sent.values():
            if sent.comment == comment and sent.machine == instance_id:
                return sent.command_id
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
        assert timeout_s > 0
        n = self._nodes
        command_id = f"c-{next(iter(n.numbers)):04d}"
        n.sent[command_id] = Sent(
            command_id=command_id,
            machine=instance_id,
            document=document,
            parameters=parameters,
            comment=comment,
            ends_at=n.now + CONFIGURE_S,
        )
        n.called(f"{document} {n.machines[instance_id].slot.name}")
        return command_id

    def state(self, *, command_id: str, instance_id: str) -> CommandState | None:
        sent = self._nodes.sent[command_id]
        assert sent.machine == instance_id
        return sent.state or CommandState(status="InProgress", exit_code=-1, output="")


class MemoryTable:
    """The hub table's promises, in memory. `tests/adapters` holds the real one to the same lease rules."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self.birth: Birth | None = None
        self.closed = False
        self.freshness: dict[str, Any] = {}
        self.actions: dict[str, OpenAction] = {}
        self.open: dict[str, Incident] = {}
        self.history: dict[str, tuple[Incident, float | None]] = {}
        self.entries: list[tuple[str, dict[str, str]]] = []
        self.lease: dict[str, Any] = {"owner": "", "token": 0, "expires_at": 0.0, "wake": False}
        self._held: tuple[str, int] | None = None  # what the last run took; None while none has
        self.strength: dict[str, Any] = {}
        self.windows: tuple[Window, ...] = ()
        self.breaker: Breaker | None = None
        self.planned: Planned | None = None
        self.finished: list[tuple[str, str]] = []

    def state(self) -> State:
        return State(
            reports=tuple(RawReport(slot=s, body=b) for s, b in self._nodes.reports.items()),
            birth=self.birth,
            closed=self.closed,
            mode=Mode.AUTO,
            freshness=dict(self.freshness),
            open_actions=dict(self.actions),
            incidents=dict(self.open),
            windows=self.windows,
            breaker=self.breaker,
            planned=self.planned,
        )

    def _under_lease(self) -> None:
        """What the run that took the lease writes is refused once it is another's."""
        if self._held not in (None, (self.lease["owner"], self.lease["token"])):
            raise LeaseLostError("another run took the lease over")

    def open_breaker(self, *, why: str, now: float) -> bool:
        self._under_lease()
        if self.breaker is not None and self.breaker.open:
            return False
        before = 0.0 if self.breaker is None else self.breaker.acknowledged_at
        self.breaker = Breaker(open=True, why=why, opened_at=now, acknowledged_at=before)
        return True

    def acknowledge(self, now: float) -> None:
        """What a person's command writes."""
        assert self.breaker is not None
        self.breaker = replace(self.breaker, open=False, acknowledged_at=now)

    def finish_planned(self, plan_id: str, *, state: str) -> bool:
        self._under_lease()
        self.finished.append((plan_id, state))
        self.planned = None
        return True

    def declare_birth(self, birth: Birth) -> bool:
        self._under_lease()
        if self.birth is not None:
            return False
        self.birth = birth
        self._nodes.called("declare-birth cluster")
        return True

    def declare_born(self, *, etcd_cluster_id: str, system_identifier: str) -> None:
        self._under_lease()
        assert self.birth is not None
        self.birth = replace(
            self.birth,
            state="born",
            etcd_cluster_id=etcd_cluster_id,
            system_identifier=system_identifier,
        )
        self._nodes.called("declare-born cluster")

    def save_freshness(self, slots: dict[str, Any]) -> None:
        self._under_lease()
        self.freshness = dict(slots)

    def save_strength(self, **verdict: Any) -> None:
        self._under_lease()
        self.strength = verdict

    def save_incident(self, incident: Incident) -> None:
        self._under_lease()
        self.open[incident.slot] = incident
        self.history[incident.incident_id] = (incident, None)

    def heal_incident(self, incident: Incident, *, at: float, sentence: str) -> None:
        self._under_lease()
        assert sentence
        self.open.pop(incident.slot, None)
        self.history[incident.incident_id] = (incident, at)

    def save_action(self, slot: str, action: OpenAction, *, token: int) -> None:
        self._under_lease()
        assert token == self.lease["token"]
        self.actions[slot] = action
        self._nodes.called(f"save-action {slot}")

    def clear_action(self, slot: str) -> None:
        self._under_lease()
        self.actions.pop(slot, None)

    def journal(
        self, *, at_iso: str, action_id: str, entry: dict[str, str], token: int, at: float
    ) -> None:
        self._under_lease()
        row = {**entry, "token": str(token), "at": str(at)}
        key = f"{at_iso}#{action_id}"  # the same key is the same item
        self.entries = [e for e in self.entries if e[0] != key] + [(key, row)]

    def journal_since(self, at_iso: str) -> list[dict[str, str]]:
        return [entry for key, entry in self.entries if key >= at_iso]

    def take_lease(self, *, owner: str, now: float, lease_s: float) -> int | None:
        if self.lease["expires_at"] >= now:
            self.lease["wake"] = True
            return None
        token = self.lease["token"] + 1
        self.lease = {"owner": owner, "token": token, "expires_at": now + lease_s, "wake": False}
        self._held = (owner, token)
        return cast("int", token)

    def renew_lease(
        self, *, owner: str, token: int, now: float, lease_s: float
    ) -> tuple[bool, bool]:
        if (self.lease["owner"], self.lease["token"]) != (owner, token):
            return False, False
        if self.lease["expires_at"] < now:
            return False, False
        woken, self.lease["wake"] = self.lease["wake"], False
        self.lease["expires_at"] = now + lease_s
        return True, woken

    def release_lease(self, *, owner: str, token: int) -> bool:
        if (self.lease["owner"], self.lease["token"]) != (owner, token) or self.lease["wake"]:
            return False
        self.lease["expires_at"] = 0.0
        return True


class Told:
    """The bus and the metrics: what was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.metrics: list[dict[tuple[str, str | None], float]] = []

    def say(self, detail_type: str, detail: dict[str, Any]) -> None:
        self.events.append((detail_type, dict(detail)))

    def put(self, values: dict[tuple[str, str | None], float]) -> None:
        self.metrics.append(values)

    def of(self, detail_type: str) -> list[dict[str, Any]]:
        return [detail for kind, detail in self.events if kind == detail_type]
