"""One test a rule, in the table's order, and the table itself against its golden copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lambdas.core.actions import Hold, Terminate
from lambdas.core.diagnose import RULES, Diagnosis, rule_table
from lambdas.core.model import App, Etcd, Haproxy, InstanceState, PeerState, Phase
from lambdas.core.strength import judge
from tests.unit.lambdas.builders import Cluster, a_cluster

GOLDEN = Path(__file__).parent / "golden" / "rules.txt"
REPLICA, LEADER, WITNESS = "db-euw3-a", "db-euw1-a", "witness-euc1-a"
HAPROXY, APP = "haproxy-euw3-a", "app-euw1-a"


def test_the_rule_table_is_the_reviewed_one() -> None:
    """A changed rule is a reviewable diff; write the file anew when the change is meant."""
    assert rule_table() == GOLDEN.read_text()


def test_every_diagnosis_has_a_rule_and_numbers_rise() -> None:
    assert {rule.diagnosis for rule in RULES} == set(Diagnosis)
    numbers = [rule.number for rule in RULES]
    assert numbers == sorted(set(numbers))


def test_a_healthy_cluster_is_healthy_everywhere_and_spares_are_spare() -> None:
    for name, finding in a_cluster().findings().items():
        expected = Diagnosis.HEALTHY if finding.evidence.slot.active else Diagnosis.SPARE
        assert finding.diagnosis is expected, name


CASES = [
    (
        "an API that failed is not an empty region",
        a_cluster().region_unknown("eu-west-3"),
        REPLICA,
        "region-unknown",
    ),
    (
        "two instances in one slot are not chosen between",
        a_cluster().also(REPLICA, "i-2"),
        REPLICA,
        "two-occupants",
    ),
    ("an unoccupied spare slot is no trouble", a_cluster(), "db-euw1-c", "spare"),
    (
        "an active slot without an instance is empty",
        a_cluster().empty(REPLICA),
        REPLICA,
        "slot-empty",
    ),
    (
        "a terminated instance does not occupy its slot",
        a_cluster().in_state(REPLICA, InstanceState.TERMINATED),
        REPLICA,
        "slot-empty",
    ),
    (
        "shutting down is not gone",
        a_cluster().in_state(REPLICA, InstanceState.SHUTTING_DOWN),
        REPLICA,
        "terminating",
    ),
    (
        "stopping is not stopped",
        a_cluster().in_state(REPLICA, InstanceState.STOPPING),
        REPLICA,
        "terminating",
    ),
    (
        "a stopped occupant is stopped",
        a_cluster().in_state(REPLICA, InstanceState.STOPPED),
        REPLICA,
        "stopped",
    ),
    (
        "a pending occupant boots",
        a_cluster().in_state(REPLICA, InstanceState.PENDING),
        REPLICA,
        "booting",
    ),
    (
        "all three witnesses prove a replica dead",
        a_cluster().dead(REPLICA),
        REPLICA,
        "presumed-dead",
    ),
    (
        "some evidence is a suspicion",
        a_cluster().silent(REPLICA).unreachable(REPLICA),
        REPLICA,
        "suspected",
    ),
    (
        "a newcomer within its grace boots",
        a_cluster().never_spoke(REPLICA, age_s=60),
        REPLICA,
        "booting",
    ),
    (
        "a report that cannot be read is no proof of anything",
        a_cluster().report_refused(LEADER),
        LEADER,
        "report-refused",
    ),
    (
        "two current volumes are not chosen between",
        a_cluster().with_second_disk(REPLICA),
        REPLICA,
        "two-disks",
    ),
    (
        "a newcomer beyond its grace is stuck",
        a_cluster().never_spoke(REPLICA, age_s=601),
        REPLICA,
        "boot-stuck",
    ),
    (
        "a slot without its volume lacks a disk",
        a_cluster().without_disk(REPLICA),
        REPLICA,
        "disk-missing",
    ),
    (
        "a volume that still hangs on another machine is busy",
        a_cluster().disk_is(REPLICA, "in-use", attached_to="i-old"),
        REPLICA,
        "disk-busy",
    ),
    (
        "a volume in the making is busy",
        a_cluster().disk_is(REPLICA, "creating", attached_to=None),
        REPLICA,
        "disk-busy",
    ),
    (
        "a free volume waits to be attached",
        a_cluster().disk_is(REPLICA, "available", attached_to=None, attachment_state=None),
        REPLICA,
        "disk-detached",
    ),
    (
        "a silent agent on a well host is the agent's trouble",
        a_cluster().silent(REPLICA).seen_by_peers_as(REPLICA, PeerState.REFUSED),
        REPLICA,
        "agent-silent",
    ),
    (
        "an agent that peers hear and we do not is cut off from AWS",
        a_cluster().silent(REPLICA),
        REPLICA,
        "agent-cut-off",
    ),
    (
        "configuring that asks for a person is data lost",
        a_cluster().idle(REPLICA).asked_for_a_person(REPLICA),
        REPLICA,
        "needs-person",
    ),
    (
        "a configure under way is not started twice",
        a_cluster().idle(REPLICA).under_way(REPLICA, "configure", command_id="c-1"),
        REPLICA,
        "configuring",
    ),
    (
        "configuring fails only so often",
        a_cluster().idle(REPLICA).incident(REPLICA, failing="configure", failures=3),
        REPLICA,
        "configure-failed",
    ),
    ("an idle agent has not been configured", a_cluster().idle(REPLICA), REPLICA, "not-configured"),
    (
        "a node that was asked to leave has left",
        a_cluster().says(REPLICA, phase=Phase.LEFT),
        REPLICA,
        "left",
    ),
    (
        "a failed unit is a service down",
        a_cluster().service(REPLICA, "patroni", "failed"),
        REPLICA,
        "service-down",
    ),
    (
        "a stopped unit is one too",
        a_cluster().service(WITNESS, "etcd", "inactive"),
        WITNESS,
        "service-down",
    ),
    (
        "an unhealthy etcd member is seen",
        a_cluster().says(
            WITNESS, etcd=Etcd(healthy=False, cluster_id="c", is_leader=False, alarms=())
        ),
        WITNESS,
        "etcd-unhealthy",
    ),
    (
        "an etcd alarm that nobody knows is seen",
        a_cluster().etcd_says(WITNESS, alarms=("NEW",)),
        WITNESS,
        "etcd-unhealthy",
    ),
    (
        "an etcd member that says nothing is not healthy",
        a_cluster().says(WITNESS, etcd=None),
        WITNESS,
        "etcd-unhealthy",
    ),
    (
        "a proxy that sees nobody while nobody leads only waits",
        a_cluster().silent(LEADER).says(HAPROXY, haproxy=Haproxy(up=True, write_backends_up=())),
        HAPROXY,
        "waits-for-leader",
    ),
    ("so does a copy", a_cluster().silent(LEADER), REPLICA, "waits-for-leader"),
    (
        "so does the app",
        a_cluster().silent(LEADER).says(APP, app=App(up=True, ready=False)),
        APP,
        "waits-for-leader",
    ),
    (
        "a copy that the leader does not see streaming is broken",
        a_cluster().lagging(REPLICA, state="catchup", lag_bytes=0),
        REPLICA,
        "replica-broken",
    ),
    (
        "a copy that stays two MiB behind does not count",
        a_cluster().lagging(REPLICA, lag_bytes=2 * 1024 * 1024, for_s=61),
        REPLICA,
        "replica-lagging",
    ),
    (
        "unknown lag is not small lag",
        a_cluster().lagging(REPLICA, lag_bytes=None),
        REPLICA,
        "replica-lagging",
    ),
    (
        "a proxy with nowhere to write is blind",
        a_cluster().says(HAPROXY, haproxy=Haproxy(up=True, write_backends_up=())),
        HAPROXY,
        "haproxy-blind",
    ),
    (
        "a proxy with two places to write is no better",
        a_cluster().says(HAPROXY, haproxy=Haproxy(up=True, write_backends_up=("a", "b"))),
        HAPROXY,
        "haproxy-blind",
    ),
    (
        "a proxy that says nothing is blind",
        a_cluster().says(HAPROXY, haproxy=None),
        HAPROXY,
        "haproxy-blind",
    ),
    (
        "an app that says nothing is not ready",
        a_cluster().says(APP, app=None),
        APP,
        "app-not-ready",
    ),
]


@pytest.mark.parametrize(
    ("cluster", "slot", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_rule(cluster: Cluster, slot: str, expected: str) -> None:
    assert cluster.diagnosis(slot) == expected


# -- who lives is not stuck, whatever became of its reports


@pytest.mark.parametrize("alive", ["its agent answers a peer", "it follows the leader"])
def test_a_node_that_lives_without_reports_is_silent_and_not_stuck(alive: str) -> None:
    cluster = a_cluster().never_spoke(REPLICA, age_s=6000)
    if alive == "it follows the leader":
        cluster.lagging(REPLICA, state="streaming", lag_bytes=0)
        assert cluster.diagnosis(REPLICA) is Diagnosis.AGENT_SILENT
    else:
        cluster.seen_by_peers_as(REPLICA, PeerState.ALIVE, by=(WITNESS,))
        assert cluster.diagnosis(REPLICA) is Diagnosis.AGENT_CUT_OFF


def test_a_newcomer_is_not_stuck_on_nobodys_word() -> None:
    """No peer's word is young: nothing is known, which proves nothing."""
    cluster = a_cluster().never_spoke(REPLICA, age_s=6000)
    for slot in [s for s in cluster.reports if s != REPLICA]:
        cluster.silent(slot)
    assert cluster.diagnosis(REPLICA) is Diagnosis.AGENT_SILENT


