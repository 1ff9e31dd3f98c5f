"""SSM Run Command: documents really executed, by the agent stand-in on the node, with AWS's statuses.

An instance is managed once its agent has registered; it is lost when the agent has been silent for the clock's time.
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult, EmptyResult
from moto.ssm.models import ssm_backends
from moto.ssm.responses import SimpleSystemManagerResponse

from lab.aws.bus import Bus
from lab.aws.context import ACCOUNT, Context
from lab.aws.ec2 import Ec2

OUTPUT_MAX = 24000
POLL_S = 10.0
FINAL = frozenset({"Success", "Failed", "TimedOut", "Cancelled"})


@dataclass(kw_only=True)
class Invocation:
    """One command on one instance."""

    command_id: str
    instance_id: str
    region: str
    document: str
    comment: str
    content: dict[str, Any]
    parameters: dict[str, list[str]]
    requested: float
    deliver_until: float
    status: str = "Pending"
    details: str = "Pending"
    exit_code: int = -1
    output: str = ""
    error: str = ""
    started: float | None = None
    ended: float | None = None


@dataclass(kw_only=True)
class Agent:
    """One registered agent."""

    instance_id: str
    region: str
    pinged: float
    inbox: queue.Queue[str] = field(default_factory=queue.Queue)


def refuse(code: str, message: str) -> JsonRESTError:
    """An error in SSM's shape."""
    return JsonRESTError(code, message)


