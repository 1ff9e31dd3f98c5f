"""Credentials that AWS refuses are read anew from instance metadata, by an agent that goes on running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from node_agent import aws
from node_agent import sender as sending
from node_agent.aws import Access, Road, refuses_credentials
from node_agent.aws_time import AwsTime
from node_agent.changes import Change
from node_agent.sender import Sender
from tests.unit.node_agent.amazon import Amazon, as_only_source_of_keys
from tests.unit.node_agent.builders import Clock, a_node, example


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Amazon]:
    found = Amazon()
    as_only_source_of_keys(found, monkeypatch, tmp_path)
    monkeypatch.setattr(sending, "STATE", tmp_path)
    monkeypatch.setattr(aws, "TIME", AwsTime())
    yield found
    found.close()


PROMOTED = Change(
    detail_type="Patroni Role Changed", subject="role", before="replica", after="leader"
)


class Agent:
    """The sender of a node, on a clock of the test's own."""

    def __init__(self, amazon: Amazon) -> None:
        self.clock = Clock()
        node = a_node(endpoints={"eu-west-1": amazon.url, "eu-central-1": amazon.url})
        self.sender = Sender(node)
        self.sender.bus = "pgmend"
        self.sender._access = Access(node, self.clock)
        self.road = Road(self.sender._access, "events", "eu-west-1")
        self.sender.announce(example("report-leader.json"), [PROMOTED])

    def send(self) -> bool:
        return self.sender._put(self.road, self.sender.spool.head(10))


def test_an_agent_whose_credentials_were_refused_goes_on_with_new_ones(amazon: Amazon) -> None:
    agent = Agent(amazon)
    assert agent.send()
    amazon.taken = "AKNEW"
    assert not agent.send()
    assert not agent.send()
    assert len(agent.sender.spool.head(10)) == 1  # nothing is lost meanwhile
    amazon.key = "AKNEW"
    agent.clock.sleep(aws.RENEW_EVERY_S)
    assert not agent.send()  # this refusal makes it read again
    assert agent.send()
    assert len(amazon.events) == 2


def test_an_agent_that_started_before_it_had_credentials_finds_them(amazon: Amazon) -> None:
    amazon.key = None
    agent = Agent(amazon)
    assert not agent.send()
    amazon.key = "AKOLD"
    assert agent.send()


def test_metadata_is_not_asked_at_every_pass_while_credentials_are_refused(amazon: Amazon) -> None:
    amazon.taken = "AKNEW"
    agent = Agent(amazon)
    for _ in range(20):
        agent.send()
    assert amazon.handed_out <= 3


def test_one_refusal_is_enough_for_all_roads(amazon: Amazon) -> None:
    agent = Agent(amazon)
    other = Road(agent.sender._access, "events", "eu-west-1")
    assert agent.send()
    assert agent.sender._put(other, agent.sender.spool.head(10))
    amazon.key = amazon.taken = "AKNEW"
    assert not agent.send()
    assert not agent.sender._put(other, agent.sender.spool.head(10))  # the first has renewed it
    handed_out = amazon.handed_out
    assert agent.send()
    assert agent.sender._put(other, agent.sender.spool.head(10))
    assert amazon.handed_out <= handed_out + 1


def test_keys_that_have_ended_by_the_nodes_own_clock_are_used_while_aws_takes_them(
    amazon: Amazon,
) -> None:
    amazon.ahead_s, amazon.lasts_s = -9 * 3600.0, -3 * 3600.0  # a clock nine hours ahead
    agent = Agent(amazon)
    for _ in range(20):
        assert agent.send()
    assert amazon.handed_out < 20  # a reading is good for another quarter of an hour, or nearly


def test_keys_that_a_clock_far_behind_takes_for_good_are_read_anew_once_aws_refuses_them(
    amazon: Amazon,
) -> None:
    amazon.ahead_s, amazon.lasts_s = 9 * 3600.0, 15 * 3600.0
    agent = Agent(amazon)
    assert agent.send()
    amazon.key = amazon.taken = "AKNEW"
    assert not agent.send()
    assert agent.send()


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "PutEvents")


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (refusal("ExpiredToken"), True),
        (refusal("ExpiredTokenException"), True),
        (refusal("UnrecognizedClientException"), True),
        (refusal("AccessDeniedException"), False),
        (refusal("ThrottlingException"), False),
        (ClientError({}, "PutEvents"), False),
        (NoCredentialsError(), True),
        (EndpointConnectionError(endpoint_url="http://events"), False),
    ],
    ids=repr,
)
def test_only_words_about_who_we_are_make_new_credentials(error: Exception, refused: bool) -> None:
    assert refuses_credentials(error) is refused
