"""The rails of the whole catalogue: what each forbids, and that it does not forbid more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lambdas.core.actions import (
    GrowDisk,
    Hold,
    Launch,
    Reboot,
    RestartService,
    StopInstance,
    Terminate,
    Wait,
)
from lambdas.core.diagnose import diagnose
from lambdas.core.model import InstanceState, PeerState
from lambdas.core.rails import forbidden
from tests.unit.lambdas.builders import Cluster, a_cluster, instance_id, volume_id

REPLICA, LEADER, WITNESS, OTHER = "db-euw3-a", "db-euw1-a", "witness-euc1-a", "db-euw1-b"
HAPROXY = "haproxy-euw3-a"


def held_by(cluster: Cluster, slot: str) -> str | None:
    step = cluster.planned(slot)
    return step.rail if isinstance(step, Hold) else None


def broken_beyond_reboots() -> Cluster:
    """The next rung of the replica's is to give its copy up."""
    tried = {"join_replica": 2, "reinit": 1, "reboot": 1, "terminate": 1}
    return a_cluster().broken(REPLICA).tried(REPLICA, **tried)


# -- what people say


def test_windows_inside_one_every_plan_is_a_hold() -> None:
    assert held_by(a_cluster().dead(REPLICA).window(), REPLICA) == "windows"
    assert held_by(a_cluster().empty(REPLICA).window(), REPLICA) == "windows"
    assert held_by(a_cluster().dead(REPLICA).window(from_s_ago=100, for_s=90), REPLICA) is None
    assert held_by(a_cluster().dead(REPLICA).window(from_s_ago=-10), REPLICA) is None


@pytest.mark.parametrize(
    "cluster",
    [
        a_cluster().dead(REPLICA),
        a_cluster().empty(REPLICA),
        a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99),
        a_cluster().impaired(REPLICA).tried(REPLICA, reboot=1),
        broken_beyond_reboots(),
    ],
    ids=["terminate", "launch", "reboot", "stop", "set aside"],
)
def test_breaker_open_it_stops_what_removes_stops_and_launches(cluster: Cluster) -> None:
    assert held_by(cluster, REPLICA) is None
    assert held_by(cluster.breaker(is_open=True), REPLICA) == "breaker"
    assert held_by(cluster.breaker(is_open=False), REPLICA) is None


def test_breaker_open_services_are_restarted_all_the_same() -> None:
    cluster = a_cluster().service(REPLICA, "patroni", "failed").breaker(is_open=True)
    assert isinstance(cluster.planned(REPLICA), RestartService)


def test_paused_no_switchover_either() -> None:
    cluster = a_cluster().impaired(LEADER).incident(LEADER, opened_s_ago=99).paused()
    assert held_by(cluster, LEADER) == "paused"


# -- who lives


def the_last_leader_is_down() -> Cluster:
    """Its Patroni does not start, its PostgreSQL is not there, and nobody else may lead."""
    cluster = a_cluster().service(LEADER, "patroni", "failed").led_last(LEADER)
    cluster.patroni_says(LEADER, up=False, role=None).postgres_says(LEADER, up=False)
    return cluster.tried(LEADER, restart_service__patroni=5)


def test_living_leader_one_that_serves_nothing_may_be_rebooted_and_stopped_and_never_ended() -> (
    None
):
    cluster = the_last_leader_is_down()
    assert isinstance(cluster.planned(LEADER), Reboot)
    cluster.tried(LEADER, restart_service__patroni=5, reboot=1)
    assert isinstance(cluster.planned(LEADER), StopInstance)
    cluster.tried(LEADER, restart_service__patroni=5, reboot=1, stop=1)
    assert isinstance(cluster.planned(LEADER), RestartService)
    finding = diagnose(cluster.observation())[LEADER]
    end = Terminate(slot=LEADER, instance_id=instance_id(LEADER))
    stopped = forbidden(end, finding, cluster.observation())
    assert stopped is not None
    assert stopped[0].id == "living-leader"


def test_living_leader_one_whose_postgresql_may_be_up_is_only_started() -> None:
    step = the_last_leader_is_down().postgres_says(LEADER, up=True).planned(LEADER)
    assert isinstance(step, RestartService)
    old = the_last_leader_is_down().silent(LEADER, for_s=30)
    assert not isinstance(old.planned(LEADER), Reboot)


