"""SSM Run Command: documents really executed, by the agent stand-in on the node, with AWS's statuses.

An instance is managed once its agent has registered; it is lost when the agent has been silent for the clock's time.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ssm.responses import SimpleSystemManagerResponse

from lab.aws.bus import Bus
from lab.aws.commands import (
    FINAL,
    Agent,
    Command,
    Invocation,
    letter,
    overall,
    row,
    stamp,
    when,
)
from lab.aws.context import ACCOUNT, Context
from lab.aws.documents import checked, document, refuse, time_limit_s
from lab.aws.ec2 import Ec2
from lab.aws.takeover import take_over

OUTPUT_MAX = 24000
LISTED_MAX = 2500
PLUGIN = "aws:runShellScript"
POLL_S = 10.0
DELIVERY_S = 3600.0
GRACE_S = 5.0  # between an agent's own time-out and SSM's


class Ssm:
    """The local Run Command."""

    def __init__(self, context: Context, bus: Bus, ec2: Ec2) -> None:
        self._context, self._bus, self._ec2 = context, bus, ec2
        self._agents: dict[str, Agent] = {}
        self._commands: dict[str, Command] = {}
        self._invocations: dict[tuple[str, str], Invocation] = {}
        self._lock = threading.RLock()

    def install(self) -> None:
        """Replace moto's answers about commands and managed instances."""
        for name, method in {
            "send_command": self.send_command,
            "list_commands": self.list_commands,
            "list_command_invocations": self.list_invocations,
            "get_command_invocation": self.get_invocation,
            "cancel_command": self.cancel,
            "describe_instance_information": self.describe,
        }.items():
            take_over(SimpleSystemManagerResponse, name, method)
        self._context.every(1.0, self.expire, what="command time-outs")

    # -- what users and the healer call

    def send_command(self, response: Any) -> ActionResult:
        """SendCommand by instance ids or tags."""
        get = response._get_param  # noqa: SLF001 - moto has no public way
        content, now = document(response.region, get("DocumentName")), time.time()
        command = Command(
            command_id=str(uuid.uuid4()),
            region=response.region,
            document=get("DocumentName"),
            comment=get("Comment") or "",
            content=content,
            parameters=checked(content, get("Parameters") or {}),
            targets=get("Targets") or [],
            requested=now,
            deliver_until=now + float(get("TimeoutSeconds") or DELIVERY_S),
        )
        chosen = self._targets(response.region, get("InstanceIds") or [], command.targets)
        self._commands[command.command_id] = command
        for instance_id in chosen:
            invocation = Invocation(command=command, instance_id=instance_id)
            self._invocations[command.command_id, instance_id] = invocation
            self._record(invocation)
            self._agents[instance_id].inbox.put(invocation)
        return ActionResult({"Command": {**self._command(command), "Status": "Pending"}})

    def _targets(self, region: str, ids: list[str], targets: list[dict[str, Any]]) -> list[str]:
        managed = [a for a in list(self._agents.values()) if a.region == region and self._alive(a)]
        if bool(ids) == bool(targets):
            raise refuse("InvalidParameters", "Give either InstanceIds or Targets.")
        if ids:
            known = {agent.instance_id for agent in managed}
            missing = [i for i in ids if i not in known]
            if missing:
                raise refuse(
                    "InvalidInstanceId",
                    f"Instances {missing} not in a valid state for account {ACCOUNT}",
                )
            return ids
        return [a.instance_id for a in managed if all(self._fits(a, t) for t in targets)]

    def _fits(self, agent: Agent, target: dict[str, Any]) -> bool:
        key, values = target["Key"], target["Values"]
        if key.lower() == "instanceids":
            return agent.instance_id in values
        if key == "PingStatus":
            return self._ping(agent) in values
        return self._ec2.tags(agent.instance_id).get(key.removeprefix("tag:")) in values

    def _alive(self, agent: Agent) -> bool:
        record = self._ec2.record(agent.instance_id)
        return record is not None and record.instance.state in (
            "running",
            "pending",
            "stopping",
            "stopped",
        )

    def _ping(self, agent: Agent) -> str:
        silent_s = time.time() - agent.pinged
        return (
            "Online" if silent_s < self._context.clock.ssm_ping_lost_after_s else "ConnectionLost"
        )

    def _known(self, region: str, command_id: str) -> Command:
        command = self._commands.get(command_id)
        if command is None or command.region != region:
            raise refuse("InvalidCommandId", f"there is no command {command_id}")
        return command

    def _of(self, command: Command) -> list[Invocation]:
        return [i for i in list(self._invocations.values()) if i.command is command]

    def _command(self, command: Command) -> dict[str, Any]:
        found = self._of(command)
        status, details = overall(found)
        return {
            "CommandId": command.command_id,
            "DocumentName": command.document,
            "Comment": command.comment,
            "Parameters": command.parameters,
            "InstanceIds": [] if command.targets else [i.instance_id for i in found],
            "Targets": command.targets,
            "RequestedDateTime": when(command.requested),
            "ExpiresAfter": when(command.deliver_until),
            "Status": status,
            "StatusDetails": details,
            "TargetCount": len(found),
            "CompletedCount": sum(i.status in FINAL for i in found),
            "ErrorCount": sum(i.status in FINAL - {"Success"} for i in found),
        }

    def _asked(self, response: Any) -> list[Invocation]:
        """The invocations of a List call, by command, by instance, or all of the region; newest first."""
        get = response._get_param  # noqa: SLF001 - moto has no public way
        command_id, instance_id = get("CommandId"), get("InstanceId")
        if command_id is not None:
            self._known(response.region, command_id)
        found = [
            i
            for i in list(self._invocations.values())
            if i.command.region == response.region
            and command_id in (None, i.command.command_id)
            and instance_id in (None, i.instance_id)
        ]
        return sorted(found, key=lambda i: -i.command.requested)

    def list_commands(self, response: Any) -> ActionResult:
        """ListCommands by command or instance, newest first."""
        get = response._get_param  # noqa: SLF001 - moto has no public way
        commands = {i.command.command_id: i.command for i in self._asked(response)}
        if get("CommandId") and not get("InstanceId"):
            commands = {get("CommandId"): self._commands[get("CommandId")]}
        newest = list(commands.values())[: int(get("MaxResults") or 50)]
        return ActionResult({"Commands": [self._command(c) for c in newest]})

    def list_invocations(self, response: Any) -> ActionResult:
        """ListCommandInvocations."""
        rows = [
            {
                **row(i),
                "RequestedDateTime": when(i.command.requested),
                "CommandPlugins": [
                    {
                        "Name": PLUGIN,
                        "Status": i.status,
                        "StatusDetails": i.details,
                        "ResponseCode": i.exit_code,
                        "Output": i.output[:LISTED_MAX],
                    }
                ],
            }
            for i in self._asked(response)
        ]
        return ActionResult({"CommandInvocations": rows})

    def get_invocation(self, response: Any) -> ActionResult:
        """GetCommandInvocation."""
        get = response._get_param  # noqa: SLF001 - moto has no public way
        found = self._invocations.get((get("CommandId"), get("InstanceId")))
        if found is None or found.command.region != response.region:
            raise refuse("InvocationDoesNotExist", "")
        return ActionResult(
            {
                **row(found),
                "PluginName": PLUGIN,
                "ResponseCode": found.exit_code,
                "ExecutionStartDateTime": stamp(found.started),
                "ExecutionEndDateTime": stamp(found.ended),
                "StandardOutputContent": found.output[:OUTPUT_MAX],
                "StandardErrorContent": found.error[:OUTPUT_MAX],
            }
        )

    def cancel(self, response: Any) -> EmptyResult:
        """CancelCommand: what has not started yet does not start; what runs is not interrupted."""
        get = response._get_param  # noqa: SLF001 - moto has no public way
        for invocation in self._of(self._known(response.region, get("CommandId"))):
            if invocation.instance_id in (get("InstanceIds") or [invocation.instance_id]):
                self._end(invocation, "Cancelled", "Cancelled", of=("Pending",))
        return EmptyResult()

    def describe(self, response: Any) -> ActionResult:
        """DescribeInstanceInformation, filtered by ids or tags."""
        filters = response._get_param("Filters") or []  # noqa: SLF001 - moto has no public way
        rows = []
        for agent in list(self._agents.values()):
            if agent.region != response.region or not self._alive(agent):
                continue
            if not all(self._fits(agent, f) for f in filters):
                continue
            rows.append(
                {
                    "InstanceId": agent.instance_id,
                    "PingStatus": self._ping(agent),
                    "LastPingDateTime": when(agent.pinged),
                    "AgentVersion": "3.3.0.0",
                    "PlatformType": "Linux",
                    "PlatformName": "Debian GNU/Linux",
                    "PlatformVersion": "13",
                    "ResourceType": "EC2Instance",
                }
            )
        return ActionResult({"InstanceInformationList": rows})

    # -- what the agent stand-in calls

    def poll(self, region: str, instance_id: str) -> dict[str, Any] | None:
        """The agent's long poll: the next command for it, or None after a while. Registers and pings."""
        record = self._ec2.record(instance_id)
        if record is None or record.region != region or record.instance.state != "running":
            raise LookupError(f"{instance_id} is not a running instance of {region}")
        with self._lock:
            agent = self._agents.setdefault(
                instance_id, Agent(instance_id=instance_id, region=region, pinged=time.time())
            )
            agent.polls += 1
            mine = agent.polls
        again = self._undelivered(instance_id)
        if again is not None:
            return letter(again)
        deadline = time.time() + POLL_S
        while agent.polls == mine and not self._context.down.is_set():
            agent.pinged = time.time()
            try:
                invocation = agent.inbox.get(timeout=min(1.0, max(0.0, deadline - agent.pinged)))
            except queue.Empty:
                if time.time() >= deadline:
                    return None
                continue
            if agent.polls != mine:  # a newer poll waits; this one may have nobody at its end
                agent.inbox.put(invocation)
            elif self._began(invocation):
                return letter(invocation)
        return None

    def ping(self, region: str, instance_id: str) -> None:
        """The agent lives, while it runs a command and asks for none. Raises LookupError for one that never asked."""
        agent = self._agents.get(instance_id)
        if agent is None or agent.region != region:
            raise LookupError(f"{instance_id} has not registered in {region}")
        agent.pinged = time.time()

    def _undelivered(self, instance_id: str) -> Invocation | None:
        """An agent that asks for work runs nothing: what it was sent and not reported never reached it."""
        for invocation in list(self._invocations.values()):
            if invocation.instance_id == instance_id and invocation.status == "InProgress":
                return invocation
        return None

    def _began(self, invocation: Invocation) -> bool:
        with self._lock:
            if invocation.status != "Pending":
                return False
            invocation.status = invocation.details = "InProgress"
            invocation.started = time.time()
        self._record(invocation)
        return True

    def report(self, instance_id: str, body: dict[str, Any]) -> None:
        """The agent says how a command ended; a second time changes nothing."""
        invocation = self._invocations.get((body["command_id"], instance_id))
        if invocation is None:
            return
        status = str(body["status"])
        self._end(
            invocation,
            status,
            "ExecutionTimedOut" if status == "TimedOut" else status,
            exit_code=int(body["exit_code"]),
            output=str(body["output"]),
            error=str(body["error"]),
        )

    def expire(self) -> None:
        """Commands that were not fetched or reported in time; commands whose instance is gone."""
        now = time.time()
        for invocation in list(self._invocations.values()):
            if invocation.status in FINAL:
                continue
            record = self._ec2.record(invocation.instance_id)
            command, started = invocation.command, invocation.started
            if record is None or record.instance.state in ("terminated", "shutting-down"):
                self._end(invocation, "Failed", "Undeliverable")
            elif started is None and now > command.deliver_until:
                self._end(invocation, "TimedOut", "DeliveryTimedOut")
            elif started is not None and now > started + GRACE_S + time_limit_s(
                command.content, command.parameters
            ):
                self._end(invocation, "TimedOut", "ExecutionTimedOut")

    def _end(
        self,
        invocation: Invocation,
        status: str,
        details: str,
        *,
        of: tuple[str, ...] = ("Pending", "InProgress"),
        **came_of_it: Any,
    ) -> None:
        with self._lock:
            if invocation.status not in of:
                return
            for name, value in came_of_it.items():
                setattr(invocation, name, value)
            invocation.status, invocation.details = status, details
            invocation.ended = time.time()
        self._record(invocation)

    def _record(self, invocation: Invocation) -> None:
        command = invocation.command
        self._context.evidence.add(
            "ssm",
            command=command.command_id,
            instance=invocation.instance_id,
            document=command.document,
            parameters=command.parameters,
            status=invocation.details,
            exit_code=invocation.exit_code,
            output=invocation.output[-2000:],
            error=invocation.error[-2000:],
        )
        detail = {
            "command-id": command.command_id,
            "document-name": command.document,
            "instance-id": invocation.instance_id,
            "requested-date-time": stamp(command.requested),
            "status": invocation.status,
        }
        self._bus.put_aws_event(
            command.region,
            "aws.ssm",
            "EC2 Command Invocation Status-change Notification",
            detail,
            (f"arn:aws:ec2:{command.region}:{ACCOUNT}:instance/{invocation.instance_id}",),
        )
