"""What the running lab can be asked, as types: `lab.control` carries it over the socket, `lab.serve` does it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from lab.ports import RegionApi, RegionService

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "LabControl",
    "LabStatus",
    "MachineFault",
    "MachineState",
    "Operation",
    "RegionApi",
    "RegionLink",
    "RegionService",
    "RunResult",
]


class Operation(StrEnum):
    """Everything the running lab can be asked."""

    STATUS = "status"
    MACHINES = "machines"
    MACHINE_FAULT = "machine-fault"
    REGION_LINK = "region-link"
    WAY_TO_AWS = "way-to-aws"
    REGION_API = "region-api"
    REGION_SERVICE = "region-service"
    POWER = "power"
    FLAP = "flap"
    CALM = "calm"
    OUTAGES = "outages"
    CREDENTIALS = "credentials"
    STATUS_CHECKS = "status-checks"
    SCHEDULE_EVENT = "schedule-event"
    CANCEL_EVENTS = "cancel-events"
    REFUSE_LAUNCHES = "refuse-launches"
    ALLOW_LAUNCHES = "allow-launches"
    RUN = "run"
    ENTER = "enter"
    JOURNAL = "journal"
    STOP = "stop"


class MachineFault(StrEnum):
    """What can be done to one machine from outside, and the ways back."""

    POWER_LOSS = "power_loss"
    FREEZE = "freeze"  # the kernel hangs: EC2's checks fail
    HANG = "hang"  # all processes hang, the kernel still answers: EC2's checks pass
    THAW = "thaw"  # the way back from either
    UNPLUG = "unplug"
    PLUG = "plug"
    DISK_READ_ONLY = "disk_read_only"  # the data disk's file system; what wrote on it is killed
    DISK_WRITABLE = "disk_writable"
    DISK_ERRORS = "disk_errors"  # its file system answers EIO to everything; a reboot mends it


class RegionLink(StrEnum):
    """What can be done to the way between two regions."""

    CUT = "cut"  # no packet passes, also none to AWS's endpoints in the other region
    MEND = "mend"  # the way back from it
    CUT_PEERING = "cut-peering"  # nodes do not reach each other; AWS's endpoints stay within reach
    MEND_PEERING = "mend-peering"  # the way back from it; a cut stays


@dataclass(frozen=True, slots=True, kw_only=True)
class LabStatus:
    """The lab itself: since when it runs, how it was started, and where its files are."""

    pid: int
    started_at: float  # epoch seconds
    size: str
    durability: str
    clock: str
    directory: str  # where the daemon keeps logs and evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """One machine as the machine host knows it."""

    instance_id: str
    address: str
    region: str
    healthy: bool  # what a status check would find


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a command printed in a machine."""

    returncode: int
    stdout: str
    stderr: str


class LabControl(Protocol):
    """The daemon's side. Every call may raise `LabError` with a sentence for the person."""

    def status(self) -> LabStatus:
        """The lab as it was started."""

    def machines(self) -> Sequence[MachineState]:
        """All machines that exist now."""

    def machine_fault(self, fault: MachineFault, instance_id: str) -> None:
        """Do this to the machine."""

    def region_link(self, link: RegionLink, first: str, second: str) -> None:
        """Cut or mend two regions, named as in `lab.ports.Region.name`."""

    def way_to_aws(self, region: str, *, reachable: bool) -> None:
        """Whether the nodes of a region reach AWS's API; they reach each other and their clients in any case."""

    def region_api(self, region: str, api: RegionApi) -> None:
        """What AWS's endpoints of a region do: answer, refuse or keep silent.

        While they do not answer, the region's EventBridge, alarms, schedules and functions stand still as well;
        functions that run there are killed. Its machines run on.
        """

    def region_service(self, region: str, service: RegionService, *, running: bool) -> None:
        """Stop one service of a region, or let it run again."""

    def power(self, region: str, *, zone: str | None, on: bool) -> None:
        """The power of all hosts of a region, or of one of its zones.

        Nothing can be launched, started or attached where there is none. When it is back, the hosts of all instances
        that EC2 calls running boot by themselves, with their disks as they were.
        """

    def flap(self, region: str, *, seed: int, for_s: float) -> None:
        """Cut the region from the others and mend it, again and again, for so long; returns at once.

        How long each turn lasts follows from the seed. A region that flaps already begins anew.
        """

    def calm(self, region: str) -> None:
        """The region flaps no more, and what the flapping cut is mended."""

    def outages(self) -> Sequence[str]:
        """What is out now as a whole: endpoints, services, power, flapping ways; a sentence each."""

    def credentials(self, instance_id: str, *, valid: bool) -> None:
        """Whether AWS takes the instance's credentials for valid; else every call of it has expired ones."""

    def status_checks(self, instance_id: str, verdict: str | None) -> None:
        """What EC2's checks say, `ok` or `impaired`, whatever the host does; None: what they find."""

    def schedule_event(self, instance_id: str, code: str, not_before: float) -> str:
        """EC2 announces maintenance and does it at `not_before` (epoch seconds). The event's id.

        Codes are EC2's: instance-retirement, instance-stop, instance-reboot, system-reboot, system-maintenance.
        """

    def cancel_events(self, instance_id: str) -> None:
        """EC2 takes back what it has announced for the instance."""

    def refuse_launches(
        self, code: str, *, instance_type: str | None = None, zone: str | None = None
    ) -> None:
        """Refuse launches with this error code: of one type, in one zone, or all.

        Codes are EC2's: InsufficientInstanceCapacity, InstanceLimitExceeded, VcpuLimitExceeded, RequestLimitExceeded.
        """

    def allow_launches(self) -> None:
        """Refuse none any more."""

    def run(self, instance_id: str, argv: Sequence[str], timeout_s: float) -> RunResult:
        """Run a command in the machine through its own systemd."""

    def enter(self, instance_id: str, argv: Sequence[str]) -> Sequence[str]:
        """The command line that runs this in the machine with the caller's terminal, as root."""

    def journal(self, instance_id: str, into: str) -> None:
        """Save the machine's journal and console as text in this directory of this computer."""

    def stop(self) -> None:
        """Begin to stop; returns at once, the process ends when everything is gone."""
