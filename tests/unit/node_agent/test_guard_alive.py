"""What systemd hears of Patroni's process: that it lives, that its loop stands still, or nothing."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from node_agent.guard import alive, fence, journal
from node_agent.guard.alive import ALIVE, COPY_USEC, LOOP_BACK_S, TRIGGER, Keeper
from node_agent.guard.fence import Found, Lease, Record
from node_agent.guard.leadership import Standing

ROOT = Path(__file__).resolve().parents[3]
TTL, SLOW_S = 20.0, 11.0
LEADER_USEC = 10_000_000


class Full(io.StringIO):
    """A standard error that takes nothing."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


class Bench:
    """A keeper on a clock that only passes when told, with a loop that renews when told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.fenced_at: list[float] = []
        self.refuses: Exception | None = None
        self.runs = Found.ENDED  # what the fence finds when the lease is over
        self.paused = False
        self.record = Record(folder)
        self.folder = folder
        monkeypatch.setattr(alive, "fence", self._fence)
        self.keeper = self.a_keeper()

    def a_keeper(self, *, leader_usec: int = 0) -> Keeper:
        keeper = Keeper(self._send, self.record, leader_usec=leader_usec, clock=lambda: self.now)
        keeper.paused = lambda: self.paused
        return keeper

    def _send(self, message: str) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.said.append(message)

    def _fence(self, lease: Lease, *, at: float) -> Found:
        if lease.ends > at:
            return Found.HELD
        if self.runs is Found.ENDED:
            self.fenced_at.append(at)
        return self.runs

    def renews(self, *, ago_s: float = 0.0) -> None:
        lease = Lease(data_dir=str(self.folder), ends=self.now - ago_s + TTL)
        self.keeper.renewed(lease, slow_s=SLOW_S)

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
    bench.leads().paused = True
    bench.renews()
    assert bench.record.read() is None
    bench.pass_time(100)

    assert set(bench.said) == {ALIVE}
    assert not bench.fenced_at


def test_a_pause_is_heard_before_the_first_renewal_in_it_which_may_fail(bench: Bench) -> None:
    bench.leads().paused = True
    bench.pass_time(1)
    assert bench.record.read() is None
    bench.pass_time(100)

    assert not bench.fenced_at


def test_what_is_promoted_after_a_copy_was_seen_is_left_alone(bench: Bench) -> None:
    """A former leader follows; much later a person promotes it."""
    bench.leads().keeper.lost()
    bench.runs = Found.NOTHING
    bench.pass_time(int(TTL))
    assert bench.record.read() is None
    bench.runs = Found.ENDED
    bench.pass_time(100)
    bench.keeper = bench.a_keeper()
    bench.pass_time(1)

    assert not bench.fenced_at


def test_a_lease_renewed_while_the_old_one_is_looked_at_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.leads().now += TTL + 1

    def renewed_meanwhile(lease: Lease, *, at: float) -> Found:
        del lease, at
        bench.renews()
        return Found.NOTHING

    monkeypatch.setattr(alive, "fence", renewed_meanwhile)
    bench.keeper.tick()

    found = bench.record.read()
    assert found is not None
    assert found.ends == bench.now + TTL


def test_a_server_that_is_just_ending_is_looked_at_again(bench: Bench) -> None:
    bench.leads().runs = Found.UNSETTLED
    bench.pass_time(int(TTL) + 1)
    assert bench.record.read() is not None
    bench.runs = Found.ENDED
    bench.pass_time(1)

    assert bench.fenced_at == [bench.now]


def test_a_loop_whose_renewal_took_long_asks_for_its_restart_in_time_for_the_lease(
    bench: Bench,
) -> None:
    bench.leads().renews(ago_s=2.0)
    bench.pass_time(int(TTL))

    assert bench.said.index(TRIGGER) + 1 == TTL - 2.0 - LOOP_BACK_S


def test_a_loop_that_is_merely_slow_is_left_alone_when_its_lease_is_short(bench: Bench) -> None:
    bench.leads()
    for _ in range(5):
        bench.renews(ago_s=6.0)
        bench.pass_time(int(SLOW_S) - 1)

    assert set(bench.said) == {ALIVE}


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
    successor = bench.a_keeper()
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
    bench.refuses = BlockingIOError("systemd does not read")
    bench.pass_time(5)
    bench.refuses = None
    bench.pass_time(1)

    assert bench.said == [ALIVE]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("<3>pgmend guard: _tell: BlockingIOError('systemd does not read')")


@pytest.mark.parametrize("what", ["fence", "clock", "paused", "say"])
def test_whatever_goes_wrong_the_thread_goes_on_and_systemd_has_its_word(
    bench: Bench, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.leads()
    failing = [True]

    def fails(*_: Any, **__: Any) -> Any:
        if failing[0]:
            raise MemoryError
        return 0.0

    if what == "clock":
        monkeypatch.setattr(bench.keeper, "_clock", fails)
    elif what == "paused":
        bench.keeper.paused = fails
    else:
        monkeypatch.setattr(alive, "fence", fails)
    if what == "say":
        monkeypatch.setattr(sys, "stderr", Full())
        monkeypatch.setattr(journal, "_lost", [0])
    bench.pass_time(3)
    failing[0] = False
    bench.pass_time(1)

    assert bench.said == [ALIVE] * 4


def test_a_journal_that_is_away_ends_nobody_and_hears_how_much_it_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(journal, "_lost", [0])
    with monkeypatch.context() as away:
        away.setattr(sys, "stderr", Full())
        journal.say(journal.ERROR, "one")
        journal.say(journal.ERROR, "two")
    journal.say(journal.INFO, "three")
    journal.say(journal.INFO, "four")

    assert capsys.readouterr().err.splitlines() == [
        "<6>pgmend guard: three (2 lines before this one were lost)",
        "<6>pgmend guard: four",
    ]


# -- systemd's patience


def test_systemd_is_more_patient_with_a_copy_than_with_a_leader(bench: Bench) -> None:
    bench.keeper = bench.a_keeper(leader_usec=LEADER_USEC)
    bench.pass_time(2)
    bench.renews()
    bench.pass_time(2)
    bench.keeper.lost()
    bench.runs = Found.NOTHING
    bench.pass_time(int(TTL))

    copy, leader = (f"{ALIVE}\nWATCHDOG_USEC={usec}" for usec in (COPY_USEC, LEADER_USEC))
    assert bench.said == [copy, ALIVE, leader, *[ALIVE] * 18, copy, ALIVE, ALIVE]


def test_a_successor_of_a_leader_has_a_leaders_patience_from_its_start(bench: Bench) -> None:
    bench.renews()
    bench.keeper = bench.a_keeper(leader_usec=LEADER_USEC)
    bench.pass_time(1)

    assert bench.said == [ALIVE]  # what systemd has at a start


def test_a_patience_that_could_not_be_said_is_said_again(bench: Bench) -> None:
    bench.keeper = bench.a_keeper(leader_usec=LEADER_USEC)
    bench.refuses = BlockingIOError()
    bench.pass_time(1)
    bench.refuses = None
    bench.pass_time(1)

    assert bench.said == [f"{ALIVE}\nWATCHDOG_USEC={COPY_USEC}"]


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
        self.dcs = SimpleNamespace(ttl=20, loop_wait=2, _retry=SimpleNamespace(deadline=3))
        self.state_handler = SimpleNamespace(data_dir=str(data_dir))
        self.failsafe = False
        self.leader: bool | None = None
        self.keeper: Any = None
        self.seen: list[tuple[Any, ...]] = []

    def is_failsafe_mode(self) -> bool:
        return self.failsafe

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
    vars(module)["global_config"] = SimpleNamespace(is_paused=False)
    alive.install(module, bench.keeper)
    found = module.Ha(bench.folder)
    found.keeper, found.global_config = bench.keeper, vars(module)["global_config"]
    return found


def test_a_lease_is_recorded_with_the_ttl_of_the_moment_from_before_etcd_was_asked(
    bench: Bench, ha: Any
) -> None:
    ha.dcs.ttl = 30
    Standing.of(ha.dcs).renewed_at = fence.now() - 7.5
    ha.set_is_leader(True)

    assert ha.leader is True
    expected = Standing.of(ha.dcs).renewed_at + 30
    assert bench.record.read() == Lease(data_dir=str(bench.folder), ends=expected)
    assert bench.keeper._slow_s == 2 + 3 * 3


def test_in_failsafe_mode_the_members_word_counts_from_now(bench: Bench, ha: Any) -> None:
    ha.failsafe = True
    Standing.of(ha.dcs).renewed_at = fence.now() - 600
    before = fence.now()
    ha.set_is_leader(True)

    found = bench.record.read()
    assert found is not None
    assert before + 20 <= found.ends <= fence.now() + 20


def test_a_renewal_in_pause_is_no_lease(bench: Bench, ha: Any) -> None:
    ha.set_is_leader(True)
    assert bench.record.read() is not None
    ha.global_config.is_paused = True
    ha.set_is_leader(True)

    assert bench.record.read() is None


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
        first = f"{ALIVE}\nWATCHDOG_USEC={COPY_USEC}".encode()
        assert [notified.recv(100) for _ in range(3)] == [first, *[ALIVE.encode()] * 2]
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
