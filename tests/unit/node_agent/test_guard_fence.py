"""The fence: which PostgreSQL is ended when a lease is over, and which never."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.guard import fence
from node_agent.guard.fence import AWAY_S, Lease, Record, now, running_primary


class Server:
    """A process that is a postmaster as far as its pid file goes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.process = subprocess.Popen(["sleep", "60"], cwd=folder)
        self.writes()

    def writes(self, *, pid: int | None = None, status: str = "ready   ") -> None:
        lines = [
            str(pid or self.process.pid),
            str(self.folder),
            "1",
            "5432",
            "",
            "*",
            "1 2",
            status,
        ]
        (self.folder / "postmaster.pid").write_text("\n".join(lines) + "\n")

    def lease(self, ends: float | None) -> Lease:
        return Lease.of(str(self.folder), ends=ends)

    @property
    def ended(self) -> bool:
        """By the signal of an immediate shutdown; a server that was left alone runs on."""
        try:
            return self.process.wait(0.2) == -signal.SIGQUIT
        except subprocess.TimeoutExpired:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "data")
    yield found
    found.process.kill()
    found.process.wait()


def test_a_primary_whose_lease_is_over_is_ended_at_once(server: Server) -> None:
    assert fence.fence(server.lease(100.0), at=100.0)
    assert server.ended


@pytest.mark.parametrize("ends", [100.1, None])
def test_a_primary_with_a_lease_or_in_pause_is_left_alone(
    server: Server, ends: float | None
) -> None:
    assert not fence.fence(server.lease(ends), at=100.0)
    assert not server.ended


def test_without_a_lease_nothing_is_ended(server: Server) -> None:
    assert not fence.fence(None, at=100.0)
    assert not server.ended


@pytest.mark.parametrize("name", ["standby.signal", "recovery.signal"])
def test_a_copy_is_left_alone(server: Server, name: str) -> None:
    (server.folder / name).touch()

    assert not fence.fence(server.lease(0.0), at=100.0)
    assert not server.ended


def test_a_server_that_is_stopping_already_is_left_to_end_well(server: Server) -> None:
    server.writes(status="stopping")

    assert not fence.fence(server.lease(0.0), at=100.0)
    assert not server.ended


def test_a_server_that_is_starting_is_ended(server: Server) -> None:
    server.writes(status="starting")

    assert fence.fence(server.lease(0.0), at=100.0)
    assert server.ended


def test_a_crash_recovery_in_a_single_user_server_is_left_alone(server: Server) -> None:
    server.writes(pid=-server.process.pid)

    assert running_primary(server.lease(0.0)) is None


def test_a_number_that_is_another_process_by_now_is_left_alone(server: Server) -> None:
    elsewhere = subprocess.Popen(["sleep", "60"], cwd=server.folder.parent)
    try:
        server.writes(pid=elsewhere.pid)
        assert not fence.fence(server.lease(0.0), at=100.0)
        assert elsewhere.poll() is None
    finally:
        elsewhere.kill()
        elsewhere.wait()


def test_a_process_that_is_gone_is_no_server(server: Server) -> None:
    server.process.kill()
    server.process.wait()

    assert running_primary(server.lease(0.0)) is None


def test_a_directory_without_a_server_is_no_server(tmp_path: Path) -> None:
    assert running_primary(Lease.of(str(tmp_path), ends=0.0)) is None
    (tmp_path / "postmaster.pid").touch()  # being written
    assert running_primary(Lease.of(str(tmp_path), ends=0.0)) is None


def test_another_database_in_the_same_place_is_none_of_the_leases(server: Server) -> None:
    lease = server.lease(0.0)

    assert not fence.fence(replace(lease, inode=lease.inode + 1), at=100.0)
    assert not server.ended


def test_a_directory_that_could_not_be_looked_at_is_none_of_the_leases(
    server: Server, tmp_path: Path
) -> None:
    unseen = Lease.of(str(tmp_path / "nowhere"), ends=0.0)

    assert not fence.fence(replace(unseen, data_dir=str(server.folder)), at=100.0)
    assert not server.ended


# -- the record


def test_a_lease_outlives_the_process_that_wrote_it(tmp_path: Path) -> None:
    lease = Lease.of(str(tmp_path), ends=12.5)
    Record(tmp_path).write(lease)
    Record(tmp_path).write(replace(lease, ends=14.5))

    assert Record(tmp_path).read() == replace(lease, ends=14.5)
    assert [path.name for path in tmp_path.iterdir()] == ["lease.json"]
    Record(tmp_path).forget()
    assert Record(tmp_path).read() is None


@pytest.mark.parametrize("text", ["", "[]", '{"until": 3}'])
def test_what_another_version_wrote_is_no_lease_and_no_reason_not_to_start(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lease.json").write_text(text)

    assert Record(tmp_path).read() is None
    assert "none is known until the next renewal" in capsys.readouterr().err


# -- what ExecStopPost runs


@pytest.mark.parametrize(
    ("left_s", "ended"),
    [(-20.0, True), (AWAY_S - 1.0, True), (AWAY_S + 5.0, False)],
)
def test_after_patroni_a_primary_stays_while_a_successor_can_be_in_time(
    server: Server, tmp_path: Path, left_s: float, ended: bool
) -> None:
    Record(tmp_path).write(server.lease(now() + left_s))

    fence.main({"RUNTIME_DIRECTORY": str(tmp_path)})

    assert server.ended is ended


def test_after_patroni_without_a_record_nothing_happens(server: Server, tmp_path: Path) -> None:
    fence.main({"RUNTIME_DIRECTORY": str(tmp_path)})
    fence.main({})

    assert not server.ended


def test_the_clock_is_that_of_the_boot() -> None:
    assert now() == pytest.approx(float(Path("/proc/uptime").read_text().split()[0]), abs=1.0)
