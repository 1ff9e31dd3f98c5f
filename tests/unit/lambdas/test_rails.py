"""One test a rail: what it forbids, and that it does not forbid more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lambdas.core.actions import Hold, Launch, RestartService, StartInstance, Terminate
from lambdas.core.majority import needed_copy
from lambdas.core.model import Etcd, InstanceState, Mode
from lambdas.core.rails import RAILS
from tests.unit.lambdas.builders import Cluster, a_cluster, follower_of

REPLICA, LEADER, WITNESS, OTHER = "db-euw3-a", "db-euw1-a", "witness-euc1-a", "db-euw1-b"
HAPROXY = "haproxy-euw3-a"


def held_by(cluster: Cluster, slot: str) -> str | None:
    step = cluster.planned(slot)
    return step.rail if isinstance(step, Hold) else None


def test_rails_have_names_of_their_own_and_reasons() -> None:
    assert len({rail.id for rail in RAILS}) == len(RAILS)
    assert all(rail.why for rail in RAILS)


def test_closed_a_cluster_that_is_being_emptied_is_not_refilled() -> None:
    assert held_by(a_cluster().closed().empty(REPLICA), REPLICA) == "closed"


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.OFF])
def test_mode_observe_says_what_it_would_have_done(mode: Mode) -> None:
    step = a_cluster().mode(mode).dead(REPLICA).planned(REPLICA)
    assert isinstance(step, Hold)
    assert step.rail == "mode"
    assert "terminate" in step.because


def test_hands_off_a_tagged_slot_is_a_persons() -> None:
    assert held_by(a_cluster().dead(REPLICA).hands_off(REPLICA), REPLICA) == "hands-off"


def test_paused_patroni_means_a_person_is_at_work() -> None:
    assert held_by(a_cluster().paused().dead(REPLICA), REPLICA) == "paused"


def test_paused_an_empty_slot_may_still_be_filled() -> None:
    assert isinstance(a_cluster().paused().empty(REPLICA).planned(REPLICA), Launch)


@pytest.mark.parametrize(
    ("alarms", "kind"), [((), "restart-service"), (("CORRUPT",), "replace-etcd-member")]
)
def test_living_leader_its_ill_etcd_member_is_mended_where_it_is(
    alarms: tuple[str, ...], kind: str
) -> None:
    """Patroni asks the other members; but where they are no majority, this one may be all that it has."""
    ill = Etcd(healthy=False, cluster_id="c", is_leader=False, alarms=alarms)
    cluster = a_cluster().says(LEADER, etcd=ill).incident(LEADER, opened_s_ago=600)
    step = cluster.planned(LEADER)
    assert step is not None
    assert step.kind == kind
    assert held_by(cluster.silent(REPLICA), LEADER) == "quorum"


@pytest.mark.parametrize("unit", ["etcd", "patroni"])
def test_living_leader_what_is_down_on_its_host_is_started(unit: str) -> None:
    """Nobody else may lead while the last leader's Patroni is down and only its host has what was acknowledged."""
    step = a_cluster().service(LEADER, unit, "failed").planned(LEADER)
    assert isinstance(step, RestartService)
    assert step.service == unit


def test_living_leader_its_agent_may_be_restarted() -> None:
    step = a_cluster().silent(LEADER).planned(LEADER)
    assert isinstance(step, RestartService)
    assert step.service == "pgmend-agent"


def test_living_leader_nobody_is_evicted_whom_another_node_still_names_as_leader() -> None:
    """Its own last word may be older than its promotion."""
    cluster = a_cluster().dead(OTHER)
    for name in (LEADER, REPLICA):
        cluster.says(name, patroni=follower_of(OTHER, timeline=2))
    assert not isinstance(cluster.planned(OTHER), Terminate)


def test_living_leader_who_led_is_remembered_when_nobody_names_it_any_more() -> None:
    """It fell silent just promoted, and then so did all who had seen it lead."""
    cluster = a_cluster().dead(OTHER).silent(LEADER).silent(REPLICA)
    assert isinstance(cluster.planned(OTHER), Terminate)
    assert not isinstance(cluster.led_last(OTHER).planned(OTHER), Terminate)


def test_living_leader_an_unknown_timeline_proves_no_succession() -> None:
    cluster = a_cluster()
    report = cluster.reports[LEADER].report
    assert report.patroni is not None
    assert report.postgres is not None
    cluster.says(
        LEADER,
        patroni=replace(report.patroni, timeline=None),
        postgres=replace(report.postgres, timeline=None),
    )
    cluster.dead(LEADER).with_leader(OTHER, timeline=3)
    assert not isinstance(cluster.planned(LEADER), Terminate)


