"""The catalogue's diagnoses: what fits each rule, and what nearly does."""

from __future__ import annotations

import pytest

from lambdas.core.model import PeerState
from tests.unit.lambdas.builders import GIB, Cluster, a_cluster

REPLICA, LEADER, WITNESS, OTHER = "db-euw3-a", "db-euw1-a", "witness-euc1-a", "db-euw1-b"
HAPROXY = "haproxy-euw3-a"
MIB = 1024 * 1024


def a_region_cut_off() -> Cluster:
    """Both active slots of region 2 are silent towards us; their peers reach them."""
    return a_cluster().silent(REPLICA, for_s=90).silent(HAPROXY, for_s=90)


def no_capacity(*kinds: str) -> Cluster:
    tried = {f"no-capacity:{kind}": 1 for kind in kinds}
    return a_cluster().empty(REPLICA).incident(REPLICA, rungs=tried)


TYPES = a_cluster().spec.by_name[REPLICA].instance_types

HOSTS = [
    ("every type refused", no_capacity(*TYPES), REPLICA, "no-capacity"),
    ("one type not asked for yet", no_capacity(*TYPES[:-1]), REPLICA, "slot-empty"),
    ("nobody of the region is heard", a_region_cut_off(), REPLICA, "region-cut-off"),
    (
        "one of the region is heard",
        a_cluster().silent(REPLICA, for_s=90),
        REPLICA,
        "agent-cut-off",
    ),
    (
        "one of the region says what cannot be read",
        a_region_cut_off().report_refused(REPLICA),
        HAPROXY,
        "region-cut-off",
    ),
    ("EC2 calls one ill", a_region_cut_off().impaired(HAPROXY), HAPROXY, "suspected"),
    (
        "unanswered for longer than it may be",
        a_cluster().nobody_answered(REPLICA, for_s=301),
        REPLICA,
        "unreachable",
    ),
    (
        "unanswered, and not for long",
        a_cluster().nobody_answered(REPLICA, for_s=299),
        REPLICA,
        "suspected",
    ),
    (
        "unanswered for long, and a peer does not say for how long",
        a_cluster().silent(REPLICA, for_s=400).unreachable(REPLICA).not_followed_by(REPLICA),
        REPLICA,
        "suspected",
    ),
    (
        "unanswered by us and one peer only",
        a_cluster()
        .nobody_answered(REPLICA, for_s=400)
        .seen_by_peers_as(REPLICA, PeerState.UNKNOWN, by=(OTHER, WITNESS, HAPROXY, "app-euw1-a"))
        .seen_by_peers_as(REPLICA, PeerState.UNKNOWN, by=("haproxy-euw1-a",)),
        REPLICA,
        "suspected",
    ),
    ("dead", a_cluster().dead(REPLICA), REPLICA, "presumed-dead"),
    (
        "as if dead, and a proxy finds that it takes writes",
        a_cluster().dead(REPLICA).proxies_see(REPLICA),
        REPLICA,
        "suspected",
    ),
    (
        "unanswered and no verdict of EC2",
        a_cluster().nobody_answered(REPLICA, for_s=400).impaired(REPLICA, verdict=None),
        REPLICA,
        "suspected",
    ),
    (
        "an unanswered leader that nobody superseded",
        a_cluster().nobody_answered(LEADER, for_s=400),
        LEADER,
        "suspected",
    ),
    (
        "an unanswered leader that was superseded",
        a_cluster().nobody_answered(LEADER, for_s=400).with_leader(OTHER, timeline=3),
        LEADER,
        "unreachable",
    ),
    (
        "an agent that its host refuses",
        a_cluster().silent(REPLICA).seen_by_peers_as(REPLICA, PeerState.REFUSED),
        REPLICA,
        "agent-silent",
    ),
    ("an agent that peers reach", a_cluster().silent(REPLICA), REPLICA, "agent-cut-off"),
    ("ill, and serving", a_cluster().impaired(REPLICA), REPLICA, "impaired"),
    (
        "no verdict, and serving",
        a_cluster().impaired(REPLICA, verdict=None),
        REPLICA,
        "healthy",
    ),
    ("an event announced", a_cluster().announced(REPLICA, in_s=9e5), REPLICA, "retiring"),
    ("a clock hours ahead", a_cluster().clock_off(REPLICA, by_s=7200), REPLICA, "clock-off"),
    ("a clock hours behind", a_cluster().clock_off(LEADER, by_s=-7200), LEADER, "clock-off"),
    ("a clock half a minute off", a_cluster().clock_off(REPLICA, by_s=30), REPLICA, "healthy"),
    (
        "a clock off on a node that is ill otherwise",
        a_cluster().clock_off(REPLICA, by_s=7200).service(REPLICA, "patroni", "failed"),
        REPLICA,
        "service-down",
    ),
]

