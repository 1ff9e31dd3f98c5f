"""A leader hands over only to a copy that is known to follow closely, and says so only once it is done."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.commands.switchover import hand_over
from node_agent.errors import AgentError, RefusedError, UsageError
from tests.unit.node_agent.builders import LEADER
from tests.unit.node_agent.conftest import Home
from tests.unit.node_agent.standing import Bench as Node

TO = "db-euw3-a"


def a_sender(**changes: Any) -> dict[str, Any]:
    return {
        "name": TO,
        "state": "streaming",
        "sync_state": "quorum",
        "lag_bytes": 0,
        **changes,
    }


class Bench(Node):
    """A leader and a copy close behind it."""

    def __init__(self, home: Home) -> None:
        super().__init__(home, "db-euw1-b")
        self.leading()
        self.patroni.own = {"timeline": 2}
        self.copy: dict[str, Any] = {"name": TO, "role": "quorum_standby", "state": "streaming"}
        self.copy |= {"timeline": 2, "lag": 0}
        self.patroni.others = [self.copy]
        self.postgres = {"up": True, "replication": [a_sender()]}
        self.patroni.on_post = lambda: self.clock.after(2.0, self._change)

    def _change(self) -> None:
        self.cluster.keys[LEADER] = TO
        self.patroni.role, self.patroni.state = "replica", "starting"
        self.clock.after(3.0, self._follow)

    def _follow(self) -> None:
        self.patroni.state = "streaming"

    def switch(self, to: str = TO) -> str:
        return hand_over(self.here, to, self.patroni, self.clock.deadline(90))


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


def test_the_leader_hands_over_and_follows(bench: Bench) -> None:
    assert bench.switch() == "db-euw3-a leads and db-euw1-b follows"
    body = {"leader": "db-euw1-b", "candidate": TO}
    assert bench.patroni.posts == [("http://10.10.11.11:8008/switchover", body)]
    assert bench.clock.now >= 1005.0


def test_what_is_done_already_is_done(bench: Bench) -> None:
    bench.switch()
    assert bench.switch() == "db-euw3-a leads already and db-euw1-b follows"
    assert len(bench.patroni.posts) == 1


@pytest.mark.parametrize("to", ["db-euw1-b", "witness-euc1-a", "db-euw9-a"])
def test_what_is_no_other_database_slot_is_wrong_use(bench: Bench, to: str) -> None:
    with pytest.raises(UsageError, match="no other database slot"):
        bench.switch(to)
    assert bench.nothing_was_done()


def test_a_copy_does_not_hand_over_what_it_has_not(home: Home) -> None:
    bench = Bench(home)
    bench.patroni.role = "replica"
    bench.cluster.keys[LEADER] = "db-euw1-a"
    with pytest.raises(RefusedError, match="does not lead"):
        bench.switch()
    assert bench.nothing_was_done()


def test_a_leader_by_one_word_alone_does_not_hand_over(bench: Bench) -> None:
    bench.cluster.keys[LEADER] = "db-euw1-a"
    with pytest.raises(RefusedError, match="does not lead"):
        bench.switch()
    bench.cluster.keys[LEADER] = bench.slot
    bench.patroni.role = "replica"
    with pytest.raises(RefusedError, match="does not lead"):
        bench.switch()
    assert bench.nothing_was_done()


def test_without_a_majority_nothing_is_handed_over(bench: Bench) -> None:
    bench.cluster.without_answer_from("db-euw1-a", "db-euw3-a")
    with pytest.raises(RefusedError, match="no majority"):
        bench.switch()
    assert bench.nothing_was_done()


def test_a_paused_cluster_is_a_persons(bench: Bench) -> None:
    bench.patroni.paused = True
    with pytest.raises(RefusedError, match="paused"):
        bench.switch()
    assert bench.nothing_was_done()


@pytest.mark.parametrize(
    ("copy", "sender", "words"),
    [
        ({"state": "starting"}, {}, "no healthy copy here"),
        ({"name": "db-euw3-b"}, {}, "no healthy copy here"),
        ({}, {"state": "stale"}, "no healthy copy here"),
        ({}, {"name": "db-euw3-b"}, "no healthy copy here"),
        ({"timeline": 1}, {}, "another timeline"),
        ({"timeline": None}, {}, "another timeline"),
        ({}, {"lag_bytes": 2_000_000}, "bytes behind"),
        ({}, {"lag_bytes": None}, "bytes behind"),
    ],
    ids=str,
)
def test_a_copy_that_is_not_known_to_be_close_does_not_take_over(
    bench: Bench, copy: dict[str, Any], sender: dict[str, Any], words: str
) -> None:
    bench.copy.update(copy)
    bench.postgres["replication"] = [a_sender(**sender)]
    with pytest.raises(RefusedError, match=words):
        bench.switch()
    assert bench.nothing_was_done()


def test_patronis_refusal_is_a_refusal_in_its_own_words(bench: Bench) -> None:
    bench.patroni.told = (412, "candidate name does not match with sync_standby")
    with pytest.raises(RefusedError, match="does not match with sync_standby"):
        bench.switch()


def test_an_answer_that_is_lost_is_no_answer_that_it_failed(bench: Bench) -> None:
    bench.patroni.told = None
    assert bench.switch() == "db-euw3-a leads and db-euw1-b follows"


def test_a_switchover_that_does_not_come_about_is_a_failure_with_patronis_words(
    bench: Bench,
) -> None:
    bench.patroni.told = (503, "Switchover failed")
    bench.patroni.on_post = lambda: None
    with pytest.raises(AgentError, match=r"does not lead.*Switchover failed") as failure:
        bench.switch()
    assert failure.value.exit_code == 1


def test_a_node_without_a_database_hands_nothing_over(home: Home) -> None:
    node = Node(home, "witness-euc1-a")
    with pytest.raises(RefusedError, match="no database"):
        hand_over(node.here, TO, node.patroni, node.clock.deadline(90))
