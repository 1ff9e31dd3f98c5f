"""Scheduled rules: `rate(...)` and `cron(...)` expressions fire while the rule is enabled."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from moto.events.exceptions import ValidationException
from moto.events.models import EventsBackend, Rule, events_backends

from lab.aws.bus import Bus
from lab.aws.context import ACCOUNT, Context
from lab.aws.cron import next_time
from lab.aws.takeover import take_over
from lab.ports import RegionService


class Schedules:
    """Fires each scheduled rule, counted from when it was first seen enabled."""

    def __init__(self, context: Context, bus: Bus) -> None:
        self._bus = bus
        self._due: dict[tuple[str, str], datetime | None] = {}
        self._context = context

    def install(self) -> None:
        """Refuse what is no schedule; start the clockwork."""
        take_over(EventsBackend, "put_rule", partial(_put_rule, EventsBackend.put_rule))
        self._context.every(1.0, lambda: self.tick(datetime.now(UTC)), what="schedules")

    def tick(self, now: datetime) -> None:
        """Fire what is due."""
        for region, backend in list(events_backends[ACCOUNT].items()):
            if self._context.outages.out(region, RegionService.EVENTS):
                continue
            for bus in list(backend.event_buses.values()):
                for rule in list(bus.rules.values()):
                    if rule.scheduled_expression:
                        self._rule(rule, rule.scheduled_expression, now)

    def _rule(self, rule: Rule, expression: str, now: datetime) -> None:
        key = (rule.arn, expression)
        if rule.state != "ENABLED":
            self._due.pop(key, None)
            return
        if key not in self._due:
            self._due[key] = next_time(expression, now)
        due = self._due[key]
        if due is None or now < due:
            return
        self._due[key] = next_time(expression, now)
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            "time": due.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": rule.region_name,
            "resources": [rule.arn],
            "detail": {},
        }
        for target in list(rule.targets):
            self._bus.deliver(rule, target, event)


def _put_rule(original: Callable[..., Rule], backend: Any, name: str, **given: Any) -> Rule:
    try:
        if given.get("scheduled_expression"):
            next_time(given["scheduled_expression"], datetime.now(UTC))
    except ValueError as error:
        raise ValidationException("Parameter ScheduleExpression is not valid.") from error
    return original(backend, name, **given)
