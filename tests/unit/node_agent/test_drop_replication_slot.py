"""WAL is let go only where nobody of this cluster will ask for it."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.commands.drop_replication_slot import drop
from node_agent.errors import AgentError, RefusedError
from node_agent.replication_slots import name_of
from tests.unit.node_agent.conftest import Home
from tests.unit.node_agent.standing import Bench as Node

NAME = "old_copy"


def a_slot(**changes: Any) -> dict[str, Any]:
    orphan = {"name": NAME, "active": False, "physical": True, "wal_status": "extended"}
    return {**orphan, "retained_bytes": 5_000_000_000, **changes}


class Bench(Node):
    """A leader that keeps WAL for somebody."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.leading()
        self.slots = [a_slot(), a_slot(name="db_euw3_a", active=True)]
        self.postgres = {"up": True, "replication_slots": self.slots}
        self.sticks = False

    def __call__(self, argv: list[str], **given: Any) -> Any:
        found = self.programs(argv, **given)
        if not self.sticks:
            self.slots[:] = [row for row in self.slots if row["name"] != NAME]
        return found

    def drop(self, name: str = NAME) -> str:
        return drop(self.here, name, self)


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


def test_an_orphan_is_dropped_on_a_living_leader(bench: Bench) -> None:
    assert (
        bench.drop() == "the replication slot old_copy is dropped; it kept 5000000000 bytes of WAL"
    )
    (call,) = bench.programs.calls
    assert call[:4] == ["runuser", "-u", "postgres", "--"]
    assert "slot_name = 'old_copy' AND slot_type = 'physical' AND NOT active" in call[-1]


def test_one_that_is_gone_is_done(bench: Bench) -> None:
    bench.drop()
    assert bench.drop() == "there is no replication slot old_copy on db-euw1-b"
    assert len(bench.programs.calls) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"active": True}, "in use"),
        ({"active": None}, "in use"),
        ({"physical": False}, "not physical"),
        ({"physical": None}, "not physical"),
    ],
    ids=str,
)
def test_what_is_used_or_logical_or_unknown_is_left_alone(
    bench: Bench, change: dict[str, Any], words: str
) -> None:
    bench.slots[0].update(change)
    with pytest.raises(RefusedError, match=words):
        bench.drop()
    assert bench.nothing_was_done()


@pytest.mark.parametrize("name", ["db_euw1_a", "db_euw3_a", "db-euw1-a"])
def test_an_active_slots_is_left_alone_however_it_is_spelled(bench: Bench, name: str) -> None:
    bench.slots.append(a_slot(name=name, active=False))
    bench.slots[:] = [row for row in bench.slots if row["name"] == name][:1]
    with pytest.raises(RefusedError, match="nothing was done"):
        bench.drop(name)
    assert bench.nothing_was_done()


def test_a_spare_slots_is_left_alone_while_it_is_a_member_and_dropped_once_it_is_none(
    bench: Bench,
) -> None:
    bench.slots[0]["name"] = "db_euw1_c"
    bench.patroni.others = [{"name": "db-euw1-c", "role": "replica", "state": "stopped"}]
    with pytest.raises(RefusedError, match="db-euw1-c's"):
        bench.drop("db_euw1_c")
    bench.patroni.others = []
    with pytest.raises(AgentError, match="still there"):  # this server only forgets old_copy
        bench.drop("db_euw1_c")


def test_while_nobody_says_who_is_a_member_nothing_is_dropped(bench: Bench) -> None:
    bench.patroni.up = False
    with pytest.raises(RefusedError, match="Patroni does not say"):
        bench.drop()
    assert bench.nothing_was_done()


def test_a_server_that_does_not_answer_is_refused(bench: Bench) -> None:
    bench.postgres = {}
    with pytest.raises(RefusedError, match="does not answer"):
        bench.drop()


def test_one_that_is_still_there_is_a_failure(bench: Bench) -> None:
    bench.sticks = True
    with pytest.raises(AgentError, match="still there"):
        bench.drop()


def test_a_node_without_a_database_has_none(home: Home) -> None:
    node = Node(home, "witness-euc1-a")
    with pytest.raises(RefusedError, match="no database"):
        drop(node.here, NAME, node.programs)


@pytest.mark.parametrize(
    ("member", "name"),
    [
        ("db-euw1-a", "db_euw1_a"),
        ("DB.One", "db_one"),
        ("a b", "au0032b"),
        ("x" * 70, "x" * 63),
    ],
)
def test_members_are_spelled_as_patroni_spells_them(member: str, name: str) -> None:
    assert name_of(member) == name