def test_living_leader_one_whose_patroni_hangs_is_left_until_another_leads() -> None:
    cluster = a_cluster().patroni_hangs(LEADER, for_s=90).led_last(LEADER)
    assert held_by(cluster, LEADER) == "living-leader"
    cluster.with_leader(OTHER, timeline=3).patroni_hangs(LEADER, for_s=90)
    cluster.patroni_says(LEADER, timeline=None).postgres_says(LEADER, timeline=2)
    assert isinstance(cluster.planned(LEADER), RestartService)


def test_living_leader_its_clock_may_be_set() -> None:
    cluster = a_cluster().clock_off(LEADER, by_s=900).incident(LEADER, opened_s_ago=99)
    step = cluster.planned(LEADER)
    assert isinstance(step, RestartService)
    assert step.service == "chrony"


@pytest.mark.parametrize("kind", ["stop", "terminate"])
def test_corroboration_less_is_tried_before_a_machine_is_stopped_or_ended(kind: str) -> None:
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99)
    o = cluster.observation()
    finding = diagnose(o)[REPLICA]
    who = instance_id(REPLICA)
    step = (
        StopInstance(slot=REPLICA, instance_id=who)
        if kind == "stop"
        else Terminate(slot=REPLICA, instance_id=who)
    )
    found = forbidden(step, finding, o)
    assert found is not None
    assert found[0].id == "corroboration"


def test_corroboration_nobody_is_replaced_without_an_order() -> None:
    o = a_cluster().rolled().observation()
    finding = diagnose(o)[REPLICA]
    step = Terminate(slot=REPLICA, instance_id=instance_id(REPLICA))
    assert forbidden(step, finding, o) is None
    found = forbidden(step, finding, replace(o, planned=None))
    assert found is not None
    assert found[0].id == "corroboration"


def test_corroboration_a_stopped_occupant_is_ended_only_when_it_cannot_be_started() -> None:
    cluster = a_cluster().in_state(REPLICA, InstanceState.STOPPED)
    ended = cluster.incident(REPLICA, failing="start", failures=4, last_acted_at=1.0)
    assert isinstance(ended.planned(REPLICA), Terminate)
    o = a_cluster().in_state(REPLICA, InstanceState.STOPPED).incident(REPLICA).observation()
    step = Terminate(slot=REPLICA, instance_id=instance_id(REPLICA))
    found = forbidden(step, diagnose(o)[REPLICA], o)
    assert found is not None
    assert found[0].id == "corroboration"


def test_region_silent_a_newcomer_in_it_is_not_ended() -> None:
    cluster = a_cluster()
    cluster.spec = replace(
        cluster.spec,
        slots=tuple(
            replace(s, active=True) if s.name == "haproxy-euw3-b" else s for s in cluster.spec.slots
        ),
    )
    cluster._occupy(cluster.spec.by_name["haproxy-euw3-b"])
    cluster.never_spoke("haproxy-euw3-b", age_s=900)
    assert isinstance(cluster.planned("haproxy-euw3-b"), Terminate)
    cluster.silent(REPLICA, for_s=90).silent(HAPROXY, for_s=90)
    assert held_by(cluster, "haproxy-euw3-b") == "region-silent"


# -- what must not be lost


def test_last_copy_a_copy_is_given_up_while_the_leader_has_all_of_it() -> None:
    step = broken_beyond_reboots().planned(REPLICA)
    assert step is not None
    assert step.kind == "set-disk-aside"


@pytest.mark.parametrize("kind", ["reinit", "set-disk-aside", "terminate"])
def test_last_copy_nothing_is_given_up_that_the_leader_may_not_have(kind: str) -> None:
    if kind == "terminate":
        cluster = a_cluster().runs_on_a_disk_set_aside(REPLICA)
    else:
        cluster = broken_beyond_reboots()
        if kind == "reinit":
            cluster.tried(REPLICA, join_replica=2)
    cluster.broken(REPLICA).postgres_says(REPLICA, lsn_bytes=2000)
    assert held_by(cluster, REPLICA) == "last-copy"
    cluster.postgres_says(REPLICA, lsn_bytes=1000)
    assert held_by(cluster, REPLICA) is None