def test_a_copy_that_its_leader_hears_is_not_dead_whatever_else_is_silent() -> None:
    cluster = a_cluster().silent(REPLICA).unreachable(REPLICA).impaired(REPLICA)
    assert cluster.diagnosis(REPLICA) is Diagnosis.SUSPECTED


def test_a_copy_that_a_primary_hears_lives_though_the_primarys_patroni_says_nothing() -> None:
    cluster = a_cluster().silent(REPLICA).unreachable(REPLICA).impaired(REPLICA)
    cluster.says(LEADER, patroni=None)
    assert cluster.diagnosis(REPLICA) is Diagnosis.SUSPECTED


def test_the_word_of_a_peer_in_a_region_whose_api_is_silent_still_counts() -> None:
    """EC2's API says nothing of the witness's region; the witness itself reaches the host."""
    cluster = a_cluster().dead(HAPROXY).region_unknown("eu-central-1")
    assert cluster.diagnosis(HAPROXY) is Diagnosis.PRESUMED_DEAD
    cluster.seen_by_peers_as(HAPROXY, PeerState.ALIVE, by=(WITNESS,))
    assert cluster.diagnosis(HAPROXY) is Diagnosis.SUSPECTED


def test_a_leader_whose_reports_are_gone_is_known_by_its_copies() -> None:
    cluster = a_cluster().never_spoke(LEADER, age_s=6000)
    assert cluster.diagnosis(LEADER) is Diagnosis.AGENT_SILENT
    assert not isinstance(cluster.planned(LEADER), Terminate)


