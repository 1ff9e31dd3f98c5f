"""What the healer remembers between looks: who led last."""

from __future__ import annotations

from typing import Any

from lambdas.adapters.table import State
from lambdas.core.model import Mode
from lambdas.observe import _remember_who_leads
from tests.unit.lambdas.builders import NOW, Cluster, a_cluster, follower_of, instance_id

LEADER, HEIR, REPLICA = "db-euw1-a", "db-euw1-b", "db-euw3-a"


def remembered(cluster: Cluster, before: dict[str, Any] | None = None) -> set[str]:
    """Whom a look at the cluster marks, when those in `before` were marked."""
    memory = {
        name: {
            "instance_id": seen.report.instance_id,
            "sequence": 1,
            "at": cluster.now - seen.age_s,
        }
        for name, seen in cluster.reports.items()
    }
    state = State(
        reports=(),
        birth=None,
        closed=False,
        mode=Mode.AUTO,
        freshness=before or {},
        open_actions={},
        incidents={},
    )
    _remember_who_leads(memory, cluster.reports, state, 20.0)
    return {slot for slot, entry in memory.items() if entry.get("led_at")}


def led(slot: str, *, instance: str | None = None, at: float = NOW - 30.0) -> dict[str, Any]:
    return {slot: {"instance_id": instance or instance_id(slot), "led_at": at}}


def silent(*slots: str) -> Cluster:
    cluster = a_cluster()
    for slot in slots:
        cluster.silent(slot)
    return cluster


def test_who_leads_is_remembered() -> None:
    assert remembered(a_cluster()) == {LEADER}


def test_one_whom_another_names_is_remembered_before_it_speaks_itself() -> None:
    cluster = silent(LEADER, HEIR).says(REPLICA, patroni=follower_of(HEIR, timeline=3))
    assert HEIR in remembered(cluster, led(LEADER))


def test_the_last_word_of_the_dead_does_not_take_the_mark_from_who_led_after_it() -> None:
    """The heir's own last word still names the old leader; the one that named the heir says nothing now."""
    cluster = silent(LEADER, REPLICA).silent(HEIR, for_s=16.0)
    cluster.says(HEIR, patroni=follower_of(LEADER, timeline=2))
    assert HEIR in remembered(cluster, led(HEIR, at=NOW - 5.0))


def test_a_leader_that_speaks_takes_the_mark_from_who_led_before_it() -> None:
    assert remembered(a_cluster(), led(HEIR)) == {LEADER}


def test_who_led_last_stays_remembered_while_nobody_says_who_leads() -> None:
    cluster = silent(LEADER, HEIR, REPLICA)
    assert remembered(cluster, led(HEIR)) == {HEIR}


def test_a_new_occupant_of_the_slot_is_not_the_one_that_led() -> None:
    cluster = silent(LEADER, HEIR, REPLICA)
    assert remembered(cluster, led(HEIR, instance="i-before")) == set()


def test_while_words_differ_all_who_are_named_are_remembered() -> None:
    cluster = a_cluster().says(REPLICA, patroni=follower_of(HEIR, timeline=3))
    assert remembered(cluster) == {LEADER, HEIR}
