"""The writer and the prober against a real server: what they remember is what the server did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.load.history import NO_ANSWER, READ_ONLY, WRITABLE, Outcome, Probe, Tail, Write, acked_ids
from tests.adapters.lab_tools.conftest import Server, free_port

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def program(name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", f"lab.load.{name}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PGPASSWORD": "unused"},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def eventually(condition: Callable[[], bool], *, within_s: float = 15.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


class Memory:
    """What the writer has remembered so far."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path, Write)
        self.writes: list[Write] = []

    def acked(self, path: str | None = None) -> int:
        self.writes += self._tail.read()
        return sum(
            write.outcome is Outcome.ACKED and path in (None, write.path) for write in self.writes
        )

    def outcomes(self) -> set[Outcome]:
        self.acked()
        return {write.outcome for write in self.writes}


def present(postgres: Server) -> frozenset[int]:
    return frozenset(int(line) for line in postgres.sql("SELECT id FROM lab_writes").split())


def test_every_acknowledged_write_is_there_over_two_paths(postgres: Server, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "writer.csv")
    words = (f"west=127.0.0.1:{postgres.port}", f"south=127.0.0.1:{postgres.port}")

    with program("writer", str(tmp_path / "writer.csv"), *words):
        eventually(lambda: memory.acked("west") > 20 and memory.acked("south") > 20)

    memory.acked()
    assert acked_ids(memory.writes) <= present(postgres)
    assert len({write.id for write in memory.writes}) == len(memory.writes)


def test_a_crash_of_the_server_loses_no_acknowledged_write_and_the_writer_comes_back(
    postgres: Server, tmp_path: Path
) -> None:
    memory = Memory(tmp_path / "writer.csv")

    with program("writer", str(tmp_path / "writer.csv"), f"west=127.0.0.1:{postgres.port}"):
        eventually(lambda: memory.acked() > 10)
        before = memory.acked()
        postgres.control("restart", "-m", "immediate")
        eventually(lambda: memory.acked() > before + 20)

    memory.acked()
    assert acked_ids(memory.writes) <= present(postgres)


def test_a_commit_that_waits_for_a_missing_copy_is_unknown_not_acknowledged(
    postgres: Server, tmp_path: Path
) -> None:
    memory = Memory(tmp_path / "writer.csv")
    postgres.sql("CREATE TABLE IF NOT EXISTS made_before (x int)")

    with program("writer", str(tmp_path / "writer.csv"), f"west=127.0.0.1:{postgres.port}"):
        eventually(lambda: memory.acked() > 5)
        postgres.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        postgres.sql("SELECT pg_reload_conf()")
        try:
            eventually(lambda: Outcome.UNKNOWN in memory.outcomes())
        finally:
            postgres.sql("ALTER SYSTEM RESET synchronous_standby_names")
            postgres.sql("SELECT pg_reload_conf()")

    late = [write for write in memory.writes if write.outcome is Outcome.UNKNOWN]
    assert any("no answer in time" in write.reason for write in late)


def test_a_wait_that_an_operator_cancels_is_unknown(postgres: Server, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "writer.csv")

    with program("writer", str(tmp_path / "writer.csv"), f"west=127.0.0.1:{postgres.port}"):
        eventually(lambda: memory.acked() > 5)
        postgres.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        postgres.sql("SELECT pg_reload_conf()")
        cancel = (
            "SET synchronous_commit = local; SELECT count(pg_cancel_backend(pid))"
            " FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        try:
            eventually(lambda: postgres.sql(cancel).splitlines()[-1] != "0")
            eventually(
                lambda: (
                    Outcome.UNKNOWN in memory.outcomes()
                    and any("canceling wait" in write.reason for write in memory.writes)
                )
            )
        finally:
            postgres.sql("ALTER SYSTEM RESET synchronous_standby_names")
            postgres.sql("SELECT pg_reload_conf()")


def answers(path: Path, target: str) -> list[str]:
    return [probe.answer for probe in Tail(path, Probe).read() if probe.target == target]


def test_the_prober_tells_writable_from_silent_and_is_not_slowed_by_the_dead(
    postgres: Server, tmp_path: Path
) -> None:
    file = tmp_path / "prober.csv"
    words = (f"alive=127.0.0.1:{postgres.port}", f"dead=127.0.0.1:{free_port()}")

    with program("prober", str(file), *words):
        eventually(lambda: len(answers(file, "alive")) >= 6)

    assert set(answers(file, "alive")) == {WRITABLE}
    assert set(answers(file, "dead")) == {NO_ANSWER}


def test_the_prober_is_not_blocked_by_a_missing_copy_and_leaves_no_trace(
    postgres: Server, tmp_path: Path
) -> None:
    file = tmp_path / "prober.csv"
    postgres.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    postgres.sql("SELECT pg_reload_conf()")
    try:
        with program("prober", str(file), f"alive=127.0.0.1:{postgres.port}"):
            eventually(lambda: len(answers(file, "alive")) >= 4)
    finally:
        postgres.sql("ALTER SYSTEM RESET synchronous_standby_names")
        postgres.sql("SELECT pg_reload_conf()")

    assert set(answers(file, "alive")) == {WRITABLE}


def test_a_server_that_is_read_only_is_not_writable(postgres: Server, tmp_path: Path) -> None:
    file = tmp_path / "prober.csv"
    postgres.sql("ALTER DATABASE app SET default_transaction_read_only = on", dbname="postgres")
    try:
        with program("prober", str(file), f"alive=127.0.0.1:{postgres.port}"):
            eventually(lambda: len(answers(file, "alive")) >= 2)
    finally:
        postgres.sql("ALTER DATABASE app RESET default_transaction_read_only", dbname="postgres")

    assert set(answers(file, "alive")) == {READ_ONLY}


@pytest.mark.parametrize("name", ["writer", "prober"])
def test_without_a_target_the_program_says_so(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"lab.load.{name}", str(tmp_path / "x.csv")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "NAME=HOST:PORT" in done.stderr
