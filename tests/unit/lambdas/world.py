"""A small world for the real healer: machines, disks, agents, Patroni and the hub table, all in memory.

Time is a number that only sleeping moves. The fakes keep AWS's promises that healing leans on: client tokens, exclusive
interfaces and disks, states that take time. They do not decide anything.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast

from lambdas.adapters.ec2 import Ec2
from lambdas.adapters.notices import Bus, Metrics
from lambdas.adapters.ssm import CommandState, Ssm
from lambdas.adapters.table import RawReport, State, Table
from lambdas.core.model import (
    Birth,
    Incident,
    Instance,
    InstanceState,
    Mode,
    OpenAction,
    Role,
    Slot,
    Spec,
    Volume,
)
from lambdas.observe import World
from lambdas.run import Outcome, Run
from tests.unit.lambdas.builders import UNITS, the_spec

STEP_S = 0.25
PENDING_S, BOOT_S, CONFIGURE_S, ENDING_S, CHECKS_S, TTL_S = 0.5, 4.0, 3.0, 2.0, 4.0, 20.0
PEER_SILENT_AFTER_S = 3.0


class Crash(BaseException):
    """The function's process is gone: nothing may catch it."""


def fast_spec() -> Spec:
    """The example's cluster with the lab's fast timings."""
    spec = the_spec()
    timings = replace(
        spec.timings,
        report_interval_s=1.0,
        peer_silent_after_s=PEER_SILENT_AFTER_S,
        agent_silent_after_s=4.0,
        boot_grace_s=60.0,
        configure_timeout_s=60.0,
        look_interval_s=1.0,
        restart_wait_s=10.0,
        run_budget_s=150.0,
    )
    return replace(spec, timings=timings)


@dataclass(kw_only=True)
class Machine:
    """One instance and the node on it."""

    instance_id: str
    slot: Slot
    launched_at: float
    power: bool = True
    ends_at: float | None = None
    dead_since: float | None = None
    configured: bool = False
    sequence: int = 0
    was_running: bool = False

    def state(self, now: float) -> InstanceState:
        if self.ends_at is not None:
            gone = now >= self.ends_at
            return InstanceState.TERMINATED if gone else InstanceState.SHUTTING_DOWN
        young = now < self.launched_at + PENDING_S
        return InstanceState.PENDING if young else InstanceState.RUNNING

    def speaks(self, now: float) -> bool:
        """Its agent is up."""
        booted = now >= self.launched_at + PENDING_S + BOOT_S
        return self.power and self.ends_at is None and booted


@dataclass(kw_only=True)
class Disk:
    """One volume and what lies on it."""

    volume_id: str
    slot: Slot
    holder: str | None = None
    holds_data: bool = False


@dataclass(kw_only=True)
class Sent:
    """One command."""

    command_id: str
    machine: str
    document: str
    parameters: dict[str, str]
    comment: str
    ends_at: float
    state: CommandState | None = None


