"""The project's own documents: what does not fit a parameter is refused by the API, before any node hears of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.adapters.local_aws.agents import Agent
from tests.adapters.local_aws.setting import Local
from tests.adapters.local_aws.waiting import refused

FILES = sorted((Path(__file__).resolve().parents[3] / "ssm_documents").glob("*.yaml"))
CONTENTS: Mapping[str, Mapping[str, Any]] = {
    file.stem: yaml.safe_load(file.read_text()) for file in FILES
}
HOSTILE = (
    "db-euw1-a; reboot",
    "db-euw1-a' ; reboot ; '",
    "$(reboot)",
    "`reboot`",
    "db-euw1-a && reboot",
    "db-euw1-a | sh",
    "db-euw1-a\nreboot",
    "../../etc/passwd",
    "{{ Slot }}",
    "{{ ssm:secret }}",
    "--help",
    "*",
    "",
    "\x00",
    "DB-EUW1-A",
    "a" * 5000,
)
# A value that fits, by parameter.
FITTING = {
    "Slot": "db-euw1-a",
    "VolumeId": "vol-0123456789abcdef0",
    "Birth": "no",
    "EtcdToken": "none",
    "Service": "patroni",
    "To": "db-euw1-b",
    "ReplicationSlot": "left_behind",
}
ALL = [(name, parameter) for name, body in CONTENTS.items() for parameter in body["parameters"]]


@pytest.fixture(scope="module")
def documents(local: Local) -> Iterator[Any]:
    """SSM with every document in place."""
    ssm = local.client("ssm")
    for file in FILES:
        ssm.create_document(
            Name=file.stem,
            Content=file.read_text(),
            DocumentType="Command",
            DocumentFormat="YAML",
            TargetType="/AWS::EC2::Instance",
        )
    yield ssm
    for file in FILES:
        ssm.delete_document(Name=file.stem)


def values(document: str, **changed: str) -> dict[str, list[str]]:
    """Fitting values for every parameter of a document but those that are given."""
    names = CONTENTS[document]["parameters"]
    return {name: [changed.get(name, FITTING[name])] for name in names}


@pytest.mark.parametrize(("document", "parameter"), ALL)
def test_hostile_values_are_refused_before_anything_runs(
    documents: Any, managed: tuple[str, Agent], document: str, parameter: str
) -> None:
    instance_id, agent = managed
    for value in HOSTILE:
        code = refused(
            documents.send_command,
            DocumentName=document,
            InstanceIds=[instance_id],
            Parameters=values(document, **{parameter: value}),
        )
        assert code == "InvalidParameters", value
    assert documents.list_commands(InstanceId=instance_id)["Commands"] == []
    assert agent.asks() is None


@pytest.mark.parametrize("document", CONTENTS)
def test_what_fits_is_sent(documents: Any, managed: tuple[str, Agent], document: str) -> None:
    instance_id, agent = managed
    documents.send_command(
        DocumentName=document, InstanceIds=[instance_id], Parameters=values(document)
    )
    command = agent.asks()
    assert command is not None
    assert command["parameters"] == values(document)


@pytest.mark.parametrize("document", CONTENTS)
def test_a_parameter_too_many_and_one_too_few_are_refused(
    documents: Any, managed: tuple[str, Agent], document: str
) -> None:
    instance_id, _ = managed
    for given in ({**values(document), "Command": ["reboot"]}, {}):
        code = refused(
            documents.send_command,
            DocumentName=document,
            InstanceIds=[instance_id],
            Parameters=given,
        )
        assert code == "InvalidParameters"


@pytest.mark.parametrize("document", CONTENTS)
def test_two_values_for_one_are_refused(
    documents: Any, managed: tuple[str, Agent], document: str
) -> None:
    code = refused(
        documents.send_command,
        DocumentName=document,
        InstanceIds=[managed[0]],
        Parameters={**values(document), "Slot": ["db-euw1-a", "db-euw1-b"]},
    )
    assert code == "InvalidParameters"
