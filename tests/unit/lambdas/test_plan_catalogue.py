"""What is done in its turn, what is told after a while, and which instance type is asked for next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lambdas.core.actions import (
    CreateDisk,
    Hold,
    Launch,
    RestartService,
    Switchover,
    Terminate,
    Wait,
)
from tests.unit.lambdas.builders import a_cluster, instance_id

REPLICA, LEADER, WITNESS, OTHER = "db-euw3-a", "db-euw1-a", "witness-euc1-a", "db-euw1-b"
HAPROXY = "haproxy-euw3-a"


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        ({}, False),
        ({"last_s_ago": 301.0}, True),
        ({"refused": 1}, True),
        ({"acknowledged": 1}, False),
    ],
    ids=["a moment ago", "long ago", "refused", "before a person looked"],
)
def test_a_disk_that_was_made_and_is_not_listed_is_waited_for(
    changes: dict[str, Any], made: bool
) -> None:
    """EC2 may show what was before; two disks of one slot would be a person's to sort out."""
    cluster = a_cluster().without_disk(REPLICA)
    cluster.tried(REPLICA, last_s_ago=changes.get("last_s_ago", 60.0), create_disk=1)
    if "refused" in changes:
        refused = replace(cluster.incidents[REPLICA], failing="create-disk", failures=1)
        cluster.incidents[REPLICA] = refused
    if "acknowledged" in changes:
        cluster.incidents[REPLICA] = cluster.incidents[REPLICA].begun_anew(cluster.now)
    assert isinstance(cluster.planned(REPLICA), CreateDisk if made else Wait)


# -- what can wait, one at a time


def test_what_aws_has_announced_waits_until_everything_else_is_well() -> None:
    cluster = a_cluster().announced(REPLICA, in_s=9e5).service(HAPROXY, "haproxy", "failed")
    assert isinstance(cluster.planned(REPLICA), Wait)


def test_what_aws_does_within_a_day_is_not_waited_for() -> None:
    cluster = a_cluster().announced(REPLICA, in_s=80_000).service(HAPROXY, "haproxy", "failed")
    step = cluster.planned(REPLICA)
    assert step is not None
    assert step.kind == "stop"


def test_nobody_has_a_turn_while_somebody_was_heard_too_long_ago() -> None:
    cluster = a_cluster().announced(REPLICA, in_s=9e5).silent(WITNESS, for_s=12)
    assert isinstance(cluster.planned(REPLICA), Wait)


def test_nobody_has_a_turn_on_words_that_came_while_nobody_looked() -> None:
    cluster = a_cluster().announced(REPLICA, in_s=9e5)
    assert not isinstance(cluster.planned(REPLICA), Wait)
    cluster.reports[WITNESS] = replace(cluster.reports[WITNESS], late_s=50.0)
    assert isinstance(cluster.planned(REPLICA), Wait)


def test_nobody_has_a_turn_while_a_unit_is_only_starting() -> None:
    """A copy streams on while its Patroni has crashed and is started again."""
    cluster = a_cluster().rolled().service(REPLICA, "patroni", "activating")
    assert not [a for a in cluster.plan() if isinstance(a, Terminate)]
    cluster.service(REPLICA, "patroni", "active")
    assert [a for a in cluster.plan() if isinstance(a, Terminate)]


def test_nothing_is_done_on_a_word_that_another_has_overtaken() -> None:
    """What it says is down may have been started before the word that came first."""
    cluster = a_cluster().service(HAPROXY, "haproxy", "inactive")
    assert isinstance(cluster.planned(HAPROXY), RestartService)
    cluster.reports[HAPROXY] = replace(cluster.reports[HAPROXY], overtaken=True)
    assert isinstance(cluster.planned(HAPROXY), Wait)
    assert isinstance(cluster.silent(HAPROXY, for_s=30).planned(HAPROXY), RestartService)


