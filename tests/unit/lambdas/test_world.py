"""The real healer in a small world: whole faults, from the wake to full strength."""

from __future__ import annotations

import pytest

from lambdas.adapters.table import State
from lambdas.errors import BusRefusedError, LeaseLostError
from tests.unit.lambdas.world import Crash, Stage, a_born_cluster


def test_a_cluster_is_born_from_nothing() -> None:
    stage = Stage()
    stage.until_full(within_s=60.0, wake="operator")
    assert stage.nodes.leader == "db-euw1-a"
    assert stage.table.birth is not None
    assert stage.table.birth.state == "born"
    for slot in (s for s in stage.spec.slots if s.active):
        assert stage.nodes.count("launch", slot.name) == 1
        assert stage.nodes.count("create-disk", slot.name) == (slot.disk is not None)
        assert stage.nodes.count("pgmend-configure-node", slot.name) == 1
    assert stage.nodes.count("declare-birth", "cluster") == 1
    assert not any(s.active is False for s in (m.slot for m in stage.nodes.machines.values()))


def test_when_the_birth_is_over_no_incident_stays_open() -> None:
    stage = Stage()
    stage.until_full(within_s=60.0)
    stage.nodes.sleep(60.0)
    stage.wake()
    assert stage.table.open == {}


def test_nothing_is_told_to_be_healed_that_was_not_opened() -> None:
    stage = Stage()
    stage.until_full(within_s=60.0)
    stage.nodes.sleep(60.0)
    stage.wake()
    told = [e["incident"] for e in stage.told.of("Incident Healed")]
    opened = {e["incident"] for e in stage.told.of("Incident Opened")}
    assert [i for i in told if i not in opened] == []


def test_a_quiet_look_does_nothing_and_says_so() -> None:
    stage = a_born_cluster()
    outcome = stage.wake()
    assert outcome.looks == 1
    assert outcome.actions == []
    assert outcome.full_strength
    assert outcome.sentence == "full strength, db-euw1-a leads"
    assert stage.nodes.calls == []


FAULTS = [("replica", "db-euw3-a", 30), ("witness", "witness-euc1-a", 30)]
FAULTS += [("haproxy", "haproxy-euw3-a", 30), ("app", "app-euw1-a", 30)]
FAULTS += [("leader", "db-euw1-a", 60)]


@pytest.mark.parametrize(("what", "slot", "within_s"), FAULTS, ids=[f[0] for f in FAULTS])
def test_a_host_that_lost_power_is_replaced_on_its_own_disk(
    what: str, slot: str, within_s: float
) -> None:
    stage = a_born_cluster()
    disks = set(stage.nodes.disks)
    stage.lose(slot)
    stage.until_full(within_s=within_s, wake="agent:Peer Unreachable")
    assert stage.nodes.count("terminate", slot) == 1, what
    assert stage.nodes.count("launch", slot) == 1
    assert set(stage.nodes.disks) == disks
    assert not [c for c in stage.nodes.calls if c.startswith("terminate ") and slot not in c]


def test_a_lost_leader_is_only_evicted_after_another_leads() -> None:
    stage = a_born_cluster()
    stage.lose("db-euw1-a")
    stage.until_full(within_s=60)
    assert stage.nodes.leader == "db-euw1-b"
    assert stage.nodes.timeline == 2
    waited = [s for s in stage.sentences if "nobody else leads yet" in s]
    assert waited, stage.sentences
    # What only waited for a leader is no incident of its own: a proxy restarted for it would cut sessions for nothing.
    opened = {e["slot"] for e in stage.told.of("Incident Opened") if e["diagnosis"] != "slot-empty"}
    assert opened & {"haproxy-euw1-a", "haproxy-euw3-a", "app-euw1-a"} == set()


def test_a_terminated_instance_is_refilled_without_evicting_anything() -> None:
    stage = a_born_cluster()
    stage.nodes.terminate_from_outside("db-euw1-b")
    stage.until_full(within_s=25, wake="ec2:i-1 shutting-down")
    assert stage.nodes.count("launch", "db-euw1-b") == 1
    assert stage.nodes.count("terminate", "db-euw1-b") == 0


def test_a_witness_and_a_leader_lost_at_once_come_back() -> None:
    """etcd has lost its majority; only the witness's own disk on a new machine brings it back."""
    stage = a_born_cluster()
    stage.lose("db-euw1-a", "witness-euc1-a")
    stage.until_full(within_s=120)
    assert stage.nodes.leader == "db-euw1-b"