DISKS = [
    (
        "the node runs on a disk out of use",
        a_cluster().runs_on_a_disk_set_aside(REPLICA),
        REPLICA,
        "disk-set-aside",
    ),
    (
        "a silent one that led runs on a disk out of use",
        a_cluster().runs_on_a_disk_set_aside(LEADER).silent(LEADER, for_s=30),
        LEADER,
        "agent-silent",
    ),
    (
        "a silent copy runs on a disk out of use",
        a_cluster().runs_on_a_disk_set_aside(REPLICA).silent(REPLICA, for_s=30),
        REPLICA,
        "disk-set-aside",
    ),
    (
        "a disk nobody lists is not one out of use",
        a_cluster().without_disk(REPLICA).says(REPLICA, volume_id="vol-unlisted"),
        REPLICA,
        "disk-missing",
    ),
    ("not mounted", a_cluster().disk_says(REPLICA, mounted=False), REPLICA, "disk-absent"),
    ("unknown whether", a_cluster().disk_says(REPLICA, mounted=None), REPLICA, "healthy"),
    (
        "not mounted and not configured",
        a_cluster().disk_says(REPLICA, mounted=False).idle(REPLICA),
        REPLICA,
        "not-configured",
    ),
    ("95 % used", a_cluster().used(REPLICA, 0.96), REPLICA, "disk-full"),
    (
        "full before it is not writable",
        a_cluster().used(REPLICA, 0.99, writable=False),
        REPLICA,
        "disk-full",
    ),
    ("80 % used", a_cluster().used(REPLICA, 0.81), REPLICA, "disk-filling"),
    ("79 % used", a_cluster().used(REPLICA, 0.79), REPLICA, "healthy"),
    ("unknown use", a_cluster().disk_says(REPLICA, used_bytes=None), REPLICA, "healthy"),
    ("read-only", a_cluster().disk_says(REPLICA, read_only=True), REPLICA, "disk-read-only"),
    ("not writable", a_cluster().disk_says(REPLICA, writable=False), REPLICA, "disk-read-only"),
    ("hangs for a moment", a_cluster().disk_hangs(REPLICA, for_s=59), REPLICA, "healthy"),
    ("hangs", a_cluster().disk_hangs(REPLICA, for_s=61), REPLICA, "disk-stalled"),
    ("hangs under a leader", a_cluster().disk_hangs(LEADER, for_s=61), LEADER, "disk-stalled"),
    (
        "hangs, and its Patroni is down",
        a_cluster().disk_hangs(REPLICA, for_s=61).service(REPLICA, "patroni", "failed"),
        REPLICA,
        "service-down",
    ),
    (
        "EC2 says that it ends no I/O",
        a_cluster().disk_says(REPLICA)._instance(REPLICA, disk_impaired=True),
        REPLICA,
        "disk-stalled",
    ),
    (
        "EC2 says that it is well",
        a_cluster().disk_says(REPLICA)._instance(REPLICA, disk_impaired=False),
        REPLICA,
        "healthy",
    ),
    ("unknown", a_cluster().disk_says(REPLICA, writable=None), REPLICA, "healthy"),
    (
        "a device wider than its file system",
        a_cluster().disk_says(REPLICA, device_bytes=30 * GIB),
        REPLICA,
        "disk-small",
    ),
    (
        "a device a little wider",
        a_cluster().disk_says(REPLICA, device_bytes=20 * GIB + 32 * MIB),
        REPLICA,
        "healthy",
    ),
    (
        "the last growth, up to the largest disk, which is a small one",
        a_cluster().disk_says(REPLICA, size_bytes=338 * GIB, device_bytes=350 * GIB),
        REPLICA,
        "disk-small",
    ),
    (
        "XFS's own log on a large device",
        a_cluster().disk_says(REPLICA, size_bytes=4096 * GIB - 2 * GIB, device_bytes=4096 * GIB),
        REPLICA,
        "healthy",
    ),
    (
        "a full disk beside a last growth that was not taken",
        a_cluster().disk_says(
            REPLICA, size_bytes=338 * GIB, device_bytes=350 * GIB, used_bytes=330 * GIB
        ),
        REPLICA,
        "disk-full",
    ),
    (
        "a filling disk that only has to be taken",
        a_cluster().used(REPLICA, 0.85, device_bytes=30 * GIB),
        REPLICA,
        "disk-small",
    ),
    (
        "wrong checksums",
        a_cluster().postgres_says(REPLICA, checksum_failures=1),
        REPLICA,
        "checksum-failures",
    ),
    (
        "checksums unknown",
        a_cluster().postgres_says(REPLICA, checksum_failures=None),
        REPLICA,
        "healthy",
    ),
]