def test_one_peer_that_gets_no_answer_does_not_hide_a_dead_agent() -> None:
    cluster = a_cluster().silent(REPLICA).seen_by_peers_as(REPLICA, PeerState.REFUSED)
    cluster.seen_by_peers_as(REPLICA, PeerState.SILENT, by=(WITNESS,))
    assert cluster.diagnosis(REPLICA) is Diagnosis.AGENT_SILENT


# -- a lost standby looks alive to its leader for a while


@pytest.mark.parametrize("own_word", [{"receiver_up": False}, {"up": False}], ids=str)
def test_a_copy_that_says_itself_that_it_does_not_follow_is_not_streaming(
    own_word: dict[str, object],
) -> None:
    cluster = a_cluster()
    postgres = cluster.reports[REPLICA].report.postgres
    assert postgres is not None
    cluster.says(REPLICA, postgres=replace(postgres, **own_word))  # type: ignore[arg-type]
    assert cluster.diagnosis(REPLICA) is Diagnosis.REPLICA_BROKEN


def test_a_copy_on_an_older_timeline_is_not_streaming() -> None:
    cluster = a_cluster().with_leader(LEADER, timeline=3)
    report = cluster.reports[REPLICA].report
    assert report.postgres is not None
    assert report.patroni is not None
    cluster.says(REPLICA, postgres=replace(report.postgres, timeline=2))
    assert cluster.diagnosis(REPLICA) is Diagnosis.HEALTHY  # Patroni already knows better
    cluster.says(REPLICA, patroni=replace(report.patroni, timeline=2))
    assert cluster.diagnosis(REPLICA) is Diagnosis.REPLICA_DIVERGED


def test_a_copy_that_falls_behind_for_a_moment_takes_nothing_from_strength() -> None:
    cluster = a_cluster().lagging(REPLICA, lag_bytes=2 * 1024 * 1024, for_s=59)
    assert judge(cluster.observation(), cluster.findings()).full
    cluster.lagging(REPLICA, lag_bytes=2 * 1024 * 1024, for_s=61)
    assert judge(cluster.observation(), cluster.findings()).missing == (f"{REPLICA} lags",)


def test_a_leader_whose_disk_hangs_is_not_full_strength_and_is_told() -> None:
    cluster = a_cluster().disk_hangs(LEADER, for_s=61)
    said = judge(cluster.observation(), cluster.findings())
    assert said.missing == (f"{LEADER} has a disk that does not answer",)
    held = cluster.planned(LEADER)
    assert isinstance(held, Hold)
    assert held.rail == "disk-stalled"


