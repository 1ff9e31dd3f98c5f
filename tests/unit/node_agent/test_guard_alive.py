"""What systemd hears of Patroni's process: that it lives, that its loop stands still, or nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from node_agent.guard import alive, fence
from node_agent.guard.alive import ALIVE, LOOP_BACK_S, TRIGGER, Keeper
from node_agent.guard.fence import Lease, Record

ROOT = Path(__file__).resolve().parents[3]
TTL = 20.0


class Bench:
    """A keeper on a clock that only passes when told, with a loop that renews when told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.fenced_at: list[float] = []
        self.refuses = False
        self.record = Record(folder)
        self.folder = folder
        monkeypatch.setattr(alive, "fence", self._fence)
        self.keeper = Keeper(self._send, self.record, clock=lambda: self.now)

    def _send(self, message: str) -> None:
        if self.refuses:
            raise BlockingIOError("systemd does not read")
        self.said.append(message)

    def _fence(self, lease: Lease | None, *, at: float) -> bool:
        over = lease is not None and lease.ends is not None and lease.ends <= at
        if over:
            self.fenced_at.append(at)
        return over

    def renews(self, *, paused: bool = False) -> None:
        ends = None if paused else self.now + TTL
        self.keeper.renewed(Lease.of(str(self.folder), ends=ends), ttl=TTL)

    def leads(self) -> Bench:
        """For more than one cycle."""
        for _ in range(2):
            self.renews()
            self.pass_time(2)
        self.renews()
        self.said.clear()
        return self

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.keeper.tick()

    def freezes(self, seconds: float) -> None:
        """The host stands still, and goes on with the thread's next look."""
        self.now += seconds
        self.keeper.tick()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


# -- the loop


def test_a_leader_whose_loop_goes_on_is_alive(bench: Bench) -> None:
    bench.leads()
    for _ in range(30):
        bench.pass_time(2)
        bench.renews()

    assert set(bench.said) == {ALIVE}


def test_a_leader_whose_loop_stands_still_asks_for_a_restart_in_time_for_its_lease(
    bench: Bench,
) -> None:
    bench.leads().pass_time(int(TTL))

    first = bench.said.index(TRIGGER) + 1  # one look a second
    assert first == TTL - LOOP_BACK_S
    assert bench.said[: first - 1] == [ALIVE] * (first - 1)
    assert not bench.fenced_at[:-1]


def test_the_time_a_loop_stands_still_begins_with_its_renewal_and_not_with_a_look(
    bench: Bench,
) -> None:
    bench.leads().now += 0.75
    bench.renews()
    bench.now -= 0.75
    bench.pass_time(int(TTL - LOOP_BACK_S))
    assert set(bench.said) == {ALIVE}
    bench.pass_time(1)

    assert bench.said[-1] == TRIGGER


def test_when_the_lease_is_over_a_restart_is_not_asked_for_and_postgres_is_ended(
    bench: Bench,
) -> None:
    bench.leads().pass_time(int(TTL) + 3)

    assert bench.said[-4:] == [ALIVE] * 4
    assert bench.fenced_at[0] == 1004.0 + TTL


def test_a_slow_loop_that_renews_within_its_time_is_left_alone(bench: Bench) -> None:
    bench.leads()
    for _ in range(5):
        bench.pass_time(int(TTL - LOOP_BACK_S) - 1)
        bench.renews()

    assert set(bench.said) == {ALIVE}


def test_a_copy_whose_loop_stands_still_is_left_to_others(bench: Bench) -> None:
    bench.leads()
    bench.keeper.lost()
    bench.pass_time(int(TTL) - 1)

    assert set(bench.said) == {ALIVE}


def test_a_process_whose_first_cycle_never_ended_lets_its_lease_run_out(bench: Bench) -> None:
    bench.renews()
    bench.pass_time(int(TTL) + 1)

    assert set(bench.said) == {ALIVE}
    assert bench.fenced_at


def test_in_pause_a_loop_that_stands_still_is_nobodys_business(bench: Bench) -> None:
    bench.leads()
    bench.renews(paused=True)
    bench.pass_time(100)

    assert set(bench.said) == {ALIVE}
    assert not bench.fenced_at


def test_while_patroni_stops_postgres_its_loop_may_wait(bench: Bench) -> None:
    bench.leads()
    with bench.keeper.stopping():
        bench.pass_time(int(TTL) - 3)
        assert set(bench.said) == {ALIVE}
    bench.pass_time(1)

    assert bench.said[-1] == TRIGGER


# -- a host that was frozen


def test_a_host_that_thaws_in_time_gives_its_loop_the_time_to_renew(bench: Bench) -> None:
    bench.leads().freezes(TTL - 3)

    assert bench.said == [ALIVE]
    assert not bench.fenced_at


def test_a_host_that_thaws_too_late_ends_its_postgres_at_the_first_look(bench: Bench) -> None:
    bench.leads().freezes(40.0)

    assert bench.fenced_at == [bench.now]


# -- one after the other


def test_a_lease_is_known_to_the_successor_from_its_start(bench: Bench) -> None:
    bench.leads()
    successor = Keeper(bench.said.append, bench.record, clock=lambda: bench.now)
    bench.now += TTL - 0.5
    successor.tick()
    assert not bench.fenced_at
    bench.now += 0.5
    successor.tick()

    assert bench.fenced_at == [bench.now]


