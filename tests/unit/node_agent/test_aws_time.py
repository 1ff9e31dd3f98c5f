"""Requests are signed by AWS's clock, whatever the node's own says; the report goes on telling the node's own."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from node_agent import aws
from node_agent.aws_time import AwsTime
from node_agent.report import Reporter, Sequence
from tests.unit.node_agent.amazon import Amazon, as_only_source_of_keys
from tests.unit.node_agent.builders import a_node
from tests.unit.node_agent.conftest import Home

HOUR_S = 3600.0


class Clocks:
    """The node's two clocks, in the test's hands."""

    def __init__(self, wall: float = 1_000_000.0) -> None:
        self.wall_s, self.up_s = wall, 50.0
        self.aws = AwsTime(lambda: self.wall_s, lambda: self.up_s)

    def pass_s(self, seconds: float) -> None:
        self.wall_s += seconds
        self.up_s += seconds


def at(epoch_s: float) -> str:
    return formatdate(epoch_s, usegmt=True)


# -- what time it is


def test_until_aws_has_said_the_time_the_nodes_own_is_all_there_is() -> None:
    clocks = Clocks()
    assert clocks.aws.now() == clocks.wall_s


@pytest.mark.parametrize("off_s", [3 * HOUR_S, -3 * HOUR_S, 0.0])
def test_an_answers_date_is_the_time_from_then_on(off_s: float) -> None:
    clocks = Clocks()
    clocks.aws.hear(at(clocks.wall_s - off_s))
    clocks.pass_s(100.0)
    assert clocks.aws.now() == clocks.wall_s - off_s


def test_stepping_the_nodes_clock_changes_nothing() -> None:
    clocks = Clocks()
    told = clocks.wall_s - 3 * HOUR_S
    clocks.aws.hear(at(told))
    clocks.wall_s -= 3 * HOUR_S
    clocks.pass_s(10.0)
    assert clocks.aws.now() == told + 10.0


@pytest.mark.parametrize("date", [None, "", "yesterday", "Tue, 99 Foo 2026 00:00:00 GMT"])
def test_a_date_that_says_nothing_teaches_nothing(date: str | None) -> None:
    clocks = Clocks()
    assert clocks.aws.hear(date) is None
    assert clocks.aws.now() == clocks.wall_s


def test_a_clock_that_is_off_is_told_once_and_so_is_one_that_is_right_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clocks = Clocks()
    with caplog.at_level(logging.INFO, logger="pgmend.agent"):
        for off_s in (0.0, 3 * HOUR_S, 3 * HOUR_S, 0.0, 0.0):
            clocks.aws.hear(at(clocks.wall_s - off_s))
    assert [r.message.split(";")[0] for r in caplog.records] == [
        "this node's clock is +10800 s off AWS's",
        "this node's clock is +0 s off AWS's",
    ]


# -- what is signed


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Amazon]:
    found = Amazon()
    as_only_source_of_keys(found, monkeypatch, tmp_path)
    monkeypatch.setattr(aws, "TIME", AwsTime())
    yield found
    found.close()


def a_client(amazon: Amazon) -> Any:
    node = a_node(endpoints={"eu-west-1": amazon.url})
    return aws.client(node, "events", "eu-west-1", boto3.session.Session())


ENTRY = {"Source": "pgmend.agent", "DetailType": "x", "Detail": "{}"}


def announce(client: Any) -> None:
    client.put_events(Entries=[ENTRY])


@pytest.mark.parametrize("ahead_s", [3 * HOUR_S, -3 * HOUR_S, 10 * 24 * HOUR_S])
def test_the_first_call_of_a_node_whose_clock_is_off_is_asked_again_and_taken(
    amazon: Amazon, ahead_s: float
) -> None:
    amazon.ahead_s = ahead_s
    announce(a_client(amazon))
    assert (amazon.late, len(amazon.events)) == (1, 1)


def test_what_one_client_learned_every_other_signs_by(amazon: Amazon) -> None:
    amazon.ahead_s = 3 * HOUR_S
    for _ in range(3):
        announce(a_client(amazon))
    assert (amazon.late, len(amazon.events)) == (1, 3)


def test_a_client_that_lives_long_signs_by_the_time_of_each_call(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    up_s = [0.0]
    monkeypatch.setattr(aws, "TIME", AwsTime(monotonic=lambda: up_s[0]))
    client = a_client(amazon)
    announce(client)
    up_s[0] = amazon.ahead_s = HOUR_S
    announce(client)
    assert amazon.late == 0


def test_a_node_whose_clock_is_right_is_refused_nothing(amazon: Amazon) -> None:
    announce(a_client(amazon))
    assert (amazon.late, len(amazon.events)) == (0, 1)


def test_a_refusal_that_does_not_say_the_time_is_not_asked_again(amazon: Amazon) -> None:
    amazon.ahead_s, amazon.dated = 3 * HOUR_S, False
    with pytest.raises(ClientError, match="InvalidSignature"):
        announce(a_client(amazon))
    assert amazon.late == 1


def test_a_time_that_goes_on_being_refused_is_asked_again_once(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    amazon.ahead_s = 3 * HOUR_S
    monkeypatch.setattr(aws.TIME, "now", time.time)  # learns, and signs by the node's own clock
    with pytest.raises(ClientError, match="InvalidSignature"):
        announce(a_client(amazon))
    assert amazon.late == 2


def test_a_refusal_for_another_reason_is_not_asked_again(amazon: Amazon) -> None:
    amazon.taken = "AKNEW"
    client = a_client(amazon)
    with pytest.raises(ClientError, match="ExpiredToken") as caught:
        announce(client)
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0


# -- what is told


def test_the_report_tells_the_nodes_own_clock(amazon: Amazon, home: Home) -> None:
    amazon.ahead_s = 3 * HOUR_S
    announce(a_client(amazon))
    before = datetime.now(UTC)
    made = Reporter(a_node(), sequence=Sequence(home.state / "sequence")).make()
    off_s = (datetime.fromisoformat(made["observed_at"]) - before).total_seconds()
    assert abs(off_s) < 60
    assert aws.TIME.now() - time.time() > 2 * HOUR_S
