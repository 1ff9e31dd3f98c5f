"""Scheduled events: EC2 announces maintenance, AWS Health says so on the bus, and at its time it happens.

A stop moves an instance to other hardware, which is what its maintenance was about: so it ends what was announced.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.ec2.models.instances import Instance

from lab.aws.bus import Bus
from lab.aws.context import Context
from lab.aws.records import Record, Records
from lab.aws.takeover import take_over_property
from lab.errors import UsageError

# EC2's code → what AWS Health calls it, and what it says.
CODES = {
    "instance-retirement": (
        "AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED",
        "The instance is running on degraded hardware",
    ),
    "instance-stop": (
        "AWS_EC2_INSTANCE_STOP_SCHEDULED",
        "The instance is running on degraded hardware",
    ),
    "instance-reboot": (
        "AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED",
        "The instance is scheduled for a reboot",
    ),
    "system-reboot": (
        "AWS_EC2_SYSTEM_REBOOT_MAINTENANCE_SCHEDULED",
        "The host of the instance is scheduled for a reboot",
    ),
    "system-maintenance": (
        "AWS_EC2_SYSTEM_MAINTENANCE_EVENT",
        "The host of the instance is scheduled for maintenance",
    ),
}
STOPS = frozenset({"instance-retirement", "instance-stop"})
REBOOTS = frozenset({"instance-reboot", "system-reboot"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One announcement. `not_before` is in epoch seconds."""

    event_id: str
    code: str
    not_before: float

    def shown(self) -> dict[str, Any]:
        """As DescribeInstanceStatus shows it."""
        return {
            "InstanceEventId": self.event_id,
            "Code": self.code,
            "Description": CODES[self.code][1],
            "NotBefore": datetime.fromtimestamp(self.not_before, UTC),
        }


class Maintenance:
    """What is announced, by instance. `stop` and `reboot` are the local EC2's."""

    def __init__(self, context: Context, bus: Bus, records: Records) -> None:
        self._context, self._bus, self._records = context, bus, records
        self._events: dict[str, tuple[Event, ...]] = {}
        self._lock = threading.Lock()
        self.stop: Callable[[Instance], object] = lambda _: None
        self.reboot: Callable[[Instance], object] = lambda _: None

    def install(self) -> None:
        """Answer for moto."""
        take_over_property(Instance, "events", self.shown)

    def shown(self, instance: Instance) -> list[dict[str, Any]]:
        """The events of DescribeInstanceStatus."""
        return [event.shown() for event in self._events.get(instance.id, ())]

    def schedule(self, instance_id: str, code: str, not_before: float) -> str:
        """Announce; the event's id. Raises UsageError, and EC2's error for an instance that is not there."""
        if code not in CODES:
            raise UsageError(f"EC2 schedules one of {', '.join(CODES)}")
        record = self._records.known(instance_id)
        event_id = f"instance-event-{secrets.token_hex(9)[:17]}"
        event = Event(event_id=event_id, code=code, not_before=not_before)
        with self._lock:
            self._events[instance_id] = (*self._events.get(instance_id, ()), event)
        self._tell(record, event)
        self._context.later(
            max(0.0, not_before - time.time()),
            lambda: self._due(record, event),
            what=f"{code} of {instance_id}",
        )
        return event_id

    def clear(self, instance_id: str) -> None:
        """Nothing is announced for the instance any more."""
        with self._lock:
            self._events.pop(instance_id, None)

    def _due(self, record: Record, event: Event) -> None:
        instance = record.instance
        with self._lock:
            events = self._events.get(instance.id, ())
            if event not in events:
                return
            self._events[instance.id] = tuple(e for e in events if e is not event)
        if instance.state != "running":
            return
        if event.code in STOPS:
            self.stop(instance)
        elif event.code in REBOOTS:
            self.reboot(instance)

    def _tell(self, record: Record, event: Event) -> None:
        kind, sentence = CODES[event.code]
        at = datetime.fromtimestamp(event.not_before, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        region, instance_id = record.region, record.instance.id
        arn = (
            f"arn:aws:health:{region}::event/EC2/{kind}/{kind}_{event.event_id.rpartition('-')[2]}"
        )
        affected = {"entityValue": instance_id, "tags": record.tags, "status": "PENDING"}
        detail = {
            "eventArn": arn,
            "service": "EC2",
            "eventScopeCode": "ACCOUNT_SPECIFIC",
            "eventTypeCode": kind,
            "eventTypeCategory": "scheduledChange",
            "startTime": at,
            "endTime": at,
            "statusCode": "upcoming",
            "eventRegion": region,
            "eventDescription": [{"language": "en_US", "latestDescription": sentence}],
            "affectedEntities": [affected],
        }
        self._bus.put_aws_event(region, "aws.health", "AWS Health Event", detail, (instance_id,))
