"""Every event that the contract knows finds its way to the healer, and one that nobody can deliver is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lab.aws.maintenance import CODES
from lab.aws.patterns import matches
from lab.ports import REGIONS
from node_agent.sender import metrics_of
from tests.infra.planned import UNKNOWN, Plan, Resource, example, kinds_of_events

FIRST, SECOND, OBSERVER = (region.name for region in REGIONS)
BUS, DEFAULT = "pgmend", "default"
PUBLISHED_BY_THE_HEALER = {"StatusCheckFailed", "Strength"}
TOPIC = "arn:aws:sns:eu-central-1:123456789012:pgmend-notices"
HEALERS_OWN = (
    "Incident Opened",
    "Action Taken",
    "Action Refused",
    "Incident Healed",
    "Held",
    "Breaker Opened",
)


def an_event(detail_type: str, *, source: str = "pgmend.agent", **detail: Any) -> Mapping[str, Any]:
    """The contract's example as another kind of event."""
    base = example("event.json")
    return {
        **base,
        "detail-type": detail_type,
        "source": source,
        "detail": {**base["detail"], **detail},
    }


AWS_EVENTS = {
    "alarm": {
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "detail": {"alarmName": "pgmend-heartbeat-db-euw1-a", "state": {"value": "ALARM"}},
    },
    "ec2": {
        "source": "aws.ec2",
        "detail-type": "EC2 Instance State-change Notification",
        "detail": {"instance-id": "i-0aaaaaaaaaaaaaaaa", "state": "terminated"},
    },
    "ssm": {
        "source": "aws.ssm",
        "detail-type": "EC2 Command Invocation Status-change Notification",
        "detail": {"document-name": "pgmend-configure-node", "status": "Success"},
    },
    "health": {
        "source": "aws.health",
        "detail-type": "AWS Health Event",
        "detail": {"service": "EC2", "eventTypeCode": "AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED"},
    },
}


def taken_to(plan: Plan, region: str, bus: str, event: Mapping[str, Any]) -> Sequence[str]:
    """Target ids of the rules of a bus that an event fits."""
    rules = [
        rule.values["name"]
        for rule in plan.resources("aws_cloudwatch_event_rule")
        if rule.region == region
        and bus_of(rule) == bus
        and rule.values["event_pattern"]
        and matches(json.loads(rule.values["event_pattern"]), event)
    ]
    return [
        target.values["target_id"]
        for target in plan.resources("aws_cloudwatch_event_target")
        if target.region == region and bus_of(target) == bus and target.values["rule"] in rules
    ]


def bus_of(resource: Resource) -> str:
    """The bus of a rule or target."""
    bus = resource.values["event_bus_name"]
    return DEFAULT if bus in (None, UNKNOWN) else str(bus)


def test_the_contract_is_read() -> None:
    assert {"Patroni Leader Changed", "Peer Unreachable"} < set(kinds_of_events())
    assert len(kinds_of_events()) >= 11


@pytest.mark.parametrize("kind", kinds_of_events())
def test_every_event_of_an_agent_reaches_the_healer_from_everywhere(plan: Plan, kind: str) -> None:
    event = an_event(kind)
    for region in (FIRST, SECOND):
        assert taken_to(plan, region, BUS, event) == ["hub"], region
    assert taken_to(plan, OBSERVER, BUS, event) == ["healer"]


@pytest.mark.parametrize("family", AWS_EVENTS)
def test_what_aws_itself_says_reaches_the_healer_from_everywhere(plan: Plan, family: str) -> None:
    event = AWS_EVENTS[family]
    for region in (FIRST, SECOND):
        assert taken_to(plan, region, DEFAULT, event) == ["hub"], region
    assert taken_to(plan, OBSERVER, DEFAULT, event) == ["healer"]
    assert taken_to(plan, OBSERVER, BUS, event) == ["healer"]  # what the data regions forward


