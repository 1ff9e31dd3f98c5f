"""A spare slot stands in where AWS has no capacity for an active one: when, which, and how it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lambdas.core.actions import Hold, Launch, Reboot, Switchover, Terminate, Wait
from lambdas.core.diagnose import Diagnosis, diagnose
from lambdas.core.model import PeerState
from lambdas.core.stand_in import choose, is_over
from lambdas.core.strength import judge
from tests.unit.lambdas.builders import NOW, Cluster, a_cluster, instance_id
from tests.unit.lambdas.world import Stage, a_born_cluster

REPLICA, LEADER, OTHER, SPARE = "db-euw3-a", "db-euw1-a", "db-euw1-b", "db-euw3-b"
HAPROXY, SPARE_PROXY = "haproxy-euw3-a", "haproxy-euw3-b"
TYPES = a_cluster().spec.by_name[REPLICA].instance_types
REFUSED = {f"no-capacity:{kind}": 1 for kind in TYPES}


def helped(*, found: str = "no-capacity", found_s_ago: float = 10.0) -> Cluster:
    """The replica's slot is empty for want of capacity, and a spare one stands in."""
    return a_cluster().incident(
        REPLICA,
        opened_s_ago=900,
        rungs=REFUSED,
        stand_in=SPARE,
        found=found,
        found_at=NOW - found_s_ago,
    )


def relieved() -> Cluster:
    """The replica has been well again for long, and its stand-in is still there."""
    return helped(found="healthy", found_s_ago=400).occupied(SPARE).with_leader(LEADER, timeline=2)


# -- which


def test_a_spare_slot_of_the_same_role_and_region_in_another_zone_is_chosen() -> None:
    o = a_cluster().observation()
    assert choose(REPLICA, o) == SPARE
    assert choose(HAPROXY, o) == SPARE_PROXY
    assert choose("witness-euc1-a", o) is None
    assert choose(SPARE, o) is None  # none for a stand-in


def test_one_that_is_occupied_or_stands_in_already_is_not_chosen() -> None:
    assert choose(REPLICA, a_cluster().occupied(SPARE).observation()) == "db-euw3-c"
    assert choose(REPLICA, helped().observation()) == "db-euw3-c"


def test_before_the_birth_there_is_none() -> None:
    assert choose(REPLICA, a_cluster().unborn().observation()) is None


# -- while it stands in


def test_a_spare_slot_that_stands_in_is_filled() -> None:
    assert a_cluster().planned(SPARE) is None
    assert isinstance(helped().empty(REPLICA).planned(SPARE), Launch)
    assert helped(found="healthy").planned(SPARE) is None  # not any more


def test_strength_says_what_is_missing_and_what_stands_in() -> None:
    cluster = helped().empty(REPLICA).occupied(SPARE).with_leader(LEADER, timeline=2)
    o = cluster.observation()
    assert judge(o, diagnose(o)).missing == (
        f"{REPLICA} has no instance, for want of capacity; {SPARE} stands in",
    )


def test_nobody_knocks_at_a_stand_ins_door_so_ec2s_word_and_ours_are_enough() -> None:
    cluster = helped().empty(REPLICA).occupied(SPARE).with_leader(LEADER, timeline=2)
    gone = cluster.silent(SPARE, for_s=90).not_followed_by(SPARE)
    assert not isinstance(gone.planned(SPARE), Terminate)  # EC2 calls it well
    assert isinstance(gone.impaired(SPARE).planned(SPARE), Terminate)
    streams = helped().empty(REPLICA).occupied(SPARE).with_leader(LEADER, timeline=2)
    assert not isinstance(streams.silent(SPARE).impaired(SPARE).planned(SPARE), Terminate)


def test_a_stand_in_that_never_came_up_or_stands_still_is_worked_on() -> None:
    stillborn = helped().empty(REPLICA).occupied(SPARE).never_spoke(SPARE, age_s=700)
    stillborn.seen_by_peers_as(SPARE, PeerState.UNKNOWN)
    assert isinstance(stillborn.planned(SPARE), Terminate)
    frozen = helped().empty(REPLICA).occupied(SPARE).silent(SPARE, for_s=400)
    frozen.incident(SPARE, opened_s_ago=380)
    assert isinstance(frozen.planned(SPARE), Reboot)


