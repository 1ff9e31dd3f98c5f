"""An agent that has gone away is told by one of its peers, twice at most; an agent that is being restarted is not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent import sender as sending
from node_agent.changes import Change
from node_agent.daemon import Daemon
from node_agent.refusals import Refusals
from tests.unit.node_agent.builders import a_node, example, the_spec
from tests.unit.node_agent.conftest import Home

PATIENCE_S, PASS_S = 25.0, 5.0
SLOTS = ("app-euw1-a", "db-euw1-a", "db-euw1-b", "db-euw3-a", "haproxy-euw1-a", "witness-euc1-a")
FIRST = ("db-euw1-a", "alive", "refused")
SECOND = ("db-euw1-a", "refused", "refused")


class Node:
    """One agent's view, pass after pass."""

    def __init__(self, own: str) -> None:
        self.own = own
        self._refusals = Refusals(own)
        self._since: dict[str, tuple[str, float]] = {}
        self._now = 0.0

    def sees(self, **states: str) -> list[tuple[str, str | None, str | None]]:
        """One pass in which every peer answers, but for those named (`db_euw1_a`) in `states`."""
        found = {}
        for name in (slot for slot in SLOTS if slot != self.own):
            state = states.get(name.replace("-", "_"), "alive")
            before = self._since.get(name)
            if before is None or before[0] != state:
                self._since[name] = before = (state, self._now)
            found[name] = {"state": state, "for_s": self._now - before[1]}
        self._now += PASS_S
        return told(self._refusals.changes(found, patience_s=PATIENCE_S))


def told(changes: list[Change]) -> list[tuple[str, str | None, str | None]]:
    assert {change.detail_type for change in changes} <= {"Peer Unreachable"}
    return [(change.subject, change.before, change.after) for change in changes]


def refusing(node: Node, passes: int) -> list[Any]:
    return [node.sees(db_euw1_a="refused") for _ in range(passes)]


def test_the_second_refusal_in_a_row_is_told_and_once_more_after_the_healers_patience() -> None:
    node = Node("db-euw1-b")
    assert node.sees() == []
    assert refusing(node, 20) == [[], [FIRST], *[[]] * 4, [SECOND], *[[]] * 13]


def test_a_single_refusal_is_an_agent_that_is_being_restarted() -> None:
    node = Node("db-euw1-b")
    for _ in range(3):
        assert [node.sees(), *refusing(node, 1)] == [[], []]


def test_an_agent_that_never_answered_is_not_told() -> None:
    node = Node("db-euw1-b")
    assert refusing(node, 10) == [[]] * 10


def test_a_host_that_was_silent_before_it_refused_is_not_told_for_it() -> None:
    node = Node("db-euw1-b")
    assert node.sees() == node.sees(db_euw1_a="silent") == []
    assert refusing(node, 10) == [[]] * 10


def test_each_time_that_it_goes_away_is_told() -> None:
    node = Node("db-euw1-b")
    for _ in range(2):
        assert node.sees() == []
        assert refusing(node, 3) == [[], [FIRST], []]


@pytest.mark.parametrize("gone", ["db_euw1_a", "witness_euc1_a", "haproxy_euw1_a"])
def test_of_all_peers_one_tells(gone: str) -> None:
    nodes = [Node(slot) for slot in SLOTS if slot.replace("-", "_") != gone]
    said = []
    for state in ("alive", *["refused"] * 20):
        said += [change for node in nodes for change in node.sees(**{gone: state})]
    assert said == [(gone.replace("_", "-"), before, "refused") for before in ("alive", "refused")]


def test_two_agents_that_go_at_once_are_each_told_by_one_that_is_there() -> None:
    gone = {"db_euw1_a": "refused", "db_euw1_b": "refused"}  # each the other's next
    nodes = [Node(slot) for slot in SLOTS if slot.replace("-", "_") not in gone]
    for node in nodes:
        node.sees()
    said = [change for _ in range(3) for node in nodes for change in node.sees(**gone)]
    assert sorted(said) == [FIRST, ("db-euw1-b", "alive", "refused")]


def test_whoever_began_to_tell_goes_on_when_another_could() -> None:
    node = Node("db-euw3-a")
    gone = {"db_euw1_a": "refused"}
    node.sees(db_euw1_b="silent")
    assert node.sees(**gone, db_euw1_b="silent") == []
    assert node.sees(**gone, db_euw1_b="silent") == [FIRST]
    said = [change for _ in range(20) for change in node.sees(**gone)]
    assert said == [SECOND]


@given(st.lists(st.sampled_from(["alive", "refused", "silent", "unknown"]), max_size=60))
def test_no_more_is_told_than_two_events_for_each_time_it_answered(states: list[str]) -> None:
    node = Node("db-euw1-b")
    said = [change for state in states for change in node.sees(db_euw1_a=state)]
    went = sum(one == "alive" != other for one, other in pairwise(states))
    assert len(said) <= 2 * went


def test_a_peer_that_is_no_slot_any_more_is_forgotten() -> None:
    refusals = Refusals("db-euw1-b")
    alive = {"db-euw1-a": {"state": "alive", "for_s": 5.0}}
    refused = {"db-euw1-a": {"state": "refused", "for_s": 5.0}}
    refusals.changes(alive, patience_s=PATIENCE_S)
    refusals.changes({}, patience_s=PATIENCE_S)
    assert refusals.changes(refused, patience_s=PATIENCE_S) == []


def test_the_agent_tells_it_with_the_other_news_of_the_pass(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "STATE", home.state)
    daemon = Daemon(a_node("db-euw1-b"))
    timings = the_spec().timings
    passes = [("alive", 60.0), ("refused", 0.0), *(("refused", 5.0 * n) for n in range(1, 8))]
    heard = []
    for state, for_s in passes:
        report = example("report-replica.json")
        report["peers"]["db-euw1-a"] = {"state": state, "for_s": for_s}
        heard.append(told(daemon._news(report, timings)))
        daemon._last = report
    assert heard == [[], [], [FIRST], *[[]] * 4, [SECOND], []]