def with_a_leader_that_gives_no_answer() -> Cluster:
    """As its agent says it: `up` false, the lists empty, all else null."""
    cluster = a_cluster()
    postgres = cluster.reports[LEADER].report.postgres
    assert postgres is not None
    no_answer = replace(
        postgres,
        up=False,
        in_recovery=None,
        timeline=None,
        lsn_bytes=None,
        replication=(),
        replication_slots=(),
    )
    return cluster.says(LEADER, postgres=no_answer)


def test_a_leader_that_gives_its_agent_no_answer_says_of_nobody_that_it_does_not_stream() -> None:
    cluster = with_a_leader_that_gives_no_answer()
    assert cluster.observation().leader == LEADER
    assert {cluster.diagnosis(copy) for copy in ("db-euw1-b", REPLICA)} == {Diagnosis.HEALTHY}
    strength = judge(cluster.observation(), cluster.findings())
    assert strength.missing == (f"{LEADER}'s PostgreSQL gives its agent no answer",)


def test_a_copy_that_says_itself_that_it_does_not_follow_needs_no_leaders_word() -> None:
    cluster = with_a_leader_that_gives_no_answer()
    postgres = cluster.reports[REPLICA].report.postgres
    assert postgres is not None
    cluster.says(REPLICA, postgres=replace(postgres, receiver_up=False))
    assert cluster.diagnosis(REPLICA) is Diagnosis.REPLICA_BROKEN
    assert cluster.diagnosis("db-euw1-b") is Diagnosis.HEALTHY


def test_a_leader_that_answers_and_lists_nobody_says_that_nobody_streams() -> None:
    cluster = a_cluster()
    postgres = cluster.reports[LEADER].report.postgres
    assert postgres is not None
    cluster.says(LEADER, postgres=replace(postgres, replication=()))
    assert cluster.diagnosis(REPLICA) is Diagnosis.REPLICA_BROKEN


def test_a_copy_that_says_nothing_of_itself_is_not_streaming() -> None:
    cluster = a_cluster().says(REPLICA, postgres=None)
    assert cluster.diagnosis(REPLICA) is Diagnosis.REPLICA_BROKEN


# -- death needs proof


@pytest.mark.parametrize(
    "cluster",
    [
        a_cluster().unreachable(REPLICA).impaired(REPLICA),
        a_cluster().silent(REPLICA).impaired(REPLICA),
        a_cluster().silent(REPLICA).unreachable(REPLICA),
        a_cluster().silent(REPLICA).unreachable(REPLICA).impaired(REPLICA, verdict=None),
        a_cluster().silent(REPLICA).unreachable(REPLICA, by=(LEADER,)).impaired(REPLICA),
        a_cluster().dead(REPLICA).seen_by_peers_as(REPLICA, PeerState.ALIVE, by=(WITNESS,)),
        a_cluster().dead(REPLICA).seen_by_peers_as(REPLICA, PeerState.REFUSED, by=(WITNESS,)),
    ],
    ids=[
        "its agent still reports",
        "no peer gets no answer",
        "EC2 says ok",
        "EC2 has no verdict",
        "only one peer gets no answer",
        "one peer still reaches its agent",
        "one peer still reaches its host",
    ],
)
def test_a_host_is_not_presumed_dead_while(cluster: Cluster) -> None:
    assert cluster.diagnosis(REPLICA) is not Diagnosis.PRESUMED_DEAD


def test_the_word_of_silent_peers_does_not_count() -> None:
    cluster = a_cluster().dead(REPLICA)
    for peer in ("db-euw1-a", "db-euw1-b", "haproxy-euw1-a", "haproxy-euw3-a", "app-euw1-a"):
        cluster.silent(peer)
    assert cluster.diagnosis(REPLICA) is Diagnosis.SUSPECTED


def test_a_silent_leader_is_only_suspected_until_another_leads_on_a_newer_timeline() -> None:
    cluster = a_cluster().dead(LEADER)
    assert cluster.diagnosis(LEADER) is Diagnosis.SUSPECTED
    cluster.with_leader("db-euw1-b", timeline=3)
    assert cluster.diagnosis(LEADER) is Diagnosis.PRESUMED_DEAD


def test_a_leader_on_the_same_timeline_supersedes_nobody() -> None:
    cluster = a_cluster().dead(LEADER).with_leader("db-euw1-b", timeline=2)
    assert cluster.diagnosis(LEADER) is Diagnosis.SUSPECTED


def test_a_report_of_the_previous_occupant_says_nothing_about_the_present_one() -> None:
    cluster = a_cluster().dead(REPLICA).says(REPLICA, instance_id="i-before")
    cluster.lagging(REPLICA, state="stale", lag_bytes=0)
    assert cluster.diagnosis(REPLICA) is Diagnosis.BOOT_STUCK
