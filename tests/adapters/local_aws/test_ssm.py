"""Run Command: managed instances, documents and their parameters, and what becomes of a command."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import lab.aws.ssm
from tests.adapters.local_aws.agents import Agent, get, load
from tests.adapters.local_aws.cloud import Names, Place, Queue, a_watch
from tests.adapters.local_aws.setting import OTHER_REGION, REGION, Local
from tests.adapters.local_aws.waiting import consistently, eventually

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


@pytest.fixture
def agent_of(local: Local, tmp_path: Path) -> Callable[[str], Agent]:
    def make(instance_id: str) -> Agent:
        home = tmp_path / instance_id
        home.mkdir(exist_ok=True)
        base = f"{local.endpoint(REGION)}/_lab/ssm/{instance_id}"
        return Agent(base=base, module=load(home))

    return make


@pytest.fixture
def managed(place: Place, agent_of: Callable[[str], Agent]) -> tuple[str, Agent]:
    """A running instance whose agent has registered."""
    instance_id = place.running()
    agent = agent_of(instance_id)
    assert agent.asks() is None
    return instance_id, agent


@pytest.fixture
def ssm(local: Local) -> Any:
    return local.client("ssm")


def shell(ssm: Any, *instance_ids: str, commands: tuple[str, ...] = ("true",), **more: Any) -> str:
    """The id of a shell command that was sent."""
    answer = ssm.send_command(
        DocumentName="AWS-RunShellScript",
        InstanceIds=list(instance_ids),
        Parameters={"commands": list(commands)},
        **more,
    )
    assert answer["Command"]["Status"] == "Pending"
    return str(answer["Command"]["CommandId"])


def became(ssm: Any, command_id: str, instance_id: str) -> tuple[str, str, int]:
    """(status, details, exit code)."""
    found = ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
    return found["Status"], found["StatusDetails"], found["ResponseCode"]


def ping(ssm: Any, instance_id: str) -> str | None:
    """What DescribeInstanceInformation says of an agent; None when it does not know it."""
    filters = [{"Key": "InstanceIds", "Values": [instance_id]}]
    found = ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
    return str(found[0]["PingStatus"]) if found else None


def refused(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return str(caught.value.response["Error"]["Code"])


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


# -- what becomes of a command


def test_a_command_is_pending_then_in_progress_then_over(
    ssm: Any, managed: tuple[str, Agent]
) -> None:
    instance_id, agent = managed
    command_id = shell(ssm, instance_id, commands=("echo hello", "exit 11"))
    assert became(ssm, command_id, instance_id) == ("Pending", "Pending", -1)
    command = agent.asks()
    assert command is not None
    assert became(ssm, command_id, instance_id) == ("InProgress", "InProgress", -1)
    agent.delivers(agent.runs(command))
    assert became(ssm, command_id, instance_id) == ("Failed", "Failed", 11)
    (listed,) = ssm.list_command_invocations(CommandId=command_id, Details=True)[
        "CommandInvocations"
    ]
    assert listed["CommandPlugins"][0]["Output"] == "hello\n"


def test_a_result_that_is_delivered_twice_changes_nothing(
    ssm: Any, managed: tuple[str, Agent]
) -> None:
    instance_id, agent = managed
    command_id = shell(ssm, instance_id)
    agent.works()
    agent.module.keep(
        command_id, {"status": "Failed", "exit_code": 1, "output": "again", "error": ""}
    )
    agent.delivers(agent.module.HOME / f"{command_id}.result")
    assert became(ssm, command_id, instance_id) == ("Success", "Success", 0)


def test_a_result_for_a_command_nobody_sent_is_taken_and_forgotten(
    managed: tuple[str, Agent],
) -> None:
    _, agent = managed
    result = {"status": "Success", "exit_code": 0, "output": "", "error": ""}
    agent.module.keep("never-sent", result)
    agent.delivers(agent.module.HOME / "never-sent.result")
    assert not (agent.module.HOME / "never-sent.result").exists()


def test_commands_are_run_one_after_the_other(ssm: Any, managed: tuple[str, Agent]) -> None:
    instance_id, agent = managed
    first, second = shell(ssm, instance_id), shell(ssm, instance_id)
    agent.works()
    assert became(ssm, first, instance_id)[0] == "Success"
    assert became(ssm, second, instance_id)[0] == "Pending"
    agent.works()
    assert became(ssm, second, instance_id)[0] == "Success"


def test_a_command_that_never_reached_its_agent_is_handed_out_again(
    ssm: Any, managed: tuple[str, Agent]
) -> None:
    instance_id, agent = managed
    command_id = shell(ssm, instance_id)
    lost = agent.asks()
    assert lost is not None  # and the node loses power with the answer on the wire
    again = agent.asks()
    assert again == lost
    agent.delivers(agent.runs(again))
    assert became(ssm, command_id, instance_id)[0] == "Success"


def test_an_old_poll_that_nobody_waits_for_takes_no_command(
    ssm: Any, managed: tuple[str, Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.aws.ssm, "POLL_S", 5.0)
    instance_id, agent = managed
    with ThreadPoolExecutor() as pool:
        old = pool.submit(agent.asks)
        consistently(lambda: not old.done(), for_s=0.2)
        new = pool.submit(agent.asks)
        assert old.result() is None
        command_id = shell(ssm, instance_id)
        found = new.result()
    assert found is not None
    assert found["command_id"] == command_id


def test_a_step_that_takes_too_long_times_out(ssm: Any, managed: tuple[str, Agent]) -> None:
    instance_id, agent = managed
    answer = ssm.send_command(
        DocumentName="AWS-RunShellScript",
        InstanceIds=[instance_id],
        Parameters={"commands": ["echo begun", "sleep 60"], "executionTimeout": ["1"]},
    )
    agent.works()
    found = ssm.get_command_invocation(
        CommandId=answer["Command"]["CommandId"], InstanceId=instance_id
    )
    assert (found["Status"], found["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    assert found["StandardOutputContent"] == "begun\n"


def test_a_command_that_is_not_fetched_in_time_times_out(
    ssm: Any, managed: tuple[str, Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.aws.ssm, "DELIVERY_S", 0.2)  # SendCommand itself takes no less than 30
    instance_id, agent = managed
    command_id = shell(ssm, instance_id)
    eventually(lambda: became(ssm, command_id, instance_id) == ("TimedOut", "DeliveryTimedOut", -1))
    assert agent.asks() is None


def test_a_command_whose_node_never_answers_times_out(
    ssm: Any, managed: tuple[str, Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.aws.ssm, "GRACE_S", 0.0)
    instance_id, agent = managed
    answer = ssm.send_command(
        DocumentName="AWS-RunShellScript",
        InstanceIds=[instance_id],
        Parameters={"commands": ["true"], "executionTimeout": ["1"]},
    )
    command_id = answer["Command"]["CommandId"]
    assert agent.asks() is not None
    eventually(
        lambda: became(ssm, command_id, instance_id) == ("TimedOut", "ExecutionTimedOut", -1)
    )


def test_a_command_whose_instance_is_gone_is_undeliverable(
    ssm: Any, place: Place, managed: tuple[str, Agent]
) -> None:
    instance_id, _ = managed
    command_id = shell(ssm, instance_id)
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    eventually(lambda: became(ssm, command_id, instance_id) == ("Failed", "Undeliverable", -1))


def test_a_cancelled_command_does_not_start(ssm: Any, managed: tuple[str, Agent]) -> None:
    instance_id, agent = managed
    command_id = shell(ssm, instance_id)
    ssm.cancel_command(CommandId=command_id)
    assert became(ssm, command_id, instance_id)[0] == "Cancelled"
    assert agent.asks() is None


def test_a_command_that_is_over_is_not_cancelled_any_more(
    ssm: Any, managed: tuple[str, Agent]
) -> None:
    instance_id, agent = managed
    command_id = shell(ssm, instance_id)
    agent.works()
    ssm.cancel_command(CommandId=command_id)
    assert became(ssm, command_id, instance_id)[0] == "Success"


def test_what_was_never_sent_is_not_known(ssm: Any, managed: tuple[str, Agent]) -> None:
    nothing = "00000000-0000-0000-0000-000000000000"
    assert refused(ssm.cancel_command, CommandId=nothing) == "InvalidCommandId"
    assert refused(ssm.list_command_invocations, CommandId=nothing) == "InvalidCommandId"
    code = refused(ssm.get_command_invocation, CommandId=nothing, InstanceId=managed[0])
    assert code == "InvocationDoesNotExist"


def test_commands_of_an_instance_are_listed_newest_first(
    ssm: Any, managed: tuple[str, Agent]
) -> None:
    instance_id, _ = managed
    sent = [shell(ssm, instance_id, Comment=f"action {n}") for n in range(3)]
    listed = ssm.list_commands(InstanceId=instance_id)["Commands"]
    assert [c["CommandId"] for c in listed] == sent[::-1]
    assert [c["Comment"] for c in listed] == ["action 2", "action 1", "action 0"]


# -- events


def told(watch: Queue, command_id: str) -> list[dict[str, Any]]:
    return [e for e in watch.bodies() if e["detail"]["command-id"] == command_id]


def test_every_change_of_a_command_is_told(
    local: Local, ssm: Any, managed: tuple[str, Agent], name: Names
) -> None:
    watch = a_watch(local, name, {"source": ["aws.ssm"]})
    instance_id, agent = managed
    command_id = shell(ssm, instance_id, commands=("exit 1",))
    agent.works()
    events = eventually(lambda: e if len(e := told(watch, command_id)) == 3 else None)
    assert events is not None
    statuses = Counter(e["detail"]["status"] for e in events)
    assert statuses == Counter({"Pending": 1, "InProgress": 1, "Failed": 1})
    event = events[0]
    assert event["detail-type"] == "EC2 Command Invocation Status-change Notification"
    assert event["resources"] == [f"arn:aws:ec2:{REGION}:123456789012:instance/{instance_id}"]
    assert event["detail"]["instance-id"] == instance_id
    assert event["detail"]["document-name"] == "AWS-RunShellScript"
    assert event["detail"]["requested-date-time"].endswith("Z")
