"""The machine host on this computer, for real: two regions, a few machines, their disks and leftovers."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.host.disks import by_id
from lab.host.sweep import leftovers
from lab.ports import MachineSpec
from tests.lab.machines import (
    ALPHA,
    BORN,
    BRAVO,
    DUBLIN,
    PARIS,
    Lab,
    came_back,
    eventually,
    reaches,
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces, cgroups, loop devices"),
]


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
    before = lab.sh(ALPHA, shlex.join(BORN))
    assert booted.endswith("x")
    lab.host.reboot(ALPHA.instance_id, timeout_s=15)
    came_back(lab, ALPHA, before)
    assert lab.sh(ALPHA, "cat /var/lib/lab/runs") == "x"


def test_a_reboot_from_inside_boots_again_and_is_not_a_loss(lab: Lab) -> None:
    before = lab.sh(BRAVO, shlex.join(BORN))
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
    before = lab.sh(ALPHA, shlex.join(BORN))
    lab.host.reboot(ALPHA.instance_id, timeout_s=15)
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