def test_last_copy_a_newer_timeline_than_the_leaders_is_kept() -> None:
    cluster = broken_beyond_reboots().tried(REPLICA, join_replica=1)
    cluster.postgres_says(REPLICA, timeline=3).patroni_says(REPLICA, timeline=3)
    assert held_by(cluster, REPLICA) == "last-copy"


def test_last_copy_one_on_an_older_timeline_may_go() -> None:
    cluster = a_cluster().broken(REPLICA).tried(REPLICA, join_replica=1)
    cluster.postgres_says(REPLICA, timeline=1, lsn_bytes=9000).patroni_says(REPLICA, timeline=1)
    assert held_by(cluster, REPLICA) is None


def test_last_copy_a_leader_whose_position_is_unknown_has_nothing_for_sure() -> None:
    cluster = broken_beyond_reboots().postgres_says(LEADER, lsn_bytes=None)
    assert held_by(cluster, REPLICA) == "last-copy"


def test_last_copy_while_nobody_leads_nothing_is_given_up() -> None:
    cluster = a_cluster().runs_on_a_disk_set_aside(REPLICA).patroni_says(LEADER, role="replica")
    assert held_by(cluster, REPLICA) == "last-copy"


def test_last_copy_the_word_of_the_leader_on_one_that_streams_is_newer_than_its_own() -> None:
    cluster = a_cluster().postgres_says(REPLICA, checksum_failures=1, lsn_bytes=1500)
    assert held_by(cluster.incident(REPLICA, opened_s_ago=99), REPLICA) is None


def test_last_copy_the_witness_has_none() -> None:
    cluster = a_cluster().runs_on_a_disk_set_aside(WITNESS)
    assert isinstance(cluster.planned(WITNESS), Terminate)


def test_quorum_the_only_copy_that_streams_is_not_stopped() -> None:
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99).broken(OTHER)
    assert held_by(cluster, REPLICA) == "quorum"


def test_quorum_a_copy_that_is_going_stands_in_for_nobody() -> None:
    """The leader hears it until it is down, and by then another would be down as well."""
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99)
    assert held_by(cluster, REPLICA) is None
    going = cluster._instance(OTHER, state=InstanceState.SHUTTING_DOWN)
    assert held_by(going, REPLICA) == "quorum"


def test_quorum_a_copy_that_says_itself_that_it_does_not_follow_stands_in_for_nobody() -> None:
    """The leader hears a copy that is lost until its connection times out."""
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99)
    cluster.postgres_says(OTHER, receiver_up=False)
    assert held_by(cluster, REPLICA) == "quorum"
    assert held_by(cluster.silent(OTHER), REPLICA) is None  # the leader's word is the younger one


def test_quorum_a_member_is_replaced_only_through_a_healthy_majority() -> None:
    cluster = a_cluster().etcd_says(WITNESS, healthy=False, alarms=("CORRUPT",))
    step = cluster.planned(WITNESS)
    assert step is not None
    assert step.kind == "replace-etcd-member"
    assert held_by(cluster.etcd_says(REPLICA, healthy=False), WITNESS) == "quorum"


def test_quorum_a_word_of_one_whose_successor_we_asked_something_is_no_voters() -> None:
    """EC2 does not say who occupies the slot now; what we asked whom last does."""
    cluster = a_cluster().etcd_says(WITNESS, healthy=False, alarms=("CORRUPT",))
    cluster.region_unknown("eu-west-3")
    assert held_by(cluster, WITNESS) is None
    same = cluster.under_way(REPLICA, "attach-disk", instance_id=instance_id(REPLICA))
    assert held_by(same, WITNESS) is None
    other = cluster.under_way(REPLICA, "attach-disk", instance_id="i-its-successor")
    assert held_by(other, WITNESS) == "quorum"


@pytest.mark.parametrize("restarts", [0, 3])
def test_quorum_a_member_that_gets_no_answer_is_no_part_of_a_majority_that_answers_another(
    restarts: int,
) -> None:
    """The witness's member, with its alarm, makes the majority with the leader's; the replica's is the one to heal."""
    cluster = a_cluster().etcd_says(WITNESS, healthy=False, alarms=("CORRUPT",))
    cluster.etcd_says(REPLICA, healthy=False)
    cluster.tried(REPLICA, restart_service__etcd=restarts)
    assert held_by(cluster, WITNESS) == "quorum"
    step = cluster.planned(REPLICA)
    assert step is not None
    assert step.kind == ("replace-etcd-member" if restarts else "restart-service")
    cluster.etcd_says(LEADER, healthy=False)
    cluster.tried(REPLICA, last_s_ago=60, restart_service__etcd=restarts)
    assert held_by(cluster, REPLICA) == ("ladder" if restarts else "quorum")


