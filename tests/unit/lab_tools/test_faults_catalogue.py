"""Every fault of the catalogue does its damage through the machine or AWS, and has its way back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from lab.errors import LabError
from lab.faults import services
from lab.faults.base import Injected
from lab.faults.bench import Api, Bench
from lab.faults.catalogue import FAULTS, fault_named
from lab.faults.targets import resolve
from lab.proof.rows import ROWS
from lab.proof.scenario import Scenario
from tests.unit.lab_tools.fakes import FakeApi, FakeClock, FakeMachines, slots

LEADER = "db-euw1-a"
VOLUME = {"VolumeId": "vol-1", "State": "available"}


class FakeAws:
    """Any client: remembers what it was asked and answers what the faults read."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {
            "describe_volumes": {"Volumes": [VOLUME]},
            "list_objects_v2": {"KeyCount": 1},
        }

    def client(self, service: str, region: str) -> Any:
        outer = self

        class Client:
            def __getattr__(self, name: str) -> Callable[..., Any]:
                def call(**words: Any) -> Any:
                    outer.calls.append((f"{service}.{name}", region, words))
                    return outer.answers.get(name, {})

                return call

        return Client()

    def names(self) -> list[str]:
        return [name for name, _, _ in self.calls]


class Ground:
    """A bench with everything faked; the lead moves as soon as the leader is told to die."""

    def __init__(self) -> None:
        self.machines, self.api, self.aws = FakeMachines(), FakeApi(), FakeAws()
        self.clock = FakeClock()
        self.machines.says = {
            "pg_last_wal_replay_lsn": "t",
            "wal_status": "lost",
            "flush_lsn": "t",
            "pg_relation_filepath": "base/5/16384",
            "sum(length": "ERROR:  invalid page in block 2",
        }
        self.bench = Bench(
            machines=self.machines,
            api=cast("Api", self.api),
            leader=self.leader,
            clients=self.aws.client,
            clock=self.clock.monotonic,
            sleep=self.clock.sleep,
        )

    def leader(self) -> str:
        died = any("walsender" in call[-1] for call in self.machines.calls)
        return "db-euw1-b" if died or f"i-{LEADER}" in self.api.gone else LEADER

    def inject(self, name: str, word: str | None = None) -> Injected:
        fault = fault_named(name)
        target = resolve(
            word or fault.default_target, slots=slots(), leader=LEADER, roles=fault.roles
        )
        return fault.inject(self.bench, target)

    def scripts(self) -> list[str]:
        shells = ("/bin/bash", "sh")
        return [c[-1] for c in self.machines.calls if len(c) > 2 and c[1] in shells]


@pytest.mark.parametrize("name", list(FAULTS))
def test_every_fault_does_something_and_its_way_back_may_be_gone_twice(name: str) -> None:
    ground = Ground()
    done = ground.inject(name)
    assert ground.machines.calls or ground.aws.calls or ground.api.terminated
    fault_named(name).heal(ground.bench, done)
    fault_named(name).heal(ground.bench, done)
    for script in ground.scripts():
        checked = subprocess.run(
            ["bash", "-n"], input=script, capture_output=True, text=True, check=False
        )
        assert checked.stderr == ""


@pytest.mark.parametrize("name", list(FAULTS))
def test_every_fault_is_quiet_about_a_machine_that_was_replaced(name: str) -> None:
    ground = Ground()
    done = ground.inject(name)
    if done.instance_id is None:
        return
    ground.api.gone.add(done.instance_id)
    before = len(ground.machines.calls)
    fault_named(name).heal(ground.bench, done)
    touched = ground.machines.calls[before:]
    assert not any(done.instance_id in call for call in touched if call[0] != "allow-launches")


@pytest.mark.parametrize(
    "name", ["replica-broken", "wal-gone", "diverged", "replica-stuck", "reinit-loop", "disk-lost"]
)
def test_damage_of_several_steps_is_done_while_the_healer_only_watches(name: str) -> None:
    ground = Ground()
    ground.inject(name)
    names = [n for n in ground.aws.names() if n.startswith("dynamodb")]
    assert names == ["dynamodb.get_item", "dynamodb.put_item", "dynamodb.delete_item"]


def test_damage_that_fails_half_way_is_undone() -> None:
    ground = Ground()
    ground.machines.returncode = 1
    with pytest.raises(LabError):
        ground.inject("patroni-hang")
    assert ground.machines.calls[-1][-1] == (
        "systemctl kill --signal=CONT --kill-whom=main patroni"
    )


