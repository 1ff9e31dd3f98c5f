"""The machine host on this computer, for real: two regions, a few machines, their disks, faults and leftovers.

One lab for the whole file. It refuses to start beside another lab, whose machines it would sweep away.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.host import preflight
from lab.host.disks import by_id
from lab.host.host import Host
from lab.host.paths import Paths
from lab.host.sweep import leftovers, sweep
from lab.ports import InstanceMetadata, MachineSpec

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces, cgroups, loop devices"),
]

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


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    base = tmp_path_factory.mktemp("lab")
    paths = Paths(cache=Paths.from_env().cache, state=base / "state", run=base / "run")
    left = leftovers(paths)
    if left:
        pytest.skip(f"another lab is up or left traces here ({left[0]}): run 'make lab-down' first")
    for folder in (paths.state, paths.run):
        folder.mkdir(parents=True)
    preflight.check(paths)
    source = Source()
    host = Host(paths, progress=print)
    host.serve(source, source.went_off.append)
    made = Lab(host=host, source=source, paths=paths)
    try:
        host.up()
        for spec in (ALPHA, BRAVO):
            made.has(spec)
        for spec in (ALPHA, BRAVO):
            made.ready(spec)
        yield made
    finally:
        host.down()
        sweep(paths)
        assert leftovers(paths) == []


@pytest.fixture
def disk(lab: Lab) -> Iterator[str]:
    volume_id = f"vol-{time.monotonic_ns():017x}"[:21]
    lab.host.create_disk(volume_id, size_gib=1)
    yield volume_id
    for spec in (ALPHA, BRAVO):
        lab.host.run(spec.instance_id, ["umount", "-q", "/mnt"])
        lab.host.detach_disk(spec.instance_id, volume_id)
    lab.host.delete_disk(volume_id)


def test_a_machine_is_a_debian_13_of_its_own(lab: Lab) -> None:
    assert lab.sh(ALPHA, "hostname; . /etc/os-release; echo $ID $VERSION_ID; cat /proc/1/comm") == (
        "db-euw1-a\ndebian 13\nsystemd"
    )
    ids = {lab.sh(spec, "cat /etc/machine-id") for spec in (ALPHA, BRAVO)}
    assert len(ids) == 2
    assert all(len(machine_id) == 32 for machine_id in ids)


def test_a_booted_machine_has_no_failed_unit_and_no_service_of_a_role(lab: Lab) -> None:
    eventually(
        lambda: (
            lab.host.run(ALPHA.instance_id, ["systemctl", "is-system-running"]).stdout.strip()
            in {"running", "degraded"}
        ),
        "boot ends",
    )
    assert lab.sh(ALPHA, "systemctl list-units --failed --plain --no-legend") == ""
    services = "postgresql patroni etcd haproxy"
    answered = lab.host.run(ALPHA.instance_id, ["systemctl", "is-active", *services.split()])
    assert set(answered.stdout.split()) == {"inactive"}
    assert lab.sh(ALPHA, "ls /etc/postgresql 2>/dev/null | wc -l") == "0"


def test_user_data_runs_once_in_an_instances_life(lab: Lab) -> None:
    assert lab.sh(ALPHA, "cat /var/log/user-data.log") == "once on db-euw1-a"
    booted = lab.sh(ALPHA, "cat /proc/sys/kernel/random/boot_id; cat /var/lib/lab/runs")
    before = lab.sh(ALPHA, "stat -c %Y /proc/1")
    assert booted.endswith("x")
    lab.host.reboot(ALPHA.instance_id)
    came_back(lab, ALPHA, before)
    assert lab.sh(ALPHA, "cat /var/lib/lab/runs") == "x"


def came_back(lab: Lab, spec: MachineSpec, before: str) -> None:
    """Wait for a boot later than the one whose init started at `before`."""

    def again() -> bool:
        if not lab.host.healthy(spec.instance_id):
            return False
        try:
            asked = lab.host.run(spec.instance_id, ["stat", "-c", "%Y", "/proc/1"], timeout_s=5)
        except (LabError, subprocess.TimeoutExpired):  # between the old init and the new one
            return False
        return asked.returncode == 0 and asked.stdout.strip() != before

    eventually(again, f"{spec.hostname} is up again")


def test_a_reboot_from_inside_boots_again_and_is_not_a_loss(lab: Lab) -> None:
    before = lab.sh(BRAVO, "stat -c %Y /proc/1")
    lab.host.run(BRAVO.instance_id, ["systemctl", "--no-block", "reboot"])
    came_back(lab, BRAVO, before)
    assert BRAVO.instance_id not in lab.source.went_off


def test_a_machine_that_goes_off_by_itself_is_announced(lab: Lab) -> None:
    lab.host.run(BRAVO.instance_id, ["systemctl", "--no-block", "poweroff"])
    eventually(lambda: BRAVO.instance_id in lab.source.went_off, "the power-off is announced")
    assert not lab.host.healthy(BRAVO.instance_id)
    lab.source.went_off.clear()
    lab.host.power_on(BRAVO.instance_id)
    lab.ready(BRAVO)


def test_shutting_down_is_polite_and_not_announced(lab: Lab) -> None:
    assert lab.host.shut_down(BRAVO.instance_id, timeout_s=20)
    assert lab.source.went_off == []
    lab.host.power_on(BRAVO.instance_id)
    lab.ready(BRAVO)


def round_trip_ms(lab: Lab, source: MachineSpec, target: MachineSpec) -> float:
    said = lab.sh(source, f"ping -q -c 5 -i 0.2 -W 2 {target.address} | tail -1")
    return float(said.split("=")[1].split("/")[0])


def test_regions_are_a_wide_area_apart(lab: Lab) -> None:
    assert 23.0 < round_trip_ms(lab, ALPHA, BRAVO) < 60.0


def reaches(lab: Lab, source: MachineSpec, target: MachineSpec) -> bool:
    argv = ["ping", "-q", "-c", "1", "-W", "1", target.address]
    return lab.host.run(source.instance_id, argv).returncode == 0


def test_a_cut_between_regions_stops_everything_until_it_is_mended(lab: Lab) -> None:
    lab.host.network.cut(DUBLIN, PARIS)
    try:
        assert not reaches(lab, ALPHA, BRAVO)
        assert not reaches(lab, BRAVO, ALPHA)
    finally:
        lab.host.network.mend(DUBLIN, PARIS)
    assert reaches(lab, ALPHA, BRAVO)


def test_a_large_transfer_between_regions_arrives_whole(lab: Lab) -> None:
    lab.sh(ALPHA, "systemd-run -q --unit=give python3 -m http.server 8099 --directory /usr/bin")
    try:
        eventually(
            lambda: (
                lab.host.run(
                    ALPHA.instance_id, ["curl", "-so/dev/null", f"{ALPHA.address}:8099"]
                ).returncode
                == 0
            ),
            "the server listens",
        )
        want = lab.sh(ALPHA, "sha256sum </usr/bin/etcd")
        url = f"http://{ALPHA.address}:8099/etcd"
        assert lab.sh(BRAVO, f"curl -fsS {url} | sha256sum") == want
    finally:
        lab.sh(ALPHA, "systemctl stop give")


def test_a_machine_without_its_cable_is_silent_and_not_refused(lab: Lab) -> None:
    """On EC2 a lost host answers with nothing at all, so connections to it time out."""
    lab.host.set_link(ALPHA.instance_id, up=False)
    try:
        assert not lab.host.healthy(ALPHA.instance_id)
        tried = lab.host.run(
            BRAVO.instance_id, ["curl", "-sS", "--max-time", "2", f"http://{ALPHA.address}:22"]
        )
        assert tried.returncode == 28, tried.stderr  # time-out
    finally:
        lab.host.set_link(ALPHA.instance_id, up=True)
    assert lab.host.healthy(ALPHA.instance_id)
    assert reaches(lab, BRAVO, ALPHA)


def test_a_frozen_machine_is_unhealthy_and_goes_on_when_thawed(lab: Lab) -> None:
    lab.host.freeze(ALPHA.instance_id)
    try:
        assert not lab.host.healthy(ALPHA.instance_id)
    finally:
        lab.host.thaw(ALPHA.instance_id)
    assert lab.host.healthy(ALPHA.instance_id)
    assert lab.sh(ALPHA, "echo on") == "on"


def test_metadata_needs_a_token_and_says_who_the_machine_is(lab: Lab) -> None:
    base = "http://169.254.169.254/latest"
    bare = lab.host.run(
        ALPHA.instance_id,
        ["curl", "-s", "-o/dev/null", "-w%{http_code}", f"{base}/meta-data/instance-id"],
    )
    assert bare.stdout == "401"
    script = (
        f"t=$(curl -fsS -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {base}/api/token); "
        "for p in meta-data/instance-id meta-data/tags/instance/pgmend:slot "
        "meta-data/placement/region meta-data/iam/security-credentials/ "
        "dynamic/instance-identity/document; do "
        f'curl -fsS -H "X-aws-ec2-metadata-token: $t" {base}/$p; echo; done'
    )
    lines = lab.sh(ALPHA, script).splitlines()
    assert lines[:4] == [ALPHA.instance_id, "db-euw1-a", DUBLIN, "node"]
    assert json.loads(lines[4])["privateIp"] == ALPHA.address


def test_a_machine_can_use_its_roles_credentials(lab: Lab) -> None:
    code = (
        "import boto3; c = boto3.Session().get_credentials().get_frozen_credentials(); "
        "print(c.access_key)"
    )
    assert lab.sh(ALPHA, f"AWS_DEFAULT_REGION={DUBLIN} python3 -c '{code}'") == "ASIAX"


def test_a_disk_appears_by_its_volume_id_and_is_there_after_a_reboot(lab: Lab, disk: str) -> None:
    lab.host.attach_disk(ALPHA.instance_id, disk)
    lab.sh(ALPHA, f"mkfs.xfs -q {by_id(disk)}; mount {by_id(disk)} /mnt; echo kept >/mnt/file")
    before = lab.sh(ALPHA, "stat -c %Y /proc/1")
    lab.host.reboot(ALPHA.instance_id)
    came_back(lab, ALPHA, before)
    assert lab.sh(ALPHA, f"mount {by_id(disk)} /mnt; cat /mnt/file") == "kept"


def test_a_mounted_disk_cannot_be_taken_from_a_running_machine(lab: Lab, disk: str) -> None:
    lab.host.attach_disk(ALPHA.instance_id, disk)
    lab.sh(ALPHA, f"mkfs.xfs -q {by_id(disk)}; mount {by_id(disk)} /mnt")
    with pytest.raises(LabError, match="mounted"):
        lab.host.detach_disk(ALPHA.instance_id, disk)
    lab.sh(ALPHA, "umount /mnt")
    lab.host.detach_disk(ALPHA.instance_id, disk)
    assert lab.sh(ALPHA, f"test -e {by_id(disk)} || echo gone") == "gone"


def test_a_disk_grows_while_it_is_mounted(lab: Lab, disk: str) -> None:
    lab.host.attach_disk(ALPHA.instance_id, disk)
    lab.sh(ALPHA, f"mkfs.xfs -q {by_id(disk)}; mount {by_id(disk)} /mnt")
    lab.host.grow_disk(disk, size_gib=2)
    lab.sh(ALPHA, "xfs_growfs /mnt")
    assert int(lab.sh(ALPHA, "df --output=size -BM /mnt | tail -1").rstrip("M")) > 1500


def test_after_power_loss_the_disk_serves_another_machine_at_once(lab: Lab, disk: str) -> None:
    lab.host.attach_disk(ALPHA.instance_id, disk)
    lab.sh(ALPHA, f"mkfs.xfs -q {by_id(disk)}; mount {by_id(disk)} /mnt; echo kept >/mnt/file")
    lab.sh(ALPHA, "sync /mnt/file")
    lab.host.power_loss(ALPHA.instance_id)
    try:
        assert not lab.host.healthy(ALPHA.instance_id)
        assert ALPHA.instance_id not in lab.source.went_off
        lab.host.detach_disk(ALPHA.instance_id, disk)
        lab.host.attach_disk(BRAVO.instance_id, disk)
        exclusive = (
            "import os; os.close(os.open('" + by_id(disk) + "', os.O_RDONLY | os.O_EXCL)); print(1)"
        )
        eventually(
            lambda: (
                lab.host.run(BRAVO.instance_id, ["python3", "-c", exclusive]).stdout.strip() == "1"
            ),
            "nothing holds the device any more",
            within_s=5,
        )
        assert lab.sh(BRAVO, f"mount {by_id(disk)} /mnt; cat /mnt/file; umount /mnt") == "kept"
    finally:
        lab.host.power_on(ALPHA.instance_id)
    lab.ready(ALPHA)
    assert lab.host.healthy(ALPHA.instance_id), "power is back: so is the cable"
    assert reaches(lab, BRAVO, ALPHA)


def test_no_mount_of_a_machine_shows_on_this_computer(lab: Lab, disk: str) -> None:
    lab.host.attach_disk(ALPHA.instance_id, disk)
    lab.sh(ALPHA, f"mkfs.xfs -q {by_id(disk)}; mount {by_id(disk)} /mnt")
    assert "/dev/loop" not in Path("/proc/self/mounts").read_text()


def test_a_machines_journal_can_be_saved_dead_or_alive(lab: Lab, tmp_path: Path) -> None:
    lab.sh(ALPHA, "logger -t test said-before-death || echo said-before-death | systemd-cat")
    lab.sh(ALPHA, "journalctl --sync")
    lab.host.journal(ALPHA.instance_id, into=tmp_path)
    saved = next(tmp_path.glob("*.journal")).read_text()
    assert "said-before-death" in saved


def test_a_destroyed_machine_leaves_nothing_of_its_own(lab: Lab) -> None:
    spec = MachineSpec(
        instance_id="i-0000000000000c3a1",
        hostname="app-euw1-a",
        region=DUBLIN,
        address="10.10.0.31",
        mac="0a:00:00:00:10:31",
    )
    before = leftovers_without_pids(lab)
    lab.has(spec)
    assert leftovers_without_pids(lab) != before
    lab.host.freeze(spec.instance_id)  # a hung one, which is harder to end
    lab.host.destroy(spec.instance_id)
    assert leftovers_without_pids(lab) == before
    assert spec.instance_id not in lab.host.machines()
    assert not any(Path("/sys/fs/cgroup").glob(f"*/pgmend-lab/{spec.instance_id}"))
    lab.host.destroy(spec.instance_id)  # again, harmlessly


def leftovers_without_pids(lab: Lab) -> list[str]:
    return [line for line in leftovers(lab.paths) if not line.startswith("process")]
