"""Run Command: what becomes of a command, whatever becomes of its node, and who is told."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import lab.aws.ssm
from tests.adapters.local_aws.agents import Agent
from tests.adapters.local_aws.cloud import Names, Place, Queue, a_watch
from tests.adapters.local_aws.commanding import became, shell
from tests.adapters.local_aws.setting import REGION, Local
from tests.adapters.local_aws.waiting import consistently, eventually, refused

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
