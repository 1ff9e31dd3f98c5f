"""Reads what woke the healer. A wake is a hint: it is recorded, and never believed.

Anything the contract does not know is malformed and refused, so that it ends in the dead-letter queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lambdas.errors import MalformedEventError

KINDS = {
    ("pgmend.agent", None): "agent",
    ("pgmend.healer", "Reconcile Unfinished"): "unfinished",
    ("pgmend.operator", "Look"): "operator",
    ("aws.cloudwatch", "CloudWatch Alarm State Change"): "alarm",
    ("aws.ec2", "EC2 Instance State-change Notification"): "ec2",
    ("aws.ssm", "EC2 Command Invocation Status-change Notification"): "ssm",
    ("aws.ssm", "EC2 Command Status-change Notification"): "ssm",
    ("aws.health", "AWS Health Event"): "health",
    ("aws.events", "Scheduled Event"): "tick",
}
AGENT_EVENTS = frozenset(
    {
        "Patroni Role Changed",
        "Patroni State Changed",
        "Patroni Leader Changed",
        "Replication Broken",
        "HAProxy Backend Up",
        "HAProxy Backend Down",
        "HAProxy No Primary",
        "Etcd Health Changed",
        "App Health Changed",
        "Disk Pressure",
        "Peer Unreachable",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """What began a run. `at` is None for direct invocations, which have no time."""

    kind: str
    hint: str
    at: float | None

    def __str__(self) -> str:
        return f"{self.kind}:{self.hint}" if self.hint else self.kind


def read_wake(event: object) -> Wake:
    """The wake in an event. Raises MalformedEventError."""
    if not isinstance(event, Mapping):
        raise MalformedEventError(f"an event is an object, this is {type(event).__name__}")
    source, detail_type = event.get("source"), event.get("detail-type")
    detail = event.get("detail")
    if (
        not isinstance(source, str)
        or not isinstance(detail_type, str)
        or not isinstance(detail, Mapping)
    ):
        raise MalformedEventError("an event has source, detail-type and detail; this one has not")
    kind = KINDS.get((source, detail_type)) or KINDS.get((source, None))
    if kind is None or (kind == "agent" and detail_type not in AGENT_EVENTS):
        raise MalformedEventError(f"no wake is known as {source} / {detail_type}")
    if kind in ("agent", "operator", "unfinished") and detail.get("version") != 1:
        raise MalformedEventError(f"{detail_type} has version {detail.get('version')!r}, not 1")
    return Wake(kind=kind, hint=_hint(kind, detail_type, detail), at=_time(event.get("time")))


def _hint(kind: str, detail_type: str, detail: Mapping[str, Any]) -> str:
    match kind:
        case "agent":
            return f"{detail_type} ({detail.get('slot')}: {detail.get('subject')})"
        case "alarm":
            return str(detail.get("alarmName"))
        case "ec2":
            return f"{detail.get('instance-id')} {detail.get('state')}"
        case "ssm":
            return f"{detail.get('document-name')} {detail.get('status')}"
        case _:
            return ""


def _time(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise MalformedEventError("an event's time is a string in ISO 8601")
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError as error:
        raise MalformedEventError(f"an event's time is ISO 8601, this is {value!r}") from error