def test_quorum_etcd_changes_one_at_a_time() -> None:
    cluster = a_cluster().etcd_says(WITNESS, alarms=("NOSPACE",))
    cluster.under_way(REPLICA, "replace-etcd-member", command_id="c", command_state="InProgress")
    assert held_by(cluster, WITNESS) == "quorum"


def test_quorum_of_several_full_members_one_is_repaired_a_look() -> None:
    cluster = a_cluster()
    for voter in cluster.spec.voters:
        cluster.etcd_says(voter.name, alarms=("NOSPACE",))
    actions = cluster.plan()
    assert [a.kind for a in actions].count("repair-etcd") == 1
    assert sum(isinstance(a, Wait) for a in actions) == 2


def test_quorum_an_unreachable_voter_is_rebooted_though_the_others_are_no_majority() -> None:
    cluster = a_cluster().nobody_answered(WITNESS, for_s=400).nobody_answered(REPLICA, for_s=400)
    cluster.without_etcd_majority().incident(WITNESS, opened_s_ago=99)
    cluster.silent(HAPROXY, for_s=1.0)
    kinds = {a.kind for a in cluster.plan()}
    assert "reboot" not in kinds  # somebody leads, so etcd may still answer by one of them
    kinds = {a.kind for a in cluster.nobody_leads().plan()}
    assert "reboot" in kinds


# -- how much


def test_removal_budget_begins_anew_when_a_person_has_looked() -> None:
    cluster = a_cluster().dead(REPLICA).removed(*[600] * 6)
    assert held_by(cluster, REPLICA) == "removal-budget"
    assert held_by(cluster.breaker(is_open=False, acknowledged_s_ago=300), REPLICA) is None
    assert held_by(cluster.breaker(is_open=False, acknowledged_s_ago=900), REPLICA) is not None


def test_removal_budget_what_a_person_ordered_does_not_count_against_it() -> None:
    cluster = a_cluster().rolled().removed(*[60] * 6)
    assert any(isinstance(a, Terminate) for a in cluster.plan())


def test_launch_budget_begins_anew_when_a_person_has_looked() -> None:
    cluster = a_cluster().empty(REPLICA).launches_failed(*[600] * 10)
    cluster.breaker(is_open=False, acknowledged_s_ago=300)
    assert isinstance(cluster.planned(REPLICA), Launch)


@pytest.mark.parametrize(("failed", "launched"), [(0, 3), (8, 2), (9, 1)])
def test_launch_budget_no_more_are_asked_for_at_once_than_may_fail(
    failed: int, launched: int
) -> None:
    cluster = a_cluster().empty(REPLICA).empty(HAPROXY).empty(WITNESS)
    actions = cluster.launches_failed(*[600] * failed).plan()
    assert sum(isinstance(a, Launch) for a in actions) == launched
    assert sum(isinstance(a, Wait) for a in actions) == 3 - launched


@pytest.mark.parametrize(("launches", "rail"), [(2, None), (3, "refills")])
def test_refills_new_instances_that_never_join_are_no_cure(launches: int, rail: str | None) -> None:
    empty = a_cluster().empty(REPLICA).incident(REPLICA, rungs={"launch": launches})
    assert held_by(empty, REPLICA) == rail
    stuck = a_cluster().never_spoke(REPLICA, age_s=601)
    assert held_by(stuck.incident(REPLICA, rungs={"launch": launches}), REPLICA) == rail


def test_growth_budget_a_disk_grows_so_often_a_day() -> None:
    cluster = a_cluster().used(LEADER, 0.9)
    assert held_by(cluster.grown(LEADER, *[3600.0] * 3), LEADER) is None
    assert held_by(cluster.grown(LEADER, *[3600.0] * 4), LEADER) == "growth-budget"
    assert held_by(cluster.grown(REPLICA, *[3600.0] * 4), LEADER) is None
    assert held_by(cluster.grown(LEADER, *[90_000.0] * 4), LEADER) is None


