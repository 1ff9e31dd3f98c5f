"""The fence: which PostgreSQL is ended when a lease is over, and which never."""

from __future__ import annotations

import functools
import math
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.guard import REFUSED, fence
from node_agent.guard.fence import AWAY_S, Found, Lease, Record, look, now


def a_process(folder: Path) -> subprocess.Popen[bytes]:
    """One that heeds signals: a job in the background is started with some ignored, which its children inherit."""
    heed = functools.partial(signal.signal, signal.SIGQUIT, signal.SIG_DFL)
    return subprocess.Popen(["sleep", "60"], cwd=folder, preexec_fn=heed)  # noqa: PLW1509 - no threads here


class Server:
    """A process that is a postmaster as far as its pid file goes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.process = a_process(folder)
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

    def lease(self, *, left_s: float = 0.0) -> Lease:
        """One that had this server from its start."""
        return Lease(data_dir=str(self.folder), ends=now() + left_s)

    @property
    def ended(self) -> bool:
        """By the signal of an immediate shutdown; a server that was left alone runs on."""
        try:
            return self.process.wait(1.0) == -signal.SIGQUIT
        except subprocess.TimeoutExpired:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "data")
    yield found
    found.process.kill()
    found.process.wait()


def test_a_primary_whose_lease_is_over_is_ended_at_once(server: Server) -> None:
    lease = server.lease()

    assert fence.fence(lease, at=lease.ends) is Found.ENDED
    assert server.ended
    assert fence.fence(lease, at=lease.ends) is Found.NOTHING


def test_a_primary_with_a_lease_is_left_alone(server: Server) -> None:
    lease = server.lease()

    assert fence.fence(lease, at=lease.ends - 0.1) is Found.HELD
    assert not server.ended


def test_a_server_that_was_started_after_the_lease_is_none_of_its_business(server: Server) -> None:
    """By a person, or from a backup in the same place."""
    lease = server.lease(left_s=-30.0)

    assert fence.fence(lease, at=now()) is Found.NOTHING
    assert not server.ended


@pytest.mark.parametrize("name", ["standby.signal", "recovery.signal"])
def test_a_copy_is_left_alone(server: Server, name: str) -> None:
    (server.folder / name).touch()

    assert fence.fence(server.lease(), at=math.inf) is Found.NOTHING
    assert not server.ended


def test_a_server_that_is_stopping_already_is_left_to_end_well(server: Server) -> None:
    server.writes(status="stopping")

    assert fence.fence(server.lease(), at=math.inf) is Found.UNSETTLED
    assert not server.ended


def test_a_server_that_is_starting_is_ended(server: Server) -> None:
    server.writes(status="starting")

    assert fence.fence(server.lease(), at=math.inf) is Found.ENDED
    assert server.ended


def test_a_crash_recovery_in_a_single_user_server_is_left_alone(server: Server) -> None:
    server.writes(pid=-server.process.pid)

    assert fence.fence(server.lease(), at=math.inf) is Found.NOTHING
    assert not server.ended


def test_a_number_that_is_another_process_by_now_is_left_alone(server: Server) -> None:
    elsewhere = a_process(server.folder.parent)
    try:
        server.writes(pid=elsewhere.pid)
        assert fence.fence(server.lease(), at=math.inf) is Found.NOTHING
        assert elsewhere.poll() is None
    finally:
        elsewhere.kill()
        elsewhere.wait()


def test_a_process_that_is_gone_is_no_server(server: Server) -> None:
    server.process.kill()
    server.process.wait()

    assert look(server.lease())[0] is Found.NOTHING


def test_a_directory_without_a_server_is_no_server(tmp_path: Path) -> None:
    lease = Lease(data_dir=str(tmp_path), ends=now())

    assert look(lease)[0] is Found.NOTHING
    (tmp_path / "postmaster.pid").touch()  # being written
    assert look(lease)[0] is Found.UNSETTLED


def test_the_start_of_a_process_is_by_the_same_clock(server: Server) -> None:
    found = fence.started(Path("/proc") / str(server.process.pid))

    assert found == pytest.approx(now(), abs=20)
    assert found <= now()


# -- the record


def test_a_lease_outlives_the_process_that_wrote_it(tmp_path: Path) -> None:
    lease = Lease(data_dir=str(tmp_path), ends=12.5)
    Record(tmp_path).write(lease)
    Record(tmp_path).write(replace(lease, ends=14.5))

    assert Record(tmp_path).read() == replace(lease, ends=14.5)
    assert [path.name for path in tmp_path.iterdir()] == ["lease.json"]
    Record(tmp_path).forget()
    assert Record(tmp_path).read() is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"until": 3}',
        '{"data_dir": "/data", "ends": "soon"}',
        '{"data_dir": "/data", "ends": null}',
        '{"data_dir": "/data", "ends": true}',
        '{"data_dir": "/data", "ends": NaN}',
        '{"data_dir": 3, "ends": 3.0}',
    ],
)
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
    server: Server,
    tmp_path: Path,
    left_s: float,
    ended: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fence, "started", lambda _: now() - 3600)
    Record(tmp_path).write(server.lease(left_s=left_s))

    fence.main({"RUNTIME_DIRECTORY": str(tmp_path), "EXIT_STATUS": "KILL"})

    assert server.ended is ended
    said = capsys.readouterr().err
    assert ("its lease ends within 2 s and nobody renews it" in said) is ended


def test_after_a_refusal_nobody_renews_a_lease_and_its_primary_is_ended_at_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Record(tmp_path).write(server.lease(left_s=12.0))

    fence.main({"RUNTIME_DIRECTORY": str(tmp_path), "EXIT_STATUS": str(REFUSED)})

    assert server.ended
    assert "Patroni is refused and nobody renews it" in capsys.readouterr().err


def test_after_a_refusal_a_primary_that_never_had_a_lease_is_left_alone(
    server: Server, tmp_path: Path
) -> None:
    fence.main({"RUNTIME_DIRECTORY": str(tmp_path), "EXIT_STATUS": str(REFUSED)})

    assert not server.ended


def test_after_patroni_without_a_record_nothing_happens(server: Server, tmp_path: Path) -> None:
    fence.main({"RUNTIME_DIRECTORY": str(tmp_path)})
    fence.main({})

    assert not server.ended


def test_the_clock_is_that_of_the_boot() -> None:
    assert now() == pytest.approx(float(Path("/proc/uptime").read_text().split()[0]), abs=1.0)
