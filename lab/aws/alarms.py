"""CloudWatch alarms, really evaluated. Periods are scaled by the lab's clock; verdicts become events as on AWS."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import Alarm, CloudWatchBackend, cloudwatch_backends
from moto.sns.models import sns_backends

from lab.aws.bus import Bus
from lab.aws.context import ACCOUNT, Context

KEEP_S = 3600.0
MOTO_KEEPS = 4000
Key = tuple[str, str, str, tuple[tuple[str, str], ...]]
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda a, b: a >= b,
    "GreaterThanThreshold": lambda a, b: a > b,
    "LessThanThreshold": lambda a, b: a < b,
    "LessThanOrEqualToThreshold": lambda a, b: a <= b,
}
STATISTIC: dict[str, Callable[[list[float]], float]] = {
    "Maximum": max,
    "Minimum": min,
    "Sum": sum,
    "Average": lambda values: sum(values) / len(values),
    "SampleCount": len,
}
MISSING = {"breaching": True, "notBreaching": False}


def verdict(points: list[bool | None], *, needed: int, treat_missing: str, before: str) -> str:
    """OK, ALARM or INSUFFICIENT_DATA from the periods' flags (None: no data), newest first."""
    if all(flag is None for flag in points) and treat_missing in ("missing", "ignore"):
        return before if treat_missing == "ignore" else "INSUFFICIENT_DATA"
    filled = [MISSING.get(treat_missing) if flag is None else flag for flag in points]
    return "ALARM" if sum(flag is True for flag in filled) >= needed else "OK"


class Alarms:
    """Keeps recent data points by metric and evaluates every alarm of every region."""

    def __init__(self, context: Context, bus: Bus) -> None:
        self._context, self._bus = context, bus
        self._data: dict[Key, deque[tuple[float, float]]] = {}
        self._born: dict[str, float] = {}

    def install(self) -> None:
        """Listen to PutMetricData and start evaluating."""
        alarms, original = self, CloudWatchBackend.put_metric_data

        def put_metric_data(
            backend: CloudWatchBackend, namespace: str, metric_data: list[dict[str, Any]]
        ) -> None:
            original(backend, namespace, metric_data)
            del backend.metric_data[:-MOTO_KEEPS]
            for item in metric_data:
                if item.get("Value") is not None:
                    alarms.record(backend.region_name, namespace, item)

        CloudWatchBackend.put_metric_data = put_metric_data
        self._context.every(
            self._context.clock.alarm_evaluation_interval_s, self.evaluate, what="alarms"
        )

    def record(self, region: str, namespace: str, item: dict[str, Any]) -> None:
        """Take in one data point, at the time it came."""
        key = (region, namespace, item["MetricName"], _dimensions(item.get("Dimensions") or []))
        points = self._data.setdefault(key, deque())
        points.append((time.time(), float(item["Value"])))
        while points and points[0][0] < time.time() - KEEP_S:
            points.popleft()

    def evaluate(self) -> None:
        """One pass over all alarms."""
        for region, backend in list(cloudwatch_backends[ACCOUNT].items()):
            for alarm in list(backend.alarms.values()):
                if alarm.metric_name:
                    self._evaluate(region, alarm)

    def _evaluate(self, region: str, alarm: Alarm) -> None:
        now = time.time()
        period_s = float(alarm.period) * self._context.clock.alarm_time_scale
        periods = int(alarm.evaluation_periods)
        born = self._born.setdefault(alarm.alarm_arn, now)
        if now - born < periods * period_s:
            return
        key = (region, alarm.namespace, alarm.metric_name, _dimensions(alarm.dimensions))
        points = list(self._data.get(key, ()))
        flags = [self._flag(alarm, points, now - n * period_s, period_s) for n in range(periods)]
        state = verdict(
            flags,
            needed=int(alarm.datapoints_to_alarm or periods),
            treat_missing=alarm.treat_missing_data or "missing",
            before=alarm.state_value,
        )
        if state != alarm.state_value:
            self._change(region, alarm, state)

    @staticmethod
    def _flag(
        alarm: Alarm, points: list[tuple[float, float]], end: float, period_s: float
    ) -> bool | None:
        values = [value for at, value in points if end - period_s < at <= end]
        if not values:
            return None
        found = STATISTIC[alarm.statistic](values)
        return COMPARE[alarm.comparison_operator](found, float(alarm.threshold))

    def _change(self, region: str, alarm: Alarm, state: str) -> None:
        before, reason = (
            alarm.state_value,
            f"Threshold Crossed: {alarm.metric_name} on {alarm.dimensions}",
        )
        alarm.update_state(reason, "{}", state)
        detail = {
            "alarmName": alarm.name,
            "state": {"value": state, "reason": reason, "timestamp": datetime.now(UTC).isoformat()},
            "previousState": {"value": before},
            "configuration": {"description": alarm.description},
        }
        self._context.evidence.add(
            "alarms", region=region, alarm=alarm.name, state=state, before=before
        )
        self._bus.put_aws_event(
            region, "aws.cloudwatch", "CloudWatch Alarm State Change", detail, (alarm.alarm_arn,)
        )
        if not alarm.actions_enabled:
            return
        actions = {"ALARM": alarm.alarm_actions, "OK": alarm.ok_actions}.get(state) or []
        for arn in actions:
            if ":sns:" in arn:
                sns_backends[ACCOUNT][arn.split(":")[3]].publish(json.dumps(detail), arn=arn)


def _dimensions(raw: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 - moto's objects or plain mappings
    pairs = [
        (d["Name"], d["Value"]) if isinstance(d, dict) else (d.name, d.value) for d in raw or []
    ]
    return tuple(sorted(pairs))
