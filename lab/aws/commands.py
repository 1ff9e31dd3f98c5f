"""What Run Command remembers of a command, and how it tells of it: to callers, to agents, in events. No I/O."""

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

FINAL = frozenset({"Success", "Failed", "TimedOut", "Cancelled"})


@dataclass(frozen=True, kw_only=True)
class Command:
    """One SendCommand, whether or not it fitted any instance."""

    command_id: str
    region: str
    document: str
    comment: str
    content: Mapping[str, Any]
    parameters: Mapping[str, list[str]]
    targets: list[dict[str, Any]]
    requested: float
    deliver_until: float


@dataclass(kw_only=True)
class Invocation:
    """One command on one instance."""

    command: Command
    instance_id: str
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
    polls: int = 0
    inbox: queue.Queue[Invocation] = field(default_factory=queue.Queue)


def overall(found: Sequence[Invocation]) -> tuple[str, str]:
    """(status, details) of a command on all its instances."""
    if not found:
        return "Success", "NoInstancesInTag"
    if any(i.status not in FINAL for i in found):
        begun = any(i.status != "Pending" for i in found)
        return ("InProgress", "InProgress") if begun else ("Pending", "Pending")
    worst = next((i for i in found if i.status != "Success"), found[0])
    return worst.status, worst.details


def row(invocation: Invocation) -> dict[str, Any]:
    """What every answer says of an invocation."""
    return {
        "CommandId": invocation.command.command_id,
        "InstanceId": invocation.instance_id,
        "Comment": invocation.command.comment,
        "DocumentName": invocation.command.document,
        "Status": invocation.status,
        "StatusDetails": invocation.details,
    }


def letter(invocation: Invocation) -> dict[str, Any]:
    """A command as the agent stand-in takes it."""
    command = invocation.command
    return {
        "command_id": command.command_id,
        "document": command.content,
        "parameters": command.parameters,
    }


def when(at: float) -> datetime:
    """Epoch seconds as a time."""
    return datetime.fromtimestamp(at, UTC)


def stamp(at: float | None) -> str:
    """Epoch seconds as SSM writes times in text; nothing for what has not been."""
    return "" if at is None else when(at).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