def test_quorum_a_voter_is_not_restarted_when_the_others_have_no_majority() -> None:
    ill = Etcd(healthy=False, cluster_id="c", is_leader=False, alarms=())
    cluster = a_cluster().says(WITNESS, etcd=ill).says(LEADER, etcd=ill)
    cluster.incident(WITNESS, opened_s_ago=600)
    assert held_by(cluster, WITNESS) == "quorum"


def test_quorum_a_voter_may_be_restarted_when_the_others_have_one() -> None:
    ill = Etcd(healthy=False, cluster_id="c", is_leader=False, alarms=())
    cluster = a_cluster().says(WITNESS, etcd=ill).incident(WITNESS, opened_s_ago=600)
    assert isinstance(cluster.planned(WITNESS), RestartService)


def test_quorum_a_copy_stays_while_the_leaders_postgresql_does_not_say_who_streams() -> None:
    cluster = a_cluster().rolled()
    assert isinstance(cluster.planned("db-euw1-b"), Terminate)
    cluster.postgres_says(LEADER, up=False, in_recovery=None, replication=())
    assert held_by(cluster, "db-euw1-b") == "quorum"


@pytest.mark.parametrize("own", [{"receiver_up": False}, {"up": False}], ids=str)
def test_quorum_a_copy_that_says_that_it_does_not_follow_is_none_that_is_needed(
    own: dict[str, bool],
) -> None:
    cluster = a_cluster().postgres_says(LEADER, up=False, in_recovery=None, replication=())
    assert needed_copy(REPLICA, cluster.observation()) is not None
    assert needed_copy(HAPROXY, cluster.observation()) is None
    assert needed_copy(LEADER, cluster.observation()) is None
    assert needed_copy(REPLICA, cluster.postgres_says(REPLICA, **own).observation()) is None
    stopped = a_cluster().postgres_says(LEADER, up=False, in_recovery=None, replication=())
    stopped.silent(REPLICA).in_state(REPLICA, InstanceState.STOPPED)
    assert needed_copy(REPLICA, stopped.observation()) is None


def test_quorum_a_dead_voter_whose_disk_is_there_is_evicted_even_without_majority() -> None:
    """Giving its disk to a new machine is the only way the majority comes back."""
    cluster = a_cluster().dead(WITNESS).dead(LEADER).without_etcd_majority()
    assert isinstance(cluster.planned(WITNESS), Terminate)


def test_quorum_a_voter_that_etcd_could_not_answer_without_is_alive() -> None:
    """Two of three are silent and the third still gets answers: one of the two must serve."""
    cluster = a_cluster().dead(WITNESS).dead(LEADER)
    assert held_by(cluster, WITNESS) == "quorum"


def test_quorum_a_dead_voter_stays_while_no_other_voters_word_comes_though_they_may_serve() -> None:
    cluster = a_cluster().dead(WITNESS).silent(LEADER).silent(REPLICA)
    assert held_by(cluster, WITNESS) == "quorum"


def test_quorum_a_voter_that_a_peer_reaches_may_serve_though_ec2_calls_it_impaired() -> None:
    cluster = a_cluster().dead(WITNESS).dead(REPLICA).silent(LEADER).impaired(LEADER)
    assert held_by(cluster, WITNESS) == "quorum"


def test_quorum_a_voter_in_a_region_that_does_not_answer_may_serve() -> None:
    cluster = a_cluster().dead(LEADER).dead(REPLICA).silent(WITNESS).region_unknown("eu-central-1")
    assert held_by(cluster, REPLICA) == "quorum"


def test_quorum_a_voter_whose_own_etcd_is_down_says_nothing_of_the_others() -> None:
    ill = Etcd(healthy=False, cluster_id="c", is_leader=False, alarms=())
    cluster = a_cluster().dead(REPLICA).silent(LEADER)
    cluster.says(WITNESS, etcd=ill).service(WITNESS, "etcd", "failed")
    assert held_by(cluster, REPLICA) == "quorum"


def test_quorum_when_all_voters_are_dead_they_are_evicted_for_their_disks() -> None:
    cluster = a_cluster().dead(LEADER).dead(REPLICA).dead(WITNESS)
    assert isinstance(cluster.planned(REPLICA), Terminate)


def test_quorum_a_newcomer_that_never_spoke_makes_room_for_the_disk_that_etcd_waits_for() -> None:
    cluster = a_cluster().never_spoke(WITNESS, age_s=601).dead(LEADER).without_etcd_majority()
    assert isinstance(cluster.planned(WITNESS), Terminate)


def test_quorum_a_dead_voter_whose_disk_is_lost_is_not_evicted_without_majority() -> None:
    cluster = a_cluster().dead(WITNESS).dead(LEADER).without_disk(WITNESS)
    assert held_by(cluster, WITNESS) == "quorum"


