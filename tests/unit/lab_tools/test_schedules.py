"""Schedule expressions of the local EventBridge."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lab.aws.cron import next_time, rate_s

MONDAY = datetime(2027, 3, 1, 12, 0, 30, tzinfo=UTC)  # a Monday


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("rate(1 minute)", 60),
        ("rate(5 minutes)", 300),
        ("rate(1 hour)", 3600),
        ("rate(2 days)", 172800),
        ("rate(1 week)", None),
        ("cron(0 12 * * ? *)", None),
    ],
)
def test_a_rate_is_read(expression: str, seconds: float | None) -> None:
    assert rate_s(expression) == seconds


@pytest.mark.parametrize(
    ("expression", "when"),
    [
        pytest.param("rate(1 minute)", "2027-03-01T12:01:30", id="a rate counts from now"),
        pytest.param("cron(* * * * ? *)", "2027-03-01T12:01", id="every minute"),
        pytest.param("cron(0 12 * * ? *)", "2027-03-02T12:00", id="noon, tomorrow's"),
        pytest.param("cron(0/15 * * * ? *)", "2027-03-01T12:15", id="every quarter"),
        pytest.param("cron(5,35 14 * * ? *)", "2027-03-01T14:05", id="one of a list"),
        pytest.param("cron(0 18 ? * MON-FRI *)", "2027-03-01T18:00", id="a workday"),
        pytest.param("cron(0 8 ? * SUN *)", "2027-03-07T08:00", id="sunday"),
        pytest.param("cron(0 8 ? * 1 *)", "2027-03-07T08:00", id="sunday is one"),
        pytest.param("cron(0 8 1 * ? *)", "2027-04-01T08:00", id="first of the month"),
        pytest.param("cron(0 8 L * ? *)", "2027-03-31T08:00", id="last of the month"),
        pytest.param("cron(0 8 ? * 3#2 *)", "2027-03-09T08:00", id="second tuesday"),
        pytest.param("cron(0 8 ? * 6L *)", "2027-03-26T08:00", id="last friday"),
        pytest.param("cron(0 0 29 2 ? *)", "2028-02-29T00:00", id="a leap day"),
        pytest.param("cron(0 0 1 JAN ? 2029)", "2029-01-01T00:00", id="a year"),
        pytest.param("cron(10-20/5 13 * * ? *)", "2027-03-01T13:10", id="a stepped range"),
    ],
)
def test_an_expression_fires_next(expression: str, when: str) -> None:
    assert next_time(expression, MONDAY) == at(when)


def test_a_year_that_is_over_never_fires() -> None:
    assert next_time("cron(0 0 1 1 ? 2020)", MONDAY) is None


@pytest.mark.parametrize(
    "expression",
    [
        "at noon",
        "rate(1 fortnight)",
        "cron(0 12 * *)",
        "cron(0 12 * * * *)",
        "cron(0 12 ? * ? *)",
        "cron(60 * * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(20-10 * * * ? *)",
        "cron(*/0 * * * ? *)",
        "cron(0 12 ? * FOO *)",
    ],
)
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        next_time(expression, MONDAY)