def test_launches_are_allowed_again_although_the_instance_is_gone() -> None:
    ground = Ground()
    done = ground.inject("no-capacity", "db-euw1-b")
    assert ground.machines.calls[0][:2] == ("refuse-launches", "InsufficientInstanceCapacity")
    assert ground.api.terminated == [("i-db-euw1-b", "eu-west-1")]
    ground.api.gone.add("i-db-euw1-b")
    fault_named("no-capacity").heal(ground.bench, done)
    assert ground.machines.calls[-1] == ("allow-launches",)


def test_the_hidden_bundle_is_shown_again_in_its_own_region() -> None:
    ground = Ground()
    done = ground.inject("boot-stuck", "haproxy-euw3-a")
    fault_named("boot-stuck").heal(ground.bench, done)
    assert ground.aws.names() == [
        "s3.copy_object",
        "s3.delete_object",
        "s3.list_objects_v2",
        "s3.copy_object",
        "s3.delete_object",
    ]
    assert {region for _, region, _ in ground.aws.calls} == {"eu-west-3"}


def test_a_spoilt_page_that_is_read_without_complaint_is_no_fault() -> None:
    ground = Ground()
    ground.machines.says["sum(length"] = "1000000"
    with pytest.raises(LabError, match="read without complaint"):
        ground.inject("disk-corrupt")


def test_a_lost_slot_leaves_the_leaders_settings_as_they_were() -> None:
    ground = Ground()
    ground.machines.says["wal_status"] = "extended"
    with pytest.raises(LabError, match="WAL gone"):
        ground.inject("wal-gone")
    said = [call[-1] for call in ground.machines.calls]
    assert said.index("ALTER SYSTEM RESET max_slot_wal_keep_size") > said.index(
        "ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'"
    )
    assert said.count("SELECT pg_reload_conf()") == 2


def test_a_clock_is_off_for_real_time_alone() -> None:
    ground = Ground()
    ground.inject("clock-off")
    (script,) = ground.scripts()
    assert "FAKETIME=+3h" in script
    assert "FAKETIME_DONT_FAKE_MONOTONIC=1" in script
    assert "systemctl restart pgmend-agent patroni" in script


class Command:
    """The node's command on a disk of our own, spoilt and mended by the faults' own scripts."""

    def __init__(self, folder: Path) -> None:
        self.path, self._kept = folder / "pgmend-node", folder / "kept"
        self.path.write_text("#!/bin/sh\necho well\n")
        self.path.chmod(0o755)

    def run(self, script: str) -> None:
        here = script.replace(services.NODE, str(self.path)).replace(services.KEPT, str(self._kept))
        subprocess.run(["bash", "-euc", here], check=True)

    def begin(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@pytest.mark.parametrize("script", [services.BREAK_COMMAND, services.HANG_COMMAND])
def test_a_command_that_was_spoilt_twice_is_the_old_one_once_it_is_mended(
    tmp_path: Path, script: str
) -> None:
    command = Command(tmp_path)
    for _ in range(2):
        command.run(script)
    assert "echo well" not in command.path.read_text()
    for _ in range(2):
        command.run(services.MEND_COMMAND)
    said, _ = command.begin().communicate(timeout=10.0)
    assert said == "well\n"


def test_a_command_that_fails_says_so_at_once(tmp_path: Path) -> None:
    command = Command(tmp_path)
    command.run(services.BREAK_COMMAND)
    broken = command.begin()
    _, error = broken.communicate(timeout=10.0)
    assert (broken.returncode, error) == (1, "lab: this command is broken\n")


def test_a_command_that_hangs_says_nothing_and_goes_when_it_is_mended(tmp_path: Path) -> None:
    command = Command(tmp_path)
    command.run(services.HANG_COMMAND)
    hung = command.begin()
    with pytest.raises(subprocess.TimeoutExpired):
        hung.wait(timeout=1.5)
    command.run(services.MEND_COMMAND)
    said, error = hung.communicate(timeout=10.0)
    assert (hung.returncode, said, error) == (1, "", "")


def test_a_hung_patroni_may_be_the_leaders() -> None:
    ground = Ground()
    done = ground.inject("patroni-hang", "leader")
    assert done.slot == LEADER
    assert ground.machines.calls[-1][-1].endswith("--signal=STOP --kill-whom=main patroni")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_scenarios_blows_name_faults_and_targets_that_fit(row: object) -> None:
    if not isinstance(row, Scenario):
        return
    taken: list[str] = []
    for blow in row.blows:
        free = [slot for slot in slots() if slot.name not in taken]
        found = resolve(blow.target, slots=free, leader=LEADER, roles=fault_named(blow.fault).roles)
        assert (found.region is not None) == fault_named(blow.fault).whole_region
        taken += [found.name]