def test_every_incident_is_told_once_from_opening_to_healing() -> None:
    stage = a_born_cluster()
    stage.lose("db-euw3-a")
    stage.until_full(within_s=30, wake="alarm:heartbeat-db-euw3-a")
    stage.nodes.sleep(60.0)
    stage.wake()
    opened = [e for e in stage.told.of("Incident Opened") if e["slot"] == "db-euw3-a"]
    healed = [e for e in stage.told.of("Incident Healed") if e["slot"] == "db-euw3-a"]
    assert len(opened) == len(healed) == 1
    assert opened[0]["incident"] == healed[0]["incident"]
    incident, healed_at = stage.table.history[opened[0]["incident"]]
    assert incident.wake == "alarm:heartbeat-db-euw3-a"
    assert healed_at is not None
    kinds = [
        row["kind"] for _, row in stage.table.entries if row["incident"] == incident.incident_id
    ]
    assert kinds == ["terminate", "launch", "attach-disk", "configure", "configure"]


def test_a_blip_replaces_nothing() -> None:
    stage = a_born_cluster()
    machine = stage.nodes.occupant("db-euw3-a")
    machine.power = False  # mute, but EC2 sees a well host

    def back() -> None:
        machine.power = True

    stage.nodes.at(12.0, back)
    stage.nodes.sleep(5.0)
    stage.until_full(within_s=60)
    assert not [c for c in stage.nodes.calls if c.startswith(("terminate", "launch"))]


def test_blanked_disks_under_a_standing_birth_mark_are_held_with_nothing_created() -> None:
    stage = a_born_cluster()
    for slot in ("db-euw1-a", "db-euw1-b", "db-euw3-a"):
        stage.nodes.terminate_from_outside(slot)
    for disk in stage.nodes.disks.values():
        if disk.slot.role == "db":
            disk.holds_data = False
    stage.nodes.leader = None
    for _ in range(6):
        outcome = stage.wake()
        stage.nodes.sleep(20)
    assert not outcome.full_strength
    assert any("needs-person" in hold for hold in outcome.holds)
    assert stage.table.birth is not None
    assert stage.table.birth.state == "born"
    assert not any(
        sent.parameters.get("Birth") == "yes" for sent in list(stage.nodes.sent.values())[7:]
    )


def test_a_bus_that_refuses_an_event_does_not_stop_the_healing() -> None:
    stage = a_born_cluster()
    stage.lose("db-euw3-a")
    say = stage.told.say

    def refuse_once(detail_type: str, detail: dict[str, object]) -> None:
        stage.told.say = say  # type: ignore[method-assign]
        raise BusRefusedError(f"the hub bus refused an event: {detail_type} {detail}")

    stage.told.say = refuse_once  # type: ignore[method-assign]
    stage.until_full(within_s=40)


# -- crashes


def crash_points() -> list[int]:
    stage = a_born_cluster()
    stage.lose("db-euw3-a")
    stage.until_full(within_s=40)
    return list(range(len(stage.nodes.calls)))


@pytest.mark.parametrize("nth", crash_points())
def test_a_healer_killed_after_any_single_call_is_continued_by_the_next(nth: int) -> None:
    stage = a_born_cluster()
    stage.lose("db-euw3-a")
    stage.nodes.crash_when = lambda _call: len(stage.nodes.calls) == nth + 1
    with pytest.raises(Crash):
        stage.wake()
    stage.nodes.crash_when = lambda _call: False
    stage.nodes.sleep(31)  # the dead run's lease runs out
    stage.until_full(within_s=60)
    assert stage.nodes.count("launch", "db-euw3-a") == 1
    assert stage.nodes.count("create-disk", "db-euw3-a") == 0
    assert stage.nodes.count("pgmend-configure-node", "db-euw3-a") == 1


@pytest.mark.parametrize("nth", range(0, 60, 3))
def test_a_birth_interrupted_anywhere_makes_nothing_twice(nth: int) -> None:
    stage = Stage()
    stage.nodes.crash_when = lambda _call: len(stage.nodes.calls) == nth + 1
    with pytest.raises(Crash):
        stage.wake()
    stage.nodes.crash_when = lambda _call: False
    stage.nodes.sleep(31)
    stage.until_full(within_s=120)
    for slot in (s for s in stage.spec.slots if s.active):
        assert stage.nodes.count("launch", slot.name) == 1
        assert stage.nodes.count("create-disk", slot.name) == (slot.disk is not None)