# -- how it ends


def test_a_stand_in_is_ended_once_the_other_has_been_well_for_a_while() -> None:
    end = Terminate(slot=SPARE, instance_id=instance_id(SPARE))
    assert relieved().planned(SPARE) == end
    young = helped(found="healthy", found_s_ago=200).occupied(SPARE)
    assert young.with_leader(LEADER, timeline=2).planned(SPARE) is None


@pytest.mark.parametrize(
    "ill",
    [
        lambda c: c.service("haproxy-euw1-a", "haproxy", "failed"),
        lambda c: c.not_followed_by(OTHER),
        lambda c: c.silent(REPLICA, for_s=15),
    ],
    ids=["a proxy is down", "a copy does not stream", "the slot was heard too long ago"],
)
def test_it_stays_while_anything_else_is_not_well(ill: Callable[[Cluster], Cluster]) -> None:
    assert isinstance(ill(relieved()).planned(SPARE), Wait)


def test_a_stand_in_that_leads_hands_over_first() -> None:
    step = relieved().with_leader(SPARE, timeline=3).planned(SPARE)
    assert isinstance(step, Switchover)
    assert step.to == REPLICA  # of its own region, and there to stay


def test_nobody_else_is_ended_as_outdated_without_an_order() -> None:
    found = diagnose(relieved().observation())
    assert found[SPARE].diagnosis is Diagnosis.OUTDATED
    assert all(f.diagnosis is not Diagnosis.OUTDATED for s, f in found.items() if s != SPARE)


def test_the_incident_is_over_when_nothing_is_left_of_its_stand_in() -> None:
    incident = relieved().incidents[REPLICA]
    assert not is_over(incident, relieved().observation())
    assert not is_over(incident, helped().under_way(SPARE, "launch").observation())
    assert is_over(incident, helped().observation())
    assert is_over(a_cluster().incident(REPLICA).incidents[REPLICA], relieved().observation())


def test_without_a_free_spare_slot_it_is_held_as_before() -> None:
    cluster = a_cluster().empty("witness-euc1-a")
    kinds = cluster.spec.by_name["witness-euc1-a"].instance_types
    rungs = {f"no-capacity:{kind}": 1 for kind in kinds}
    cluster.incident("witness-euc1-a", rungs=rungs, failing="launch", failures=3, last_acted_at=NOW)
    assert isinstance(cluster.planned("witness-euc1-a"), Hold)


# -- the whole story


def wake_until(stage: Stage, reached: Callable[[], bool], *, within_s: float) -> None:
    end = stage.now() + within_s
    while not reached():
        assert stage.now() < end, stage.sentences[-5:]
        stage.wake()
        stage.nodes.sleep(5.0)


def test_a_zone_without_room_is_carried_by_another_until_there_is_room_again() -> None:
    stage = a_born_cluster()
    stage.nodes.no_room.add(REPLICA)
    stage.lose(REPLICA)
    wake_until(stage, lambda: f"launch {SPARE}" in stage.nodes.calls, within_s=120)
    wake_until(stage, lambda: SPARE not in stage.table.open, within_s=120)
    outcome = stage.wake()
    assert not outcome.full_strength
    assert outcome.missing == (
        f"{REPLICA} has no instance, for want of capacity; {SPARE} stands in",
    )
    assert stage.nodes.disk_in(SPARE).holds_data
    stage.nodes.no_room.clear()
    stage.nodes.may_end.add(SPARE)
    stage.until_full(within_s=600)
    wake_until(stage, lambda: not stage.table.open, within_s=200)
    assert stage.nodes.count("launch", SPARE) == 1
    assert stage.nodes.count("terminate", SPARE) == 1
    assert stage.nodes.count("launch", REPLICA) == 1
    assert not stage.nodes.disk_in(SPARE).set_aside
    healed = [e["slot"] for e in stage.told.of("Incident Healed")]
    assert sorted(set(healed)) == [REPLICA, SPARE]
    stage.nodes.calls.clear()
    stage.nodes.sleep(120.0)
    assert stage.wake().full_strength
    assert stage.nodes.calls == []  # and nothing more
