"""The lab's control socket: what the client asks is what the daemon is told, and refusals are sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab.control import (
    ControlClient,
    ControlServer,
    LabStatus,
    MachineFault,
    MachineState,
    RegionApi,
    RegionLink,
    RegionService,
    RunResult,
)
from lab.errors import LabError

STATUS = LabStatus(
    pid=1, started_at=2.0, size="minimal", durability="region", clock="fast", directory="/lab"
)
MACHINE = MachineState(instance_id="i-1", address="10.10.10.11", region="eu-west-1", healthy=True)


class Daemon:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def status(self) -> LabStatus:
        return STATUS

    def machines(self) -> Sequence[MachineState]:
        return (MACHINE,)

    def machine_fault(self, fault: MachineFault, instance_id: str) -> None:
        if instance_id == "i-none":
            raise LabError("there is no machine i-none")
        if instance_id == "i-bug":
            raise RuntimeError("a bug")
        self.calls.append((fault, instance_id))

    def region_link(self, link: RegionLink, first: str, second: str) -> None:
        self.calls.append((link, first, second))

    def way_to_aws(self, region: str, *, reachable: bool) -> None:
        self.calls.append((region, reachable))

    def region_api(self, region: str, api: RegionApi) -> None:
        self.calls.append((region, api))

    def region_service(self, region: str, service: RegionService, *, running: bool) -> None:
        self.calls.append((region, service, running))

    def power(self, region: str, *, zone: str | None, on: bool) -> None:
        self.calls.append((region, zone, on))

    def flap(self, region: str, *, seed: int, for_s: float) -> None:
        self.calls.append((region, seed, for_s))

    def calm(self, region: str) -> None:
        self.calls.append(("calm", region))

    def outages(self) -> Sequence[str]:
        return ["no host in eu-west-1 has power"]

    def credentials(self, instance_id: str, *, valid: bool) -> None:
        self.calls.append((instance_id, valid))

    def status_checks(self, instance_id: str, verdict: str | None) -> None:
        self.calls.append((instance_id, verdict))

    def schedule_event(self, instance_id: str, code: str, not_before: float) -> str:
        self.calls.append((instance_id, code, not_before))
        return "instance-event-1"

    def cancel_events(self, instance_id: str) -> None:
        self.calls.append(("cancel", instance_id))

    def refuse_launches(
        self, code: str, *, instance_type: str | None = None, zone: str | None = None
    ) -> None:
        self.calls.append((code, instance_type, zone))

    def allow_launches(self) -> None:
        self.calls.append(("allow",))

    def run(self, instance_id: str, argv: Sequence[str], timeout_s: float) -> RunResult:
        self.calls.append((instance_id, tuple(argv), timeout_s))
        return RunResult(returncode=3, stdout="out", stderr="err")

    def enter(self, instance_id: str, argv: Sequence[str]) -> Sequence[str]:
        return ["nsenter", instance_id, *argv]

    def journal(self, instance_id: str, into: str) -> None:
        self.calls.append((instance_id, into))

    def stop(self) -> None:
        self.calls.append(("stop",))


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def client(daemon: Daemon, tmp_path: Path) -> Iterator[ControlClient]:
    server = ControlServer(daemon, tmp_path / "control.sock")
    server.start()
    yield ControlClient(tmp_path / "control.sock", timeout_s=5.0)
    server.close()


def test_every_question_comes_back_typed(client: ControlClient) -> None:
    assert client.alive()
    assert client.status() == STATUS
    assert client.machines() == (MACHINE,)
    assert client.enter("i-1", ["bash"]) == ("nsenter", "i-1", "bash")
    assert client.run("i-1", ["true"]) == RunResult(returncode=3, stdout="out", stderr="err")


def test_every_order_reaches_the_daemon_as_given(client: ControlClient, daemon: Daemon) -> None:
    client.machine_fault(MachineFault.FREEZE, "i-1")
    client.region_link(RegionLink.CUT, "eu-west-1", "eu-west-3")
    client.run("i-1", ["systemctl", "stop", "etcd"], timeout_s=7.0)
    client.journal("i-1", "/there")
    client.stop()

    assert daemon.calls == [
        (MachineFault.FREEZE, "i-1"),
        (RegionLink.CUT, "eu-west-1", "eu-west-3"),
        ("i-1", ("systemctl", "stop", "etcd"), 7.0),
        ("i-1", "/there"),
        ("stop",),
    ]


def test_what_aws_shall_do_reaches_the_daemon_as_given(
    client: ControlClient, daemon: Daemon
) -> None:
    client.way_to_aws("eu-west-3", reachable=False)
    client.credentials("i-1", valid=False)
    client.status_checks("i-1", "impaired")
    client.status_checks("i-1", None)
    assert client.schedule_event("i-1", "instance-retirement", 1e9) == "instance-event-1"
    client.cancel_events("i-1")
    client.refuse_launches("VcpuLimitExceeded")
    client.refuse_launches("InsufficientInstanceCapacity", instance_type="m7i.large", zone="z")
    client.allow_launches()

    assert daemon.calls == [
        ("eu-west-3", False),
        ("i-1", False),
        ("i-1", "impaired"),
        ("i-1", None),
        ("i-1", "instance-retirement", 1e9),
        ("cancel", "i-1"),
        ("VcpuLimitExceeded", None, None),
        ("InsufficientInstanceCapacity", "m7i.large", "z"),
        ("allow",),
    ]


def test_what_becomes_of_regions_reaches_the_daemon_as_given(
    client: ControlClient, daemon: Daemon
) -> None:
    client.region_link(RegionLink.CUT_PEERING, "eu-west-1", "eu-west-3")
    client.region_api("eu-west-1", RegionApi.SILENT)
    client.region_service("eu-west-3", RegionService.EVENTS, running=False)
    client.power("eu-west-1", zone=None, on=False)
    client.power("eu-west-1", zone="eu-west-1a", on=True)
    client.flap("eu-west-3", seed=7, for_s=90.0)
    client.calm("eu-west-3")
    assert client.outages() == ("no host in eu-west-1 has power",)

    assert daemon.calls == [
        (RegionLink.CUT_PEERING, "eu-west-1", "eu-west-3"),
        ("eu-west-1", RegionApi.SILENT),
        ("eu-west-3", RegionService.EVENTS, False),
        ("eu-west-1", None, False),
        ("eu-west-1", "eu-west-1a", True),
        ("eu-west-3", 7, 90.0),
        ("calm", "eu-west-3"),
    ]


def test_a_refusal_of_the_daemon_is_its_sentence(client: ControlClient) -> None:
    with pytest.raises(LabError, match="there is no machine i-none"):
        client.machine_fault(MachineFault.THAW, "i-none")


def test_a_bug_in_the_daemon_is_told_and_the_daemon_lives_on(client: ControlClient) -> None:
    with pytest.raises(LabError, match="the lab failed inside 'machine-fault'"):
        client.machine_fault(MachineFault.THAW, "i-bug")
    assert client.alive()


def test_without_a_lab_the_client_says_how_to_start_one(tmp_path: Path) -> None:
    client = ControlClient(tmp_path / "none.sock")

    assert not client.alive()
    with pytest.raises(LabError, match="make lab-up"):
        client.status()


def test_the_socket_is_for_root_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    server = ControlServer(Daemon(), path)
    server.start()
    assert path.stat().st_mode & 0o077 == 0

    server.close()

    assert not path.exists()
