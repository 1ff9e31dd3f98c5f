"""EventBridge: what fits a rule gets to its targets, in every region, or to the dead-letter queue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

import lab.aws.bus
from lab.aws.schedules import Schedules
from lab.ports import RegionService
from tests.adapters.local_aws.cloud import (
    ACCOUNT,
    Names,
    Queue,
    a_queue,
    a_role,
    a_rule,
)
from tests.adapters.local_aws.setting import OBSERVER, OTHER_REGION, REGION, Local
from tests.adapters.local_aws.waiting import consistently, eventually


def put(
    local: Local,
    source: str,
    detail: Mapping[str, Any],
    *,
    region: str = REGION,
    bus: str = "default",
    detail_type: str = "Thing Happened",
    **more: Any,
) -> str:
    """The id of an event that was put."""
    entry = {
        "Source": source,
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "EventBusName": bus,
        **more,
    }
    answer = local.client("events", region).put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0
    return str(answer["Entries"][0]["EventId"])


def a_bus(local: Local, name: str, region: str) -> str:
    local.client("events", region).create_event_bus(Name=name)
    return f"arn:aws:events:{region}:{ACCOUNT}:event-bus/{name}"


# -- rules


def test_an_event_arrives_in_awss_shape(local: Local, name: Names) -> None:
    queue = a_queue(local, name("queue"))
    a_rule(local, name("rule"), {"source": [name("app")]}, {"Arn": queue.arn})
    event_id = put(local, name("app"), {"n": 1}, Resources=["arn:aws:s3:::x"])
    (event,) = queue.gets()
    when = datetime.strptime(event.pop("time"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=1)
    assert event == {
        "version": "0",
        "id": event_id,
        "detail-type": "Thing Happened",
        "source": name("app"),
        "account": ACCOUNT,
        "region": REGION,
        "resources": ["arn:aws:s3:::x"],
        "detail": {"n": 1},
    }


def test_only_what_fits_the_pattern_arrives(local: Local, name: Names) -> None:
    queue = a_queue(local, name("queue"))
    pattern = {"source": [name("app")], "detail": {"n": [{"numeric": [">", 1]}]}}
    a_rule(local, name("rule"), pattern, {"Arn": queue.arn})
    for n in (1, 2, 3):
        put(local, name("app"), {"n": n})
    assert sorted(e["detail"]["n"] for e in queue.gets(2)) == [2, 3]
    consistently(lambda: len(queue.bodies()) == 2)


def test_a_disabled_rule_does_not_fire_until_it_is_enabled(local: Local, name: Names) -> None:
    queue, events = a_queue(local, name("queue")), local.client("events")
    pattern = {"source": [name("app")]}
    a_rule(local, name("rule"), pattern, {"Arn": queue.arn}, state="DISABLED")
    put(local, name("app"), {"n": 1})
    consistently(lambda: queue.bodies() == [])
    events.enable_rule(Name=name("rule"))
    put(local, name("app"), {"n": 2})
    assert [e["detail"]["n"] for e in queue.gets()] == [2]
    events.disable_rule(Name=name("rule"))
    put(local, name("app"), {"n": 3})
    consistently(lambda: len(queue.bodies()) == 1)


def test_a_bus_keeps_its_events_to_its_own_rules(local: Local, name: Names) -> None:
    a_bus(local, name("bus"), REGION)
    own, default = a_queue(local, name("own")), a_queue(local, name("default"))
    pattern = {"source": [name("app")]}
    a_rule(local, name("rule"), pattern, {"Arn": own.arn}, bus=name("bus"))
    a_rule(local, name("rule"), pattern, {"Arn": default.arn})
    put(local, name("app"), {}, bus=name("bus"))
    assert len(own.gets()) == 1
    consistently(lambda: default.bodies() == [])


@pytest.mark.parametrize(
    "pattern",
    [
        {"detail": {"a": [{"sounds-like": "x"}]}},
        {"detail": {"a": "text"}},
        {"detail": {"a": []}},
    ],
)
def test_a_pattern_that_can_match_nothing_is_refused(
    local: Local, name: Names, pattern: Mapping[str, Any]
) -> None:
    with pytest.raises(ClientError) as caught:
        a_rule(local, name("rule"), pattern)
    assert caught.value.response["Error"]["Code"] == "InvalidEventPatternException"


# -- other regions


def forwarding(local: Local, name: Names, hub_arn: str, region: str) -> None:
    """A rule of a region that sends what the test puts there on to the hub."""
    role = a_role(local, name(f"forward-{region}"), "events.amazonaws.com", "events:PutEvents")
    target = {"Arn": hub_arn, "RoleArn": role}
    a_rule(local, name("forward"), {"source": [name("app")]}, target, region=region)


def test_events_of_two_regions_come_together_on_the_hubs_bus(local: Local, name: Names) -> None:
    hub, queue = a_bus(local, name("hub"), OBSERVER), a_queue(local, name("queue"), OBSERVER)
    a_rule(
        local,
        name("rule"),
        {"source": [name("app")]},
        {"Arn": queue.arn},
        region=OBSERVER,
        bus=name("hub"),
    )
    for region in (REGION, OTHER_REGION):
        forwarding(local, name, hub, region)
        put(local, name("app"), {"from": region}, region=region)
    events = queue.gets(2)
    assert {(e["region"], e["detail"]["from"]) for e in events} == {
        (REGION, REGION),
        (OTHER_REGION, OTHER_REGION),
    }


def test_events_for_a_region_whose_eventbridge_is_down_arrive_when_it_is_back(
    local: Local, name: Names
) -> None:
    hub, queue = a_bus(local, name("hub"), OBSERVER), a_queue(local, name("queue"), OBSERVER)
    pattern = {"source": [name("app")]}
    target = {"Arn": queue.arn}
    a_rule(local, name("rule"), pattern, target, region=OBSERVER, bus=name("hub"))
    forwarding(local, name, hub, REGION)
    local.aws.region_service(OBSERVER, RegionService.EVENTS, running=False)
    try:
        put(local, name("app"), {"n": 1})
        consistently(lambda: queue.bodies() == [])
    finally:
        local.aws.region_service(OBSERVER, RegionService.EVENTS, running=True)
    assert [e["detail"]["n"] for e in queue.gets()] == [1]


# -- what the target is given


def given(local: Local, name: Names, detail: Mapping[str, Any], **target: Any) -> Any:
    queue = a_queue(local, name("queue"))
    a_rule(local, name("rule"), {"source": [name("app")]}, {"Arn": queue.arn, **target})
    put(local, name("app"), detail)
    return queue.gets()[0]


def test_a_target_is_given_its_constant_input(local: Local, name: Names) -> None:
    assert given(local, name, {"n": 1}, Input='{"always": "this"}') == {"always": "this"}


def test_a_target_is_given_a_part_of_the_event(local: Local, name: Names) -> None:
    assert given(local, name, {"a": {"b": [7]}}, InputPath="$.detail.a") == {"b": [7]}


def test_a_target_is_given_the_transformed_event(local: Local, name: Names) -> None:
    transformer = {
        "InputPathsMap": {"id": "$.detail.instance-id", "n": "$.detail.n"},
        "InputTemplate": '{"text": "instance <id> has <n>", "id": <id>, "n": <n>}',
    }
    found = given(local, name, {"instance-id": "i-1", "n": 3}, InputTransformer=transformer)
    assert found == {"text": "instance i-1 has 3", "id": "i-1", "n": 3}


def test_a_topic_as_target_publishes_to_its_subscribers(local: Local, name: Names) -> None:
    sns, queue = local.client("sns"), a_queue(local, name("queue"))
    topic = sns.create_topic(Name=name("topic"))["TopicArn"]
    may = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": topic,
    }
    text = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=text)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    a_rule(local, name("rule"), {"source": [name("app")]}, {"Arn": topic})
    put(local, name("app"), {"n": 5})
    (envelope,) = queue.gets()
    assert json.loads(envelope["Message"])["detail"] == {"n": 5}


# -- what cannot be delivered


def attributes(queue: Queue) -> dict[str, str]:
    message = eventually(queue.messages)[0]
    return {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}


def test_a_delivery_that_fails_is_tried_again_as_often_as_the_target_says(
    local: Local, name: Names
) -> None:
    hub, dead = a_bus(local, name("hub"), OTHER_REGION), a_queue(local, name("dead"))
    role = a_role(local, name("forward"), "events.amazonaws.com", "events:PutEvents")
    target = {
        "Arn": hub,
        "RoleArn": role,
        "RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60},
        "DeadLetterConfig": {"Arn": dead.arn},
    }
    rule = a_rule(local, name("rule"), {"source": [name("app")]}, target)
    local.aws.region_service(OTHER_REGION, RegionService.EVENTS, running=False)
    try:
        put(local, name("app"), {"n": 9})
        about = attributes(dead)
    finally:
        local.aws.region_service(OTHER_REGION, RegionService.EVENTS, running=True)
    assert about.pop("ERROR_MESSAGE")
    assert about == {
        "RULE_ARN": rule,
        "TARGET_ARN": hub,
        "ERROR_CODE": "SDK_CLIENT_ERROR",
        "RETRY_ATTEMPTS": "2",
        "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
    }
    assert dead.bodies()[0]["detail"] == {"n": 9}


def test_an_event_that_would_be_too_old_goes_to_the_dead_letters(
    local: Local, name: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.aws.bus, "RETRY_S", 61.0)
    monkeypatch.setattr(lab.aws.bus, "RETRY_MAX_S", 61.0)
    hub, dead = a_bus(local, name("hub"), OTHER_REGION), a_queue(local, name("dead"))
    role = a_role(local, name("forward"), "events.amazonaws.com", "events:PutEvents")
    target = {
        "Arn": hub,
        "RoleArn": role,
        "RetryPolicy": {"MaximumRetryAttempts": 100, "MaximumEventAgeInSeconds": 60},
        "DeadLetterConfig": {"Arn": dead.arn},
    }
    a_rule(local, name("rule"), {"source": [name("app")]}, target)
    local.aws.region_service(OTHER_REGION, RegionService.EVENTS, running=False)
    try:
        put(local, name("app"), {})
        about = attributes(dead)
    finally:
        local.aws.region_service(OTHER_REGION, RegionService.EVENTS, running=True)
    assert about["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"


def test_what_may_not_be_delivered_is_not_tried_again(local: Local, name: Names) -> None:
    dead, sqs = a_queue(local, name("dead")), local.client("sqs")
    sqs.create_queue(QueueName=name("closed"))  # no policy: EventBridge may not write to it
    target = {
        "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name('closed')}",
        "DeadLetterConfig": {"Arn": dead.arn},
    }
    a_rule(local, name("rule"), {"source": [name("app")]}, target)
    put(local, name("app"), {})
    about = attributes(dead)
    assert about["ERROR_CODE"] == "NO_PERMISSIONS"
    assert "RETRY_ATTEMPTS" not in about


def test_what_is_delivered_is_in_the_evidence(local: Local, name: Names) -> None:
    queue = a_queue(local, name("queue"))
    a_rule(local, name("rule"), {"source": [name("app")]}, {"Arn": queue.arn})
    put(local, name("app"), {})
    queue.gets()
    file = local.evidence / "events.jsonl"
    lines = eventually(lambda: [x for x in file.read_text().splitlines() if name("rule") in x])
    (line,) = [json.loads(text) for text in lines]
    assert (line["rule"], line["target"], line["retries"], line["error"]) == (
        name("rule"),
        queue.arn,
        0,
        None,
    )


# -- schedules


@pytest.fixture
def clockwork(local: Local) -> Schedules:
    """A clockwork of the test's own; the local AWS's own one waits for real minutes."""
    return Schedules(local.aws.context, local.aws.bus)


def scheduled(local: Local, name: Names, expression: str, state: str = "ENABLED") -> Queue:
    queue, events = a_queue(local, name("queue")), local.client("events")
    events.put_rule(Name=name("tick"), ScheduleExpression=expression, State=state)
    events.put_targets(Rule=name("tick"), Targets=[{"Id": "1", "Arn": queue.arn}])
    return queue


NOON = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


def test_a_rate_fires_once_a_period_with_a_scheduled_event(
    local: Local, name: Names, clockwork: Schedules
) -> None:
    queue = scheduled(local, name, "rate(1 minute)")
    for seconds in (0, 59, 61, 90, 122):
        clockwork.tick(NOON + timedelta(seconds=seconds))
    events = queue.gets(2)
    consistently(lambda: len(queue.bodies()) == 2)
    assert {e["source"] for e in events} == {"aws.events"}
    assert {e["detail-type"] for e in events} == {"Scheduled Event"}
    arn = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name('tick')}"
    assert [(e["resources"], e["detail"], e["region"]) for e in events] == [([arn], {}, REGION)] * 2


def test_a_cron_fires_at_its_minute(local: Local, name: Names, clockwork: Schedules) -> None:
    queue = scheduled(local, name, "cron(30 12 * * ? *)")
    for minutes in (0, 29, 30, 31, 59):
        clockwork.tick(NOON + timedelta(minutes=minutes))
    assert [e["time"] for e in queue.gets()] == ["2027-03-01T12:30:00Z"]
    consistently(lambda: len(queue.bodies()) == 1, for_s=0.2)


def test_a_disabled_schedule_does_not_fire_and_counts_anew_once_enabled(
    local: Local, name: Names, clockwork: Schedules
) -> None:
    queue = scheduled(local, name, "rate(1 minute)", state="DISABLED")
    for minutes in (0, 2, 4):
        clockwork.tick(NOON + timedelta(minutes=minutes))
    consistently(lambda: queue.bodies() == [], for_s=0.3)
    local.client("events").enable_rule(Name=name("tick"))
    clockwork.tick(NOON + timedelta(minutes=5))
    consistently(lambda: queue.bodies() == [], for_s=0.2)
    clockwork.tick(NOON + timedelta(minutes=6))
    assert len(queue.gets()) == 1


@pytest.mark.parametrize("expression", ["rate(1 fortnight)", "cron(99 * * * ? *)", "at noon"])
def test_what_is_no_schedule_is_refused(local: Local, name: Names, expression: str) -> None:
    with pytest.raises(ClientError) as caught:
        scheduled(local, name, expression)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