def test_a_lost_lock_leaves_the_lease_known_until_postgres_has_heard(bench: Bench) -> None:
    bench.leads()
    bench.keeper.lost()
    bench.pass_time(int(TTL))

    assert bench.fenced_at == [bench.now]


# -- what the system refuses


def test_a_word_that_cannot_be_sent_is_told_once_and_tried_again(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.refuses = True
    bench.pass_time(5)
    bench.refuses = False
    bench.pass_time(1)

    assert bench.said == [ALIVE]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "<3>pgmend guard: _send: systemd does not read; it is tried again"


def test_a_record_that_cannot_be_written_does_not_stop_a_leader(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.record.path = bench.folder / "nowhere" / "lease.json"
    bench.renews()
    bench.pass_time(int(TTL) - 1)

    assert "write: " in capsys.readouterr().err
    assert not bench.fenced_at
    bench.pass_time(1)
    assert bench.fenced_at == [bench.now]  # this process knows its lease all the same


# -- Patroni's methods


class StockHa:
    """`Ha`, as far as it goes."""

    def __init__(self, data_dir: Path) -> None:
        self.dcs = SimpleNamespace(ttl=20)
        self.state_handler = SimpleNamespace(data_dir=str(data_dir))
        self.paused = False
        self.leader: bool | None = None
        self.keeper: Any = None
        self.seen: list[tuple[Any, ...]] = []

    def is_paused(self) -> bool:
        return self.paused

    def set_is_leader(self, value: bool) -> None:
        self.leader = value

    def demote(self, mode: str) -> str:
        self.seen.append((mode, self.keeper._stopping))
        return mode

    def shutdown(self) -> None:
        self.seen.append(("shutdown", self.keeper._stopping))
        raise ConnectionError


@pytest.fixture
def ha(bench: Bench) -> Any:
    module = ModuleType("ha_on_paper")
    vars(module)["Ha"] = type("Ha", (StockHa,), {})
    alive.install(module, bench.keeper)
    found = module.Ha(bench.folder)
    found.keeper = bench.keeper
    return found


def test_a_renewal_is_recorded_with_the_ttl_of_the_moment(bench: Bench, ha: Any) -> None:
    ha.dcs.ttl = 30
    before = fence.now()
    ha.set_is_leader(True)

    found = bench.record.read()
    assert ha.leader is True
    assert found is not None
    assert found.ends is not None
    assert before + 30 <= found.ends <= fence.now() + 30
    assert found == replace(Lease.of(str(bench.folder), ends=None), ends=found.ends)


def test_a_renewal_in_pause_is_recorded_without_an_end(bench: Bench, ha: Any) -> None:
    ha.paused = True
    ha.set_is_leader(True)

    assert bench.record.read() == Lease.of(str(bench.folder), ends=None)


def test_a_loss_is_told_and_the_record_stays(bench: Bench, ha: Any) -> None:
    ha.set_is_leader(True)
    before = bench.record.read()
    ha.set_is_leader(False)

    assert ha.leader is False
    assert bench.record.read() == before
    assert bench.keeper._renewals == 0


def test_the_keeper_knows_of_every_stop_and_of_its_end(bench: Bench, ha: Any) -> None:
    assert ha.demote("graceful") == "graceful"
    with pytest.raises(ConnectionError):
        ha.shutdown()

    assert ha.seen == [("graceful", 1), ("shutdown", 1)]
    assert bench.keeper._stopping == 0


# -- the process


def test_without_systemd_there_is_no_thread() -> None:
    assert alive.start({}, fenced=True) is None


def test_an_unfenced_process_forgets_what_a_fenced_one_knew(bench: Bench) -> None:
    bench.renews()

    assert alive.start({"RUNTIME_DIRECTORY": str(bench.folder)}, fenced=False) is None
    assert bench.record.read() is None


PROGRAM = """
import os, sys, time
from node_agent.guard import alive
environ = dict(os.environ)
assert alive.start(environ, fenced=True)
assert not set(alive.SYSTEMD) & set(environ), "PostgreSQL would inherit it"
time.sleep(60)
"""


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        yield systemd


def test_a_process_that_stands_still_tells_systemd_nothing(
    tmp_path: Path, notified: socket.socket
) -> None:
    environ = {"PYTHONPATH": str(ROOT), "RUNTIME_DIRECTORY": str(tmp_path)}
    environ |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "10000000"}
    process = subprocess.Popen([sys.executable, "-P", "-B", "-c", PROGRAM], env=environ)
    try:
        notified.settimeout(20)
        began = time.monotonic()
        assert [notified.recv(100) for _ in range(3)] == [ALIVE.encode()] * 3
        assert time.monotonic() - began < 10  # about one a second
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        notified.settimeout(0)
        while True:
            try:
                notified.recv(100)  # sent before it stopped
            except BlockingIOError:
                break
        notified.settimeout(2.5)
        with pytest.raises(TimeoutError):
            notified.recv(100)
        process.send_signal(signal.SIGCONT)
        notified.settimeout(20)
        assert notified.recv(100) == ALIVE.encode()
    finally:
        process.kill()
        process.wait()
