"""What is done about each diagnosis, and what is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lambdas.core.actions import (
    AttachDisk,
    Configure,
    CreateDisk,
    DeclareBirth,
    DeclareBorn,
    Hold,
    JoinReplica,
    Launch,
    RestartService,
    StartInstance,
    Terminate,
    Wait,
)
from lambdas.core.model import App, Budget, Haproxy, InstanceState, PeerState, Phase
from tests.unit.lambdas.builders import Cluster, a_cluster, instance_id, volume_id

REPLICA, LEADER, WITNESS = "db-euw3-a", "db-euw1-a", "witness-euc1-a"
HAPROXY, APP = "haproxy-euw3-a", "app-euw1-a"


def test_a_healthy_cluster_is_left_alone() -> None:
    assert a_cluster().plan() == ()


# -- filling a slot


def test_an_empty_slot_is_filled() -> None:
    assert a_cluster().empty(REPLICA).planned(REPLICA) == Launch(slot=REPLICA)


def test_a_slot_is_not_refilled_before_ec2_says_terminated() -> None:
    cluster = a_cluster().in_state(REPLICA, InstanceState.SHUTTING_DOWN)
    assert isinstance(cluster.planned(REPLICA), Wait)


def test_a_stopped_occupant_is_started_first() -> None:
    cluster = a_cluster().in_state(REPLICA, InstanceState.STOPPED)
    assert cluster.planned(REPLICA) == StartInstance(slot=REPLICA, instance_id=instance_id(REPLICA))


def test_a_missing_disk_is_made_and_a_free_one_attached() -> None:
    assert a_cluster().without_disk(REPLICA).planned(REPLICA) == CreateDisk(slot=REPLICA)
    free = a_cluster().disk_is(REPLICA, "available", attached_to=None, attachment_state=None)
    assert free.planned(REPLICA) == AttachDisk(
        slot=REPLICA, instance_id=instance_id(REPLICA), volume_id=volume_id(REPLICA)
    )


def test_an_idle_node_joins_once_the_cluster_is_born() -> None:
    step = a_cluster().idle(REPLICA).planned(REPLICA)
    assert isinstance(step, Configure)
    assert not step.birth
    assert step.etcd_token is None
    assert step.volume_id == volume_id(REPLICA)


def test_an_idle_node_takes_part_in_the_birth_with_the_token() -> None:
    step = a_cluster().being_born().idle(REPLICA).planned(REPLICA)
    assert isinstance(step, Configure)
    assert step.birth
    assert step.etcd_token == "secret-token"


def test_configuring_waits_for_ssm() -> None:
    assert isinstance(a_cluster().idle(REPLICA).offline(REPLICA).planned(REPLICA), Wait)


def test_nothing_is_configured_before_the_birth_is_declared() -> None:
    actions = a_cluster().unborn().idle(REPLICA).plan()
    assert DeclareBirth(slot=LEADER) in actions
    assert any(isinstance(a, Wait) and a.slot == REPLICA for a in actions)


def test_empty_slots_are_filled_side_by_side_up_to_the_limit() -> None:
    cluster = a_cluster()
    for slot in cluster.spec.slots:
        cluster.empty(slot.name)
    budget = replace(cluster.spec.budget, launches_in_parallel=3)
    cluster.spec = replace(cluster.spec, budget=budget)
    launches = [a for a in cluster.plan() if isinstance(a, Launch)]
    assert len(launches) == 3
    for name in ("db-euw1-a", "db-euw1-b"):  # asked for, and not shown by EC2 yet
        cluster.under_way(name, "launch", asked_s_ago=5)
    launches = [a for a in cluster.plan() if isinstance(a, Launch)]
    assert len(launches) == 1


# -- birth


def test_the_birth_ends_when_the_first_leader_leads_over_a_healthy_etcd() -> None:
    cluster = a_cluster().being_born()
    assert cluster.plan() == (
        DeclareBorn(slot=LEADER, etcd_cluster_id="cdf8", system_identifier="745"),
    )


@pytest.mark.parametrize("missing", ["postgres", "patroni"])
def test_the_birth_does_not_end_on_half_an_answer(missing: str) -> None:
    cluster = a_cluster().being_born().says(LEADER, **{missing: None})
    assert not any(isinstance(a, DeclareBorn) for a in cluster.plan())


def test_the_birth_ends_with_whoever_leads() -> None:
    """The first leader may be gone before anybody looked."""
    cluster = a_cluster().being_born().with_leader("db-euw1-b", timeline=2)
    born = [a for a in cluster.plan() if isinstance(a, DeclareBorn)]
    assert born == [DeclareBorn(slot="db-euw1-b", etcd_cluster_id="cdf8", system_identifier="745")]


def test_the_birth_does_not_end_without_a_healthy_voter() -> None:
    cluster = a_cluster().being_born()
    for voter in cluster.spec.voters:
        cluster.says(voter.name, etcd=None)
    assert not any(isinstance(a, DeclareBorn) for a in cluster.plan())


# -- disks


def test_a_node_that_runs_on_a_volume_gets_no_blank_one() -> None:
    cluster = a_cluster().without_disk(LEADER).says(LEADER, volume_id="vol-of-old")
    held = cluster.planned(LEADER)
    assert isinstance(held, Hold)
    assert held.rail == "disk"


def test_a_node_is_not_given_another_volume_than_it_runs_on() -> None:
    free = {"attached_to": None, "attachment_state": None}
    cluster = a_cluster().disk_is(REPLICA, "available", **free).says(REPLICA, volume_id="vol-other")
    assert isinstance(cluster.planned(REPLICA), Hold)


@pytest.mark.parametrize("ready", [None, False])
def test_an_app_that_lives_and_does_not_know_yet_is_not_restarted(ready: bool | None) -> None:
    cluster = a_cluster().says(APP, app=App(up=True, ready=ready)).incident(APP, opened_s_ago=6000)
    assert isinstance(cluster.planned(APP), Wait) is (ready is None)


# -- what AWS refuses is asked again ever more slowly


@pytest.mark.parametrize(("failures", "wait_s"), [(1, 5), (2, 10), (3, 20), (9, 300)])
@pytest.mark.parametrize("kind", ["launch", "create-disk", "attach-disk"])
def test_a_refused_step_waits_twice_as_long_each_time(
    kind: str, failures: int, wait_s: float
) -> None:
    for since_s, waits in ((wait_s - 1, True), (wait_s + 1, False)):
        cluster = {
            "launch": a_cluster().empty(REPLICA),
            "create-disk": a_cluster().without_disk(REPLICA),
            "attach-disk": a_cluster().disk_is(
                REPLICA, "available", attached_to=None, attachment_state=None
            ),
        }[kind]
        acted_at = cluster.now - since_s
        cluster.incident(REPLICA, failing=kind, failures=failures, last_acted_at=acted_at)
        assert isinstance(cluster.planned(REPLICA), Wait) is waits, since_s


def test_failures_of_one_kind_do_not_slow_another() -> None:
    cluster = a_cluster().idle(REPLICA)
    cluster.incident(REPLICA, failing="launch", failures=3)
    assert isinstance(cluster.planned(REPLICA), Configure)


# -- patience


def test_a_copy_that_streams_and_lags_is_left_alone() -> None:
    cluster = a_cluster().lagging(REPLICA, lag_bytes=50 * 1024 * 1024)
    cluster.incident(REPLICA, opened_s_ago=6000)
    waits = cluster.planned(REPLICA)
    assert isinstance(waits, Wait)
    assert "behind by 50 MiB" in waits.because


def test_a_clone_under_way_is_left_alone() -> None:
    cluster = a_cluster().lagging(REPLICA, state=None, lag_bytes=None)
    patroni = cluster.reports[REPLICA].report.patroni
    assert patroni is not None
    cluster.says(REPLICA, patroni=replace(patroni, state="creating replica"))
    assert isinstance(cluster.incident(REPLICA, opened_s_ago=6000).planned(REPLICA), Wait)


@pytest.mark.parametrize("cut_off", [True, False])
def test_a_proxy_is_not_restarted_for_a_network_that_is_cut(cut_off: bool) -> None:
    cluster = a_cluster().says("haproxy-euw3-a", haproxy=Haproxy(up=True, write_backends_up=()))
    cluster.incident("haproxy-euw3-a", opened_s_ago=6000)
    if cut_off:
        cluster.seen_by_peers_as(LEADER, PeerState.SILENT, by=("haproxy-euw3-a",))
    assert isinstance(cluster.planned("haproxy-euw3-a"), Wait) is cut_off


# -- one step at a time


@pytest.mark.parametrize("kind", ["launch", "create-disk", "attach-disk", "terminate", "start"])
def test_what_was_just_asked_is_not_asked_again_while_ec2_does_not_show_it(kind: str) -> None:
    cluster = {
        "launch": a_cluster().empty(REPLICA),
        "create-disk": a_cluster().without_disk(REPLICA),
        "attach-disk": a_cluster().disk_is(
            REPLICA, "available", attached_to=None, attachment_state=None
        ),
        "terminate": a_cluster().dead(REPLICA),
        "start": a_cluster().in_state(REPLICA, InstanceState.STOPPED),
    }[kind]
    planned = cluster.under_way(REPLICA, kind).planned(REPLICA)
    assert isinstance(planned, Wait), planned


def test_a_disk_that_was_just_made_is_not_made_again_because_it_is_not_listed_yet() -> None:
    cluster = a_cluster().without_disk(REPLICA).under_way(REPLICA, "create-disk", instance_id=None)
    assert isinstance(cluster.planned(REPLICA), Wait)


def test_an_intent_whose_run_crashed_is_carried_out_under_the_same_id() -> None:
    cluster = a_cluster().without_disk(REPLICA).incident(REPLICA, steps=1)
    cluster.under_way(
        REPLICA,
        "create-disk",
        instance_id=None,
        action_id=f"20270115T080000-{REPLICA}-2-create-disk",
    )
    assert cluster.planned(REPLICA) == CreateDisk(slot=REPLICA)


@pytest.mark.parametrize(
    ("cluster", "before", "expected"),
    [
        (a_cluster().empty(REPLICA), "terminate", Launch),
        (a_cluster().without_disk(REPLICA), "launch", CreateDisk),
        (
            a_cluster().disk_is(REPLICA, "available", attached_to=None, attachment_state=None),
            "create-disk",
            AttachDisk,
        ),
        (a_cluster().idle(REPLICA), "attach-disk", Configure),
    ],
    ids=[
        "launch after terminate",
        "disk after launch",
        "attach after disk",
        "configure after attach",
    ],
)
def test_a_step_whose_effect_is_seen_does_not_hold_up_the_next_one(
    cluster: Cluster, before: str, expected: type
) -> None:
    assert isinstance(cluster.under_way(REPLICA, before).planned(REPLICA), expected)


def test_a_document_under_way_is_waited_for() -> None:
    cluster = a_cluster().service(REPLICA, "patroni", "failed")
    cluster.under_way(REPLICA, "restart-service", command_id="c-1", command_state="InProgress")
    assert isinstance(cluster.planned(REPLICA), Wait)


def test_a_document_under_way_on_a_dead_host_does_not_delay_its_eviction() -> None:
    cluster = a_cluster().dead(REPLICA)
    cluster.under_way(REPLICA, "configure", command_id="c-1", command_state="InProgress")
    assert isinstance(cluster.planned(REPLICA), Terminate)


def test_a_document_sent_to_the_last_occupant_does_not_delay_the_next_one() -> None:
    cluster = a_cluster().empty(REPLICA)
    cluster.under_way(REPLICA, "configure", command_id="c-1", command_state="InProgress")
    assert isinstance(cluster.planned(REPLICA), Launch)


# -- death


def test_a_dead_replica_is_evicted() -> None:
    step = a_cluster().dead(REPLICA).planned(REPLICA)
    assert step == Terminate(slot=REPLICA, instance_id=instance_id(REPLICA))


def test_a_suspicion_says_what_is_known_and_does_nothing() -> None:
    step = a_cluster().silent(REPLICA, for_s=30).unreachable(REPLICA).planned(REPLICA)
    assert isinstance(step, Wait)
    assert "silent for 30.0 s" in step.because
    assert "EC2 says ok" in step.because


def test_one_removal_a_look() -> None:
    cluster = a_cluster().dead(REPLICA).dead(HAPROXY)
    removals = [a for a in cluster.plan() if isinstance(a, Terminate)]
    assert len(removals) == 1


# -- rungs that disturb


def test_a_dead_service_is_restarted() -> None:
    step = a_cluster().service(REPLICA, "patroni", "failed").planned(REPLICA)
    assert step == RestartService(slot=REPLICA, instance_id=instance_id(REPLICA), service="patroni")


def test_a_service_is_judged_again_only_by_a_report_newer_than_its_restart() -> None:
    cluster = a_cluster().service(REPLICA, "patroni", "failed").silent(REPLICA, for_s=3)
    cluster.incident(REPLICA, opened_s_ago=5, steps=1, last_acted_at=cluster.now - 1)
    assert isinstance(cluster.planned(REPLICA), Wait)


def test_a_node_is_configured_again_only_by_a_report_newer_than_the_last_attempt() -> None:
    cluster = a_cluster().idle(REPLICA).silent(REPLICA, for_s=3)
    cluster.incident(REPLICA, opened_s_ago=5, steps=1, last_acted_at=cluster.now - 1)
    assert isinstance(cluster.planned(REPLICA), Wait)


def test_a_silent_agent_on_a_well_host_is_restarted_and_then_given_time() -> None:
    cluster = a_cluster().silent(REPLICA)
    step = cluster.planned(REPLICA)
    assert isinstance(step, RestartService)
    assert step.service == "pgmend-agent"
    cluster.incident(REPLICA, opened_s_ago=20, steps=1, last_acted_at=cluster.now - 10)
    assert isinstance(cluster.planned(REPLICA), Wait)


@pytest.mark.parametrize(
    ("cluster", "slot", "expected"),
    [
        (a_cluster().lagging(REPLICA, state="startup", lag_bytes=None), REPLICA, JoinReplica),
        (
            a_cluster().says(HAPROXY, haproxy=Haproxy(up=True, write_backends_up=())),
            HAPROXY,
            RestartService,
        ),
        (a_cluster().says(APP, app=None), APP, RestartService),
        (a_cluster().says(WITNESS, etcd=None), WITNESS, RestartService),
    ],
    ids=["replica", "haproxy", "app", "etcd"],
)
def test_what_may_recover_by_itself_is_given_time_first(
    cluster: Cluster, slot: str, expected: type
) -> None:
    assert isinstance(cluster.incident(slot, opened_s_ago=5).planned(slot), Wait)
    assert isinstance(cluster.incident(slot, opened_s_ago=61).planned(slot), expected)


def test_nothing_is_restarted_for_want_of_a_leader() -> None:
    cluster = a_cluster().dead(LEADER).incident(HAPROXY, opened_s_ago=600)
    cluster.says(HAPROXY, haproxy=Haproxy(up=True, write_backends_up=()))
    assert isinstance(cluster.planned(HAPROXY), Wait)


# -- holds


@pytest.mark.parametrize(
    ("cluster", "rail"),
    [
        (a_cluster().region_unknown("eu-west-3"), "region-unknown"),
        (a_cluster().also(REPLICA, "i-2"), "two-occupants"),
        (a_cluster().idle(REPLICA).asked_for_a_person(REPLICA), "needs-person"),
        (a_cluster().says(REPLICA, phase=Phase.LEFT), "left"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_needs_a_person_is_held_with_its_reason(cluster: Cluster, rail: str) -> None:
    step = cluster.planned(REPLICA)
    assert isinstance(step, Hold)
    assert step.rail == rail
    assert step.because


def test_a_configure_that_asked_for_a_person_is_tried_again_after_a_long_while() -> None:
    """Exit code 11 creates nothing, and its cause (no etcd majority) may have passed by itself."""
    cluster = a_cluster().idle(REPLICA)
    cluster.asked_for_a_person(REPLICA, ago_s=301)
    assert isinstance(cluster.planned(REPLICA), Configure)


def test_the_budget_of_the_example_is_what_these_tests_assume() -> None:
    assert a_cluster().spec.budget == Budget(
        replacements_per_hour=6,
        replacements_per_day=20,
        launches_in_parallel=8,
        failed_launches_per_hour=10,
    )
