"""What the local EC2 knows of an instance besides moto's own record, and how it changes a state and says so."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceState

from lab.aws.bus import Bus
from lab.aws.context import ACCOUNT, Context

CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}


@dataclass(kw_only=True)
class Record:
    """One instance. `verdict` is what the status checks have been told to say, whatever they find."""

    instance: Instance
    region: str
    template: dict[str, Any]
    failures: int = 0
    status: str = "initializing"
    verdict: str | None = None
    booted: bool = False
    forced: bool = False  # the stop that is asked for does not ask the guest
    machine: threading.RLock = field(default_factory=threading.RLock)  # one thing at a time

    @property
    def tags(self) -> dict[str, str]:
        """The instance's tags now."""
        return {tag["key"]: tag["value"] for tag in self.instance.get_tags()}

    @property
    def arn(self) -> str:
        """The instance's ARN."""
        return f"arn:aws:ec2:{self.region}:{ACCOUNT}:instance/{self.instance.id}"


class Records:
    """Every instance the local EC2 has launched and not forgotten. Thread-safe."""

    def __init__(self, context: Context, bus: Bus, lock: threading.RLock) -> None:
        self._context, self._bus, self._lock = context, bus, lock
        self._all: dict[str, Record] = {}

    def add(self, record: Record) -> None:
        """A launch."""
        self._all[record.instance.id] = record

    def forget(self, instance_id: str) -> None:
        """EC2 shows it no more."""
        self._all.pop(instance_id, None)

    def get(self, instance_id: str) -> Record | None:
        """The record of an instance, if it is one of ours."""
        return self._all.get(instance_id)

    def known(self, instance_id: str) -> Record:
        """The same; raises EC2's error when there is none."""
        found = self._all.get(instance_id)
        if found is None:
            raise EC2ClientError(
                "InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist"
            )
        return found

    def all(self) -> list[Record]:
        """All of them."""
        return list(self._all.values())

    def set_state(self, record: Record, state: str) -> None:
        """Change a state and say so."""
        instance = record.instance
        instance._state = InstanceState(state, CODES[state])  # noqa: SLF001 - moto has no public way
        self._context.evidence.add("ec2", instance=instance.id, state=state, tags=record.tags)
        self._bus.put_aws_event(
            record.region,
            "aws.ec2",
            "EC2 Instance State-change Notification",
            {"instance-id": instance.id, "state": state},
            (record.arn,),
        )

    def move(self, record: Record, before: str, after: str) -> bool:
        """Change a state unless something else has changed it meanwhile."""
        with self._lock:
            if record.instance.state != before:
                return False
            self.set_state(record, after)
            return True