def test_a_removal_counts_though_the_run_ends_before_it_can_say_so() -> None:
    stage = a_born_cluster()
    stage.lose("db-euw3-a")
    stage.nodes.crash_when = lambda call: call == "terminate db-euw3-a"
    with pytest.raises(Crash):
        stage.wake()
    removals = [row for _, row in stage.table.entries if row["kind"] == "terminate"]
    assert [row["outcome"] for row in removals] == ["asked"]


# -- the lease


def test_a_doubled_wake_leaves_a_mark_and_acts_on_nothing() -> None:
    stage = a_born_cluster()
    stage.lose("db-euw3-a")
    answers = []

    def second() -> None:
        answers.append(stage.run("agent:again").go())

    stage.nodes.at(0.5, second)
    stage.until_full(within_s=40)
    assert "another run holds the lease" in answers[0].sentence
    assert answers[0].actions == []
    assert stage.nodes.count("terminate", "db-euw3-a") == 1


def test_a_wake_during_a_quiet_look_makes_the_holder_look_once_more() -> None:
    stage = a_born_cluster()
    renew = stage.table.renew_lease
    woken: list[int | None] = []

    def renew_and_be_woken(**lease: object) -> tuple[bool, bool]:
        if not woken:
            woken.append(stage.table.take_lease(owner="second", now=stage.now(), lease_s=30))
        return renew(**lease)  # type: ignore[arg-type]

    stage.table.renew_lease = renew_and_be_woken  # type: ignore[method-assign]
    assert stage.wake().looks == 2
    assert woken == [None]


def test_a_run_that_lost_its_lease_does_not_act() -> None:
    stage = a_born_cluster()
    stage.lose("db-euw1-a")  # whose death is only proven once another leads
    stage.nodes.at(5.0, stage.steal_the_lease)
    with pytest.raises(LeaseLostError):
        stage.wake()
    assert stage.nodes.calls == []


def test_a_run_that_lost_its_lease_while_it_looked_writes_nothing_over_the_next_ones() -> None:
    stage = a_born_cluster()
    stage.lose("db-euw3-a")
    state = stage.table.state

    def slow_state() -> State:
        seen = state()
        stage.steal_the_lease()
        return seen

    stage.table.state = slow_state  # type: ignore[method-assign]
    with pytest.raises(LeaseLostError):
        stage.wake()
    assert stage.table.open == {}
    assert stage.table.actions == {}


def test_a_run_that_loses_its_lease_between_two_steps_leaves_the_rest_alone() -> None:
    stage = Stage()

    def stolen_after_the_first_launch(call: str) -> bool:
        if call.startswith("launch"):
            stage.table.lease["expires_at"] = 0.0
        return False

    stage.nodes.crash_when = stolen_after_the_first_launch
    with pytest.raises(LeaseLostError):
        stage.wake()
    assert len([c for c in stage.nodes.calls if c.startswith("launch")]) == 1


def test_a_run_without_time_hands_over() -> None:
    stage = a_born_cluster()
    stage.lose("db-euw1-a")
    ends = stage.now() + 15
    outcome = stage.run(remaining_s=lambda: ends - stage.now()).go()
    assert not outcome.quiet
    assert len(stage.told.of("Reconcile Unfinished")) == 1
    assert stage.now() < ends
    assert stage.table.lease["expires_at"] == 0.0


def test_a_closed_cluster_is_not_refilled() -> None:
    stage = a_born_cluster()
    stage.table.closed = True
    stage.nodes.terminate_from_outside("db-euw3-a")
    stage.nodes.sleep(5)
    outcome = stage.wake()
    assert outcome.actions == []
    assert any(hold.startswith("closed") for hold in outcome.holds)
    assert stage.nodes.calls == []


@pytest.mark.parametrize(
    ("wake", "found"), [("alarm:pgmend-heartbeat-db-euw3-a", True), ("tick", False)]
)
def test_an_alarm_is_followed_until_it_is_known_who_is_silent(wake: str, found: bool) -> None:
    """At the first look after a pause every last word is new; a tick comes again, an alarm may not."""
    stage = a_born_cluster()
    stage.nodes.sleep(5.0)  # a last word that nobody has looked at
    stage.nodes.cut_off.add("db-euw3-a")
    stage.nodes.sleep(20.0)
    stage.wake(wake)
    told = [s for s in stage.sentences if "no report comes" in s]
    assert bool(told) is found, stage.sentences


def test_an_alarm_that_is_over_costs_two_looks() -> None:
    stage = a_born_cluster()
    assert stage.wake("alarm:pgmend-heartbeat-db-euw3-a").looks <= 3
