"""What a fault may touch: the machines through the lab's control, AWS through its API, and who
leads now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lab.control import MachineFault, RegionLink, RunResult
from lab.errors import LabError
from lab.operator import Occupant, Slot


class Machines(Protocol):
    """The part of `lab.control.ControlClient` faults use."""

    def machine_fault(self, fault: MachineFault, instance_id: str) -> None:
        """Do this to the machine."""

    def region_link(self, link: RegionLink, first: str, second: str) -> None:
        """Cut or mend two regions."""

    def run(self, instance_id: str, argv: Sequence[str], timeout_s: float = 60.0) -> RunResult:
        """Run a command in the machine."""


class Api(Protocol):
    """The part of `lab.operator.Operator` faults use."""

    def slots(self) -> tuple[Slot, ...]:
        """Every slot."""

    def occupants(self) -> tuple[Occupant, ...]:
        """Instances that are not terminated."""

    def terminate(self, instance_id: str, region: str) -> None:
        """End an instance through the API."""

    def rules(self, region: str) -> Mapping[str, Mapping[str, object]]:
        """EventBridge rules of a region."""

    def switch_rule(self, name: str, region: str, bus: str, *, enabled: bool) -> None:
        """Disable or enable one rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything a fault works with."""

    machines: Machines
    api: Api
    leader: Callable[[], str | None]  # slot of the leader, asked directly

    def occupant_of(self, slot: str) -> Occupant:
        """The running instance in the slot. Raises LabError when it is empty."""
        for occupant in self.api.occupants():
            if occupant.slot == slot and occupant.state == "running":
                return occupant
        raise LabError(
            f"{slot} has no running instance to break; 'make lab-status' shows who is there"
        )

    def command(self, instance_id: str, *argv: str) -> None:
        """Run a command in the machine; LabError when it fails."""
        result = self.machines.run(instance_id, argv)
        if result.returncode != 0:
            tail = (result.stderr or result.stdout).strip().splitlines()[-1:] or ["no output"]
            raise LabError(f"'{' '.join(argv)}' failed on {instance_id}: {tail[0]}")
