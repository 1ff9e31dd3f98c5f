"""etcd's alarms, asked of the real one: who is healthy in spite of them, and what takes them back."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from node_agent.commands.repair_etcd import look, make_room
from node_agent.errors import RefusedError
from node_agent.membership import Voters, vacate
from node_agent.probes.etcd import CORRUPT, NOSPACE, Etcd
from node_agent.probes.http import Http
from node_agent.standing import Here
from node_agent.waiting import Deadline
from tests.adapters.node_agent.conftest import Cluster
from tests.unit.node_agent.builders import a_node, the_spec


class Members:
    """The cluster's three members as the agent speaks to them."""

    def __init__(self, cluster: Cluster) -> None:
        self.https = [Http(10.0) for _ in cluster.urls]
        names = ("a", "b", "c")
        self.ends = {
            name: Etcd(http, url)
            for name, http, url in zip(names, self.https, cluster.urls, strict=True)
        }

    def raise_alarm(self, name: str, alarm: str) -> None:
        end = self.ends[name]
        body = {"action": "ACTIVATE", "memberID": end.own_id(), "alarm": alarm}
        assert end._post("maintenance/alarm", body) is not None

    def put(self, name: str, value: str = "v") -> bool:
        body = {
            "key": base64.b64encode(b"k").decode(),
            "value": base64.b64encode(value.encode()).decode(),
        }
        return self.ends[name]._post("kv/put", body) is not None

    def others(self, name: str) -> Voters:
        return Voters({n: end for n, end in self.ends.items() if n != name})

    def leader(self) -> str:
        return next(name for name, end in self.ends.items() if end.leads())

    def make_room(self, name: str) -> str:
        here = Here(a_node("witness-euc1-a"), the_spec(), voters=Voters(self.ends))
        return make_room(here, self.others(name), self.ends[name], Deadline(30))


@pytest.fixture
def members(cluster: Cluster) -> Iterator[Members]:
    found = Members(cluster)
    yield found
    for end in found.ends.values():
        for owner, alarm in end.alarms() or ():
            end.disarm(owner, alarm)
    for http in found.https:
        http.close()


@pytest.mark.parametrize("leads", [True, False], ids=["the leader", "a follower"])
def test_a_member_without_space_gets_it_back_and_etcd_takes_writes_again(
    members: Members, *, leads: bool
) -> None:
    leader = members.leader()
    name = leader if leads else next(n for n in members.ends if n != leader)
    for number in range(20):
        assert members.put(name, str(number))
    members.raise_alarm(name, NOSPACE)
    assert not members.put(name)
    assert [end.healthy() for end in members.ends.values()] == [True] * 3
    assert "no alarm" in members.make_room(name)
    assert members.put(name)
    assert not members.ends[name].leads()
    assert "no alarm" in members.make_room(name)  # once more does no harm


def test_only_the_member_that_is_full_or_corrupt_says_so_in_its_report(members: Members) -> None:
    members.raise_alarm("b", CORRUPT)
    reports = {name: end.probe() for name, end in members.ends.items()}
    assert {name: r["alarms"] for name, r in reports.items()} == {"a": [], "b": [CORRUPT], "c": []}
    assert {name: r["healthy"] for name, r in reports.items()} == {"a": True, "b": False, "c": True}
    assert members.others("a").healthy() == ("c",)


def test_a_corrupt_member_is_not_repaired(members: Members) -> None:
    members.raise_alarm("b", CORRUPT)
    with pytest.raises(RefusedError, match="corrupt"):
        members.make_room("b")
    assert CORRUPT in look(members.ends["b"]).own_alarms


def test_a_member_is_not_held_up_while_the_others_are_no_majority(members: Members) -> None:
    members.raise_alarm("b", CORRUPT)
    with pytest.raises(RefusedError, match="majority"):
        members.make_room("a")


def test_a_removed_member_leaves_no_alarm_behind(members: Members) -> None:
    """Runs last: it takes a member away."""
    members.raise_alarm("c", CORRUPT)
    others = members.others("c")
    listed = others.members()
    assert listed is not None
    vacate(others, "c", "http://nowhere", listed, Deadline(20))
    assert members.ends["a"].alarms() == []
    assert members.put("a")