ETCD = [
    ("no space", a_cluster().etcd_says(WITNESS, alarms=("NOSPACE",)), WITNESS, "etcd-full"),
    (
        "corrupt",
        a_cluster().etcd_says(WITNESS, healthy=False, alarms=("CORRUPT",)),
        WITNESS,
        "etcd-corrupt",
    ),
    (
        "restarts in vain",
        a_cluster().etcd_says(WITNESS, healthy=False).tried(WITNESS, restart_service__etcd=3),
        WITNESS,
        "etcd-lost",
    ),
    (
        "its unit does not stay up",
        a_cluster()
        .service(WITNESS, "etcd", "failed")
        .says(WITNESS, etcd=None)
        .tried(WITNESS, restart_service__etcd=3),
        WITNESS,
        "etcd-lost",
    ),
    (
        "not restarted often enough",
        a_cluster().etcd_says(WITNESS, healthy=False).tried(WITNESS, restart_service__etcd=2),
        WITNESS,
        "etcd-unhealthy",
    ),
    (
        "well after restarts",
        a_cluster().tried(WITNESS, restart_service__etcd=3),
        WITNESS,
        "healthy",
    ),
]


def broken() -> Cluster:
    return a_cluster().broken(REPLICA)


SLOT_OF_REPLICA = "db_euw3_a"
COPIES = [
    ("not streaming", broken(), REPLICA, "replica-broken"),
    (
        "its WAL is gone",
        broken().keeps_wal(LEADER, SLOT_OF_REPLICA, wal_status="lost", retained_bytes=None),
        REPLICA,
        "replica-wal-gone",
    ),
    (
        "a lost replication slot of one that streams",
        a_cluster().keeps_wal(LEADER, SLOT_OF_REPLICA, wal_status="lost", retained_bytes=None),
        REPLICA,
        "healthy",
    ),
    (
        "begun anew three times",
        broken().patroni_says(REPLICA, clones=3, state="creating replica"),
        REPLICA,
        "reinit-loop",
    ),
    (
        "begun anew twice",
        broken().patroni_says(REPLICA, clones=2, state="creating replica"),
        REPLICA,
        "replica-cloning",
    ),
    ("cloned, and streams", a_cluster().patroni_says(REPLICA, clones=9), REPLICA, "healthy"),
    (
        "starting for minutes",
        broken().patroni_says(REPLICA, state="starting", state_for_s=181.0),
        REPLICA,
        "replica-stuck",
    ),
    (
        "starting for a minute",
        broken().patroni_says(REPLICA, state="starting", state_for_s=60.0),
        REPLICA,
        "replica-broken",
    ),
    (
        "starting, for how long nobody says",
        broken().patroni_says(REPLICA, state="starting", state_for_s=None),
        REPLICA,
        "replica-broken",
    ),
    (
        "on another timeline",
        broken()
        .postgres_says(REPLICA, timeline=1, receiver_up=False)
        .patroni_says(REPLICA, timeline=1),
        REPLICA,
        "replica-diverged",
    ),
    (
        "its timeline is unknown",
        broken().postgres_says(REPLICA, timeline=None).patroni_says(REPLICA, timeline=None),
        REPLICA,
        "replica-broken",
    ),
    (
        "behind",
        a_cluster().lagging(REPLICA, lag_bytes=2 * MIB, for_s=61),
        REPLICA,
        "replica-lagging",
    ),
    (
        "behind for a moment",
        a_cluster().lagging(REPLICA, lag_bytes=99 * MIB, for_s=59),
        REPLICA,
        "healthy",
    ),
    (
        "behind for a moment, after it was cloned",
        a_cluster().lagging(REPLICA, lag_bytes=2 * MIB).incident(REPLICA, found="replica-cloning"),
        REPLICA,
        "replica-lagging",
    ),
    (
        "behind for a moment, and to be replaced",
        a_cluster()
        .rolled()
        .lagging(REPLICA, lag_bytes=2 * MIB)
        .incident(REPLICA, found="outdated"),
        REPLICA,
        "outdated",
    ),
    ("a little behind", a_cluster().lagging(REPLICA, lag_bytes=MIB), REPLICA, "healthy"),
]

