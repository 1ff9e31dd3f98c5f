"""Small things everything else stands on: bounds on waiting, whole files, one command at a time, phases."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node_agent import files, phase, shell
from node_agent.errors import AgentError, HoldError, RefusedError, UsageError
from node_agent.lock import alone
from tests.unit.node_agent.builders import Clock
from tests.unit.node_agent.conftest import Home


def test_an_answer_that_is_there_costs_no_time() -> None:
    clock = Clock()
    assert clock.deadline(10).until(lambda: "here") == "here"
    assert clock.now == 1000.0


def test_waiting_ends_with_the_answer() -> None:
    clock, found = Clock(), []
    clock.after(3.0, lambda: found.append("here"))
    assert clock.deadline(10).until(lambda: found or None) == ["here"]
    assert 1003.0 <= clock.now < 1003.5


def test_waiting_never_outlasts_its_deadline() -> None:
    clock = Clock()
    assert clock.deadline(10).until(lambda: None) is None
    assert clock.now == pytest.approx(1010.0)


def test_no_is_no_answer_to_wait_for_and_zero_is_one() -> None:
    clock = Clock()
    assert clock.deadline(1).until(lambda: False) is None
    assert clock.deadline(1).until(lambda: 0) == 0


def test_a_deadline_that_is_over_still_asks_once() -> None:
    asked: list[int] = []
    Clock().deadline(0).until(lambda: asked.append(1))
    assert asked == [1]


def test_a_shorter_deadline_never_outlasts_the_longer_one() -> None:
    clock = Clock()
    deadline = clock.deadline(5)
    assert deadline.within(60).left_s == 5
    assert deadline.within(2).left_s == 2


def test_a_file_is_only_replaced_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert files.write(path, "one", mode=0o600)
    assert not files.write(path, "one", mode=0o600)
    assert files.write(path, "two", mode=0o600)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_secret_gets_its_mode_back(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    files.write(path, "one", mode=0o644)
    assert files.write(path, "one", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_files_mode_does_not_depend_on_who_writes_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write(tmp_path / "public", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o644


def test_a_second_command_is_refused_while_one_runs(home: Home) -> None:
    assert home.root.exists()
    with alone(), pytest.raises(RefusedError, match="another command"), alone():
        pass
    with alone():
        pass


def test_the_lock_is_given_back_by_a_command_that_fails(home: Home) -> None:
    assert home.root.exists()
    with pytest.raises(HoldError), alone():
        raise HoldError("no")
    with alone():
        pass


def test_a_node_is_idle_until_a_document_says_otherwise(home: Home) -> None:
    assert phase.phase() == "idle"
    phase.enter(phase.CONFIGURED)
    assert phase.phase() == "configured"
    assert home.phase.read_text() == "configured\n"


def test_exit_codes_are_the_contracts() -> None:
    kinds = (AgentError, UsageError, RefusedError, HoldError)
    assert [kind.exit_code for kind in kinds] == [1, 2, 10, 11]
    assert [kind.code for kind in kinds] == ["failed", "usage", "refused", "hold"]


def test_a_program_that_fails_is_quoted() -> None:
    with pytest.raises(AgentError, match="ended with code 3: no such thing"):
        shell.run(["/bin/sh", "-c", "echo no such thing >&2; exit 3"])
    assert shell.run(["/bin/sh", "-c", "exit 3"], ok=(3,)).code == 3


def test_a_program_that_does_not_exist_is_an_error_with_a_sentence() -> None:
    with pytest.raises(AgentError, match="could not be run"):
        shell.run(["/no/such/program"])


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(AgentError, match="could not be run"):
        shell.run(["tail", "-f", "/dev/null"], timeout_s=0.05)
