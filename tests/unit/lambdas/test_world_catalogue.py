"""The real healer in the small world: disks, copies and machines that need more than a refill, and people's orders."""

from __future__ import annotations

from dataclasses import replace

from lambdas.core.consent import Planned, PlannedKind, Window
from lambdas.core.model import ScheduledEvent
from tests.unit.lambdas.world import Stage, a_born_cluster, fast_spec

REPLICA, LEADER, OTHER = "db-euw3-a", "db-euw1-a", "db-euw1-b"
ACTS = ("launch", "terminate", "stop", "reboot", "set-aside", "grow", "start")


def acts(stage: Stage) -> list[str]:
    return [call for call in stage.nodes.calls if call.startswith(ACTS)]


def run_for(stage: Stage, seconds: float) -> None:
    """Wake it again and again, as the tick does."""
    end = stage.now() + seconds
    while stage.now() < end:
        stage.wake()
        stage.nodes.sleep(5.0)


def test_a_disk_that_fills_grows_and_so_does_its_file_system() -> None:
    stage = a_born_cluster()
    stage.nodes.disk_in(LEADER).used = 0.85
    stage.nodes.sleep(2.0)
    stage.until_full(within_s=90)
    assert acts(stage) == [f"grow {LEADER}"]
    assert stage.nodes.disk_in(LEADER).seen_gib == 30


def test_a_disk_that_takes_no_writes_is_set_aside_for_a_fresh_one() -> None:
    stage = a_born_cluster()
    bad = stage.nodes.disk_in(REPLICA)
    bad.read_only = True
    stage.nodes.may_end.add(REPLICA)
    stage.nodes.sleep(2.0)
    stage.until_full(within_s=400)
    steps = ["reboot", "stop", "start", "set-aside", "terminate", "launch"]
    assert acts(stage) == [f"{step} {REPLICA}" for step in steps]
    assert bad.set_aside
    assert bad.volume_id in stage.nodes.disks
    assert stage.nodes.disk_in(REPLICA).holder is not None


def test_a_host_that_retires_is_left_in_time_and_its_leader_hands_over_first() -> None:
    stage = a_born_cluster()
    machine = stage.nodes.occupant(LEADER)
    machine.events = (ScheduledEvent(code="instance-stop", not_before=stage.now() + 3e5),)
    stage.until_full(within_s=120)
    assert acts(stage) == [f"stop {LEADER}", f"start {LEADER}"]
    assert stage.nodes.leader == OTHER


def test_a_switchover_that_a_person_ordered_is_done_once() -> None:
    stage = a_born_cluster()
    stage.table.planned = Planned(
        plan_id="p1", kind=PlannedKind.SWITCHOVER, since=stage.now(), to=REPLICA
    )
    run_for(stage, 60)
    assert stage.nodes.leader == REPLICA
    assert stage.nodes.count("pgmend-switchover", LEADER) == 1
    assert stage.table.finished == [("p1", "done")]
    assert stage.table.open == {}


def test_a_switchover_to_nobody_in_particular_is_done_with_the_first() -> None:
    stage = a_born_cluster()
    stage.table.planned = Planned(plan_id="p1", kind=PlannedKind.SWITCHOVER, since=stage.now())
    run_for(stage, 60)
    assert stage.nodes.leader == OTHER
    assert stage.table.finished == [("p1", "done")]
    assert stage.nodes.timeline == 2


def test_every_node_is_replaced_one_at_a_time_and_the_leader_last() -> None:
    stage = a_born_cluster()
    active = {s.name for s in stage.spec.slots if s.active}
    stage.nodes.may_end |= active
    stage.table.planned = Planned(plan_id="r1", kind=PlannedKind.ROLL, since=stage.now())
    run_for(stage, 600)
    ended = [call.split()[1] for call in acts(stage) if call.startswith("terminate")]
    assert sorted(ended) == sorted(active)
    assert ended[-1] == LEADER
    assert acts(stage) == [f"{step} {slot}" for slot in ended for step in ("terminate", "launch")]
    assert stage.nodes.timeline == 2  # one switchover in all
    assert stage.table.finished == [("r1", "done")]
    assert stage.wake().full_strength


def test_new_instances_that_never_boot_open_the_breaker_and_a_person_is_told_once() -> None:
    spec = fast_spec()
    stage = Stage(replace(spec, timings=replace(spec.timings, boot_grace_s=20.0)))
    stage.until_full(within_s=120)
    stage.nodes.stillborn.add(REPLICA)
    stage.lose(REPLICA)
    run_for(stage, 300)
    assert stage.table.breaker is not None
    assert stage.table.breaker.open
    told, *again = stage.told.of("Breaker Opened")
    assert {e["opened_at"] for e in again} <= {told["opened_at"]}  # every run says it, once
    assert "3 new instances did not heal db-euw3-a" in told["sentence"]
    assert "launch 3x" in told["sentence"]
    assert stage.nodes.count("launch", REPLICA) == 4  # the birth's own, and three
    held = [e for e in stage.told.of("Held") if e["slot"] == REPLICA]
    assert held == []  # told as the breaker's opening
    stage.nodes.stillborn.clear()
    stage.table.acknowledge(stage.now())
    stage.until_full(within_s=120)
    assert {e["opened_at"] for e in stage.told.of("Breaker Opened")} == {told["opened_at"]}


def test_a_launch_without_capacity_asks_for_the_next_type() -> None:
    stage = a_born_cluster()
    own, second, *_ = stage.spec.by_name[REPLICA].instance_types
    stage.nodes.no_room.add(own)
    stage.lose(REPLICA)
    stage.until_full(within_s=60)
    assert [c for c in stage.nodes.calls if c.startswith("no-room")] == [f"no-room own {REPLICA}"]
    assert stage.nodes.count("launch", REPLICA) == 1
    assert second not in stage.nodes.no_room


def test_without_any_capacity_a_person_is_told_once_and_it_is_asked_for_again() -> None:
    stage = a_born_cluster()
    stage.nodes.no_room |= set(stage.spec.by_name[REPLICA].instance_types)
    stage.lose(REPLICA)
    run_for(stage, 900)
    held = [e for e in stage.told.of("Held") if e["slot"] == REPLICA]
    assert len(held) == 1
    assert stage.table.breaker is None
    stage.nodes.no_room.clear()
    stage.until_full(within_s=400)


def test_in_a_maintenance_window_nothing_is_done_and_all_is_said() -> None:
    stage = a_born_cluster()
    stage.table.windows = (Window(from_=0.0, until=stage.now() + 60, why="a rack moves"),)
    stage.lose(REPLICA)
    outcome = stage.wake()
    assert acts(stage) == []
    assert any(
        hold.startswith("windows") and "would have done terminate" in hold for hold in outcome.holds
    )
    stage.nodes.sleep(60)
    stage.until_full(within_s=60)


def test_what_the_healer_was_told_and_cannot_trust_is_counted() -> None:
    stage = a_born_cluster()
    stage.nodes.reports["db-nowhere"] = "{}"
    stage.nodes.sleep(20)
    stage.wake()
    assert stage.told.metrics[-1]["ReportsRefused", None] == 1.0
