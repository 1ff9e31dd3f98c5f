"""Run Command: which instances are managed, and which commands are refused or sent."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.adapters.local_aws.agents import Agent, get
from tests.adapters.local_aws.cloud import Names, Place
from tests.adapters.local_aws.commanding import ping, shell
from tests.adapters.local_aws.setting import OTHER_REGION, REGION, Local
from tests.adapters.local_aws.waiting import consistently, eventually, refused

SLOT_PATTERN = "^(db|app)-[a-z0-9]+-[a-d]$"
DOCUMENT = {
    "schemaVersion": "2.2",
    "parameters": {
        "Slot": {"type": "String", "allowedPattern": SLOT_PATTERN},
        "Birth": {"type": "String", "default": "no", "allowedValues": ["yes", "no"]},
    },
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "run",
            "inputs": {
                "timeoutSeconds": "20",
                "runCommand": ["echo {{ Slot }} {{ Birth }}", "echo loud >&2"],
            },
        }
    ],
}


# -- managed instances


def test_an_instance_is_managed_once_its_agent_has_asked(
    ssm: Any, place: Place, agent_of: Callable[[str], Agent]
) -> None:
    instance_id = place.running()
    assert ping(ssm, instance_id) is None
    agent_of(instance_id).asks()
    assert ping(ssm, instance_id) == "Online"


def test_an_agent_that_falls_silent_is_lost_and_one_that_asks_again_is_back(
    ssm: Any, managed: tuple[str, Agent]
) -> None:
    instance_id, agent = managed
    eventually(lambda: ping(ssm, instance_id) == "ConnectionLost")
    agent.asks()
    assert ping(ssm, instance_id) == "Online"


def test_an_agent_that_runs_a_long_command_is_not_lost(
    ssm: Any, managed: tuple[str, Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    instance_id, agent = managed
    monkeypatch.setattr(agent.module, "PING_S", 0.05)
    shell(ssm, instance_id, commands=("sleep 3",))
    command = agent.asks()
    assert command is not None
    with ThreadPoolExecutor() as pool:
        running = pool.submit(agent.module.run_alive, agent.base, command)
        consistently(lambda: ping(ssm, instance_id) == "Online", for_s=2.0)
        assert running.result()["status"] == "Success"


def test_a_ping_of_an_agent_that_never_asked_is_refused(
    place: Place, agent_of: Callable[[str], Agent]
) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(f"{agent_of(place.running()).base}/ping")


def test_a_terminated_instance_is_managed_no_more(
    ssm: Any, place: Place, managed: tuple[str, Agent]
) -> None:
    instance_id, _ = managed
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.reaches(instance_id, "terminated")
    assert ping(ssm, instance_id) is None
    assert refused(shell, ssm, instance_id) == "InvalidInstanceId"


def test_instances_are_found_by_tag(
    ssm: Any, place: Place, agent_of: Callable[[str], Agent], name: Names
) -> None:
    instance_id = place.running(tags={"pgmend:cluster": name("cluster")})
    agent_of(instance_id).asks()
    filters = [{"Key": "tag:pgmend:cluster", "Values": [name("cluster")]}]
    found = ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
    assert [item["InstanceId"] for item in found] == [instance_id]


def test_an_agent_speaks_only_for_a_running_instance_of_the_region(
    local: Local, place: Place
) -> None:
    instance_id = place.running()
    for region, who in ((OTHER_REGION, instance_id), (REGION, "i-0000000000000dead")):
        url = f"{local.endpoint(region)}/_lab/ssm/{who}/next"
        with pytest.raises(urllib.error.HTTPError, match="403") as caught:
            get(url)
        caught.value.close()


# -- sending


def test_a_command_to_an_instance_without_an_agent_is_refused(ssm: Any, place: Place) -> None:
    assert refused(shell, ssm, place.running()) == "InvalidInstanceId"
    assert refused(shell, ssm, "i-0000000000000dead") == "InvalidInstanceId"


def test_a_document_that_does_not_exist_is_refused(ssm: Any, managed: tuple[str, Agent]) -> None:
    instance_id, _ = managed
    code = refused(ssm.send_command, DocumentName="pgmend-nothing", InstanceIds=[instance_id])
    assert code == "InvalidDocument"


def test_a_document_of_another_region_is_refused(
    local: Local, ssm: Any, managed: tuple[str, Agent], name: Names
) -> None:
    local.client("ssm", OTHER_REGION).create_document(
        Name=name("doc"), Content=json.dumps(DOCUMENT), DocumentType="Command"
    )
    code = refused(
        ssm.send_command,
        DocumentName=name("doc"),
        InstanceIds=[managed[0]],
        Parameters={"Slot": ["db-euw1-a"]},
    )
    assert code == "InvalidDocument"


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="missing"),
        pytest.param({"Slot": ["db euw1"]}, id="against the pattern"),
        pytest.param({"Slot": ["db-euw1-a; rm -rf /"]}, id="more than the pattern"),
        pytest.param({"Slot": ["db-euw1-a"], "Birth": ["perhaps"]}, id="not among the values"),
        pytest.param({"Slot": ["db-euw1-a"], "Other": ["x"]}, id="unknown"),
        pytest.param({"Slot": ["db-euw1-a", "db-euw1-b"]}, id="two for one"),
    ],
)
def test_a_parameter_the_document_does_not_allow_is_refused(
    ssm: Any, managed: tuple[str, Agent], name: Names, parameters: dict[str, list[str]]
) -> None:
    ssm.create_document(Name=name("doc"), Content=json.dumps(DOCUMENT), DocumentType="Command")
    code = refused(
        ssm.send_command,
        DocumentName=name("doc"),
        InstanceIds=[managed[0]],
        Parameters=parameters,
    )
    assert code == "InvalidParameters"


def test_a_document_runs_with_its_parameters_and_defaults(
    ssm: Any, managed: tuple[str, Agent], name: Names
) -> None:
    instance_id, agent = managed
    ssm.create_document(Name=name("doc"), Content=json.dumps(DOCUMENT), DocumentType="Command")
    sent = ssm.send_command(
        DocumentName=name("doc"),
        InstanceIds=[instance_id],
        Parameters={"Slot": ["db-euw1-a"]},
        Comment="action 7",
    )["Command"]
    agent.works()
    found = ssm.get_command_invocation(CommandId=sent["CommandId"], InstanceId=instance_id)
    assert (found["Status"], found["ResponseCode"]) == ("Success", 0)
    assert found["StandardOutputContent"] == "db-euw1-a no\n"
    assert found["StandardErrorContent"] == "loud\n"
    assert (found["Comment"], found["DocumentName"]) == ("action 7", name("doc"))


def test_a_document_in_yaml_runs_in_its_newest_default_version(
    ssm: Any, managed: tuple[str, Agent], name: Names
) -> None:
    instance_id, agent = managed
    text = (
        'schemaVersion: "2.2"\nmainSteps:\n  - action: aws:runShellScript\n    name: run\n'
        "    inputs:\n      runCommand:\n        - echo WORD\n"
    )
    asked = {"Name": name("doc"), "DocumentFormat": "YAML"}
    ssm.create_document(**asked, Content=text.replace("WORD", "first"), DocumentType="Command")
    newer = ssm.update_document(
        **asked, Content=text.replace("WORD", "second"), DocumentVersion="$LATEST"
    )
    version = newer["DocumentDescription"]["DocumentVersion"]
    ssm.update_document_default_version(Name=name("doc"), DocumentVersion=version)
    sent = ssm.send_command(DocumentName=name("doc"), InstanceIds=[instance_id])["Command"]
    agent.works()
    found = ssm.get_command_invocation(CommandId=sent["CommandId"], InstanceId=instance_id)
    assert found["StandardOutputContent"] == "second\n"


def test_a_command_by_tag_goes_to_every_instance_with_it(
    ssm: Any, place: Place, agent_of: Callable[[str], Agent], name: Names
) -> None:
    tagged = [place.running(tags={"role": name("db")}) for _ in range(2)]
    other = place.running(tags={"role": "other"})
    for instance_id in (*tagged, other):
        agent_of(instance_id).asks()
    sent = ssm.send_command(
        DocumentName="AWS-RunShellScript",
        Targets=[{"Key": "tag:role", "Values": [name("db")]}],
        Parameters={"commands": ["true"]},
    )["Command"]
    listed = ssm.list_command_invocations(CommandId=sent["CommandId"])["CommandInvocations"]
    assert {item["InstanceId"] for item in listed} == set(tagged)
    assert sent["TargetCount"] == 2


def test_a_command_by_a_tag_that_nobody_has_goes_nowhere(ssm: Any, name: Names) -> None:
    sent = ssm.send_command(
        DocumentName="AWS-RunShellScript",
        Targets=[{"Key": "tag:role", "Values": [name("nobody")]}],
        Parameters={"commands": ["true"]},
    )["Command"]
    (found,) = ssm.list_commands(CommandId=sent["CommandId"])["Commands"]
    assert (found["TargetCount"], found["StatusDetails"]) == (0, "NoInstancesInTag")
