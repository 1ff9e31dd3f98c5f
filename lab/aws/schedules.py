"""Scheduled rules: `rate(...)` expressions fire while the rule is enabled."""

from __future__ import annotations

import re
import time
import uuid
from datetime import UTC, datetime

from moto.events.models import Rule, events_backends

from lab.aws.bus import Bus
from lab.aws.context import ACCOUNT, Context

UNIT_S = {"minute": 60, "minutes": 60, "hour": 3600, "hours": 3600, "day": 86400, "days": 86400}


def rate_s(expression: str) -> float | None:
    """Seconds of a rate expression; None for what is not one."""
    found = re.fullmatch(r"rate\((\d+) (\w+)\)", expression.strip())
    return None if found is None or found[2] not in UNIT_S else int(found[1]) * UNIT_S[found[2]]


class Schedules:
    """Fires each scheduled rule at its rate from when it was first seen."""

    def __init__(self, context: Context, bus: Bus) -> None:
        self._bus = bus
        self._due: dict[str, float] = {}
        self._context = context

    def install(self) -> None:
        """Start the clockwork."""
        self._context.every(1.0, self.tick, what="schedules")

    def tick(self) -> None:
        """Fire what is due."""
        now = time.monotonic()
        for region, backend in list(events_backends[ACCOUNT].items()):
            if region in self._bus.stopped:
                continue
            for bus in list(backend.event_buses.values()):
                for rule in list(bus.rules.values()):
                    self._rule(rule, now)

    def _rule(self, rule: Rule, now: float) -> None:
        period_s = rate_s(rule.scheduled_expression) if rule.scheduled_expression else None
        if period_s is None:
            return
        due = self._due.setdefault(rule.arn, now + period_s)
        if now < due:
            return
        self._due[rule.arn] = now + period_s
        if rule.state != "ENABLED":
            return
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": rule.region_name,
            "resources": [rule.arn],
            "detail": {},
        }
        for target in list(rule.targets):
            self._bus.deliver(rule, target, event)
