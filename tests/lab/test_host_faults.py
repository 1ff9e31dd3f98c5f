"""Faults of real machines and the ways back: standstill, power, cable, the way to AWS, disks."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.host.disks import by_id
from lab.ports import API_PORT, REGIONS, MachineSpec, Region
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


def test_a_machine_that_hangs_is_reset(lab: Lab) -> None:
    before = lab.sh(BRAVO, shlex.join(BORN))
    lab.host.freeze(BRAVO.instance_id)
    lab.host.reboot(BRAVO.instance_id, timeout_s=0)
    came_back(lab, BRAVO, before)
    assert BRAVO.instance_id not in lab.source.went_off


def test_a_reboot_brings_back_what_lost_power_and_its_cable(lab: Lab) -> None:
    before = lab.sh(BRAVO, shlex.join(BORN))
    lab.host.power_loss(BRAVO.instance_id)
    lab.host.reboot(BRAVO.instance_id, timeout_s=0)
    came_back(lab, BRAVO, before)
    assert reaches(lab, ALPHA, BRAVO)


def api_of(lab: Lab, source: MachineSpec, region: Region) -> str:
    """What comes of asking a region's API, where nobody listens here: `refused` when it is reached."""
    url = region.endpoint(API_PORT)
    tried = lab.host.run(source.instance_id, ["curl", "-s", "--max-time", "2", url])
    return {7: "refused", 28: "silent"}[tried.returncode]


def test_a_regions_nodes_lose_their_way_to_aws_and_nothing_else(lab: Lab) -> None:
    network = lab.host.network
    network.set_way_to_aws(DUBLIN, reachable=False)
    network.set_way_to_aws(DUBLIN, reachable=False)  # twice is once
    try:
        assert {api_of(lab, ALPHA, region) for region in REGIONS} == {"silent"}
        assert {api_of(lab, BRAVO, region) for region in REGIONS} == {"refused"}
        assert reaches(lab, ALPHA, BRAVO)
        assert reaches(lab, BRAVO, ALPHA)
    finally:
        network.set_way_to_aws(DUBLIN, reachable=True)
    assert {api_of(lab, ALPHA, region) for region in REGIONS} == {"refused"}


def test_a_cut_peering_parts_nodes_and_leaves_them_aws(lab: Lab) -> None:
    network = lab.host.network
    for _ in range(2):  # twice is once
        network.cut_peering(DUBLIN, PARIS)
    try:
        assert not reaches(lab, ALPHA, BRAVO)
        assert not reaches(lab, BRAVO, ALPHA)
        for source in (ALPHA, BRAVO):
            assert {api_of(lab, source, region) for region in REGIONS} == {"refused"}
    finally:
        network.mend_peering(DUBLIN, PARIS)
    assert reaches(lab, ALPHA, BRAVO)


def test_a_cut_takes_aws_in_the_other_region_as_well(lab: Lab) -> None:
    network = lab.host.network
    by_name = {region.name: region for region in REGIONS}
    network.cut(DUBLIN, PARIS)
    try:
        assert api_of(lab, ALPHA, by_name[PARIS]) == "silent"
        assert api_of(lab, ALPHA, by_name[DUBLIN]) == "refused"
    finally:
        network.mend(DUBLIN, PARIS)
    assert api_of(lab, ALPHA, by_name[PARIS]) == "refused"


@pytest.fixture
def data(lab: Lab, disk: str) -> Iterator[str]:
    """A disk that is mounted as on a node, with something that writes on it all the time."""
    lab.host.attach_disk(ALPHA.instance_id, disk)
    unit = "/run/systemd/system/etcd.service.d/lab.conf"
    writes = "while echo x; do sleep 0.05; done >>/var/lib/pgmend/held"
    lab.sh(
        ALPHA,
        f"mkdir -p /var/lib/pgmend {Path(unit).parent}; mkfs.xfs -q {by_id(disk)}; "
        f"mount {by_id(disk)} /var/lib/pgmend; echo kept >/var/lib/pgmend/file; sync; "
        f"printf '[Service]\\nType=simple\\nUser=root\\nRestart=no\\nExecStart=\\n"
        f'ExecStart=/bin/sh -c "{writes}"\\n\' >{unit}; '
        "systemctl daemon-reload; systemctl start etcd",
    )
    try:
        yield disk
    finally:
        lab.sh(
            ALPHA,
            "systemctl kill --signal=KILL etcd || true; "
            f"rm {unit}; systemctl daemon-reload; umount /var/lib/pgmend || true",
        )


def test_a_disk_becomes_read_only_under_what_writes_and_writable_again(lab: Lab, data: str) -> None:
    assert data
    lab.host.set_disk_writable(ALPHA.instance_id, writable=False)
    refused = lab.host.run(ALPHA.instance_id, ["touch", "/var/lib/pgmend/new"])
    assert "Read-only file system" in refused.stderr
    assert lab.sh(ALPHA, "cat /var/lib/pgmend/file") == "kept"
    lab.host.set_disk_writable(ALPHA.instance_id, writable=True)
    lab.sh(ALPHA, "touch /var/lib/pgmend/new")


def test_a_broken_disk_answers_with_errors_until_it_is_mounted_anew(lab: Lab, data: str) -> None:
    lab.host.break_disk(ALPHA.instance_id)
    for verb in ("touch", "cat"):
        failed = lab.host.run(ALPHA.instance_id, [verb, "/var/lib/pgmend/file"])
        assert "Input/output error" in failed.stderr
    lab.sh(
        ALPHA,
        "systemctl kill --signal=KILL etcd || true; sleep 0.2; umount /var/lib/pgmend; "
        f"mount {by_id(data)} /var/lib/pgmend",
    )
    assert lab.sh(ALPHA, "cat /var/lib/pgmend/file") == "kept"


def test_a_disk_is_taken_by_force_from_under_its_file_system(lab: Lab, data: str) -> None:
    lab.host.detach_disk(ALPHA.instance_id, data, force=True)
    assert lab.sh(ALPHA, f"test -e {by_id(data)} || echo gone") == "gone"
    assert lab.sh(ALPHA, "ls /var/lib/pgmend") == ""
    lab.host.attach_disk(ALPHA.instance_id, data)
    assert lab.sh(ALPHA, f"mount {by_id(data)} /mnt; cat /mnt/file; umount /mnt") == "kept"


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


def test_a_host_whose_power_comes_back_has_its_disk_as_it_was(lab: Lab, disk: str) -> None:
    lab.host.attach_disk(ALPHA.instance_id, disk)
    lab.sh(ALPHA, f"mkfs.xfs -q {by_id(disk)}; mount {by_id(disk)} /mnt; echo kept >/mnt/file")
    lab.sh(ALPHA, "sync /mnt/file")
    for _ in range(2):  # twice is once
        lab.host.power_loss(ALPHA.instance_id)
    for _ in range(2):
        lab.host.power_on(ALPHA.instance_id)
    lab.ready(ALPHA)
    assert lab.sh(ALPHA, f"mount {by_id(disk)} /mnt; cat /mnt/file; umount /mnt") == "kept"
    assert reaches(lab, BRAVO, ALPHA)
