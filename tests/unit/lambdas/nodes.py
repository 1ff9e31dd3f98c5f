"""Machines, disks, agents, Patroni, etcd and documents of the small world, in memory. They do not decide anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

from lambdas.adapters.ssm import CommandState
from lambdas.core.model import InstanceState, Role, ScheduledEvent, Slot, Spec
from tests.unit.lambdas.builders import UNITS

GIB = 1024**3
STEP_S = 0.25
PENDING_S, BOOT_S, CONFIGURE_S, ENDING_S, CHECKS_S, TTL_S = 0.5, 4.0, 3.0, 2.0, 4.0, 20.0
PEER_SILENT_AFTER_S = 3.0


class Crash(BaseException):
    """The function's process is gone: nothing may catch it."""


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
    stopped_at: float | None = None
    restarted_at: float | None = None
    events: tuple[ScheduledEvent, ...] = ()

    def state(self, now: float) -> InstanceState:
        if self.ends_at is not None:
            gone = now >= self.ends_at
            return InstanceState.TERMINATED if gone else InstanceState.SHUTTING_DOWN
        if self.stopped_at is not None:
            return InstanceState.STOPPED if now >= self.stopped_at else InstanceState.STOPPING
        young = now < self.started_at + PENDING_S
        return InstanceState.PENDING if young else InstanceState.RUNNING

    def speaks(self, now: float) -> bool:
        """Its agent is up."""
        booted = now >= self.started_at + PENDING_S + BOOT_S
        return self.power and self.ends_at is None and self.stopped_at is None and booted

    @property
    def started_at(self) -> float:
        """When it was last started."""
        return self.launched_at if self.restarted_at is None else self.restarted_at


@dataclass(kw_only=True)
class Disk:
    """One volume and what lies on it."""

    volume_id: str
    slot: Slot
    holder: str | None = None
    holds_data: bool = False
    read_only: bool = False
    set_aside: bool = False
    size_gib: int = 20
    seen_gib: int = 20  # what the file system has taken of it
    used: float = 0.1  # share of the file system as it was made


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
    cut_off: set[str] = field(default_factory=set)  # whose reports do not arrive
    calls: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    numbers: Iterable[int] = field(default_factory=lambda: count(1))
    crash_when: Callable[[str], bool] = lambda _call: False
    may_end: set[str] = field(default_factory=set)  # slots whose living occupants may be ended
    stillborn: set[str] = field(default_factory=set)  # slots whose new instances never boot
    no_room: set[str] = field(default_factory=set)  # instance types and slots without capacity
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

    def disk_in(self, slot: str) -> Disk:
        """The slot's current disk."""
        (found,) = (d for d in self.disks.values() if d.slot.name == slot and not d.set_aside)
        return found

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
            if machine.speaks(self.now) and machine.slot.name not in self.cut_off:
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
                "disk": self._disk_body(machine) if up else None,
                "volume_id": self._runs_on(machine) if up else None,
                "peers": {name: self._peer(name) for name in others},
            }
        )

    def _peer(self, name: str) -> dict[str, object]:
        since = self.silent_since.get(name)
        if since is None or self.now - since < PEER_SILENT_AFTER_S:
            return {"state": "alive", "for_s": 1.0}
        return {"state": "silent", "for_s": self.now - since}

    def _runs_on(self, machine: Machine) -> str | None:
        disk = self._disk_of(machine)
        return None if disk is None else disk.volume_id

    def _disk_body(self, machine: Machine) -> dict[str, object] | None:
        disk = self._disk_of(machine)
        if disk is None:
            return None
        return {
            "mounted": True,
            "read_only": disk.read_only,
            "writable": not disk.read_only,
            "size_bytes": disk.seen_gib * GIB,
            "used_bytes": int(disk.used * 20 * GIB),
            "device_bytes": disk.size_gib * GIB,
            "ballast_bytes": 0,
        }

    # -- documents

    def _finish_commands(self) -> None:
        for sent in self.sent.values():
            machine = self.machines[sent.machine]
            if sent.state is None and self.now >= sent.ends_at and machine.speaks(self.now):
                sent.state = self._run(sent, machine)

    def _run(self, sent: Sent, machine: Machine) -> CommandState:
        slot, disk = machine.slot, self._disk_of(machine)
        if sent.document == "pgmend-switchover" and self.leader == slot.name:
            self.leader, self.timeline = sent.parameters["To"], self.timeline + 1
        if sent.document == "pgmend-grow-file-system" and disk is not None:
            disk.seen_gib = disk.size_gib
        if sent.document != "pgmend-configure-node":
            return CommandState(status="Success", exit_code=0, output='{"ok": true}')
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
