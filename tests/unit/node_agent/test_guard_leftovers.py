"""What a killed Patroni left at work is waited for, then ended, before the next one begins."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node_agent.guard import leftovers

Start = Callable[..., int]
PARENT = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdout=2).pid)"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A program of that name whose parent has gone."""
    pids: list[int] = []

    os.mkfifo(tmp_path / "silence")

    def run(name: str, script: str = f"read -t 60 <>{tmp_path}/silence") -> int:
        program = tmp_path / name
        shutil.copy("/bin/bash", program)
        command = [sys.executable, "-c", PARENT, str(program), "-c", script]
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        pids.append(int(found.stdout))
        return pids[-1]

    yield run
    for pid in pids:
        if runs(pid):
            os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    """Not ended, and not merely waiting to be noticed."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_text())
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("name", ["pg_rewind", "pg_basebackup"])
def test_what_does_not_end_by_itself_is_ended(
    start: Start, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pid = start(name)

    leftovers.clear(ours={pid}.__contains__, patience_s=0.5)

    assert not runs(pid)
    said = capsys.readouterr().err
    assert said.count(f"{name} of the Patroni before is still at work") == 1


def test_what_ends_by_itself_has_its_time(start: Start, tmp_path: Path) -> None:
    pid = start("pg_rewind", f"sleep 1; touch {tmp_path}/ended")
    began = time.monotonic()

    leftovers.clear(ours={pid}.__contains__, patience_s=30)

    assert not runs(pid)
    assert (tmp_path / "ended").exists()
    assert time.monotonic() - began < 20


def test_what_another_started_and_what_does_something_else_are_left_alone(start: Start) -> None:
    backup, sleeper = start("pg_basebackup"), start("sleeper")

    leftovers.clear(ours={sleeper}.__contains__, patience_s=0.0)

    assert runs(backup)
    assert runs(sleeper)


def test_a_process_belongs_to_the_unit_by_its_control_group(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start("pg_rewind")
    groups = {os.getpid(): "0::/system.slice/patroni.service\n", child: "0::/user.slice\n"}
    real = leftovers._of
    assert real(child, "cgroup") == real(os.getpid(), "cgroup") != ""
    assert leftovers.of_this_unit()(child)
    monkeypatch.setattr(leftovers, "_of", lambda pid, _: groups[pid])

    assert not leftovers.of_this_unit()(child)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["/usr/lib/postgresql/17/bin/pg_rewind", "-D", "/data"], "pg_rewind"),
        (["/bin/postgres", "--single", "-D", "/data", "template1"], "postgres --single"),
        (["/bin/postgres", "-D", "/data", "--single"], None),
        (["postgres: checkpointer "], None),
        (["psql", "pg_rewind"], None),
        ([""], None),
    ],
)
def test_a_program_is_known_by_its_command_line(words: list[str], name: str | None) -> None:
    assert leftovers.program("\0".join(words)) == name
