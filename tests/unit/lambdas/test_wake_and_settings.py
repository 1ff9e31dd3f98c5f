"""What wakes the healer, what is refused, and what the functions are told."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.errors import FatalError, MalformedEventError
from lambdas.settings import Settings
from lambdas.wake import read_wake


def event(source: str, detail_type: str, **detail: Any) -> dict[str, Any]:
    return {
        "source": source,
        "detail-type": detail_type,
        "time": "2027-01-15T08:00:00Z",
        "detail": detail,
    }


@pytest.mark.parametrize(
    ("woken_by", "said"),
    [
        (
            event(
                "aws.cloudwatch", "CloudWatch Alarm State Change", alarmName="heartbeat-db-euw1-b"
            ),
            "alarm:heartbeat-db-euw1-b",
        ),
        (
            event("pgmend.agent", "Peer Unreachable", version=1, slot="a", subject="b"),
            "agent:Peer Unreachable (a: b)",
        ),
        (
            event(
                "aws.ec2",
                "EC2 Instance State-change Notification",
                **{"instance-id": "i-1", "state": "terminated"},
            ),
            "ec2:i-1 terminated",
        ),
        (event("aws.events", "Scheduled Event"), "tick"),
        (event("aws.health", "AWS Health Event"), "health"),
        (event("pgmend.operator", "Look", version=1), "operator"),
        (event("pgmend.healer", "Reconcile Unfinished", version=1), "unfinished"),
        (
            event(
                "aws.ssm",
                "EC2 Command Invocation Status-change Notification",
                **{"document-name": "pgmend-configure-node", "status": "Success"},
            ),
            "ssm:pgmend-configure-node Success",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_known_wake_says_what_it_was(woken_by: dict[str, Any], said: str) -> None:
    wake = read_wake(woken_by)
    assert str(wake) == said
    assert wake.at == 1_800_000_000.0


def test_an_operator_needs_no_time() -> None:
    look = {"source": "pgmend.operator", "detail-type": "Look", "detail": {"version": 1}}
    assert read_wake(look).at is None


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        [],
        "x",
        {},
        {"source": "aws.events", "detail-type": "Scheduled Event"},
        event("pgmend.agent", "Something Else", version=1),
        event("pgmend.agent", "Peer Unreachable", version=2),
        event("pgmend.agent", "Peer Unreachable"),
        event("pgmend.operator", "Look"),
        event("pgmend.healer", "Incident Opened", version=1),
        {**event("aws.events", "Scheduled Event"), "time": "yesterday"},
        {**event("aws.events", "Scheduled Event"), "time": 5},
        {**event("aws.events", "Scheduled Event"), "source": {"a": 1}},
    ],
)
def test_anything_else_is_refused(malformed: object) -> None:
    with pytest.raises(MalformedEventError):
        read_wake(malformed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "source": st.sampled_from(["pgmend.agent", "aws.ec2", "aws.events"]) | JSON,
        "detail-type": st.sampled_from(["Scheduled Event", "Disk Pressure"]) | JSON,
        "detail": JSON,
        "time": JSON,
    },
)


@given(KEYS | JSON)
def test_no_event_breaks_the_reader(anything: object) -> None:
    with suppress(MalformedEventError):  # a reasoned refusal is the only other way out
        read_wake(anything)


ENV = {
    "PGMEND_CLUSTER": "pgmend",
    "PGMEND_HUB_REGION": "eu-central-1",
    "PGMEND_TABLE": "pgmend",
    "PGMEND_SPEC_BUCKET": "bucket",
    "PGMEND_SPEC_KEY": "spec.json",
    "PGMEND_BUS": "pgmend",
    "PGMEND_TOPIC_ARN": "arn:aws:sns:eu-central-1:123456789012:pgmend-notices",
}


def test_on_aws_no_endpoint_is_set() -> None:
    assert Settings.from_env(ENV).endpoints == {}
    assert Settings.from_env({**ENV, "PGMEND_AWS_ENDPOINTS": ""}).endpoints == {}


def test_endpoints_are_read() -> None:
    told = {**ENV, "PGMEND_AWS_ENDPOINTS": json.dumps({"eu-west-1": "http://10.10.255.1:4566"})}
    assert Settings.from_env(told).endpoints["eu-west-1"] == "http://10.10.255.1:4566"


@pytest.mark.parametrize("missing", sorted(ENV))
def test_a_missing_setting_is_named(missing: str) -> None:
    with pytest.raises(FatalError, match=missing):
        Settings.from_env({k: v for k, v in ENV.items() if k != missing})


def test_endpoints_that_are_no_json_are_refused() -> None:
    with pytest.raises(FatalError, match="PGMEND_AWS_ENDPOINTS"):
        Settings.from_env({**ENV, "PGMEND_AWS_ENDPOINTS": "{"})