WAL = [
    ("a stranger's", a_cluster().keeps_wal(LEADER, "stranger"), "wal-hoarded"),
    ("a member's", a_cluster().keeps_wal(LEADER, SLOT_OF_REPLICA), "wal-hoarded"),
    ("little", a_cluster().keeps_wal(LEADER, "stranger", retained_bytes=MIB), "healthy"),
    ("unknown", a_cluster().keeps_wal(LEADER, "stranger", retained_bytes=None), "healthy"),
    (
        "a tenth of a small disk",
        a_cluster()
        .disk_says(LEADER, size_bytes=GIB, used_bytes=0, device_bytes=GIB)
        .keeps_wal(LEADER, "stranger", retained_bytes=200 * MIB),
        "wal-hoarded",
    ),
]

PLANNED = [
    ("older than the order", a_cluster().rolled(), REPLICA, "outdated"),
    ("newer", a_cluster().rolled().launched(REPLICA, ago_s=30), REPLICA, "healthy"),
    (
        "only started anew",
        a_cluster().rolled().stopped_and_started(REPLICA, ago_s=30),
        REPLICA,
        "outdated",
    ),
    ("the leader is to hand over", a_cluster().to_lead(OTHER), LEADER, "to-switch-over"),
    ("to anybody", a_cluster().to_lead(None), LEADER, "to-switch-over"),
    ("a copy is not", a_cluster().to_lead(OTHER), OTHER, "healthy"),
    ("who is to lead leads", a_cluster().to_lead(LEADER), LEADER, "healthy"),
]


@pytest.mark.parametrize(
    ("cluster", "slot", "expected"),
    [case[1:] for case in (*HOSTS, *DISKS, *ETCD, *COPIES, *PLANNED)],
    ids=[case[0] for case in (*HOSTS, *DISKS, *ETCD, *COPIES, *PLANNED)],
)
def test_diagnosis(cluster: Cluster, slot: str, expected: str) -> None:
    assert cluster.diagnosis(slot) == expected


@pytest.mark.parametrize(
    ("cluster", "expected"), [case[1:] for case in WAL], ids=[case[0] for case in WAL]
)
def test_wal_that_is_kept(cluster: Cluster, expected: str) -> None:
    assert cluster.diagnosis(LEADER) == expected


def test_only_the_leaders_replication_slots_count() -> None:
    """Patroni keeps its members' replication slots on copies too."""
    assert a_cluster().keeps_wal(REPLICA, "stranger").diagnosis(REPLICA) == "healthy"
