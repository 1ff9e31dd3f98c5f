"""The command line: one sentence and the right exit code, and nothing left behind when interrupted."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lab import cli
from lab.cli import main
from lab.demo import evidence, wiring
from lab.demo import main as demo_main
from lab.errors import LabError


class FakeDaemon:
    """Counts what is asked of the daemon; `failing` is raised while it starts."""

    def __init__(self, failing: BaseException | None = None) -> None:
        self.started = 0
        self.stopped = 0
        self._failing = failing

    def start_detached(self, *, size: str, durability: str, clock: str) -> None:
        assert (size, durability, clock) == ("minimal", "region", "fast")
        self.started += 1
        if self._failing is not None:
            raise self._failing

    def stop(self) -> None:
        self.stopped += 1


class NoLab:
    """A control client that finds no lab, or one that runs already."""

    running = False

    def __init__(self, *_: object, **__: object) -> None:
        return

    def alive(self) -> bool:
        return self.running

    def status(self) -> None:
        raise LabError("no lab is running here")

    machines = status


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(wiring, "ControlClient", NoLab)
    monkeypatch.setattr(demo_main, "ControlClient", NoLab)
    monkeypatch.setattr(demo_main, "gather", lambda *_: [])
    monkeypatch.setattr(demo_main, "new_directory", lambda: evidence.new_directory(tmp_path))
    return monkeypatch


def with_daemon(stage: pytest.MonkeyPatch, failing: BaseException | None) -> FakeDaemon:
    daemon = FakeDaemon(failing)
    stage.setattr(wiring, "daemon", lambda: daemon)
    return daemon


def test_ctrl_c_while_the_lab_starts_brings_it_down(
    stage: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    daemon = with_daemon(stage, KeyboardInterrupt())

    assert main(["demo"]) == 130

    assert (daemon.started, daemon.stopped) == (1, 1)
    assert (tmp_path / "latest" / "summary.json").exists()


def test_keep_leaves_the_lab_up(stage: pytest.MonkeyPatch) -> None:
    stage.setenv("KEEP", "1")
    daemon = with_daemon(stage, KeyboardInterrupt())

    assert main(["demo"]) == 130
    assert daemon.stopped == 0


def test_a_lab_that_cannot_start_is_one_sentence_exit_1_and_nobody_elses_lab_is_ended(
    stage: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = with_daemon(stage, LabError("too little disk: 10 GiB are needed"))

    assert main(["smoke"]) == 1

    assert daemon.stopped == 0
    assert "too little disk: 10 GiB are needed" in capsys.readouterr().out


def test_a_lab_that_runs_already_is_left_alone(
    stage: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = with_daemon(stage, None)
    stage.setattr(NoLab, "running", True)

    assert main(["demo"]) == 1

    assert (daemon.started, daemon.stopped) == (0, 0)
    assert "a lab is running already" in capsys.readouterr().out


def test_down_can_be_said_at_any_time(stage: pytest.MonkeyPatch) -> None:
    daemon = FakeDaemon()
    stage.setattr(cli, "daemon", lambda: daemon)

    assert main(["down"]) == 0
    assert main(["down"]) == 0
    assert daemon.stopped == 2


@pytest.mark.parametrize("verb", ["up", "down", "demo", "smoke"])
def test_without_root_the_lab_says_why_it_needs_it(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    assert main([verb]) == 1
    assert "needs root" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["break"], "say which fault (power-loss"),
        (["break", "earthquake", "leader"], "unknown fault 'earthquake'"),
        (["dance"], "invalid choice: 'dance'"),
        (["demo", "--clock", "slow"], "invalid choice: 'slow'"),
        ([], "the following arguments are required"),
    ],
)
def test_words_that_mean_nothing_are_one_sentence_and_exit_2(
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    assert main(words) == 2

    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.splitlines()) == 1


def test_status_without_a_lab_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(cli, "ControlClient", NoLab)

    assert main(["status"]) == 1
    assert capsys.readouterr().err == "lab: no lab is running here\n"


def test_the_environment_of_a_lab_is_for_a_shell_to_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(cli, "SOCKET", tmp_path / "control.sock")
    monkeypatch.setattr(cli, "ControlClient", NoLab)

    assert main(["env"]) == 1
    assert "export" not in capsys.readouterr().out

    monkeypatch.setattr(NoLab, "status", lambda _: None)
    assert main(["env"]) == 0
    said = capsys.readouterr().out
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:4566\n" in said
    assert "export AWS_REGION=eu-central-1\n" in said


def test_another_users_lab_is_no_reason_to_go_to_aws(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    (tmp_path / "control.sock").touch()
    monkeypatch.setattr(cli, "SOCKET", tmp_path / "control.sock")
    monkeypatch.setattr(os, "access", lambda *_: False)

    assert main(["env"]) == 2
    assert "belongs to root" in capsys.readouterr().err


def test_the_scenarios_are_listed_without_a_lab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert main(["faults", "--list"]) == 0
    assert "agent silent on a healthy node" in capsys.readouterr().out
    assert main(["faults", "--only", "earthquake"]) == 1
    assert "needs root" in capsys.readouterr().err
