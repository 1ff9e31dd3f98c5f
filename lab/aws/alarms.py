"""CloudWatch alarms, really evaluated. Periods are scaled by the lab's clock; verdicts become events as on AWS."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from moto.cloudwatch.models import Alarm, CloudWatchBackend, cloudwatch_backends
from moto.sns.models import sns_backends

from lab.aws.bus import Bus
from lab.aws.context import ACCOUNT, Context
from lab.aws.takeover import take_over

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
# AWS looks a little farther back than the evaluation periods, for data in the place of what is missing.
EXTRA_PERIODS = 2


def verdict(
    points: Sequence[bool | None], *, periods: int, needed: int, treat_missing: str, before: str
) -> str:
    """OK, ALARM or INSUFFICIENT_DATA from the flags of the evaluation range (None: no data), newest first.

    As in "How alarm state is evaluated when data is missing" of CloudWatch's user guide: the newest real points count,
    what is missing is filled in only where there are fewer of them than evaluation periods.
    """
    real = [(age, flag) for age, flag in enumerate(points) if flag is not None][:periods]
    breaching = sum(flag for _, flag in real)
    if treat_missing in MISSING:
        breaching += (periods - len(real)) * MISSING[treat_missing]
        return "ALARM" if breaching >= needed else "OK"
    if not real:
        return before if treat_missing == "ignore" else "INSUFFICIENT_DATA"
    if breaching >= needed:
        return "ALARM"
    if breaching < len(real):
        return "OK"
    # Nothing but breaching points, too few of them: an alarm once the oldest could have had enough company.
    old_enough = real[-1][0] + 1 >= needed and treat_missing != "ignore"
    return "ALARM" if old_enough else before


class Alarms:
    """Keeps recent data points by metric and evaluates every alarm of every region."""

    def __init__(self, context: Context, bus: Bus) -> None:
        self._context, self._bus = context, bus
        self._data: dict[Key, deque[tuple[float, float]]] = {}
        self._born: dict[str, float] = {}

    def install(self) -> None:
        """Listen to PutMetricData and start evaluating."""
        methods: dict[str, Callable[..., Any]] = {
            "put_metric_data": self._put_metric_data,
            "put_metric_alarm": self._put_metric_alarm,
            "set_alarm_state": self._set_alarm_state,
        }
        for name, method in methods.items():
            take_over(CloudWatchBackend, name, partial(method, getattr(CloudWatchBackend, name)))
        self._context.every(
            self._context.clock.alarm_evaluation_interval_s, self.evaluate, what="alarms"
        )

    def _put_metric_data(
        self, original: Any, backend: CloudWatchBackend, namespace: str, data: list[dict[str, Any]]
    ) -> None:
        original(backend, namespace, data)
        del backend.metric_data[:-MOTO_KEEPS]
        for item in data:
            self.record(backend.region_name, namespace, item)

    def _put_metric_alarm(
        self, original: Any, backend: CloudWatchBackend, name: str, *rest: Any, **given: Any
    ) -> Alarm:
        """An alarm begins without a verdict; one that is put again keeps the one it has."""
        before = backend.alarms.get(name)
        alarm: Alarm = original(backend, name, *rest, **given)
        alarm.state_value = "INSUFFICIENT_DATA" if before is None else before.state_value
        if before is None:
            self._born.pop(alarm.alarm_arn, None)
        return alarm

    def _set_alarm_state(
        self, original: Any, backend: CloudWatchBackend, name: str, *rest: Any
    ) -> None:
        """A verdict by hand is told like any other."""
        alarm = backend.alarms.get(name)
        before = None if alarm is None else _state(alarm)
        original(backend, name, *rest)
        if alarm is not None and before is not None and before["value"] != alarm.state_value:
            self.tell(backend.region_name, alarm, before)

    def record(self, region: str, namespace: str, item: dict[str, Any]) -> None:
        """Take in what one datum of PutMetricData holds, at the time it came."""
        key = (region, namespace, item["MetricName"], _dimensions(item.get("Dimensions") or []))
        points = self._data.setdefault(key, deque())
        points.extend((time.time(), value) for value in _values(item))
        while points and points[0][0] < time.time() - KEEP_S:
            points.popleft()

    def evaluate(self) -> None:
        """One pass over all alarms; those of a region that is gone keep the state they have."""
        for region, backend in list(cloudwatch_backends[ACCOUNT].items()):
            if self._context.outages.gone(region):
                continue
            for alarm in list(backend.alarms.values()):
                if alarm.metric_name and alarm.statistic in STATISTIC:
                    judge = partial(self._evaluate, region, alarm)
                    self._context.guarded(judge, f"alarm {alarm.name}")

    def _evaluate(self, region: str, alarm: Alarm) -> None:
        now = time.time()
        period_s = self._period_s(alarm)
        periods = int(alarm.evaluation_periods)
        born = self._born.setdefault(alarm.alarm_arn, now)
        if now - born < periods * period_s:
            return
        key = (region, alarm.namespace, alarm.metric_name, _dimensions(alarm.dimensions))
        points = list(self._data.get(key, ()))
        ends = [now - n * period_s for n in range(periods + EXTRA_PERIODS)]
        state = verdict(
            [self._flag(alarm, points, end, period_s) for end in ends],
            periods=periods,
            needed=int(alarm.datapoints_to_alarm or periods),
            treat_missing=alarm.treat_missing_data or "missing",
            before=alarm.state_value,
        )
        if state != alarm.state_value:
            before = _state(alarm)
            reason = (
                f"{alarm.metric_name} {alarm.comparison_operator} {alarm.threshold}"
                f" over the last {periods} periods: {state}"
            )
            alarm.update_state(
                reason, json.dumps({"version": "1.0", "period": alarm.period}), state
            )
            self.tell(region, alarm, before)

    def _period_s(self, alarm: Alarm) -> float:
        clock = self._context.clock
        scale = clock.told_time_scale if alarm.alarm_actions else clock.alarm_time_scale
        return float(alarm.period) * scale

    @staticmethod
    def _flag(
        alarm: Alarm, points: list[tuple[float, float]], end: float, period_s: float
    ) -> bool | None:
        values = [value for at, value in points if end - period_s < at <= end]
        if not values:
            return None
        found = STATISTIC[alarm.statistic](values)
        return COMPARE[alarm.comparison_operator](found, float(alarm.threshold))

    def tell(self, region: str, alarm: Alarm, before: Mapping[str, str]) -> None:
        """A change of state goes out as an event and, where the alarm says so, to topics."""
        detail = {
            "alarmName": alarm.name,
            "configuration": {"description": alarm.description or "", "metrics": [_metric(alarm)]},
            "previousState": before,
            "state": _state(alarm),
        }
        self._context.evidence.add(
            "alarms",
            region=region,
            alarm=alarm.name,
            state=alarm.state_value,
            before=before["value"],
        )
        self._bus.put_aws_event(
            region, "aws.cloudwatch", "CloudWatch Alarm State Change", detail, (alarm.alarm_arn,)
        )
        actions = {
            "ALARM": alarm.alarm_actions,
            "OK": alarm.ok_actions,
            "INSUFFICIENT_DATA": alarm.insufficient_data_actions,
        }[alarm.state_value]
        for arn in (actions or []) if alarm.actions_enabled else []:
            if ":sns:" in arn:
                message = json.dumps(_notice(region, alarm, before))
                sns_backends[ACCOUNT][arn.split(":")[3]].publish(message, arn=arn)


def _state(alarm: Alarm) -> dict[str, str]:
    return {
        "value": alarm.state_value,
        "reason": alarm.state_reason,
        "reasonData": alarm.state_reason_data,
        "timestamp": _when(alarm.state_updated_timestamp),
    }


def _when(at: datetime) -> str:
    return at.replace(tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def _metric(alarm: Alarm) -> dict[str, Any]:
    metric = {
        "namespace": alarm.namespace,
        "name": alarm.metric_name,
        "dimensions": dict(_dimensions(alarm.dimensions)),
    }
    stat = {"metric": metric, "period": int(alarm.period), "stat": alarm.statistic}
    return {"id": "m1", "metricStat": stat, "returnData": True}


def _notice(region: str, alarm: Alarm, before: Mapping[str, str]) -> dict[str, Any]:
    """What an alarm's action says to a topic."""
    dimensions = [{"name": n, "value": v} for n, v in _dimensions(alarm.dimensions)]
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": ACCOUNT,
        "NewStateValue": alarm.state_value,
        "NewStateReason": alarm.state_reason,
        "StateChangeTime": _when(alarm.state_updated_timestamp),
        "Region": region,
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": before["value"],
        "Trigger": {
            "MetricName": alarm.metric_name,
            "Namespace": alarm.namespace,
            "Statistic": alarm.statistic.upper(),
            "Dimensions": dimensions,
            "Period": int(alarm.period),
            "EvaluationPeriods": int(alarm.evaluation_periods),
            "ComparisonOperator": alarm.comparison_operator,
            "Threshold": float(alarm.threshold),
            "TreatMissingData": alarm.treat_missing_data or "missing",
        },
    }


def _values(item: Mapping[str, Any]) -> list[float]:
    """A value, or several with counts; aggregated statistics are not evaluated."""
    if item.get("Values"):
        counts = item.get("Counts") or [1] * len(item["Values"])
        pairs = zip(item["Values"], counts, strict=True)
        return [float(value) for value, times in pairs for _ in range(int(float(times)))]
    return [] if item.get("Value") is None else [float(item["Value"])]


def _dimensions(raw: Any) -> tuple[tuple[str, str], ...]:
    pairs = [
        (d["Name"], d["Value"]) if isinstance(d, dict) else (d.name, d.value) for d in raw or []
    ]
    return tuple(sorted(pairs))
