"""What only EC2 can end: it is waited for, stopped once more where that is AWS's own remedy, and told."""

from __future__ import annotations

import pytest

from lambdas.core.actions import Hold, StopInstance, Wait
from lambdas.core.incident import UNANSWERED
from lambdas.core.model import Haproxy, InstanceState
from tests.unit.lambdas.builders import Cluster, a_cluster, instance_id

OTHER, HAPROXY, LEADER = "db-euw1-b", "haproxy-euw1-a", "db-euw1-a"


def leaving(
    state: InstanceState, *, for_s: float, acted_s_ago: float | None = None, **rungs: int
) -> Cluster:
    """A host that EC2 has shown in this state for so long; it was acted on just before that, or so long ago."""
    cluster = a_cluster().in_state(OTHER, state).silent(OTHER, for_s=for_s).not_followed_by(OTHER)
    acted_at = cluster.now - (for_s + 5.0 if acted_s_ago is None else acted_s_ago)
    return cluster.incident(
        OTHER,
        opened_s_ago=for_s + 400.0,
        found="terminating",
        found_at=cluster.now - for_s,
        last_acted_at=acted_at,
        rungs=rungs,
    )


def stopping(*, for_s: float, acted_s_ago: float | None = None, **rungs: int) -> Cluster:
    """It was stopped by us, and hangs in that."""
    counted = {"stop": 1, **rungs}
    return leaving(InstanceState.STOPPING, for_s=for_s, acted_s_ago=acted_s_ago, **counted)


def test_a_host_that_hangs_in_our_stop_is_stopped_once_more_with_force() -> None:
    assert isinstance(stopping(for_s=299).planned(OTHER), Wait)
    step = stopping(for_s=301).planned(OTHER)
    assert step == StopInstance(slot=OTHER, instance_id=instance_id(OTHER), force=True)


def test_it_is_stopped_once_more_and_then_told() -> None:
    assert isinstance(stopping(for_s=500, acted_s_ago=100, reboot=1).planned(OTHER), Wait)
    held = stopping(for_s=660, acted_s_ago=300, reboot=1).planned(OTHER)
    assert isinstance(held, Hold)
    assert held.rail == "terminating"
    assert "EC2 has shown it so for 11 minutes; tried: stop 1x, reboot 1x" in held.because


def test_a_forced_stop_without_an_answer_is_asked_again() -> None:
    cluster = stopping(for_s=500, acted_s_ago=100, **{f"{UNANSWERED}stop": 1})
    assert isinstance(cluster.planned(OTHER), StopInstance)


def test_who_still_speaks_is_not_forced() -> None:
    speaks = stopping(for_s=301).silent(OTHER, for_s=3)
    assert isinstance(speaks.planned(OTHER), Wait)


@pytest.mark.parametrize(
    ("state", "rungs"),
    [(InstanceState.STOPPING, {}), (InstanceState.SHUTTING_DOWN, {"stop": 1, "terminate": 1})],
    ids=["stopped by somebody else", "ended"],
)
def test_what_is_not_our_stop_is_never_forced_and_told(
    state: InstanceState, rungs: dict[str, int]
) -> None:
    assert isinstance(leaving(state, for_s=599, **rungs).planned(OTHER), Wait)
    held = leaving(state, for_s=601, **rungs).planned(OTHER)
    assert isinstance(held, Hold)
    assert held.rail == "terminating"


def test_the_time_before_it_was_stopping_does_not_count() -> None:
    cluster = stopping(for_s=5000)
    cluster.incident(OTHER, found="impaired", found_at=cluster.now - 5000, rungs={"stop": 1})
    assert isinstance(cluster.planned(OTHER), Wait)


def test_others_of_its_region_still_wait_for_it_and_say_why() -> None:
    cluster = stopping(for_s=660, acted_s_ago=300)
    cluster.says(HAPROXY, haproxy=Haproxy(up=True, write_backends_up=()))
    cluster.tried(HAPROXY, restart_service__haproxy=3)
    held = cluster.planned(HAPROXY)
    assert isinstance(held, Hold)
    assert held.because.startswith(f"{OTHER} is being stopped")


def test_a_forced_stop_keeps_to_the_rails() -> None:
    cluster = stopping(for_s=301)
    cluster.incident(HAPROXY, rungs={"stop": 1}).in_state(HAPROXY, InstanceState.STOPPING)
    held = cluster.planned(OTHER)
    assert isinstance(held, Hold)
    assert held.rail == "one-disturbance"


@pytest.mark.parametrize(("for_s", "kind"), [(599, Wait), (601, Hold)])
def test_an_instance_that_stays_pending_is_told(for_s: float, kind: type) -> None:
    cluster = a_cluster().never_spoke(OTHER, age_s=for_s).in_state(OTHER, InstanceState.PENDING)
    cluster.incident(OTHER, found="booting", found_at=cluster.now - for_s)
    step = cluster.planned(OTHER)
    assert isinstance(step, kind)
    assert not isinstance(step, Hold) or step.rail == "booting"


@pytest.mark.parametrize(("for_s", "kind"), [(599, Wait), (601, Hold)])
def test_a_volume_that_stays_on_its_way_is_told(for_s: float, kind: type) -> None:
    cluster = a_cluster().disk_is(OTHER, "in-use", attachment_state="detaching")
    cluster.incident(OTHER, found="disk-busy", found_at=cluster.now - for_s)
    step = cluster.planned(OTHER)
    assert isinstance(step, kind)
    assert not isinstance(step, Hold) or step.rail == "disk-busy"