def test_growth_budget_nothing_grows_beyond_the_spec() -> None:
    cluster = a_cluster().used(LEADER, 0.9)
    o = cluster.observation()
    step = GrowDisk(slot=LEADER, volume_id=volume_id(LEADER), size_gib=81)
    found = forbidden(step, diagnose(o)[LEADER], o)
    assert found is not None
    assert found[0].id == "growth-budget"


# -- how many at once


def impaired_both() -> Cluster:
    cluster = a_cluster().impaired(REPLICA).impaired(HAPROXY)
    return cluster.incident(REPLICA, opened_s_ago=99).incident(HAPROXY, opened_s_ago=99)


def test_one_disturbance_a_look() -> None:
    kinds = [a.kind for a in impaired_both().plan()]
    assert kinds.count("reboot") == 1


def test_one_disturbance_who_is_being_stopped_is_waited_for() -> None:
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99)
    cluster.in_state(HAPROXY, InstanceState.STOPPING)
    assert held_by(cluster, REPLICA) == "one-disturbance"


def test_one_disturbance_who_was_rebooted_and_has_not_spoken_is_waited_for() -> None:
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99)
    cluster.tried(HAPROXY, last_s_ago=20, reboot=1).silent(HAPROXY)
    assert held_by(cluster, REPLICA) == "one-disturbance"
    assert held_by(cluster.tried(HAPROXY, last_s_ago=400, reboot=1), REPLICA) is None


@pytest.mark.parametrize("kind", ["reboot", "reinit"])
def test_one_disturbance_a_persons_look_ends_nothing_that_is_under_way(kind: str) -> None:
    """An acknowledgement begins the tries anew: it makes no machine come back, and no copy."""
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99)
    cluster.tried(HAPROXY, last_s_ago=20, **{kind: 1}).silent(HAPROXY)
    acknowledged = cluster.incidents[HAPROXY].begun_anew(cluster.now - 5)
    cluster.incidents[HAPROXY] = acknowledged
    assert held_by(cluster, REPLICA) == "one-disturbance"
    assert acknowledged.rung(kind) == 0
    assert acknowledged.story == "nothing could be tried"
    cluster.incidents[HAPROXY] = replace(acknowledged, last_acted_at=cluster.now - 400)
    assert held_by(cluster, REPLICA) is None


def test_one_disturbance_a_word_from_before_the_reboot_is_no_sign_of_its_return() -> None:
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99)
    cluster.tried(HAPROXY, last_s_ago=10, reboot=1).silent(HAPROXY, for_s=15)
    assert held_by(cluster, REPLICA) == "one-disturbance"
    assert held_by(cluster.silent(HAPROXY, for_s=5), REPLICA) is None


def test_one_disturbance_who_was_stopped_is_waited_for_until_it_runs() -> None:
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99)
    cluster.tried(HAPROXY, stop=1).in_state(HAPROXY, InstanceState.PENDING)
    assert held_by(cluster, REPLICA) == "one-disturbance"
    assert held_by(cluster.in_state(HAPROXY, InstanceState.RUNNING), REPLICA) is None


def test_one_disturbance_a_copy_is_made_anew_for_as_long_as_it_is_cloned() -> None:
    cluster = a_cluster().impaired(HAPROXY).incident(HAPROXY, opened_s_ago=99)
    cluster.broken(REPLICA).tried(REPLICA, last_s_ago=900, reinit=1)
    assert held_by(cluster, HAPROXY) is None
    cluster.patroni_says(REPLICA, state="creating replica")
    assert held_by(cluster, HAPROXY) == "one-disturbance"


def test_one_disturbance_of_all_copies_only_one_at_a_time_is_given_up() -> None:
    cluster = broken_beyond_reboots()
    assert held_by(cluster, REPLICA) is None
    cluster.not_followed_by(OTHER).tried(OTHER, last_s_ago=100, set_disk_aside=1)
    assert held_by(cluster, REPLICA) == "one-disturbance"
    cluster.tried(OTHER, last_s_ago=400, set_disk_aside=1)
    assert held_by(cluster, REPLICA) is None  # what went wrong there is for a person
    assert held_by(cluster.runs_on_a_disk_set_aside(OTHER), REPLICA) == "one-disturbance"


def test_one_disturbance_in_another_region_may_go_on() -> None:
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=99)
    cluster.in_state("haproxy-euw1-a", InstanceState.STOPPING)
    assert held_by(cluster, REPLICA) is None


