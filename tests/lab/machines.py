"""A machine host of a test's own: two regions, two machines, what one asks of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.errors import LabError
from lab.host.host import Host
from lab.host.paths import Paths
from lab.ports import InstanceMetadata, MachineSpec

DUBLIN, PARIS = "eu-west-1", "eu-west-3"
ALPHA = MachineSpec(
    instance_id="i-0000000000000a1fa",
    hostname="db-euw1-a",
    region=DUBLIN,
    address="10.10.10.11",
    mac="0a:00:00:00:10:11",
)
BRAVO = MachineSpec(
    instance_id="i-000000000000b4a50",
    hostname="db-euw3-a",
    region=PARIS,
    address="10.20.10.11",
    mac="0a:00:00:00:20:11",
)
BORN = ("cut", "-d ", "-f22", "/proc/1/stat")  # when init began, in hundredths of a second
USER_DATA = b'#!/bin/sh\necho "once on $(hostname)"\necho x >>/var/lib/lab/runs\n'


@dataclass
class Source:
    """Metadata for whatever machine asks; remembers machines that went off by themselves."""

    specs: dict[str, MachineSpec] = field(default_factory=dict)
    went_off: list[str] = field(default_factory=list)

    def metadata(self, instance_id: str) -> InstanceMetadata | None:
        spec = self.specs.get(instance_id)
        if spec is None:
            return None
        return InstanceMetadata(
            instance_id=instance_id,
            region=spec.region,
            zone=f"{spec.region}a",
            address=spec.address,
            mac=spec.mac,
            hostname=spec.hostname,
            image_id="ami-0lab",
            instance_type="t3.small",
            account_id="123456789012",
            user_data=USER_DATA,
            tags={"pgmend:slot": spec.hostname},
            role_name="node",
            profile_arn="arn:aws:iam::123456789012:instance-profile/node",
            credentials=lambda: {
                "AccessKeyId": "ASIAX",
                "SecretAccessKey": "s",
                "Token": "t",
                "Expiration": "2099-01-01T00:00:00Z",
            },
        )


@dataclass
class Lab:
    """The host and who answers for it."""

    host: Host
    source: Source
    paths: Paths

    def has(self, spec: MachineSpec) -> None:
        """Create and boot a machine."""
        self.source.specs[spec.instance_id] = spec
        self.host.create(spec)
        self.host.power_on(spec.instance_id)

    def sh(self, spec: MachineSpec, script: str, *, timeout_s: float = 60.0) -> str:
        """What a shell script in the machine prints; it must succeed."""
        done = self.host.run(spec.instance_id, ["/bin/sh", "-euc", script], timeout_s=timeout_s)
        assert done.returncode == 0, f"{script!r} on {spec.hostname}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def ready(self, spec: MachineSpec) -> None:
        """Wait until the machine has booted and its user data has been run, now or long ago."""
        argv = ["test", "-e", "/var/lib/lab/user-data-done"]

        def done() -> bool:
            try:
                return self.host.run(spec.instance_id, argv, timeout_s=5).returncode == 0
            except subprocess.TimeoutExpired:  # asked while its systemd was still coming up
                return False

        eventually(done, f"{spec.hostname} runs its user data")


def eventually(true: Callable[[], bool], what: str, *, within_s: float = 60.0) -> None:
    """Poll until true; the sentence is the failure."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.1)


def came_back(lab: Lab, spec: MachineSpec, before: str) -> None:
    """Wait for a boot later than the one whose init started at `before`."""

    def again() -> bool:
        if not lab.host.healthy(spec.instance_id):
            return False
        try:
            asked = lab.host.run(spec.instance_id, BORN, timeout_s=5)
        except (LabError, subprocess.TimeoutExpired):  # between the old init and the new one
            return False
        return asked.returncode == 0 and asked.stdout.strip() != before

    eventually(again, f"{spec.hostname} is up again")


def reaches(lab: Lab, source: MachineSpec, target: MachineSpec) -> bool:
    argv = ["ping", "-q", "-c", "1", "-W", "1", target.address]
    return lab.host.run(source.instance_id, argv).returncode == 0
