"""Alarms: judged by the metrics that really come in, told once for every change of state."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.adapters.local_aws.cloud import Names, Queue, a_queue, a_watch
from tests.adapters.local_aws.setting import REGION, Local
from tests.adapters.local_aws.waiting import consistently, eventually

NAMESPACE = "pgmend"


class Alarm:
    """An alarm on a metric of its own, which a test feeds."""

    def __init__(self, local: Local, name: str, **more: Any) -> None:
        self._cloudwatch = local.client("cloudwatch")
        self.name = name
        self.asked = {
            "AlarmName": name,
            "Namespace": NAMESPACE,
            "MetricName": "Lag",
            "Dimensions": [{"Name": "Slot", "Value": name}],
            "Statistic": "Maximum",
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 10.0,
            "Period": 60,
            "EvaluationPeriods": 1,
            **more,
        }
        self.put()

    def put(self, **more: Any) -> None:
        self._cloudwatch.put_metric_alarm(**{**self.asked, **more})

    def feed(self, value: float) -> None:
        datum = {"MetricName": "Lag", "Dimensions": self.asked["Dimensions"], "Value": value}
        self._cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=[datum])

    @property
    def state(self) -> str:
        found = self._cloudwatch.describe_alarms(AlarmNames=[self.name])
        return str(found["MetricAlarms"][0]["StateValue"])

    def becomes(self, state: str, fed: float | None = None) -> None:
        """It reaches a state, while it is fed with a value."""

        def look() -> bool:
            if fed is not None:
                self.feed(fed)
            return self.state == state

        eventually(look)

    def stays(self, state: str, fed: float | None = None, for_s: float = 0.8) -> None:
        def look() -> bool:
            if fed is not None:
                self.feed(fed)
            return self.state == state

        consistently(look, for_s=for_s)


def changes(queue: Queue, alarm: str) -> list[tuple[str, str]]:
    """(before, after) of every event about an alarm; deliveries may overtake each other."""
    details = [e["detail"] for e in queue.bodies() if e["detail"]["alarmName"] == alarm]
    ordered = sorted(details, key=lambda d: str(d["state"]["timestamp"]))
    return [(d["previousState"]["value"], d["state"]["value"]) for d in ordered]


def test_an_alarm_begins_without_a_verdict_and_follows_its_metric(
    local: Local, name: Names
) -> None:
    alarm = Alarm(local, name("alarm"))
    assert alarm.state == "INSUFFICIENT_DATA"
    alarm.becomes("OK", fed=1)
    alarm.becomes("ALARM", fed=11)
    alarm.becomes("OK", fed=1)


def test_every_change_is_told_once_and_nothing_without_a_change(local: Local, name: Names) -> None:
    watch = a_watch(local, name, {"detail-type": ["CloudWatch Alarm State Change"]})
    alarm = Alarm(local, name("alarm"), TreatMissingData="ignore")
    alarm.becomes("OK", fed=1)
    alarm.becomes("ALARM", fed=11)
    alarm.stays("ALARM", fed=11)
    alarm.becomes("OK", fed=1)
    expected = [("INSUFFICIENT_DATA", "OK"), ("OK", "ALARM"), ("ALARM", "OK")]
    eventually(lambda: changes(watch, alarm.name) == expected)
    consistently(lambda: changes(watch, alarm.name) == expected, for_s=0.3)


def test_a_change_is_told_in_awss_shape(local: Local, name: Names) -> None:
    watch = a_watch(local, name, {"source": ["aws.cloudwatch"]})
    alarm = Alarm(local, name("alarm"), AlarmDescription="lag of a slot")
    alarm.becomes("ALARM", fed=11)
    event = next(e for e in watch.gets() if e["detail"]["alarmName"] == alarm.name)
    arn = f"arn:aws:cloudwatch:{REGION}:123456789012:alarm:{alarm.name}"
    assert (event["detail-type"], event["resources"]) == ("CloudWatch Alarm State Change", [arn])
    detail = event["detail"]
    assert detail["previousState"]["value"] == "INSUFFICIENT_DATA"
    assert detail["state"]["value"] == "ALARM"
    assert set(detail["state"]) == {"value", "reason", "reasonData", "timestamp"}
    assert detail["state"]["timestamp"].endswith("+0000")
    assert detail["configuration"] == {
        "description": "lag of a slot",
        "metrics": [
            {
                "id": "m1",
                "metricStat": {
                    "metric": {
                        "namespace": NAMESPACE,
                        "name": "Lag",
                        "dimensions": {"Slot": alarm.name},
                    },
                    "period": 60,
                    "stat": "Maximum",
                },
                "returnData": True,
            }
        ],
    }


def test_only_the_alarms_own_dimensions_count(local: Local, name: Names) -> None:
    alarm, other = Alarm(local, name("alarm")), Alarm(local, name("other"))
    alarm.becomes("OK", fed=1)
    other.becomes("ALARM", fed=99)
    alarm.becomes("OK", fed=1)


def test_one_breaching_point_of_two_periods_is_no_alarm(local: Local, name: Names) -> None:
    alarm = Alarm(
        local,
        name("alarm"),
        EvaluationPeriods=2,
        DatapointsToAlarm=2,
        TreatMissingData="notBreaching",
    )
    alarm.becomes("OK", fed=1)
    alarm.feed(11)
    alarm.stays("OK", for_s=1.0)
    alarm.becomes("ALARM", fed=11)


def test_one_of_two_datapoints_is_enough_where_the_alarm_says_so(local: Local, name: Names) -> None:
    alarm = Alarm(
        local,
        name("alarm"),
        EvaluationPeriods=2,
        DatapointsToAlarm=1,
        TreatMissingData="notBreaching",
    )
    alarm.becomes("OK", fed=1)
    alarm.feed(11)
    alarm.becomes("ALARM")


@pytest.mark.parametrize(
    ("treat", "state"),
    [
        ("breaching", "ALARM"),
        ("notBreaching", "OK"),
        ("missing", "INSUFFICIENT_DATA"),
    ],
)
def test_silence_is_treated_as_the_alarm_says(
    local: Local, name: Names, treat: str, state: str
) -> None:
    alarm = Alarm(local, name("alarm"), TreatMissingData=treat)
    alarm.becomes("ALARM" if state == "OK" else "OK", fed=11 if state == "OK" else 1)
    alarm.becomes(state)


def test_silence_can_leave_the_state_as_it_is(local: Local, name: Names) -> None:
    alarm = Alarm(local, name("alarm"), TreatMissingData="ignore")
    alarm.becomes("ALARM", fed=11)
    alarm.stays("ALARM", for_s=1.5)


@pytest.mark.parametrize(
    ("statistic", "operator", "threshold", "values", "state"),
    [
        ("Minimum", "LessThanThreshold", 2, [1, 9], "ALARM"),
        ("Average", "GreaterThanOrEqualToThreshold", 5, [1, 9], "ALARM"),
        ("Sum", "LessThanOrEqualToThreshold", 9, [1, 9], "OK"),
        ("SampleCount", "GreaterThanThreshold", 1, [0, 0], "ALARM"),
    ],
)
def test_a_statistic_is_taken_over_the_period(
    local: Local,
    name: Names,
    statistic: str,
    operator: str,
    threshold: float,
    values: list[float],
    state: str,
) -> None:
    alarm = Alarm(
        local,
        name("alarm"),
        Statistic=statistic,
        ComparisonOperator=operator,
        Threshold=float(threshold),
        TreatMissingData="ignore",
    )
    datum = {
        "MetricName": "Lag",
        "Dimensions": alarm.asked["Dimensions"],
        "Values": [float(v) for v in values],
    }

    def look() -> bool:
        local.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[datum])
        return alarm.state == state

    eventually(look)


def test_an_alarm_that_is_put_again_keeps_its_state(local: Local, name: Names) -> None:
    alarm = Alarm(local, name("alarm"), TreatMissingData="ignore")
    alarm.becomes("ALARM", fed=11)
    alarm.put(Threshold=9.0)
    assert alarm.state == "ALARM"


def test_a_state_set_by_hand_is_told(local: Local, name: Names) -> None:
    watch = a_watch(local, name, {"source": ["aws.cloudwatch"]})
    alarm = Alarm(local, name("alarm"), TreatMissingData="ignore")
    local.client("cloudwatch").set_alarm_state(
        AlarmName=alarm.name, StateValue="ALARM", StateReason="a test"
    )
    eventually(lambda: changes(watch, alarm.name) == [("INSUFFICIENT_DATA", "ALARM")])


def test_an_alarms_action_reaches_its_topic(local: Local, name: Names) -> None:
    sns, queue = local.client("sns"), a_queue(local, name("queue"))
    topic = sns.create_topic(Name=name("topic"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    alarm = Alarm(local, name("alarm"), AlarmActions=[topic])
    alarm.becomes("OK", fed=1)
    alarm.becomes("ALARM", fed=11)
    (envelope,) = queue.gets()
    notice = json.loads(envelope["Message"])
    assert (notice["AlarmName"], notice["NewStateValue"]) == (alarm.name, "ALARM")
    assert (notice["OldStateValue"], notice["Trigger"]["MetricName"]) == ("OK", "Lag")


def test_an_alarm_that_tells_people_has_a_clock_of_its_own(local: Local, name: Names) -> None:
    """Here a period of 60 s takes 0.6 s, and 0.3 s where nobody is told."""
    topic = local.client("sns").create_topic(Name=name("topic"))["TopicArn"]
    silence = {"TreatMissingData": "breaching", "EvaluationPeriods": 2}
    told = Alarm(local, name("told"), AlarmActions=[topic], **silence)
    other = Alarm(local, name("other"), **silence)
    eventually(lambda: other.state == "ALARM")
    assert told.state == "INSUFFICIENT_DATA"
    told.becomes("ALARM")


def test_an_alarm_the_lab_cannot_judge_does_not_keep_the_others_from_it(
    local: Local, name: Names
) -> None:
    strange = Alarm(local, name("strange"))
    del strange.asked["Statistic"]
    local.client("cloudwatch").delete_alarms(AlarmNames=[strange.name])
    strange.put(ExtendedStatistic="p99")
    alarm = Alarm(local, name("alarm"))
    alarm.becomes("ALARM", fed=11)
    assert strange.state == "INSUFFICIENT_DATA"