def test_one_disturbance_a_rebuild_waits_for_a_rebuild() -> None:
    cluster = a_cluster().broken(REPLICA).tried(REPLICA, join_replica=2)
    cluster.under_way(HAPROXY, "reinit", command_id="c", command_state="InProgress")
    assert held_by(cluster, REPLICA) == "one-disturbance"


# -- where all seems lost, what harms nobody goes on


def a_last_leader_without_its_disk() -> Cluster:
    """Nobody else leads, its disk does not show on the node, and its etcd has no majority to go by."""
    cluster = a_cluster().disk_says(LEADER, mounted=False).postgres_says(LEADER, up=False)
    cluster.patroni_says(LEADER, role=None).led_last(LEADER).without_etcd_majority()
    cluster.service(LEADER, "etcd", "activating")
    return cluster.incident(LEADER, opened_s_ago=99)


def test_living_leader_one_without_its_disk_is_rebooted_for_it() -> None:
    step = a_last_leader_without_its_disk().planned(LEADER)
    assert step is not None
    assert step.kind == "reboot"


def test_living_leader_one_without_its_disk_is_never_ended_nor_given_another() -> None:
    cluster = a_last_leader_without_its_disk().tried(LEADER, reboot=1, stop=1)
    assert held_by(cluster, LEADER) == "living-leader"


def test_living_leader_one_whose_postgresql_answers_is_not_rebooted() -> None:
    cluster = a_last_leader_without_its_disk().postgres_says(LEADER, up=True)
    assert held_by(cluster, LEADER) == "living-leader"


def test_quorum_an_idle_voter_that_cannot_be_configured_keeps_its_disk_and_makes_room() -> None:
    cluster = a_cluster().without_etcd_majority().idle(WITNESS)
    cluster.incident(WITNESS, failing="configure", failures=3)
    assert isinstance(cluster.planned(WITNESS), Terminate)


def test_quorum_a_member_that_cannot_be_replaced_yet_is_started_again() -> None:
    cluster = a_cluster().without_etcd_majority().service(WITNESS, "etcd", "failed")
    step = cluster.tried(WITNESS, restart_service__etcd=5).planned(WITNESS)
    assert isinstance(step, RestartService)
    assert step.service == "etcd"


@pytest.mark.parametrize(("ill", "rail"), [(1, None), (3, "quorum")])
def test_quorum_copies_that_stream_stay_a_majority(ill: int, rail: str | None) -> None:
    """Six copies: the leader and three others must be left."""
    cluster = a_cluster()
    spares = ("db-euw1-c", "db-euw3-b", "db-euw3-c")
    slots = tuple(replace(s, active=s.active or s.name in spares) for s in cluster.spec.slots)
    larger = Cluster(replace(cluster.spec, slots=slots))
    larger.impaired(REPLICA).incident(REPLICA, opened_s_ago=99)
    for slot in (OTHER, *spares)[:ill]:
        larger.not_followed_by(slot)
    assert held_by(larger, REPLICA) == rail


def test_quorum_a_voter_that_is_going_is_no_part_of_the_majority() -> None:
    """Its last word is still young; two voters that lose their disks at once are one too many."""
    cluster = broken_beyond_reboots()
    assert held_by(cluster, REPLICA) is None
    assert held_by(cluster.under_way(WITNESS, "terminate"), REPLICA) == "quorum"
    stopping = broken_beyond_reboots().in_state(WITNESS, InstanceState.STOPPING)
    assert held_by(stopping, REPLICA) == "quorum"
    bare = broken_beyond_reboots().runs_on_a_disk_set_aside(WITNESS)
    assert held_by(bare, REPLICA) == "quorum"


def test_quorum_a_voter_that_serves_while_it_is_being_set_up_is_not_ended() -> None:
    cluster = a_cluster().idle(REPLICA).incident(REPLICA, failing="configure", failures=3)
    cluster.silent(WITNESS, for_s=90)  # without it the replica is one of two
    assert held_by(cluster, REPLICA) is None
    assert held_by(cluster.service(REPLICA, "etcd", "active"), REPLICA) == "quorum"