class Ssm:
    """The local Run Command."""

    def __init__(self, context: Context, bus: Bus, ec2: Ec2) -> None:
        self._context, self._bus, self._ec2 = context, bus, ec2
        self._agents: dict[str, Agent] = {}
        self._invocations: dict[tuple[str, str], Invocation] = {}
        self._lock = threading.RLock()

    def install(self) -> None:
        """Replace moto's answers about commands and managed instances."""
        ssm = self
        Response = SimpleSystemManagerResponse  # noqa: N806 - a class
        Response.send_command = lambda r: ssm.send_command(r)
        Response.list_commands = lambda r: ssm.list_commands(r)
        Response.list_command_invocations = lambda r: ssm.list_invocations(r)
        Response.get_command_invocation = lambda r: ssm.get_invocation(r)
        Response.cancel_command = lambda r: ssm.cancel(r)
        Response.describe_instance_information = lambda r: ssm.describe(r)
        self._context.every(1.0, self.expire, what="command time-outs")

    # -- what users and the healer call

    def send_command(self, response: Any) -> ActionResult:  # noqa: ANN401
        """SendCommand by instance ids or tags."""
        get = response._get_param  # noqa: SLF001 - moto has no public way
        name = get("DocumentName")
        content = _document(response.region, name)
        parameters = _checked(content, get("Parameters") or {})
        targets = self._targets(response.region, get("InstanceIds") or [], get("Targets") or [])
        command_id, now = str(uuid.uuid4()), time.time()
        timeout_s = int(get("TimeoutSeconds") or 3600)
        for instance_id in targets:
            invocation = Invocation(
                command_id=command_id,
                instance_id=instance_id,
                region=response.region,
                document=name,
                comment=get("Comment") or "",
                content=content,
                parameters=parameters,
                requested=now,
                deliver_until=now + timeout_s,
            )
            with self._lock:
                self._invocations[command_id, instance_id] = invocation
                self._agents[instance_id].inbox.put(command_id)
            self._record(invocation)
        return ActionResult({"Command": self._command(command_id)})

    def _targets(self, region: str, ids: list[str], targets: list[dict[str, Any]]) -> list[str]:
        managed = [a for a in self._agents.values() if a.region == region and self._alive(a)]
        if ids:
            known = {agent.instance_id for agent in managed}
            missing = [i for i in ids if i not in known]
            if missing:
                raise refuse(
                    "InvalidInstanceId",
                    f"Instances {missing} not in a valid state for account {ACCOUNT}",
                )
            return ids
        chosen = []
        for agent in managed:
            if all(self._fits(agent, target) for target in targets):
                chosen.append(agent.instance_id)
        return chosen if targets else []

    def _fits(self, agent: Agent, target: dict[str, Any]) -> bool:
        key, values = target["Key"], target["Values"]
        if key.lower() == "instanceids":
            return agent.instance_id in values
        return self._ec2.tags(agent.instance_id).get(key.removeprefix("tag:")) in values

    def _alive(self, agent: Agent) -> bool:
        record = self._ec2.record(agent.instance_id)
        return record is not None and record.instance.state in (
            "running",
            "pending",
            "stopping",
            "stopped",
        )

    def _of(self, command_id: str) -> list[Invocation]:
        return [i for (c, _), i in list(self._invocations.items()) if c == command_id]

    def _command(self, command_id: str) -> dict[str, Any]:
        found = self._of(command_id)
        if not found:
            raise refuse("InvalidCommandId", f"there is no command {command_id}")
        first = found[0]
        status = first.status if len({i.status for i in found}) == 1 else "InProgress"
        return {
            "CommandId": command_id,
            "DocumentName": first.document,
            "Comment": first.comment,
            "Parameters": first.parameters,
            "InstanceIds": [i.instance_id for i in found],
            "RequestedDateTime": _when(first.requested),
            "Status": status,
            "StatusDetails": status,
            "TargetCount": len(found),
            "CompletedCount": sum(i.status in FINAL for i in found),
            "ErrorCount": sum(i.status in FINAL - {"Success"} for i in found),
        }

    def list_commands(self, response: Any) -> ActionResult:  # noqa: ANN401
        """ListCommands by command or instance, newest first."""
        get = response._get_param  # noqa: SLF001 - moto has no public way
        wanted_command, wanted_instance = get("CommandId"), get("InstanceId")
        ids = {
            i.command_id: i.requested
            for i in list(self._invocations.values())
            if i.region == response.region
            and wanted_command in (None, i.command_id)
            and wanted_instance in (None, i.instance_id)
        }
        newest = sorted(ids, key=lambda c: -ids[c])[: int(get("MaxResults") or 50)]
        return ActionResult({"Commands": [self._command(c) for c in newest]})

    def list_invocations(self, response: Any) -> ActionResult:  # noqa: ANN401
        """ListCommandInvocations."""
        get = response._get_param  # noqa: SLF001 - moto has no public way
        found = [
            i
            for i in list(self._invocations.values())
            if i.region == response.region
            and get("CommandId") in (None, i.command_id)
            and get("InstanceId") in (None, i.instance_id)
        ]
        rows = [
            {
                "CommandId": i.command_id,
                "InstanceId": i.instance_id,
                "Comment": i.comment,
                "DocumentName": i.document,
                "RequestedDateTime": _when(i.requested),
                "Status": i.status,
                "StatusDetails": i.details,
                "CommandPlugins": [
                    {
                        "Name": "aws:runShellScript",
                        "Status": i.status,
                        "ResponseCode": i.exit_code,
                        "Output": i.output[:2500],
                    }
                ],
            }
            for i in found
        ]
        return ActionResult({"CommandInvocations": rows})

    def get_invocation(self, response: Any) -> ActionResult:  # noqa: ANN401
        """GetCommandInvocation."""
        get = response._get_param  # noqa: SLF001 - moto has no public way
        found = self._invocations.get((get("CommandId"), get("InstanceId")))
        if found is None or found.region != response.region:
            raise refuse("InvocationDoesNotExist", "")
        return ActionResult(
            {
                "CommandId": found.command_id,
                "InstanceId": found.instance_id,
                "Comment": found.comment,
                "DocumentName": found.document,
                "PluginName": "aws:runShellScript",
                "ResponseCode": found.exit_code,
                "Status": found.status,
                "StatusDetails": found.details,
                "StandardOutputContent": found.output[:OUTPUT_MAX],
                "StandardErrorContent": found.error[:OUTPUT_MAX],
            }
        )

    def cancel(self, response: Any) -> EmptyResult:  # noqa: ANN401
        """CancelCommand: what has not started yet does not start."""
        for invocation in self._of(response._get_param("CommandId")):  # noqa: SLF001 - moto has no public way
            if invocation.status == "Pending":
                self._end(invocation, "Cancelled", "Cancelled")
        return EmptyResult()

    def describe(self, response: Any) -> ActionResult:  # noqa: ANN401
        """DescribeInstanceInformation, filtered by ids or tags."""
        filters = response._get_param("Filters") or []  # noqa: SLF001 - moto has no public way
        lost_after_s = self._context.clock.ssm_ping_lost_after_s
        rows = []
        for agent in list(self._agents.values()):
            if agent.region != response.region or not self._alive(agent):
                continue
            if not all(self._fits(agent, f) for f in filters):
                continue
            online = time.time() - agent.pinged < lost_after_s
            rows.append(
                {
                    "InstanceId": agent.instance_id,
                    "PingStatus": "Online" if online else "ConnectionLost",
                    "LastPingDateTime": _when(agent.pinged),
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
            agent = self._agents.get(instance_id)
            if agent is None:
                agent = Agent(instance_id=instance_id, region=region, pinged=time.time())
                self._agents[instance_id] = agent
        deadline = time.time() + POLL_S
        while time.time() < deadline and not self._context.down.is_set():
            agent.pinged = time.time()
            try:
                command_id = agent.inbox.get(timeout=1.0)
            except queue.Empty:
                continue
            invocation = self._invocations[command_id, instance_id]
            if invocation.status != "Pending":
                continue
            invocation.status = invocation.details = "InProgress"
            invocation.started = time.time()
            self._record(invocation)
            return {
                "command_id": command_id,
                "document": invocation.content,
                "parameters": invocation.parameters,
            }
        return None

    def report(self, instance_id: str, body: dict[str, Any]) -> None:
        """The agent says how a command ended; a second time changes nothing."""
        invocation = self._invocations.get((body["command_id"], instance_id))
        if invocation is None or invocation.status in FINAL:
            return
        invocation.exit_code = int(body["exit_code"])
        invocation.output, invocation.error = str(body["output"]), str(body["error"])
        status = str(body["status"])
        self._end(invocation, status, "ExecutionTimedOut" if status == "TimedOut" else status)

    def expire(self) -> None:
        """Commands that were not fetched in time; commands whose instance is gone."""
        now = time.time()
        for invocation in list(self._invocations.values()):
            if invocation.status in FINAL:
                continue
            record = self._ec2.record(invocation.instance_id)
            gone = record is None or record.instance.state in ("terminated", "shutting-down")
            if invocation.status == "Pending" and now > invocation.deliver_until:
                self._end(invocation, "TimedOut", "DeliveryTimedOut")
            elif gone:
                self._end(invocation, "Failed", "Undeliverable")

    def _end(self, invocation: Invocation, status: str, details: str) -> None:
        invocation.status, invocation.details = status, details
        invocation.ended = time.time()
        self._record(invocation)

    def _record(self, invocation: Invocation) -> None:
        self._context.evidence.add(
            "ssm",
            command=invocation.command_id,
            instance=invocation.instance_id,
            document=invocation.document,
            parameters=invocation.parameters,
            status=invocation.details,
            exit_code=invocation.exit_code,
            output=invocation.output[-2000:],
            error=invocation.error[-2000:],
        )
        detail = {
            "command-id": invocation.command_id,
            "document-name": invocation.document,
            "instance-id": invocation.instance_id,
            "requested-date-time": _when(invocation.requested).isoformat(),
            "status": invocation.status,
        }
        self._bus.put_aws_event(
            invocation.region,
            "aws.ssm",
            "EC2 Command Invocation Status-change Notification",
            detail,
        )


def _when(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _document(region: str, name: str) -> dict[str, Any]:
    backend = ssm_backends[ACCOUNT][region]
    if name == "AWS-RunShellScript":
        return {
            "schemaVersion": "2.2",
            "parameters": {"commands": {"type": "StringList"}},
            "mainSteps": [
                {
                    "action": "aws:runShellScript",
                    "name": "run",
                    "inputs": {"timeoutSeconds": "3600", "runCommand": "{{ commands }}"},
                }
            ],
        }
    if name not in backend._documents:  # noqa: SLF001 - moto has no public way
        raise refuse("InvalidDocument", f"Document with name {name} does not exist.")
    content = backend._documents[name].get_default_version().content  # noqa: SLF001 - moto has no public way
    parsed: dict[str, Any] = yaml.safe_load(content) if isinstance(content, str) else content
    return json.loads(json.dumps(parsed))  # type: ignore[no-any-return]


def _checked(content: dict[str, Any], given: dict[str, list[str]]) -> dict[str, list[str]]:
    """Parameters with defaults filled in, checked against the document as SSM does."""
    declared = content.get("parameters") or {}
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise refuse("InvalidParameters", f"Document does not support parameters {unknown}.")
    values: dict[str, list[str]] = {}
    for name, spec in declared.items():
        if name in given:
            values[name] = given[name]
        elif "default" in spec:
            default = spec["default"]
            values[name] = default if isinstance(default, list) else [str(default)]
        else:
            raise refuse("InvalidParameters", f"Parameter {name} is required.")
        for value in values[name]:
            _check_value(name, spec, value)
    return values


def _check_value(name: str, spec: dict[str, Any], value: str) -> None:
    pattern, allowed = spec.get("allowedPattern"), spec.get("allowedValues")
    if pattern is not None and re.search(pattern, value) is None:
        raise refuse("InvalidParameters", f"Parameter {name} does not match {pattern}.")
    if allowed is not None and value not in allowed:
        raise refuse("InvalidParameters", f"Parameter {name} is not one of {allowed}.")