def test_what_is_due_waits_too_for_words_that_came_while_somebody_looked() -> None:
    cluster = a_cluster().announced(REPLICA, in_s=80_000).service(HAPROXY, "haproxy", "failed")
    cluster.reports[WITNESS] = replace(cluster.reports[WITNESS], late_s=50.0)
    assert isinstance(cluster.planned(REPLICA), Wait)
    assert not isinstance(cluster.silent(WITNESS, for_s=30).planned(REPLICA), Wait)


def test_nobody_is_ended_on_words_that_came_while_nobody_looked() -> None:
    """Whoever said them may have fallen silent since, too: the next look knows."""
    cluster = a_cluster().dead(REPLICA)
    assert isinstance(cluster.planned(REPLICA), Terminate)
    cluster.reports[HAPROXY] = replace(cluster.reports[HAPROXY], late_s=20.0)
    assert isinstance(cluster.planned(REPLICA), Terminate)
    cluster.reports[HAPROXY] = replace(cluster.reports[HAPROXY], late_s=21.0)
    assert isinstance(cluster.planned(REPLICA), Wait)
    assert not isinstance(cluster.silent(HAPROXY, for_s=30).planned(REPLICA), Wait)


def test_a_look_that_took_long_is_no_pause() -> None:
    cluster = a_cluster().dead(REPLICA)
    cluster.reports[HAPROXY] = replace(cluster.reports[HAPROXY], late_s=50.0, looked_for_s=29.0)
    assert isinstance(cluster.planned(REPLICA), Wait)
    cluster.reports[HAPROXY] = replace(cluster.reports[HAPROXY], late_s=50.0, looked_for_s=30.0)
    assert isinstance(cluster.planned(REPLICA), Terminate)


def test_a_person_is_told_when_every_word_comes_while_nobody_looks() -> None:
    cluster = a_cluster().dead(REPLICA)
    long_s = cluster.spec.timings.unreachable_after_s
    late = replace(cluster.reports[HAPROXY], late_s=50.0, late_since=cluster.now - long_s)
    cluster.reports[HAPROXY] = late
    assert isinstance(cluster.planned(REPLICA), Wait)
    cluster.reports[HAPROXY] = replace(late, late_since=cluster.now - long_s - 1.0)
    held = cluster.planned(REPLICA)
    assert isinstance(held, Hold)
    assert held.rail == "looked-away"
    assert held.because.startswith(f"the words of {HAPROXY} came while nobody looked")


def test_what_stops_nothing_does_not_wait_for_another_look() -> None:
    cluster = a_cluster().service(REPLICA, "patroni", "failed").empty(OTHER)
    cluster.reports[HAPROXY] = replace(cluster.reports[HAPROXY], late_s=50.0)
    assert isinstance(cluster.planned(REPLICA), RestartService)
    assert isinstance(cluster.planned(OTHER), Launch)


def test_a_silence_is_not_answered_on_words_that_came_while_nobody_looked() -> None:
    """Those who said them may have fallen silent with it: then the whole region's way to AWS is lost."""
    cluster = a_cluster().silent(REPLICA, for_s=30)
    assert cluster.planned(REPLICA) == RestartService(
        slot=REPLICA, instance_id=instance_id(REPLICA), service="pgmend-agent"
    )
    cluster.reports[HAPROXY] = replace(cluster.reports[HAPROXY], late_s=50.0)
    assert isinstance(cluster.planned(REPLICA), Wait)


def test_nobody_has_a_turn_while_a_step_of_an_illness_is_under_way() -> None:
    cluster = a_cluster().rolled().under_way(HAPROXY, "restart-service")
    assert not [a for a in cluster.plan() if isinstance(a, Terminate)]
    cluster = a_cluster().rolled().under_way(HAPROXY, "terminate", asked_s_ago=27)
    assert [a.slot for a in cluster.plan() if isinstance(a, Terminate)] == [HAPROXY]


def test_of_many_to_be_replaced_one_has_its_turn_and_it_is_not_the_leader() -> None:
    actions = a_cluster().rolled().plan()
    ended = [a.slot for a in actions if isinstance(a, Terminate)]
    assert len(ended) == 1
    assert ended != [LEADER]
    assert sum(isinstance(a, Wait) for a in actions) == len(actions) - 1


