"""What a fault may touch: the machines through the lab's control, AWS through its API, and who
leads now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from lab.control import MachineFault, RegionApi, RegionLink, RegionService, RunResult
from lab.errors import LabError
from lab.freeze.healer import HealerMode
from lab.operator import ClientFactory, Occupant, Slot, make_client

WORDS_LINES_MAX: Final = 3  # of what a command that failed had to say


class Machines(Protocol):
    """The part of `lab.control.ControlClient` faults use."""

    def machine_fault(self, fault: MachineFault, instance_id: str) -> None:
        """Do this to the machine."""

    def region_link(self, link: RegionLink, first: str, second: str) -> None:
        """Cut or mend two regions."""

    def way_to_aws(self, region: str, *, reachable: bool) -> None:
        """Whether the nodes of a region reach AWS's API."""

    def region_api(self, region: str, api: RegionApi) -> None:
        """What AWS's endpoints of a region do."""

    def region_service(self, region: str, service: RegionService, *, running: bool) -> None:
        """Stop one service of a region, or let it run again."""

    def power(self, region: str, *, zone: str | None, on: bool) -> None:
        """The power of all hosts of a region, or of one of its zones."""

    def flap(self, region: str, *, seed: int, for_s: float) -> None:
        """Cut the region from the others and mend it, again and again."""

    def calm(self, region: str) -> None:
        """The region flaps no more."""

    def credentials(self, instance_id: str, *, valid: bool) -> None:
        """Whether AWS takes the instance's credentials for valid."""

    def status_checks(self, instance_id: str, verdict: str | None) -> None:
        """What EC2's checks say of an instance; None for what they find."""

    def schedule_event(self, instance_id: str, code: str, not_before: float) -> str:
        """EC2 announces maintenance."""

    def cancel_events(self, instance_id: str) -> None:
        """EC2 takes back what it has announced."""

    def refuse_launches(
        self, code: str, *, instance_type: str | None = None, zone: str | None = None
    ) -> None:
        """Refuse launches with this error code."""

    def allow_launches(self) -> None:
        """Refuse none any more."""

    def run(self, instance_id: str, argv: Sequence[str], timeout_s: float = 60.0) -> RunResult:
        """Run a command in the machine."""


class Api(Protocol):
    """The part of `lab.operator.Operator` faults use."""

    def spec(self) -> Mapping[str, Any]:
        """The cluster spec."""

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
    clients: ClientFactory = make_client
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def occupant_of(self, slot: str) -> Occupant:
        """The running instance in the slot. Raises LabError when it is empty."""
        for occupant in self.api.occupants():
            if occupant.slot == slot and occupant.state == "running":
                return occupant
        raise LabError(
            f"{slot} has no running instance to break; 'make lab-status' shows who is there"
        )

    def slot(self, name: str) -> Slot:
        """The slot of that name. Raises LabError when there is none."""
        for slot in self.api.slots():
            if slot.name == name:
                return slot
        raise LabError(f"there is no slot {name}")

    def leading(self) -> str:
        """The slot that leads now. Raises LabError when nobody does."""
        found = self.leader()
        if found is None:
            raise LabError("no database leads now")
        return found

    # on machines

    def command(self, instance_id: str, *argv: str, timeout_s: float = 60.0) -> str:
        """Run a command in the machine and return what it printed; LabError when it fails."""
        result = self.machines.run(instance_id, argv, timeout_s)
        if result.returncode != 0:
            tail = (result.stderr or result.stdout).strip().splitlines()[-WORDS_LINES_MAX:]
            words = " ".join(argv)
            why = "; ".join(tail) or "no output"
            raise LabError(f"'{words[:80]}' failed on {instance_id}: {why}")
        return result.stdout.strip()

    def shell(self, instance_id: str, script: str, *, timeout_s: float = 60.0) -> str:
        """The same for a script, which ends at its first failure."""
        return self.command(instance_id, "/bin/bash", "-euc", script, timeout_s=timeout_s)

    def sql(self, slot: str, statement: str, *, database: str = "postgres") -> str:
        """One statement by the superuser on the slot's own database, autocommitted."""
        psql = ("runuser", "-u", "postgres", "--", "psql", "-XAtqv", "ON_ERROR_STOP=1")
        instance_id = self.occupant_of(slot).instance_id
        return self.command(instance_id, *psql, "-d", database, "-c", statement, timeout_s=120.0)

    # on AWS, and on time

    def observing(self) -> AbstractContextManager[None]:
        """The healer only watches, inside: for damage that takes a few steps to do."""
        return HealerMode(self.clients).observing()

    def until(self, true: Callable[[], bool], what: str, *, within_s: float) -> None:
        """Wait for it. Raises LabError when the time is over."""
        end = self.clock() + within_s
        while not true():
            if self.clock() > end:
                raise LabError(f"not within {within_s:.0f} s: {what}")
            self.sleep(0.3)

    def aws(self, service: str, region: str) -> Any:  # noqa: ANN401 - boto3's clients have no types here
        """A boto3 client as the operator has it; use inside `said`."""
        return self.clients(service, region)


@contextmanager
def said(doing: str) -> Any:  # noqa: ANN401 - a context manager's generator
    """What AWS refuses inside is one sentence."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise LabError(f"the local AWS could not {doing}: {error}") from error