def test_removal_budget_the_breaker_opens_after_so_many_an_hour() -> None:
    assert held_by(a_cluster().dead(REPLICA).removed(*[60] * 6), REPLICA) == "removal-budget"
    assert held_by(a_cluster().dead(REPLICA).removed(*[60] * 5), REPLICA) is None
    assert held_by(a_cluster().dead(REPLICA).removed(*[7200] * 6), REPLICA) is None
    assert held_by(a_cluster().dead(REPLICA).removed(*[7200] * 20), REPLICA) == "removal-budget"


def test_launch_budget_the_breaker_opens_after_so_many_failures() -> None:
    assert (
        held_by(a_cluster().empty(REPLICA).launches_failed(*[60] * 10), REPLICA) == "launch-budget"
    )
    assert held_by(a_cluster().empty(REPLICA).launches_failed(*[3700] * 10), REPLICA) is None


def test_one_removal_in_a_region_at_a_time() -> None:
    cluster = a_cluster().dead(REPLICA).in_state("haproxy-euw3-a", InstanceState.SHUTTING_DOWN)
    assert held_by(cluster, REPLICA) == "one-removal"


def test_one_removal_counts_what_was_asked_before_ec2_shows_it() -> None:
    cluster = a_cluster().dead(REPLICA).under_way("haproxy-euw3-a", "terminate")
    assert held_by(cluster, REPLICA) == "one-removal"


def test_one_removal_where_ec2_is_silent_one_may_be_going_on() -> None:
    cluster = a_cluster().dead("db-euw1-b").region_unknown("eu-west-3")
    assert held_by(cluster, "db-euw1-b") is None
    cluster.in_state(WITNESS, InstanceState.SHUTTING_DOWN)
    assert held_by(cluster, "db-euw1-b") == "one-removal"


def test_one_removal_in_another_region_may_go_on() -> None:
    cluster = a_cluster().dead(REPLICA).in_state("haproxy-euw1-a", InstanceState.SHUTTING_DOWN)
    assert isinstance(cluster.planned(REPLICA), Terminate)


def test_attempts_a_slot_is_not_disturbed_for_ever() -> None:
    cluster = a_cluster().service(REPLICA, "patroni", "failed").incident(REPLICA, tries=15)
    assert held_by(cluster, REPLICA) == "attempts"


def test_attempts_what_we_stopped_is_started_again() -> None:
    stopped = a_cluster().in_state(HAPROXY, InstanceState.STOPPED)
    assert held_by(stopped.incident(HAPROXY, tries=15, rungs={}), HAPROXY) == "attempts"
    for rungs, failures in (({"stop": 1}, 0), ({"stop": 1, "start": 2}, 2)):
        again = stopped.incident(HAPROXY, tries=15, rungs=rungs, failing="start", failures=failures)
        assert isinstance(again.planned(HAPROXY), StartInstance)
    over = stopped.incident(HAPROXY, tries=15, rungs={"stop": 1, "start": 1})
    assert held_by(over, HAPROXY) == "attempts"


def test_attempts_instances_that_never_join_are_not_launched_for_ever() -> None:
    assert held_by(a_cluster().empty(REPLICA).incident(REPLICA, tries=15), REPLICA) == "attempts"


def test_attempts_a_dead_host_is_evicted_all_the_same() -> None:
    assert held_by(a_cluster().dead(REPLICA).incident(REPLICA, tries=99), REPLICA) is None


def test_quorum_an_etcd_that_is_down_may_always_be_started() -> None:
    cluster = a_cluster()
    for voter in (WITNESS, "db-euw3-a"):
        cluster.service(voter, "etcd", "inactive").says(voter, etcd=None)
    assert held_by(cluster, WITNESS) is None


def test_a_clean_switchover_is_no_split_brain() -> None:
    """For a moment the old leader's last report still says it leads, on the older timeline."""
    cluster = a_cluster().with_leader(LEADER, timeline=2)
    old = cluster.reports[LEADER].report
    cluster.with_leader(OTHER, timeline=3)
    cluster.says(LEADER, patroni=old.patroni, postgres=old.postgres)
    assert cluster.observation().leader == OTHER
    assert held_by(cluster, OTHER) is None


def test_two_leaders_on_one_timeline_stop_everything_about_them() -> None:
    cluster = a_cluster()
    leading = cluster.reports[LEADER].report
    cluster.says(OTHER, patroni=leading.patroni, postgres=leading.postgres)
    assert held_by(cluster, LEADER) == "two-leaders"
    assert held_by(cluster, OTHER) == "two-leaders"