def test_a_leader_to_be_replaced_hands_over_to_a_copy_that_was_replaced() -> None:
    cluster = a_cluster().rolled()
    for slot in (s.name for s in cluster.spec.slots if s.active and s.name != LEADER):
        cluster.launched(slot, ago_s=10)
    cluster.launched("db-euw1-b", ago_s=30)
    assert cluster.planned(LEADER) == Switchover(
        slot=LEADER, instance_id=instance_id(LEADER), to="db-euw1-b"
    )


def test_a_leader_on_a_disk_that_was_set_aside_hands_over_before_it_is_ended() -> None:
    step = a_cluster().runs_on_a_disk_set_aside(LEADER).planned(LEADER)
    assert isinstance(step, Switchover)
    assert step.to == "db-euw1-b"
    neither = a_cluster().runs_on_a_disk_set_aside(LEADER).runs_on_a_disk_set_aside("db-euw1-b")
    step = neither.planned(LEADER)
    assert isinstance(step, Switchover)
    assert step.to == REPLICA
    assert isinstance(a_cluster().runs_on_a_disk_set_aside(REPLICA).planned(REPLICA), Terminate)


@pytest.mark.parametrize(
    ("leaders", "own", "made"),
    [(20, 20, None), (45, 20, 45), (20, 30, 30), (200, 20, 80)],
    ids=["never grown", "as the leader's", "as its own before", "as the spec allows"],
)
def test_a_fresh_disk_is_as_large_as_the_data_needs(
    leaders: int, own: int, made: int | None
) -> None:
    cluster = a_cluster().disk_is(LEADER, "in-use", size_gib=leaders)
    cluster.disk_is(REPLICA, "in-use", size_gib=own).runs_on_a_disk_set_aside(REPLICA)
    cluster.says(REPLICA, volume_id=None)
    cluster.set_aside[0] = replace(cluster.set_aside[0], attached_to=None)
    assert cluster.planned(REPLICA) == CreateDisk(slot=REPLICA, size_gib=made)


def test_a_slot_that_was_just_given_a_disk_gets_no_other_while_ec2_does_not_list_it() -> None:
    cluster = a_cluster().without_disk(REPLICA).tried(REPLICA, last_s_ago=20, attach_disk=1)
    assert isinstance(cluster.planned(REPLICA), Wait)
    cluster.tried(REPLICA, last_s_ago=400, attach_disk=1)
    assert isinstance(cluster.planned(REPLICA), CreateDisk)
    cluster.tried(REPLICA, last_s_ago=20, set_disk_aside=1, terminate=1)
    assert isinstance(cluster.planned(REPLICA), CreateDisk)


def test_a_switchover_to_a_copy_that_is_not_well_is_held() -> None:
    cluster = a_cluster().to_lead(REPLICA).impaired(REPLICA)
    assert isinstance(cluster.planned(LEADER), Wait)  # not everything is well
    held = a_cluster().to_lead("db-euw1-c").planned(LEADER)
    assert isinstance(held, Hold)
    assert held.rail == "no-successor"


# -- suspicion that lasts


def test_who_is_only_suspected_for_long_is_told_to_a_person() -> None:
    held = a_cluster().nobody_answered(LEADER, for_s=301).planned(LEADER)
    assert isinstance(held, Hold)
    assert held.rail == "suspected"
    assert "nobody else leads yet" in held.because


def test_a_machine_that_may_still_be_coming_back_is_not_told_yet() -> None:
    cluster = a_cluster().nobody_answered(REPLICA, for_s=400).impaired(REPLICA, verdict=None)
    assert isinstance(cluster.tried(REPLICA, last_s_ago=60, reboot=1).planned(REPLICA), Wait)
    assert isinstance(cluster.tried(REPLICA, last_s_ago=301, reboot=1).planned(REPLICA), Hold)