@pytest.mark.parametrize("code", CODES)
def test_every_maintenance_that_ec2_announces_reaches_the_healer(plan: Plan, code: str) -> None:
    kind, _ = CODES[code]
    detail = {"service": "EC2", "eventTypeCode": kind, "eventTypeCategory": "scheduledChange"}
    event = {**AWS_EVENTS["health"], "detail": detail}
    for region in (FIRST, SECOND):
        assert taken_to(plan, region, DEFAULT, event) == ["hub"], region
    assert taken_to(plan, OBSERVER, BUS, event) == ["healer"]


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(an_event("Patroni Leader Changed", cluster="other"), id="another-cluster"),
        pytest.param(an_event("Patroni Leader Changed", source="somebody"), id="somebody-else"),
        pytest.param(
            {
                **AWS_EVENTS["alarm"],
                "detail": {"alarmName": "billing", "state": {"value": "ALARM"}},
            },
            id="another-alarm",
        ),
        pytest.param(
            {
                **AWS_EVENTS["alarm"],
                "detail": {"alarmName": "pgmend-app", "state": {"value": "OK"}},
            },
            id="an-alarm-that-ended",
        ),
        pytest.param(
            {
                **AWS_EVENTS["ssm"],
                "detail": {"document-name": "AWS-RunPatchBaseline", "status": "Success"},
            },
            id="another-document",
        ),
    ],
)
def test_what_is_not_this_clusters_wakes_nobody(plan: Plan, event: Mapping[str, Any]) -> None:
    for region in (FIRST, SECOND, OBSERVER):
        for bus in (BUS, DEFAULT):
            assert taken_to(plan, region, bus, event) == []


def test_the_healer_wakes_itself_only_when_it_did_not_finish(plan: Plan) -> None:
    unfinished = an_event("Reconcile Unfinished", source="pgmend.healer")
    assert taken_to(plan, OBSERVER, BUS, unfinished) == ["healer"]
    for kind in HEALERS_OWN:
        told = taken_to(plan, OBSERVER, BUS, an_event(kind, source="pgmend.healer"))
        assert told == ["notifier"], kind


def test_the_healer_looks_every_minute_without_any_event(plan: Plan) -> None:
    tick = plan.one("aws_cloudwatch_event_rule", "tick")
    assert tick.values["schedule_expression"] == "rate(1 minute)"
    assert plan.one("aws_cloudwatch_event_target", "tick").values["rule"] == tick.values["name"]


def test_every_rule_has_one_target_and_every_target_its_rule(plan: Plan) -> None:
    rules = [
        (r.region, bus_of(r), r.values["name"]) for r in plan.resources("aws_cloudwatch_event_rule")
    ]
    targets = [
        (t.region, bus_of(t), t.values["rule"])
        for t in plan.resources("aws_cloudwatch_event_target")
    ]
    assert sorted(rules) == sorted(targets)
    assert len(set(rules)) == len(rules)


def test_what_cannot_be_delivered_is_kept_for_every_target_and_function(plan: Plan) -> None:
    for target in plan.resources("aws_cloudwatch_event_target"):
        assert target.values["dead_letter_config"] == [{"arn": UNKNOWN}], target.address
    kept = plan.resources("aws_lambda_function_event_invoke_config")
    assert {config.key for config in kept} == {"healer", "notifier"}
    for config in kept:
        (destinations,) = config.values["destination_config"]
        assert destinations["on_failure"] == [{"destination": UNKNOWN}]


def alarms_that_tell(plan: Plan) -> Mapping[str, Mapping[str, Any]]:
    """The alarms that have an action, by what they say; all others have the healer for it."""
    return {
        alarm.key: alarm.values
        for alarm in plan.resources("aws_cloudwatch_metric_alarm")
        if alarm.values["alarm_actions"]
    }


