"""SSM of one region: which instances it can reach, and Run Command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.errors import RegionSilentError

UNFINISHED = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandState:
    """One command on one instance. `exit_code` is -1 while there is none."""

    status: str
    exit_code: int
    output: str

    @property
    def finished(self) -> bool:
        """Whether SSM will not change it any more."""
        return self.status not in UNFINISHED


class Ssm:
    """One region's SSM."""

    def __init__(self, client: Any, *, cluster: str, region: str) -> None:  # noqa: ANN401
        self._client, self._cluster, self._region = client, cluster, region

    def online(self) -> frozenset[str]:
        """Ids of the cluster's instances that SSM can reach now. Raises RegionSilentError."""
        filters = [{"Key": "tag:pgmend:cluster", "Values": [self._cluster]}]
        try:
            pages = self._client.get_paginator("describe_instance_information").paginate(
                Filters=filters
            )
            found = [i for page in pages for i in page["InstanceInformationList"]]
        except (BotoCoreError, ClientError) as error:
            raise RegionSilentError(f"SSM in {self._region} did not answer: {error}") from error
        return frozenset(i["InstanceId"] for i in found if i.get("PingStatus") == "Online")

    def send(
        self,
        *,
        document: str,
        instance_id: str,
        parameters: dict[str, str],
        comment: str,
        timeout_s: float,
    ) -> str:
        """Send a document to one instance. The command id."""
        answer = self._client.send_command(
            DocumentName=document,
            InstanceIds=[instance_id],
            Parameters={key: [value] for key, value in parameters.items()},
            Comment=comment[:100],
            TimeoutSeconds=max(30, int(timeout_s)),
        )
        return str(answer["Command"]["CommandId"])

    def find(self, *, comment: str, instance_id: str) -> str | None:
        """The command that was sent with this comment, if a crash lost its id."""
        answer = self._client.list_commands(InstanceId=instance_id, MaxResults=50)
        for command in answer.get("Commands", []):
            if command.get("Comment") == comment[:100]:
                return str(command["CommandId"])
        return None

    def state(self, *, command_id: str, instance_id: str) -> CommandState | None:
        """How the command stands; None while SSM does not know it yet. Raises RegionSilentError."""
        try:
            raw = self._client.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
        except ClientError as error:
            if error.response["Error"]["Code"] == "InvocationDoesNotExist":
                return None
            raise RegionSilentError(f"SSM in {self._region} did not answer: {error}") from error
        except BotoCoreError as error:
            raise RegionSilentError(f"SSM in {self._region} did not answer: {error}") from error
        return CommandState(
            status=raw["Status"],
            exit_code=int(raw.get("ResponseCode", -1)),
            output=str(raw.get("StandardOutputContent", "")),
        )