def test_quorum_a_voter_that_is_being_set_up_may_be_the_one_with_whom_etcd_answers() -> None:
    cluster = a_cluster().idle(REPLICA).dead(LEADER).with_leader(OTHER, timeline=3)
    assert held_by(cluster, LEADER) == "quorum"
    assert held_by(cluster.service(REPLICA, "etcd", "active"), LEADER) is None


def test_quorum_a_voter_is_not_ended_while_etcd_may_answer_it_and_one_that_only_does_not_speak() -> (
    None
):
    """The third voter gets no answer from etcd, which may be its own fault."""
    cluster = a_cluster().nobody_leads().dead(REPLICA).etcd_says(WITNESS, healthy=False)
    cluster.silent(LEADER)
    assert held_by(cluster, REPLICA) == "quorum"
    assert held_by(cluster.unreachable(LEADER), REPLICA) is None


def a_voter_nobody_reaches_beside_one_that_only_we_do_not_hear() -> Cluster:
    """Its next rung is a reboot. The leader's member serves, and the replica's word does not come."""
    cluster = a_cluster().nobody_answered(WITNESS, for_s=400).incident(WITNESS, opened_s_ago=99)
    return cluster.silent(REPLICA, for_s=400)


def test_quorum_one_that_answers_and_is_not_heard_makes_the_majority_when_another_gives_none() -> (
    None
):
    cluster = a_voter_nobody_reaches_beside_one_that_only_we_do_not_hear()
    assert held_by(cluster, WITNESS) is None
    assert held_by(cluster.seen_by_peers_as(REPLICA, PeerState.REFUSED), WITNESS) == "quorum"


def test_quorum_one_that_is_not_heard_stands_in_for_nobody_of_whom_no_healthy_voter_knows() -> None:
    cluster = a_voter_nobody_reaches_beside_one_that_only_we_do_not_hear()
    cluster.seen_by_peers_as(WITNESS, PeerState.UNKNOWN, by=(LEADER,))
    assert held_by(cluster, WITNESS) == "quorum"


def test_quorum_one_that_is_not_heard_stands_in_for_nobody_when_its_member_was_ill() -> None:
    cluster = a_voter_nobody_reaches_beside_one_that_only_we_do_not_hear()
    assert held_by(cluster.etcd_says(REPLICA, healthy=False), WITNESS) == "quorum"


def a_voter_whose_disk_no_machine_shows() -> Cluster:
    """The witness's member, with its alarm, makes the majority with the leader's."""
    cluster = a_cluster().etcd_says(WITNESS, healthy=False, alarms=("CORRUPT",))
    cluster.etcd_says(REPLICA, healthy=False).service(REPLICA, "etcd", "failed")
    cluster.disk_says(REPLICA, mounted=False).postgres_says(REPLICA, up=False)
    return cluster.not_followed_by(REPLICA).tried(REPLICA, reboot=1, stop=1)


def test_quorum_a_disk_of_a_voter_that_etcd_does_without_is_set_aside_and_its_machine_ended() -> (
    None
):
    step = a_voter_whose_disk_no_machine_shows().planned(REPLICA)
    assert step is not None
    assert step.kind == "set-disk-aside"
    bare = a_voter_whose_disk_no_machine_shows().runs_on_a_disk_set_aside(REPLICA)
    assert isinstance(bare.planned(REPLICA), Terminate)


def test_quorum_the_disk_of_a_voter_is_kept_while_etcd_answers_nobody_or_its_member_runs() -> None:
    nobody = a_voter_whose_disk_no_machine_shows().etcd_says(LEADER, healthy=False)
    assert held_by(nobody, REPLICA) == "quorum"
    runs = a_voter_whose_disk_no_machine_shows().service(REPLICA, "etcd", "active")
    assert held_by(runs, REPLICA) == "quorum"


@pytest.mark.parametrize("seen_by", ["itself", "a proxy"])
def test_quorum_while_somebody_leads_etcd_answers_somebody(seen_by: str) -> None:
    """The only voter that speaks says that it gets no answer: then the others may be those that serve."""
    cluster = a_cluster().nobody_leads().dead(REPLICA).dead(LEADER)
    cluster.etcd_says(WITNESS, healthy=False)
    assert held_by(cluster, REPLICA) is None
    if seen_by == "itself":
        cluster.with_leader(OTHER, timeline=3).proxies_see()
    else:
        cluster.proxies_see(OTHER)
    assert held_by(cluster, REPLICA) == "quorum"
