"""Documents and the command line they call: the same verbs and parameters, and no door for anything else."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from node_agent import cli, replication_slots
from node_agent.commands import (
    grow_file_system,
    join,
    reinit,
    repair_etcd,
    replace_etcd_member,
    restart,
    switchover,
)
from node_agent.commands.configure import Order
from node_agent.errors import UsageError

ROOT = Path(__file__).parents[2]
CONTRACT = (ROOT / "docs" / "contracts.md").read_text()
DOCUMENTS = sorted((ROOT / "ssm_documents").glob("*.yaml"))


def command_of(path: Path) -> tuple[dict[str, Any], str]:
    document = yaml.safe_load(path.read_text())
    (step,) = document["mainSteps"]
    assert step["action"] == "aws:runShellScript"
    return document, step["inputs"]["runCommand"][0]


def filled(document: dict[str, Any], text: str, choose: int) -> str:
    """The command with each parameter's first or last allowed value."""
    examples = {
        "Slot": ["db-euw1-a", "witness-euc1-a"],
        "VolumeId": ["vol-0123456789abcdef0", "vol-01234567"],
        "To": ["db-euw1-b", "db-euw3-a"],
        "ReplicationSlot": ["a", "old_copy_" + "1" * 54],
        "EtcdToken": ["0123456789abcdef0123456789abcdef", "0" * 32],
    }
    for name, parameter in document["parameters"].items():
        values = parameter.get("allowedValues") or examples[name]
        if "allowedPattern" in parameter:
            assert re.search(parameter["allowedPattern"], values[choose])
        text = text.replace("{{ " + name + " }}", values[choose])
    return text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("choose", [0, -1])
def test_every_document_calls_a_verb_with_parameters_it_knows(path: Path, choose: int) -> None:
    document, command = command_of(path)
    line = filled(document, command, choose).strip().splitlines()[-1]
    words = shlex.split(line)
    assert words[:2] == ["exec", "/opt/pgmend/bin/pgmend-node"]
    args = cli.parser().parse_args(words[2:])
    assert args.slot in {"db-euw1-a", "witness-euc1-a"}
    assert "{{" not in line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_document_is_in_the_contract_with_its_command(path: Path) -> None:
    document, command = command_of(path)
    verb = shlex.split(command.strip().splitlines()[-1])[2]
    row = next(line for line in CONTRACT.splitlines() if line.startswith(f"| `{path.stem}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2] == f"`{verb}`"
    for name in document["parameters"]:
        assert f"`{name}`" in cells[1]


def test_the_restart_document_and_the_command_name_the_same_services() -> None:
    document, _ = command_of(ROOT / "ssm_documents" / "pgmend-restart-service.yaml")
    assert tuple(document["parameters"]["Service"]["allowedValues"]) == cli.SERVICES


def test_what_a_document_lets_through_is_an_order_the_agent_takes() -> None:
    document, _ = command_of(ROOT / "ssm_documents" / "pgmend-configure-node.yaml")
    patterns = document["parameters"]
    for volume in ("vol-01234567", "vol-0123456789abcdef0"):
        assert re.search(patterns["VolumeId"]["allowedPattern"], volume)
        order = Order.parse(role="db", volume_id=volume, birth="no", etcd_token="none")
        assert order.volume_id == volume
    token = "0123456789abcdef" * 2
    assert re.search(patterns["EtcdToken"]["allowedPattern"], token)
    assert Order.parse(
        role="witness", volume_id="vol-01234567", birth="yes", etcd_token=token
    ).birth


HOSTILE = (
    "",
    "db-euw1-a; reboot",
    "db-euw1-a' && reboot '",
    "$(reboot)",
    "`reboot`",
    "db-euw1-a | tee /etc/passwd",
    "../../etc/passwd",
    "db-euw1-a --to db-euw1-b",
    "-h",
    "DB-EUW1-A",
    "db-euw1-a\u0000",
    "db-euw1-é",
    "a" * 64,
    "a-b",
    "a.b",
    'a"; DROP TABLE x; --',
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("words", HOSTILE)
def test_every_parameter_is_narrow_and_hostile_words_pass_none(path: Path, words: str) -> None:
    document, _ = command_of(path)
    for name, parameter in document["parameters"].items():
        assert parameter["type"] == "String"
        allowed, pattern = parameter.get("allowedValues"), parameter.get("allowedPattern")
        assert (allowed is None) != (pattern is None), name
        if pattern is None:
            assert words not in allowed
        else:
            assert pattern.startswith("^")
            assert pattern.endswith("$")
            assert not re.search(pattern, words)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_step_has_a_time_out_and_quotes_its_parameters(path: Path) -> None:
    document, command = command_of(path)
    inputs = document["mainSteps"][0]["inputs"]
    assert 0 < int(inputs["timeoutSeconds"]) <= 600
    assert command.startswith("set -euo pipefail\n")
    for name in document["parameters"]:
        assert command.count("{{ " + name + " }}") == command.count("'{{ " + name + " }}'") == 1


@pytest.mark.parametrize(
    ("document", "parameter", "pattern"),
    [
        ("pgmend-switchover", "To", cli.DATABASE),
        ("pgmend-drop-replication-slot", "ReplicationSlot", cli.REPLICATION_SLOT),
    ],
)
def test_the_command_line_checks_what_its_document_checks(
    document: str, parameter: str, pattern: re.Pattern[str]
) -> None:
    found, _ = command_of(ROOT / "ssm_documents" / f"{document}.yaml")
    assert found["parameters"][parameter]["allowedPattern"] == f"^{pattern.pattern}$"


@pytest.mark.parametrize("words", HOSTILE)
@pytest.mark.parametrize(
    "line", [("switchover", "--to"), ("drop-replication-slot", "--replication-slot")], ids=str
)
def test_the_last_door_is_shut_to_hostile_words(line: tuple[str, str], words: str) -> None:
    verb, parameter = line
    if verb == "drop-replication-slot" and re.fullmatch(r"[a-z0-9_]{1,63}", words):
        return
    with pytest.raises(UsageError):
        cli.parser().parse_args([verb, "--slot", "db-euw1-a", f"{parameter}={words}"])


@pytest.mark.parametrize(
    ("document", "patience_s"),
    [
        ("pgmend-reinit-replica", reinit.PATIENCE_S),
        ("pgmend-join-replica", join.PATIENCE_S),
        ("pgmend-restart-service", restart.PATIENCE_S),
        ("pgmend-switchover", switchover.PATIENCE_S),
        ("pgmend-grow-file-system", grow_file_system.GROW_S),
        ("pgmend-drop-replication-slot", replication_slots.DROP_S),
        ("pgmend-repair-etcd", repair_etcd.PATIENCE_S),
        ("pgmend-replace-etcd-member", replace_etcd_member.PATIENCE_S),
    ],
)
def test_a_command_gives_up_before_its_document_does(document: str, patience_s: float) -> None:
    """So that its own last line says what was missing."""
    found, _ = command_of(ROOT / "ssm_documents" / f"{document}.yaml")
    assert patience_s < int(found["mainSteps"][0]["inputs"]["timeoutSeconds"])
