"""The faults the lab can do, each with its way back. `heal` is safe to call at any time, also
twice.

A host that lost power has no way back by hand: the healer must replace it. Its `heal` does
nothing, on purpose.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lab.control import MachineFault, RegionLink
from lab.errors import LabError, UsageError
from lab.faults.bench import Bench
from lab.faults.targets import ROLES, Target
from lab.operator import Occupant, Slot
from lab.ports import REGIONS

SERVICE: Final[Mapping[str, str]] = {
    "db": "patroni",
    "haproxy": "haproxy",
    "witness": "etcd",
    "app": "pgmend-app",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """A fault that was injected: enough to undo it from another process."""

    fault: str
    target: str
    slot: str | None
    region: str | None
    instance_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of damage. `inject` returns once the damage is done."""

    name: str
    describe: str
    default_target: str
    do: Callable[[Bench, Occupant, Slot], None] | None = None
    undo: Callable[[Bench, str, str], None] | None = None  # bench, instance id, role
    whole_region: bool = False
    roles: tuple[str, ...] = ROLES

    def inject(self, bench: Bench, target: Target) -> Injected:
        """Do the damage. Raises UsageError when the target does not fit."""
        if self.whole_region:
            return self._inject_region(bench, target)
        if target.slot is None or self.do is None:
            raise UsageError(
                f"'{self.name}' hits one machine; name a slot, leader, replica or a role"
            )
        occupant = bench.occupant_of(target.slot.name)
        self.do(bench, occupant, target.slot)
        return Injected(
            fault=self.name,
            target=target.name,
            slot=target.slot.name,
            region=target.slot.region,
            instance_id=occupant.instance_id,
        )

    def heal(self, bench: Bench, done: Injected) -> None:
        """Undo what can be undone; quiet when the machine has been replaced meanwhile."""
        if self.whole_region and done.region is not None:
            _each_link(bench, RegionLink.MEND, done.region)
        if self.undo is None or done.instance_id is None or done.slot is None:
            return
        if any(item.instance_id == done.instance_id for item in bench.api.occupants()):
            role = next(slot.role for slot in bench.api.slots() if slot.name == done.slot)
            # The healer may end it between the question and the act.
            with contextlib.suppress(LabError):
                self.undo(bench, done.instance_id, role)

    def _inject_region(self, bench: Bench, target: Target) -> Injected:
        region = target.region or (target.slot.region if target.slot is not None else None)
        if region is None:
            raise UsageError(f"'{self.name}' hits a region; say region:euw1, for example")
        _each_link(bench, RegionLink.CUT, region)
        return Injected(
            fault=self.name, target=target.name, slot=None, region=region, instance_id=None
        )


def _each_link(bench: Bench, link: RegionLink, region: str) -> None:
    for other in REGIONS:
        if other.name != region:
            bench.machines.region_link(link, region, other.name)


def _machine(fault: MachineFault) -> Callable[[Bench, Occupant, Slot], None]:
    return lambda bench, occupant, _: bench.machines.machine_fault(fault, occupant.instance_id)


def _machine_back(fault: MachineFault) -> Callable[[Bench, str, str], None]:
    return lambda bench, instance_id, _: bench.machines.machine_fault(fault, instance_id)


def _terminate(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    bench.api.terminate(occupant.instance_id, slot.region)


def _stop_service(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    bench.command(occupant.instance_id, "systemctl", "stop", SERVICE[slot.role])


def _start_service(bench: Bench, instance_id: str, role: str) -> None:
    bench.command(instance_id, "systemctl", "start", SERVICE[role])


def _kill_postgres(bench: Bench, occupant: Occupant, _: Slot) -> None:
    # The first line of the file is the pid; where the data lies is the node's business.
    script = (
        "find /var/lib/pgmend/postgresql -maxdepth 4 -name postmaster.pid"
        " -exec head -qn 1 {} + | head -n 1 | xargs kill -KILL"
    )
    bench.command(occupant.instance_id, "sh", "-c", script)


def _kill_agent(bench: Bench, occupant: Occupant, _: Slot) -> None:
    bench.command(occupant.instance_id, "systemctl", "stop", "pgmend-agent")


def _start_agent(bench: Bench, instance_id: str, _: str) -> None:
    bench.command(instance_id, "systemctl", "start", "pgmend-agent")


POWER_LOSS: Final = Fault(
    name="power-loss",
    describe="the host loses power; EC2 goes on calling it running",
    default_target="replica",
    do=_machine(MachineFault.POWER_LOSS),
)
TERMINATE: Final = Fault(
    name="terminate",
    describe="somebody terminates the instance through the AWS API",
    default_target="replica",
    do=_terminate,
)
FREEZE: Final = Fault(
    name="freeze",
    describe="every process on the host stands still, nothing is lost",
    default_target="replica",
    do=_machine(MachineFault.FREEZE),
    undo=_machine_back(MachineFault.THAW),
)
UNPLUG: Final = Fault(
    name="unplug",
    describe="the host's network cable is pulled",
    default_target="replica",
    do=_machine(MachineFault.UNPLUG),
    undo=_machine_back(MachineFault.PLUG),
)
STOP_SERVICE: Final = Fault(
    name="stop-service",
    describe="the main service of the node is stopped",
    default_target="haproxy",
    do=_stop_service,
    undo=_start_service,
)
STOP_AGENT: Final = Fault(
    name="stop-agent",
    describe="the node agent is stopped, all else runs on",
    default_target="replica",
    do=_kill_agent,
    undo=_start_agent,
)
POSTGRES_KILL: Final = Fault(
    name="postgres-kill",
    describe="the postmaster is killed",
    default_target="leader",
    do=_kill_postgres,
    roles=("db",),
)
CUT_REGION: Final = Fault(
    name="cut-region",
    describe="no packet passes between the region and the others",
    default_target="region:euw3",
    whole_region=True,
)

FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault
    for fault in (
        POWER_LOSS,
        TERMINATE,
        FREEZE,
        UNPLUG,
        STOP_SERVICE,
        STOP_AGENT,
        POSTGRES_KILL,
        CUT_REGION,
    )
}


def fault_named(name: str) -> Fault:
    """The fault of that name; `_` and `-` mean the same. Raises UsageError listing the names."""
    found = FAULTS.get(name.replace("_", "-"))
    if found is None:
        raise UsageError(f"unknown fault '{name}': say one of {', '.join(FAULTS)}, big-database")
    return found