@dataclass
class Nodes:
    """All machines of the cluster, Patroni and etcd among them."""

    spec: Spec
    now: float = 1_800_000_000.0
    machines: dict[str, Machine] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    leader: str | None = None
    leader_lost_at: float | None = None
    timeline: int = 1
    born_by_configure: bool = False
    reports: dict[str, str] = field(default_factory=dict)
    silent_since: dict[str, float] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    numbers: Iterable[int] = field(default_factory=lambda: count(1))
    crash_when: Callable[[str], bool] = lambda _call: False
    events: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    # -- time

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + STEP_S)
            due = [e for e in self.events if e[0] <= self.now]
            self.events = [e for e in self.events if e[0] > self.now]
            for _, happen in due:
                happen()
            self._advance()

    def at(self, in_s: float, happen: Callable[[], None]) -> None:
        """Let something happen later."""
        self.events.append((self.now + in_s, happen))

    def _advance(self) -> None:
        for machine in self.machines.values():
            if machine.state(self.now) is InstanceState.TERMINATED:
                for disk in self.disks.values():
                    if disk.holder == machine.instance_id:
                        disk.holder = None
        self._finish_commands()
        self._elect()
        if abs(self.now - round(self.now)) < 1e-6:
            self._report()

    # -- what people and faults do

    def occupant(self, slot: str) -> Machine:
        found = [m for m in self.machines.values() if m.slot.name == slot and self._stands(m)]
        assert len(found) == 1, f"{slot} has {len(found)} occupants"
        return found[0]

    def power_loss(self, slot: str) -> None:
        machine = self.occupant(slot)
        machine.power, machine.dead_since = False, self.now

    def terminate_from_outside(self, slot: str) -> None:
        machine = self.occupant(slot)
        machine.power, machine.ends_at = False, self.now + ENDING_S

    def _stands(self, machine: Machine) -> bool:
        return machine.state(self.now) is not InstanceState.TERMINATED

    # -- Patroni and etcd

    def _serves(self, slot: str) -> bool:
        return any(
            m.slot.name == slot and m.speaks(self.now) and m.configured
            for m in self.machines.values()
        )

    def majority(self) -> bool:
        voters = self.spec.voters
        return sum(self._serves(v.name) for v in voters) * 2 > len(voters)

    def _elect(self) -> None:
        if self.leader is not None and self._serves(self.leader):
            self.leader_lost_at = None
            return
        if self.leader is None:
            return
        self.leader_lost_at = self.leader_lost_at or self.now
        if self.now - self.leader_lost_at < TTL_S or not self.majority():
            return
        heirs = [s.name for s in self.spec.slots if s.role is Role.DB and self._serves(s.name)]
        if heirs:
            self.leader, self.timeline, self.leader_lost_at = heirs[0], self.timeline + 1, None

    # -- agents

    def _report(self) -> None:
        for name in (s.name for s in self.spec.slots if s.active):
            if any(m.slot.name == name and m.speaks(self.now) for m in self.machines.values()):
                self.silent_since.pop(name, None)
            else:
                self.silent_since.setdefault(name, self.now)
        for machine in self.machines.values():
            if machine.speaks(self.now):
                machine.sequence += 1
                self.reports[machine.slot.name] = self._body(machine)

    def _body(self, machine: Machine) -> str:

        slot, up = machine.slot, machine.configured
        others = [s.name for s in self.spec.slots if s.active and s.name != slot.name]
        leads, led = slot.name == self.leader, self.leader is not None and self._serves(self.leader)
        units = UNITS[slot.role] + (("etcd",) if slot.etcd_voter else ())
        is_db = slot.role is Role.DB
        replicas = [
            {"name": s.name, "state": "streaming", "lag_bytes": 0}
            for s in self.spec.slots
            if s.role is Role.DB and s.name != self.leader and self._serves(s.name)
        ]
        return json.dumps(
            {
                "version": 1,
                "cluster": self.spec.cluster,
                "slot": slot.name,
                "instance_id": machine.instance_id,
                "sequence": machine.sequence,
                "phase": "configured" if up else "idle",
                "services": dict.fromkeys(units, "active" if up else "inactive"),
                "patroni": {
                    "up": True,
                    "role": "leader" if leads else "replica",
                    "timeline": self.timeline,
                    "leader": self.leader,
                    "paused": False,
                }
                if up and is_db
                else None,
                "postgres": {
                    "up": True,
                    "in_recovery": not leads,
                    "timeline": self.timeline,
                    "receiver_up": None if leads else led,
                    "system_identifier": "745",
                    "replication": replicas if leads else [],
                }
                if up and is_db
                else None,
                "etcd": {"healthy": self.majority(), "cluster_id": "cdf8", "alarms": []}
                if up and slot.etcd_voter
                else None,
                "haproxy": {"up": True, "write_backends_up": [self.leader] if led else []}
                if up and slot.role is Role.HAPROXY
                else None,
                "app": {"up": True, "ready": led} if up and slot.role is Role.APP else None,
                "peers": {name: {"state": self._peer(name), "for_s": 1.0} for name in others},
            }
        )

    def _peer(self, name: str) -> str:
        since = self.silent_since.get(name)
        return (
            "silent" if since is not None and self.now - since >= PEER_SILENT_AFTER_S else "alive"
        )

    # -- documents

    def _finish_commands(self) -> None:
        for sent in self.sent.values():
            machine = self.machines[sent.machine]
            if sent.state is None and self.now >= sent.ends_at and machine.speaks(self.now):
                sent.state = self._run(sent, machine)

    def _run(self, sent: Sent, machine: Machine) -> CommandState:
        if sent.document != "pgmend-configure-node":
            return CommandState(status="Success", exit_code=0, output='{"ok": true}')
        slot, disk = machine.slot, self._disk_of(machine)
        joins = sent.parameters["Birth"] == "no"
        needs_data = slot.role is Role.DB or slot.etcd_voter
        if slot.etcd_voter and joins and not (disk and disk.holds_data) and not self.majority():
            message = '{"ok": false, "code": "hold", "message": "no etcd majority"}'
            return CommandState(status="Failed", exit_code=11, output=message)
        machine.configured = True
        if disk is not None and needs_data:
            disk.holds_data = True
        if self.leader is None and not joins and slot.role is Role.DB:
            first = next(s.name for s in self.spec.slots if s.role is Role.DB and s.active)
            if slot.name == first:
                self.leader = first
        return CommandState(status="Success", exit_code=0, output='{"ok": true, "message": "ok"}')

    def _disk_of(self, machine: Machine) -> Disk | None:
        return next((d for d in self.disks.values() if d.holder == machine.instance_id), None)

    def called(self, call: str) -> None:
        """Note a changing call; perhaps the function dies right after it."""
        self.calls.append(call)
        if self.crash_when(call):
            raise Crash(call)

    def count(self, kind: str, slot: str) -> int:
        """How often a slot saw one kind of changing call."""
        return self.calls.count(f"{kind} {slot}")


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
            )
            for d in self._nodes.disks.values()
            if d.slot.region == self._region
        )

    def launch(self, slot: Slot, *, action_id: str, incident: str) -> str:
        assert incident
        n = self._nodes
        if action_id not in n.tokens:
            standing = [m for m in n.machines.values() if m.slot is slot and n._stands(m)]
            assert not standing, f"the interface of {slot.name} is still in use"
            instance_id = f"i-{next(iter(n.numbers)):04d}"
            n.machines[instance_id] = Machine(instance_id=instance_id, slot=slot, launched_at=n.now)
            n.tokens[action_id] = instance_id
            n.called(f"launch {slot.name}")
        return n.tokens[action_id]

    def create_volume(self, slot: Slot, *, action_id: str) -> str:
        n = self._nodes
        if action_id not in n.tokens:
            volume_id = f"vol-{next(iter(n.numbers)):04d}"
            n.disks[volume_id] = Disk(volume_id=volume_id, slot=slot)
            n.tokens[action_id] = volume_id
            n.called(f"create-disk {slot.name}")
        return n.tokens[action_id]

    def attach(self, *, volume_id: str, instance_id: str) -> None:
        disk = self._nodes.disks[volume_id]
        assert disk.holder in (None, instance_id), "a disk cannot be on two machines"
        disk.holder = instance_id
        self._nodes.called(f"attach {disk.slot.name}")

    def start(self, instance_id: str) -> None:
        self._nodes.called(f"start {self._nodes.machines[instance_id].slot.name}")

    def terminate(self, instance_id: str) -> None:
        machine = self._nodes.machines[instance_id]
        alive = machine.speaks(self._nodes.now)
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
        self.strength: dict[str, Any] = {}

    def state(self) -> State:
        return State(
            reports=tuple(RawReport(slot=s, body=b) for s, b in self._nodes.reports.items()),
            birth=self.birth,
            closed=self.closed,
            mode=Mode.AUTO,
            freshness=dict(self.freshness),
            open_actions=dict(self.actions),
            incidents=dict(self.open),
        )

    def declare_birth(self, birth: Birth) -> bool:
        if self.birth is not None:
            return False
        self.birth = birth
        self._nodes.called("declare-birth cluster")
        return True

    def declare_born(self, *, etcd_cluster_id: str, system_identifier: str) -> None:
        assert self.birth is not None
        self.birth = replace(
            self.birth,
            state="born",
            etcd_cluster_id=etcd_cluster_id,
            system_identifier=system_identifier,
        )
        self._nodes.called("declare-born cluster")

    def save_freshness(self, slots: dict[str, Any]) -> None:
        self.freshness = dict(slots)

    def save_strength(self, **verdict: Any) -> None:
        self.strength = verdict

    def save_incident(self, incident: Incident) -> None:
        self.open[incident.slot] = incident
        self.history[incident.incident_id] = (incident, None)

    def heal_incident(self, incident: Incident, *, at: float, sentence: str) -> None:
        assert sentence
        self.open.pop(incident.slot, None)
        self.history[incident.incident_id] = (incident, at)

    def save_action(self, slot: str, action: OpenAction, *, token: int) -> None:
        assert token == self.lease["token"]
        self.actions[slot] = action
        self._nodes.called(f"save-action {slot}")

    def clear_action(self, slot: str) -> None:
        self.actions.pop(slot, None)

    def journal(
        self, *, at_iso: str, action_id: str, entry: dict[str, str], token: int, at: float
    ) -> None:
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