def test_a_region_cut_off_is_told_after_a_while_and_nothing_is_done_in_it() -> None:
    cluster = a_cluster().silent(REPLICA, for_s=30).silent(HAPROXY, for_s=30)
    assert isinstance(cluster.planned(REPLICA), Wait)
    for slot in (REPLICA, HAPROXY):
        cluster.silent(slot, for_s=61)
    for slot in (REPLICA, HAPROXY):
        held = cluster.planned(slot)
        assert isinstance(held, Hold)
        assert held.rail == "region-cut-off"


# -- clones


@pytest.mark.parametrize(("for_s", "waits"), [(7100.0, True), (7300.0, False), (None, True)])
def test_a_clone_that_takes_hours_is_told(for_s: float | None, waits: bool) -> None:
    cluster = a_cluster().broken(REPLICA)
    cluster.patroni_says(REPLICA, state="creating replica", state_for_s=for_s)
    assert isinstance(cluster.planned(REPLICA), Wait) is waits


# -- starts


@pytest.mark.parametrize(
    ("state", "waits"),
    [
        ("starting", True),
        ("restarting", True),
        ("stopping", True),
        ("running", False),
        (None, False),
    ],
)
def test_a_copy_that_is_starting_is_not_begun_anew(state: str | None, waits: bool) -> None:
    cluster = a_cluster().broken(REPLICA).incident(REPLICA, opened_s_ago=100.0)
    cluster.patroni_says(REPLICA, state=state, state_for_s=100.0)
    assert isinstance(cluster.planned(REPLICA), Wait) is waits


def test_a_copy_that_begins_to_start_again_and_again_is_begun_anew() -> None:
    cluster = a_cluster().broken(REPLICA).incident(REPLICA, opened_s_ago=200.0)
    cluster.patroni_says(REPLICA, state="starting", state_for_s=1.0)
    assert not isinstance(cluster.planned(REPLICA), Wait)


# -- launches


@pytest.mark.parametrize(
    ("refused", "asked"),
    [({}, None), ({0: 1}, 1), ({0: 1, 1: 1}, 2), ({0: 2, 1: 2, 2: 2, 3: 1}, 3)],
)
def test_the_type_that_was_refused_least_is_asked_for_next(
    refused: dict[int, int], asked: int | None
) -> None:
    cluster = a_cluster().empty(REPLICA)
    types = cluster.spec.by_name[REPLICA].instance_types
    rungs = {f"no-capacity:{types[i]}": n for i, n in refused.items()}
    step = cluster.incident(REPLICA, rungs=rungs).planned(REPLICA)
    assert step == Launch(slot=REPLICA, instance_type=None if asked is None else types[asked])


def test_when_every_type_was_refused_it_is_held_and_asked_for_again_in_time() -> None:
    cluster = a_cluster().empty(REPLICA)
    types = cluster.spec.by_name[REPLICA].instance_types
    rungs = {f"no-capacity:{kind}": 1 for kind in types}
    more: dict[str, Any] = {"rungs": rungs, "failing": "launch", "failures": 9}
    held = cluster.incident(REPLICA, last_acted_at=cluster.now - 299, **more).planned(REPLICA)
    assert isinstance(held, Hold)
    assert held.rail == "no-capacity"
    again = cluster.incident(REPLICA, last_acted_at=cluster.now - 301, **more).planned(REPLICA)
    assert again == Launch(slot=REPLICA)


# -- machines that we have stopped ourselves


@pytest.mark.parametrize(
    ("tried", "ago_s", "waits"),
    [
        ({"reboot": 1}, 20.0, True),
        ({"stop": 1, "start": 1}, 20.0, True),
        ({"reboot": 1}, 301.0, False),  # it had its time
        ({"restart-service:patroni": 2}, 20.0, False),  # nothing of ours made it silent
        ({}, 20.0, False),
    ],
)
def test_who_was_just_rebooted_is_not_ended_for_its_silence(
    tried: dict[str, int], ago_s: float, waits: bool
) -> None:
    cluster = a_cluster().dead(REPLICA)
    cluster.incident(REPLICA, rungs=tried, last_acted_at=cluster.now - ago_s)
    assert isinstance(cluster.planned(REPLICA), Wait) is waits