def test_people_are_told_of_what_the_healer_cannot_tell_itself(plan: Plan) -> None:
    told = alarms_that_tell(plan)
    assert told.keys() == {"cluster below strength", "healer errors", "dead letters"}
    for name, alarm in told.items():
        assert plan.one("aws_cloudwatch_metric_alarm", name).region == OBSERVER  # the topic's
        assert alarm["alarm_actions"] == [TOPIC]
        assert alarm["alarm_description"]
    assert plan.one("aws_sns_topic", "notices").values["name"] == TOPIC.rsplit(":", 1)[1]


def test_a_cluster_that_nobody_judges_counts_as_one_below_strength(plan: Plan) -> None:
    alarm = alarms_that_tell(plan)["cluster below strength"]
    assert (alarm["metric_name"], alarm["dimensions"]) == ("Strength", {"Cluster": "pgmend"})
    assert (alarm["comparison_operator"], alarm["threshold"]) == ("LessThanThreshold", 1)
    assert alarm["treat_missing_data"] == "breaching"
    assert alarm["period"] * alarm["datapoints_to_alarm"] == 300
    assert alarm["datapoints_to_alarm"] == alarm["evaluation_periods"]


def test_a_healer_that_fails_and_a_letter_that_is_dead_are_told_and_silence_is_not(
    plan: Plan,
) -> None:
    told = alarms_that_tell(plan)
    assert told["healer errors"]["dimensions"] == {"FunctionName": "pgmend-healer"}
    queues = {q.values["name"] for q in plan.resources("aws_sqs_queue") if q.region == OBSERVER}
    assert {told["dead letters"]["dimensions"]["QueueName"]} == queues
    for name in ("healer errors", "dead letters"):
        assert (told[name]["comparison_operator"], told[name]["threshold"]) == (
            "GreaterThanThreshold",
            0,
        )
        assert told[name]["treat_missing_data"] == "notBreaching"


def test_the_topic_keeps_the_policy_that_lets_this_accounts_alarms_publish(plan: Plan) -> None:
    assert plan.one("aws_sns_topic", "notices").values["policy"] == UNKNOWN
    assert plan.resources("aws_sns_topic_policy") == []


def test_every_active_slot_has_a_heartbeat_and_no_spare_one_has_any_alarm(plan: Plan) -> None:
    alarms = [
        a
        for a in plan.resources("aws_cloudwatch_metric_alarm")
        if a.key not in alarms_that_tell(plan)
    ]
    slots = {slot["name"]: slot for slot in plan.spec["slots"]}
    active = {name for name, slot in slots.items() if slot["active"]}
    beating = {
        a.values["dimensions"]["Slot"] for a in alarms if a.values["metric_name"] == "Heartbeat"
    }
    assert beating == active == {a.values["dimensions"]["Slot"] for a in alarms}
    for alarm in alarms:
        slot = slots[alarm.values["dimensions"]["Slot"]]
        assert alarm.region in (slot["region"], OBSERVER), alarm.address
        assert alarm.values["dimensions"]["Cluster"] == "pgmend"


def test_every_alarm_is_on_a_metric_that_somebody_publishes(plan: Plan) -> None:
    reports = ("leader", "replica", "witness", "haproxy", "app")
    published = {name for r in reports for name in metrics_of(example(f"report-{r}.json"))}
    for alarm in plan.resources("aws_cloudwatch_metric_alarm"):
        if not alarm.values["namespace"].startswith("AWS/"):
            assert alarm.values["namespace"] == "pgmend"
            assert alarm.values["metric_name"] in published | PUBLISHED_BY_THE_HEALER, alarm.address


def test_an_alarm_wakes_the_healer_or_tells_people_and_never_both(plan: Plan) -> None:
    """The healer's own metrics end such an alarm: it would wake itself, again and again."""
    for alarm in plan.resources("aws_cloudwatch_metric_alarm"):
        detail = {"alarmName": alarm.values["alarm_name"], "state": {"value": "ALARM"}}
        event = {**AWS_EVENTS["alarm"], "detail": detail}
        woken = bool(taken_to(plan, alarm.region, DEFAULT, event))
        assert woken is (alarm.key not in alarms_that_tell(plan)), alarm.address