class Stage:
    """The nodes, the hub and a healer to wake."""

    def __init__(self, spec: Spec | None = None) -> None:
        self.spec = spec or fast_spec()
        self.nodes = Nodes(self.spec)
        self.table = MemoryTable(self.nodes)
        self.told = Told()
        self.sentences: list[str] = []
        self.random = random.Random(1)  # noqa: S311 - the same run every time

    def run(self, wake: str = "tick", *, remaining_s: Callable[[], float] = lambda: 900.0) -> Run:
        """A run that has not begun."""
        n = self.nodes
        world = World(
            spec=self.spec,
            ec2={r: cast("Ec2", FakeEc2(n, r)) for r in self.spec.regions},
            ssm={r: cast("Ssm", FakeSsm(n, r)) for r in self.spec.regions},
            table=cast("Table", self.table),
            iso=lambda at: datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        )
        return Run(
            world=world,
            bus=cast("Bus", self.told),
            metrics=cast("Metrics", self.told),
            clock=self,
            wake=wake,
            remaining_s=remaining_s,
            log=lambda sentence, _extra: self.sentences.append(sentence),
        )

    def now(self) -> float:
        return self.nodes.now

    def sleep(self, seconds: float) -> None:
        self.nodes.sleep(max(seconds, STEP_S))

    def lose(self, *slots: str) -> None:
        """Hosts lose power, and time passes until agents announce that they cannot reach them."""
        for slot in slots:
            self.nodes.power_loss(slot)
        self.nodes.sleep(PEER_SILENT_AFTER_S + 2.0)

    def steal_the_lease(self) -> None:
        """Another run takes over, as it may once a lease has run out."""
        self.table.lease.update(owner="thief", token=self.table.lease["token"] + 1)

    def wake(self, why: str = "tick") -> Outcome:
        """Wake the healer and let it run to its end."""
        return self.run(why).go()

    def until_full(self, *, within_s: float, wake: str = "tick") -> float:
        """Wake again and again, as the tick does, until full strength. Seconds it took."""
        began = self.now()
        while True:
            outcome = self.wake(wake)
            took_s = self.now() - began
            if outcome.full_strength:
                assert took_s <= within_s, f"full strength after {took_s:.1f} s, not {within_s} s"
                return took_s
            assert took_s <= within_s, f"not at full strength after {took_s:.0f} s: {outcome}"
            self.nodes.sleep(5.0)


def a_born_cluster() -> Stage:
    """From nothing to full strength; the past is then forgotten."""
    stage = Stage()
    stage.until_full(within_s=120.0)
    stage.nodes.sleep(60.0)
    stage.wake()
    stage.nodes.calls.clear()
    stage.told.events.clear()
    stage.sentences.clear()
    return stage
