"""Every ladder, rung by rung, as the planner climbs it when nothing helps; and what a rung waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from lambdas.core.actions import (
    DropReplicationSlot,
    GrowDisk,
    Hold,
    JoinReplica,
    Reboot,
    RestartService,
    StopInstance,
    Switchover,
    Wait,
    rung_of,
)
from lambdas.core.diagnose import Diagnosis
from lambdas.core.ladder import LADDERS
from lambdas.core.model import App, Haproxy, PeerState
from tests.unit.lambdas.builders import GIB, NOW, Cluster, a_cluster

REPLICA, LEADER, WITNESS, OTHER = "db-euw3-a", "db-euw1-a", "witness-euc1-a", "db-euw1-b"
HAPROXY, APP = "haproxy-euw3-a", "app-euw1-a"
Make = Callable[[], Cluster]


def climbed(make: Make, slot: str) -> list[str]:
    """The steps one after another, each waited for and in vain, and the hold in the end."""
    rungs: dict[str, int] = {}
    steps: list[str] = []
    while len(steps) < 20:
        cluster = make()
        failing = cluster.incidents[slot].failing if slot in cluster.incidents else None
        failures = cluster.incidents[slot].failures if slot in cluster.incidents else 0
        cluster.incident(
            slot,
            opened_s_ago=9000,
            rungs=dict(rungs),
            last_acted_at=cluster.now - 6000,
            failing=failing,
            failures=failures,
        )
        action = cluster.planned(slot)
        assert action is not None
        assert not isinstance(action, Wait), action.because
        if isinstance(action, Hold):
            return [*steps, f"hold {action.rail}"]
        steps.append(rung_of(action))
        rungs[steps[-1]] = rungs.get(steps[-1], 0) + 1
    raise AssertionError(f"no end: {steps}")


def restarts(unit: str, times: int) -> list[str]:
    return [f"restart-service:{unit}"] * times


def blind() -> Cluster:
    return a_cluster().says(HAPROXY, haproxy=Haproxy(up=True, write_backends_up=()))


def lost_wal() -> Cluster:
    return a_cluster().broken(REPLICA).keeps_wal(LEADER, "db_euw3_a", wal_status="lost")


def stuck() -> Cluster:
    return a_cluster().broken(REPLICA).patroni_says(REPLICA, state="starting", state_for_s=500.0)


def diverged() -> Cluster:
    cluster = a_cluster().broken(REPLICA).postgres_says(REPLICA, timeline=1)
    return cluster.patroni_says(REPLICA, timeline=1)


MACHINE = ["reboot", "stop", "terminate"]
CASES: Mapping[str, tuple[Make, str, list[str]]] = {
    "agent-silent": (
        lambda: a_cluster().silent(REPLICA).seen_by_peers_as(REPLICA, PeerState.REFUSED),
        REPLICA,
        restarts("pgmend-agent", 12),
    ),
    "agent-cut-off": (lambda: a_cluster().silent(LEADER), LEADER, restarts("pgmend-agent", 12)),
    "clock-off": (
        lambda: a_cluster().clock_off(LEADER, by_s=7200),
        LEADER,
        restarts("chrony", 1),
    ),
    "unreachable": (
        lambda: a_cluster().nobody_answered(REPLICA, for_s=400),
        REPLICA,
        MACHINE,
    ),
    "impaired": (lambda: a_cluster().impaired(REPLICA), REPLICA, MACHINE),
    "retiring": (lambda: a_cluster().announced(REPLICA, in_s=9e6), REPLICA, ["stop", "stop"]),
    "retiring by a reboot": (
        lambda: a_cluster().announced(REPLICA, code="instance-reboot", in_s=9e6),
        REPLICA,
        ["reboot", "reboot"],
    ),
    "disk-absent": (
        lambda: a_cluster().disk_says(REPLICA, mounted=False),
        REPLICA,
        ["reboot", "stop", "set-disk-aside"],
    ),
    "disk-absent of the witness": (
        lambda: a_cluster().disk_says(WITNESS, mounted=False),
        WITNESS,
        ["reboot", "stop", "set-disk-aside"],
    ),
    "disk-read-only": (
        lambda: a_cluster().disk_says(REPLICA, read_only=True),
        REPLICA,
        ["reboot", "stop", "set-disk-aside"],
    ),
    "disk-full": (
        lambda: a_cluster().used(LEADER, 0.97),
        LEADER,
        ["release-ballast"] * 2 + ["grow-disk"] * 8,
    ),
    "disk-full without ballast": (
        lambda: a_cluster().used(LEADER, 0.97, ballast_bytes=0, device_bytes=40 * GIB),
        LEADER,
        ["grow-file-system"] * 3 + ["grow-disk"] * 8,
    ),
    "disk-filling": (lambda: a_cluster().used(LEADER, 0.9), LEADER, ["grow-disk"] * 8),
    "disk-small": (
        lambda: a_cluster().disk_says(LEADER, device_bytes=40 * GIB),
        LEADER,
        ["grow-file-system"] * 3,
    ),
    "checksum-failures": (
        lambda: a_cluster().postgres_says(REPLICA, checksum_failures=2),
        REPLICA,
        ["set-disk-aside"],
    ),
    "configure-failed": (
        lambda: a_cluster().idle(REPLICA).incident(REPLICA, failing="configure", failures=3),
        REPLICA,
        ["terminate"] * 2,
    ),
    "service-down": (
        lambda: a_cluster().service(REPLICA, "patroni", "failed").not_followed_by(REPLICA),
        REPLICA,
        [*restarts("patroni", 5), *MACHINE, "set-disk-aside"],
    ),
    "service-down of a proxy": (
        lambda: a_cluster().service(HAPROXY, "haproxy", "failed"),
        HAPROXY,
        [*restarts("haproxy", 5), *MACHINE],
    ),
    "etcd-unhealthy and etcd-lost": (
        lambda: a_cluster().etcd_says(WITNESS, healthy=False),
        WITNESS,
        [*restarts("etcd", 3), "replace-etcd-member"],
    ),
    "etcd-full": (
        lambda: a_cluster().etcd_says(LEADER, alarms=("NOSPACE",)),
        LEADER,
        ["repair-etcd"] * 2,
    ),
    "etcd-corrupt": (
        lambda: a_cluster().etcd_says(WITNESS, healthy=False, alarms=("CORRUPT",)),
        WITNESS,
        ["replace-etcd-member"],
    ),
    "haproxy-blind": (blind, HAPROXY, [*restarts("haproxy", 3), *MACHINE]),
    "app-not-ready": (
        lambda: a_cluster().says(APP, app=App(up=True, ready=False)),
        APP,
        [*restarts("pgmend-app", 3), *MACHINE],
    ),
    "replica-wal-gone": (lost_wal, REPLICA, ["reinit", "reinit", "set-disk-aside"]),
    "reinit-loop": (
        lambda: a_cluster().broken(REPLICA).patroni_says(REPLICA, clones=4),
        REPLICA,
        ["set-disk-aside"],
    ),
    "replica-stuck": (stuck, REPLICA, ["join-replica", "reboot", "reinit", "set-disk-aside"]),
    "replica-diverged": (diverged, REPLICA, ["join-replica", "reinit", "set-disk-aside"]),
    "replica-broken": (
        lambda: a_cluster().broken(REPLICA),
        REPLICA,
        ["join-replica", "join-replica", "reinit", "reboot", "terminate", "set-disk-aside"],
    ),
    "wal-hoarded": (
        lambda: a_cluster().keeps_wal(LEADER, "stranger"),
        LEADER,
        ["drop-replication-slot"] * 3,
    ),
    "outdated": (lambda: a_cluster().rolled(), OTHER, ["terminate"] * 2),
}


@pytest.mark.parametrize("name", CASES)
def test_the_ladder_of(name: str) -> None:
    make, slot, steps = CASES[name]
    if name == "outdated":  # one at a time: the others are new already
        others = [s.name for s in a_cluster().spec.slots if s.active and s.name != slot]
        old = make

        def make() -> Cluster:
            cluster = old()
            for other in others:
                cluster.launched(other, ago_s=10)
            return cluster

    assert climbed(make, slot) == [*steps, "hold ladder"]


def test_every_ladder_is_climbed_here() -> None:
    named = {part for name in CASES for part in name.split()} | {"to-switch-over"}
    assert {str(d) for d in LADDERS} - named == set()


# -- what a rung waits for


@pytest.mark.parametrize(("since_s", "waits"), [(59, True), (61, False)])
def test_what_may_recover_by_itself_is_given_time(since_s: float, waits: bool) -> None:
    cluster = a_cluster().impaired(REPLICA).incident(REPLICA, opened_s_ago=since_s)
    assert isinstance(cluster.planned(REPLICA), Wait) is waits


@pytest.mark.parametrize(("since_s", "waits"), [(299, True), (301, False)])
def test_a_rebooted_machine_is_given_its_time_before_the_next_rung(
    since_s: float, waits: bool
) -> None:
    cluster = a_cluster().impaired(REPLICA).tried(REPLICA, last_s_ago=since_s, reboot=1)
    assert isinstance(cluster.planned(REPLICA), Wait) is waits


def test_the_last_rung_has_its_time_before_a_person_is_told() -> None:
    cluster = a_cluster().clock_off(REPLICA, by_s=900)
    cluster.tried(REPLICA, last_s_ago=30, restart_service__chrony=1)
    assert isinstance(cluster.planned(REPLICA), Wait)


def test_the_hold_after_the_last_rung_says_what_was_tried() -> None:
    cluster = a_cluster().clock_off(REPLICA, by_s=900).tried(REPLICA, restart_service__chrony=1)
    held = cluster.planned(REPLICA)
    assert isinstance(held, Hold)
    assert "restart-service:chrony 1x" in held.because


@pytest.mark.parametrize(
    ("times", "since_s", "kind"),
    [
        (2, 61, "restart-service"),
        (3, 30, "wait"),
        (3, 61, "hold"),
        (3, 601, "restart-service"),
        (7, 61, "hold"),
        (12, 601, "hold"),
    ],
)
def test_an_agent_is_restarted_thrice_and_then_now_and_then_while_a_person_is_told(
    times: int, since_s: float, kind: str
) -> None:
    cluster = a_cluster().silent(LEADER)
    cluster.tried(LEADER, last_s_ago=since_s, restart_service__pgmend_agent=times)
    step = cluster.planned(LEADER)
    assert step is not None
    assert step.kind == kind


def test_a_region_that_ssm_still_sees_after_long_is_not_cut_off() -> None:
    cluster = a_cluster().silent(REPLICA, for_s=700).silent(HAPROXY, for_s=700)
    cluster.seen_by_peers_as(HAPROXY, PeerState.REFUSED)
    assert isinstance(cluster.planned(HAPROXY), RestartService)
    assert isinstance(cluster.offline(REPLICA).offline(HAPROXY).planned(HAPROXY), Hold)
    assert cluster.diagnosis(HAPROXY) is Diagnosis.REGION_CUT_OFF


def test_a_corrupt_member_still_votes_and_proves_no_other_alive() -> None:
    cluster = a_cluster().etcd_says(LEADER, healthy=False, alarms=("CORRUPT",))
    cluster.nobody_answered(REPLICA, for_s=400)
    step = cluster.incident(REPLICA, opened_s_ago=99).planned(REPLICA)
    assert step is not None
    assert step.kind == "reboot"


def test_a_rung_that_needs_a_document_is_left_out_where_ssm_does_not_see_the_node() -> None:
    cluster = a_cluster().broken(REPLICA).offline(REPLICA)
    assert isinstance(cluster.incident(REPLICA, opened_s_ago=299).planned(REPLICA), Wait)
    step = cluster.incident(REPLICA, opened_s_ago=301).planned(REPLICA)
    assert step is not None
    assert step.kind == "reboot"


def test_no_rung_is_left_out_while_ssm_sees_nobody_in_the_region() -> None:
    """Then it says nothing of this node either."""
    cluster = a_cluster().broken(REPLICA).offline(REPLICA).offline(HAPROXY)
    held = cluster.incident(REPLICA, opened_s_ago=301).planned(REPLICA)
    assert isinstance(held, Hold)
    assert held.rail == "ssm"


def test_a_dead_machine_is_stopped_by_force_and_a_living_one_is_asked() -> None:
    dead = a_cluster().nobody_answered(REPLICA, for_s=900).tried(REPLICA, reboot=1)
    step = dead.planned(REPLICA)
    assert isinstance(step, StopInstance)
    assert step.force
    step = a_cluster().impaired(REPLICA).tried(REPLICA, reboot=1).planned(REPLICA)
    assert isinstance(step, StopInstance)
    assert not step.force


def test_who_led_last_is_started_again_and_again_and_nothing_more() -> None:
    cluster = a_cluster().service(LEADER, "patroni", "failed").patroni_says(LEADER, role=None)
    step = cluster.tried(LEADER, restart_service__patroni=7).led_last(LEADER).planned(LEADER)
    assert isinstance(step, RestartService)


def test_a_patroni_that_hangs_on_a_copy_is_restarted() -> None:
    assert a_cluster().patroni_hangs(REPLICA, for_s=30).planned(REPLICA) is None  # it streams
    step = a_cluster().patroni_hangs(REPLICA, for_s=61).planned(REPLICA)
    assert isinstance(step, RestartService)
    assert step.service == "patroni"


def test_patience_counts_from_when_the_present_trouble_was_found() -> None:
    cluster = a_cluster().broken(REPLICA)
    cluster.incident(REPLICA, opened_s_ago=900, found="replica-broken", found_at=NOW - 30)
    assert isinstance(cluster.planned(REPLICA), Wait)
    cluster.incident(REPLICA, opened_s_ago=900, found="replica-broken", found_at=NOW - 61)
    assert isinstance(cluster.planned(REPLICA), JoinReplica)


def test_a_copy_that_was_stuck_while_nobody_led_is_given_time_when_somebody_does() -> None:
    cluster = stuck()
    tried = {"join-replica": 1}
    cluster.incident(
        REPLICA, opened_s_ago=900, rungs=tried, found_at=NOW - 4, last_acted_at=NOW - 400
    )
    assert isinstance(cluster.planned(REPLICA), Wait)
    cluster.incident(
        REPLICA, opened_s_ago=900, rungs=tried, found_at=NOW - 61, last_acted_at=NOW - 400
    )
    assert isinstance(cluster.planned(REPLICA), Reboot)


def test_what_may_recover_by_itself_has_its_time_whatever_was_tried_against_something_else() -> (
    None
):
    cluster = a_cluster().says(HAPROXY, haproxy=Haproxy(up=True, write_backends_up=()))
    spent = {"restart-service:haproxy": 3}
    cluster.incident(
        HAPROXY, opened_s_ago=900, rungs=spent, found_at=NOW - 30, last_acted_at=NOW - 200
    )
    assert isinstance(cluster.planned(HAPROXY), Wait)
    cluster.incident(
        HAPROXY, opened_s_ago=900, rungs=spent, found_at=NOW - 61, last_acted_at=NOW - 200
    )
    assert isinstance(cluster.planned(HAPROXY), Reboot)


# -- disks grow by half, within their limit


@pytest.mark.parametrize(("size_gib", "to_gib"), [(20, 30), (21, 32), (60, 80), (79, 80)], ids=str)
def test_a_disk_grows_by_half_up_to_its_limit(size_gib: int, to_gib: int) -> None:
    cluster = a_cluster().used(LEADER, 0.9).disk_is(LEADER, "in-use", size_gib=size_gib)
    step = cluster.incident(LEADER, opened_s_ago=99).planned(LEADER)
    assert isinstance(step, GrowDisk)
    assert step.size_gib == to_gib


def test_a_disk_at_its_limit_is_for_a_person() -> None:
    cluster = a_cluster().used(LEADER, 0.9).disk_is(LEADER, "in-use", size_gib=80)
    assert isinstance(cluster.incident(LEADER, opened_s_ago=99).planned(LEADER), Hold)


def test_a_volume_that_grows_is_waited_for() -> None:
    cluster = a_cluster().used(LEADER, 0.9).disk_is(LEADER, "in-use", modification="modifying")
    assert isinstance(cluster.incident(LEADER, opened_s_ago=99).planned(LEADER), Wait)


# -- replication slots


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "drop-replication-slot"),
        ({"active": True}, "hold"),
        ({"active": None}, "hold"),
        ({"physical": False}, "hold"),
        ({"physical": None}, "hold"),
        ({"name": "db_euw3_a"}, "hold"),
    ],
    ids=str,
)
def test_only_what_nobody_reads_is_dropped(changes: dict[str, object], kind: str) -> None:
    cluster = a_cluster().keeps_wal(LEADER, "stranger", **changes)
    step = cluster.incident(LEADER, opened_s_ago=99).planned(LEADER)
    assert step is not None
    assert step.kind == kind
    if isinstance(step, DropReplicationSlot):
        assert step.replication_slot == "stranger"


def test_what_is_kept_for_a_copy_that_is_being_healed_is_waited_for() -> None:
    cluster = a_cluster().keeps_wal(LEADER, "db_euw3_a").incident(LEADER, opened_s_ago=99)
    assert isinstance(cluster.incident(REPLICA).planned(LEADER), Wait)


# -- whoever leads hands over first


@pytest.mark.parametrize(
    "trouble",
    [
        lambda: a_cluster().impaired(LEADER),
        lambda: a_cluster().announced(LEADER, in_s=9e6),
        lambda: a_cluster().postgres_says(LEADER, checksum_failures=1),
        lambda: a_cluster().disk_says(LEADER, read_only=True),
        lambda: a_cluster().disk_says(LEADER, mounted=False),
    ],
    ids=["impaired", "retiring", "checksums", "read-only", "absent"],
)
def test_a_leader_in_trouble_hands_over_before_it_is_touched(trouble: Make) -> None:
    step = trouble().incident(LEADER, opened_s_ago=99).planned(LEADER)
    assert isinstance(step, Switchover)
    assert step.to == OTHER  # the copy in its own region


def test_the_lead_goes_to_another_region_when_the_near_copy_is_not_well() -> None:
    cluster = (
        a_cluster()
        .impaired(LEADER)
        .incident(LEADER, opened_s_ago=99)
        .lagging(OTHER, lag_bytes=9 * 1024 * 1024)
    )
    step = cluster.planned(LEADER)
    assert isinstance(step, Switchover)
    assert step.to == REPLICA


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c, s: c.lagging(s, state="startup", lag_bytes=0),
        lambda c, s: c.lagging(s, lag_bytes=None),
        lambda c, s: c.disk_hangs(s, for_s=1),
        lambda c, s: c._instance(s, disk_impaired=True),
        lambda c, s: c.silent(s),
        lambda c, s: c.impaired(s),
        lambda c, s: c.hands_off(s),
        lambda c, s: c.postgres_says(s, checksum_failures=1),
        lambda c, s: c.used(s, 0.97),
        lambda c, s: c.disk_says(s, writable=False),
        lambda c, s: c.patroni_says(s, up=False),
    ],
    ids=[
        "it does not stream",
        "its lag is unknown",
        "its disk hangs",
        "EC2 finds its disk impaired",
        "it is silent",
        "EC2 calls it ill",
        "it is a person's",
        "its checksums are wrong",
        "its disk is full",
        "its disk takes no writes",
        "its Patroni is silent",
    ],
)
def test_nobody_leads_next_of_whom(spoil: Callable[[Cluster, str], Cluster]) -> None:
    cluster = a_cluster().impaired(LEADER).incident(LEADER, opened_s_ago=99)
    for slot in (OTHER, REPLICA):
        spoil(cluster, slot)
    held = cluster.planned(LEADER)
    assert isinstance(held, Hold)
    assert held.rail == "no-successor"


def test_a_switchover_is_given_its_time_and_tried_three_times() -> None:
    cluster = a_cluster().impaired(LEADER)
    assert isinstance(cluster.tried(LEADER, last_s_ago=30, switchover=1).planned(LEADER), Wait)
    assert isinstance(cluster.tried(LEADER, switchover=2).planned(LEADER), Switchover)
    held = cluster.tried(LEADER, switchover=3).planned(LEADER)
    assert isinstance(held, Hold)
    assert held.rail == "ladder"


def test_every_rung_has_attempts_and_a_kind_that_the_planner_knows() -> None:
    for diagnosis, rungs in LADDERS.items():
        assert diagnosis in Diagnosis
        assert all(rung.attempts > 0 for rung in rungs)


def test_an_app_without_a_proxy_that_sees_a_primary_is_not_restarted() -> None:
    cluster = a_cluster().says(APP, app=App(up=True, ready=False)).incident(APP, opened_s_ago=99)
    for proxy in ("haproxy-euw1-a", HAPROXY):
        cluster.says(proxy, haproxy=Haproxy(up=True, write_backends_up=()))
    assert isinstance(cluster.planned(APP), Wait)


def test_a_spec_without_a_limit_lets_a_disk_grow_four_times() -> None:
    disk = a_cluster().spec.by_name[LEADER].disk
    assert disk is not None
    assert replace(disk, max_gib=None).limit_gib == 80
