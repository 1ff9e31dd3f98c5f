"""What the parts of the lab ask of each other.

The local AWS (`lab.aws`) decides *that* an instance starts, stops or loses a disk; the machine host (`lab.host`) makes
it so on this computer. They meet only in the types below; `lab.daemon` puts the two together. Nothing here does I/O.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How long the local AWS takes for what AWS does slowly. All values are seconds."""

    name: str
    status_check_interval_s: float
    status_checks_to_impair: int
    ssm_ping_lost_after_s: float
    alarm_time_scale: float  # a period of 60 s lasts 60 * scale
    told_time_scale: float  # the same of alarms that tell people: they count the tick, which always takes a minute
    alarm_evaluation_interval_s: float
    pending_s: float  # RunInstances -> running
    stopping_s: float
    terminating_s: float
    hung_terminating_s: float  # a host that no longer answers
    attach_s: float
    hard_reboot_s: float  # a host that does not go down when asked to reboot is reset after so long
    modify_s: float  # ModifyVolume -> the new size is there (optimizing)
    optimize_s: float  # optimizing -> completed
    modify_again_s: float  # from one ModifyVolume of a volume to the next


FAST = Clock(
    name="fast",
    status_check_interval_s=2.0,
    status_checks_to_impair=2,
    ssm_ping_lost_after_s=8.0,
    alarm_time_scale=0.1,
    told_time_scale=1.0,
    alarm_evaluation_interval_s=1.0,
    pending_s=0.5,
    stopping_s=1.0,
    terminating_s=1.0,
    hung_terminating_s=2.0,
    attach_s=0.3,
    hard_reboot_s=8.0,
    modify_s=0.3,
    optimize_s=2.0,
    modify_again_s=10.0,
)
AWS = Clock(
    name="aws",
    status_check_interval_s=60.0,
    status_checks_to_impair=2,
    ssm_ping_lost_after_s=300.0,
    alarm_time_scale=1.0,
    told_time_scale=1.0,
    alarm_evaluation_interval_s=10.0,
    pending_s=8.0,
    stopping_s=15.0,
    terminating_s=20.0,
    hung_terminating_s=180.0,
    attach_s=3.0,
    hard_reboot_s=240.0,
    modify_s=5.0,
    optimize_s=300.0,
    modify_again_s=21600.0,
)
CLOCKS: Mapping[str, Clock] = {FAST.name: FAST, AWS.name: AWS}
# pgmend's own timings (`timings` in tofu/variables.tf) go with the clock: under `aws` they are what ships.
TIMINGS: Mapping[str, Mapping[str, float]] = {
    FAST.name: {
        "report_interval_s": 2,
        "metric_interval_s": 3,
        "probe_timeout_s": 1,
        "peer_silent_after_s": 3,
        "agent_silent_after_s": 5,
        "boot_grace_s": 90,
        "configure_timeout_s": 120,
        "look_interval_s": 1,
        "restart_wait_s": 15,
        "lease_s": 10,
        "unreachable_after_s": 20,
    },
    AWS.name: {},
}
# And so does what a person is asked for: where a volume may be changed every few seconds, it may grow more often.
BUDGETS: Mapping[str, Mapping[str, int]] = {
    FAST.name: {"disk_growths_per_day": 8},
    AWS.name: {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One region of the lab: its network and where its AWS API listens."""

    name: str  # eu-west-1
    short: str  # euw1
    cidr: str  # 10.10.0.0/16
    host_address: str  # this computer's own leg into the region, 10.10.255.1

    def endpoint(self, port: int) -> str:
        """URL of the region's AWS API as nodes and functions reach it."""
        return f"http://{self.host_address}:{port}"


REGIONS: tuple[Region, ...] = (
    Region(name="eu-west-1", short="euw1", cidr="10.10.0.0/16", host_address="10.10.255.1"),
    Region(name="eu-west-3", short="euw3", cidr="10.20.0.0/16", host_address="10.20.255.1"),
    Region(name="eu-central-1", short="euc1", cidr="10.30.0.0/16", host_address="10.30.255.1"),
)
API_PORT = 4566
OPERATOR_KEY = (
    "operator"  # access key id and secret of the person at the keyboard; no policy binds it
)
# In the user agent of the lab's own tools: who breaks and judges is answered for a region whose API is gone, too.
LAB_TOOL = "pgmend-lab"


class RegionApi(StrEnum):
    """What AWS's endpoints of a region do with whoever asks."""

    ANSWERS = "answers"
    REFUSED = "refused"  # nobody listens: connections are refused, open ones break off
    SILENT = (
        "silent"  # packets get lost: connecting times out, and so do answers on open connections
    )


class RegionService(StrEnum):
    """Services that can be out in one region, by the name that calls are signed for."""

    EVENTS = "events"
    LAMBDA = "lambda"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """What the machine host needs to know to make one EC2 instance real."""

    instance_id: str
    hostname: str
    region: str
    address: str
    mac: str
    endpoint: str = ""  # the region's AWS API, for the lab's own SSM agent


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMetadata:
    """Everything instance metadata v2 answers for one instance, made afresh at each request."""

    instance_id: str
    region: str
    zone: str
    address: str
    mac: str
    hostname: str
    image_id: str
    instance_type: str
    account_id: str
    user_data: bytes
    tags: Mapping[str, str]
    role_name: str | None
    profile_arn: str | None
    credentials: (
        Callable[[], Mapping[str, str]] | None
    )  # AccessKeyId, SecretAccessKey, Token, Expiration (ISO)
    hop_limit: int = 1
    extra: Mapping[str, str] = field(default_factory=dict)


class MetadataSource(Protocol):
    """Answers for instance metadata; implemented by the local EC2."""

    def metadata(self, instance_id: str) -> InstanceMetadata | None:
        """The instance's metadata now, or None when there is no such instance."""


class MachineHost(Protocol):
    """The machines of the lab. Every call is idempotent, thread-safe and may block for a few seconds.

    Raises `lab.errors.LabError` with a sentence when this computer cannot do it.
    """

    def create(self, spec: MachineSpec) -> None:
        """Make the machine's namespace, link and empty root overlay; powered off."""

    def power_on(self, instance_id: str) -> None:
        """Boot it; returns once its init runs, not once it is ready."""

    def shut_down(self, instance_id: str, *, timeout_s: float) -> bool:
        """Ask init to power off; kill it after the time-out. True when it went by itself."""

    def reboot(self, instance_id: str, *, timeout_s: float) -> None:
        """Ask init to reboot; kill and boot when it has not gone down in time. Power and its cable come back."""

    def power_loss(self, instance_id: str) -> None:
        """Fault: the link goes down first, then everything in the machine is killed at once."""

    def freeze(self, instance_id: str) -> None:
        """Fault: every process stops, nothing is lost, nothing answers."""

    def thaw(self, instance_id: str) -> None:
        """The way back from `freeze`."""

    def set_disk_writable(self, instance_id: str, *, writable: bool) -> None:
        """Fault and its way back: the data disk's file system is mounted read-only; what wrote on it is killed."""

    def break_disk(self, instance_id: str) -> None:
        """Fault: the data disk's file system answers every call with an error until it is mounted anew."""

    def set_link(self, instance_id: str, *, up: bool) -> None:
        """Fault and its way back: the machine's network cable."""

    def destroy(self, instance_id: str) -> None:
        """Kill it and remove every trace but its disks."""

    def healthy(self, instance_id: str) -> bool:
        """What EC2's status checks would see: init runs, not frozen, link up."""

    def create_disk(self, volume_id: str, *, size_gib: int, copy_of: str | None = None) -> None:
        """A new blank disk (a sparse file), or a copy of another one."""

    def delete_disk(self, volume_id: str) -> None:
        """Remove a detached disk for good."""

    def grow_disk(self, volume_id: str, *, size_gib: int) -> None:
        """Make a disk larger, attached or not."""

    def attach_disk(self, instance_id: str, volume_id: str) -> None:
        """Make the disk appear on the running machine as a block device, with the by-id link EC2's Nitro hosts have."""

    def detach_disk(self, instance_id: str, volume_id: str, *, force: bool = False) -> None:
        """Take the device away (also from a dead machine).

        Fails while the machine has it mounted and runs, unless forced: then its file system breaks.
        """

    def run(
        self, instance_id: str, argv: Sequence[str], *, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine through its own systemd, for people and tests."""

    def journal(self, instance_id: str, *, into: Path) -> None:
        """Save the machine's systemd journal and console log as text."""

    def machines(self) -> Sequence[str]:
        """Instance ids of all machines that exist."""


class RegionSwitch(Protocol):
    """Cuts between regions, and between a region's nodes and AWS."""

    def cut(self, first: str, second: str) -> None:
        """No packet passes between the two regions (names as in `Region.name`)."""

    def mend(self, first: str, second: str) -> None:
        """The way back from `cut`; what `cut_peering` did stays."""

    def cut_peering(self, first: str, second: str) -> None:
        """No node of one region reaches a node of the other; AWS's endpoints of both stay within reach of both."""

    def mend_peering(self, first: str, second: str) -> None:
        """The way back from `cut_peering`; what `cut` did stays."""

    def set_way_to_aws(self, region: str, *, reachable: bool) -> None:
        """Whether the region's nodes reach AWS's API in any region; they reach each other in any case."""

    def set_delay(self, first: str, second: str, *, one_way_ms: float) -> None:
        """Wide-area delay between two regions, each way."""
