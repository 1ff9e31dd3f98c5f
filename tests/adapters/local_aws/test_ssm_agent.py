"""The SSM agent stand-in: steps run as on AWS, and nothing of a command is lost or done twice."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest

from tests.adapters.local_aws.agents import SCRIPT, load
from tests.adapters.local_aws.waiting import eventually


@pytest.fixture
def agent(tmp_path: Path) -> ModuleType:
    return load(tmp_path)


def document(*scripts: str | list[str], timeout: str = "10") -> dict[str, Any]:
    steps = [
        {
            "action": "aws:runShellScript",
            "name": f"step{n}",
            "inputs": {"timeoutSeconds": timeout, "runCommand": script},
        }
        for n, script in enumerate(scripts)
    ]
    return {"schemaVersion": "2.2", "mainSteps": steps}


# -- parameters


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("echo {{ Name }} {{Other}}", "echo one two"),
        ("{{ Name }}", "one"),
        ("{{ List }}", ["a", "b"]),
        (["first", "{{ List }}", "x {{ Name }}"], ["first", "a", "b", "x one"]),
        ("{{ Empty }}", []),
        ("{{ Unknown }} and {{ Name }}", "{{ Unknown }} and one"),
        ("{{ Unknown }}", "{{ Unknown }}"),
        (7, 7),
    ],
)
def test_parameters_are_filled_in(agent: ModuleType, value: object, result: object) -> None:
    parameters = {"Name": ["one"], "Other": ["two"], "List": ["a", "b"], "Empty": []}
    assert agent.substituted(value, parameters) == result


# -- running


def test_output_error_and_exit_code_are_the_scripts_own(agent: ModuleType) -> None:
    found = agent.run(document(["echo out", "echo err >&2", "exit 11"]), {})
    assert found == {"status": "Failed", "exit_code": 11, "output": "out\n", "error": "err\n"}


def test_steps_run_in_order_and_their_output_is_joined(agent: ModuleType) -> None:
    found = agent.run(document("echo one", "echo two"), {})
    assert (found["status"], found["exit_code"], found["output"]) == ("Success", 0, "one\ntwo\n")


def test_a_failed_step_is_the_last(agent: ModuleType, tmp_path: Path) -> None:
    found = agent.run(document("echo one; exit 3", f"touch {tmp_path / 'two'}"), {})
    assert (found["status"], found["exit_code"], found["output"]) == ("Failed", 3, "one\n")
    assert not (tmp_path / "two").exists()


def test_only_the_last_commands_status_counts_unless_the_script_says_so(agent: ModuleType) -> None:
    assert agent.run(document(["false", "true"]), {})["status"] == "Success"
    assert agent.run(document(["set -e", "false", "true"]), {})["status"] == "Failed"


def test_a_script_names_its_own_interpreter_or_gets_the_nodes_sh(agent: ModuleType) -> None:
    found = agent.run(document(["#!/usr/bin/python3", "print(6 * 7)"], "echo $0"), {})
    assert found["output"].startswith("42\n")


def test_output_that_is_no_text_is_no_failure(agent: ModuleType) -> None:
    found = agent.run(document(r"printf '\377ok'"), {})
    assert (found["status"], found["output"]) == ("Success", "�ok")


def test_a_script_has_no_standard_input_to_wait_for(agent: ModuleType) -> None:
    assert agent.run(document("cat"), {})["status"] == "Success"


def test_an_action_that_is_not_known_fails(agent: ModuleType) -> None:
    content = {"mainSteps": [{"action": "aws:runDocument", "name": "x", "inputs": {}}]}
    found = agent.run(content, {})
    assert (found["status"], found["exit_code"]) == ("Failed", 1)


def test_a_step_that_takes_too_long_is_killed_with_all_it_started(
    agent: ModuleType, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    script = f"echo begun; sleep 60 & echo $! > {note}; wait"
    began = time.monotonic()
    found = agent.run(document(script, timeout="0.5"), {})
    assert time.monotonic() - began < 10
    assert (found["status"], found["exit_code"]) == ("TimedOut", 137)
    assert found["output"] == "begun\n"
    eventually(lambda: not running(int(note.read_text())))


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_time_limit_may_be_a_parameter(agent: ModuleType) -> None:
    content = document("sleep 60", timeout="{{ executionTimeout }}")
    assert agent.run(content, {"executionTimeout": ["0.3"]})["status"] == "TimedOut"


def test_no_script_is_left_behind(agent: ModuleType, tmp_path: Path) -> None:
    agent.run(document("true", "exit 1"), {})
    assert list(tmp_path.glob("*.sh")) == []


# -- keeping and delivering


class Api(HTTPServer):
    """Takes results, or is broken."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taker)
        self.taken: list[dict[str, Any]] = []
        self.broken = False


class Taker(BaseHTTPRequestHandler):
    server: Api

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.broken:
            self.server.taken.append(json.loads(body))
        self.send_response(503 if self.server.broken else 200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"null")


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_result_is_kept_until_it_is_taken(agent: ModuleType, tmp_path: Path, api: Api) -> None:
    base = f"http://127.0.0.1:{api.server_port}"
    agent.keep("c-1", {"status": "Success", "exit_code": 0, "output": "x", "error": ""})
    kept = tmp_path / "c-1.result"
    api.broken = True
    with pytest.raises(OSError, match="503"):
        agent.deliver(base, kept)
    assert kept.exists()
    api.broken = False
    agent.deliver(base, kept)
    assert not kept.exists()
    assert [(taken["command_id"], taken["output"]) for taken in api.taken] == [("c-1", "x")]


def test_a_command_that_was_running_when_the_agent_died_has_failed(
    agent: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "c-1.running").write_text("")
    agent.interrupted()
    found = json.loads((tmp_path / "c-1.result").read_text())
    assert (found["status"], found["exit_code"]) == ("Failed", 1)
    assert "interrupted" in found["error"]
    assert not (tmp_path / "c-1.running").exists()


def test_a_command_that_had_ended_when_the_agent_died_keeps_its_result(
    agent: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "c-1.running").write_text("")
    agent.keep("c-1", {"status": "Success", "exit_code": 0, "output": "done", "error": ""})
    agent.interrupted()
    found = json.loads((tmp_path / "c-1.result").read_text())
    assert (found["status"], found["output"]) == ("Success", "done")


def test_the_script_can_be_executed() -> None:
    assert os.access(SCRIPT, os.X_OK)
    assert SCRIPT.read_text().startswith("#!/usr/bin/python3\n")
