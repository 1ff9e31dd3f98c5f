"""One entry point: the last line is JSON, the exit code is the contract's, no other node's order is carried out."""

from __future__ import annotations

import json
from argparse import Namespace
from importlib import import_module
from typing import Any

import pytest

from node_agent import cli
from node_agent.commands import configure, diagnose, join, mount
from node_agent.errors import AgentError, HoldError, RefusedError
from tests.unit.node_agent.builders import a_node
from tests.unit.node_agent.conftest import Home

VERBS = (
    "daemon",
    "mount",
    "post-bootstrap",
    "configure",
    "join",
    "reinit",
    "leave",
    "restart",
    "switchover",
    "grow-file-system",
    "release-ballast",
    "drop-replication-slot",
    "repair-etcd",
    "replace-etcd-member",
    "diagnose",
)


class Said:
    """What a call printed and returned."""

    def __init__(self, code: int, out: str) -> None:
        self.code, self.lines = code, out.strip().splitlines()
        self.last: dict[str, Any] = json.loads(self.lines[-1])


@pytest.fixture
def call(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    assert home.root.exists()
    monkeypatch.setattr(cli, "whoami", a_node)

    def made(*words: str) -> Said:
        code = cli.main(words)
        return Said(code, capsys.readouterr().out)

    return made


def raising(error: Exception) -> Any:
    def run(*_: Any) -> str:
        raise error

    return run


def test_done_is_zero_and_says_what_was_done(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "run", lambda _node, _args: "it follows\nagain")
    said = call("join", "--slot", "db-euw1-a")
    assert said.code == 0
    assert said.last == {"ok": True, "code": "done", "message": "it follows again"}


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (AgentError("x"), 1, "failed"),
        (RefusedError("x"), 10, "refused"),
        (HoldError("x"), 11, "hold"),
        (KeyError("x"), 1, "failed"),
        (OSError("x"), 1, "failed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_error_has_its_code_and_a_line(
    call: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, word: str
) -> None:
    monkeypatch.setattr(join, "run", raising(error))
    said = call("join", "--slot", "db-euw1-a")
    assert said.code == code
    assert (said.last["ok"], said.last["code"]) == (False, word)
    assert "x" in said.last["message"]


def test_another_slots_order_is_refused_before_anything_runs(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configure, "run", raising(AssertionError("it ran")))
    said = call("configure", "--slot", "db-euw1-b", "--volume-id", "vol-0aaaaaaaa")
    assert said.code == 10
    assert "this node is db-euw1-a, not db-euw1-b" in said.last["message"]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("dance",),
        ("join",),
        ("restart", "--slot", "db-euw1-a"),
        ("restart", "--slot", "db-euw1-a", "--service", "sshd"),
        ("configure", "--slot", "db-euw1-a"),
        ("switchover", "--slot", "db-euw1-a"),
        ("switchover", "--slot", "db-euw1-a", "--to", "witness-euc1-a"),
        ("drop-replication-slot", "--slot", "db-euw1-a"),
        ("drop-replication-slot", "--slot", "db-euw1-a", "--replication-slot", "a;b"),
        ("join", "--slot", "db-euw1-a", "--force"),
    ],
    ids=" ".join,
)
def test_wrong_words_are_wrong_use(call: Any, words: tuple[str, ...]) -> None:
    said = call(*words)
    assert said.code == 2
    assert said.last["code"] == "usage"


def test_two_commands_do_not_run_at_once(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inner: list[Said] = []

    def run(_node: Any, _args: Namespace) -> str:
        inner.append(call("leave", "--slot", "db-euw1-a"))
        return "done"

    monkeypatch.setattr(join, "run", run)
    assert call("join", "--slot", "db-euw1-a").code == 0
    assert inner[0].code == 10


def test_a_diagnosis_does_not_wait_for_a_command(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: list[Said] = []

    def run(_node: Any, _args: Namespace) -> str:
        inner.append(call("diagnose", "--slot", "db-euw1-a"))
        return "done"

    monkeypatch.setattr(join, "run", run)
    monkeypatch.setattr(diagnose, "run", lambda _node, _args: "seen")
    call("join", "--slot", "db-euw1-a")
    assert inner[0].code == 0


def test_mounting_at_boot_asks_no_metadata(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "whoami", raising(AssertionError("it asked")))
    monkeypatch.setattr(mount, "run", lambda _args: "mounted")
    assert call("mount").code == 0


def test_a_long_message_stays_one_line(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "run", raising(AgentError("word\n" * 5000)))
    said = call("join", "--slot", "db-euw1-a")
    assert len(said.lines) == 1
    assert len(said.lines[0]) < 2200


def test_help_names_every_verb_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert leaving.value.code == 0
    assert all(verb in text for verb in VERBS)
    assert all(code in text for code in ("0 done", "1 failed", "2 wrong", "10 refused", "11 hold"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_module_that_runs(verb: str) -> None:
    module = import_module(f"node_agent.commands.{verb.replace('-', '_')}")
    assert callable(module.run)
