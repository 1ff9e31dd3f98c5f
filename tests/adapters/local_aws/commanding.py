"""Sending commands and asking what became of them, for the tests of Run Command."""

from __future__ import annotations

from typing import Any


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
