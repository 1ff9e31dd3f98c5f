"""What people read, from facts that were written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lambdas.core.consent import Breaker, Planned, PlannedKind, Window
from lambdas.core.incident import ACKNOWLEDGED, Incident, OpenAction
from lambdas.core.model import Mode
from lambdas.core.rails import RAILS
from lambdas.people.facts import Facts, Lease, Order, Past, Said, Step, Strength, facts_of
from lambdas.people.story import history, holds, status, windows

NOW = 1_800_000_000.0
HOUR = 3600.0
WELL = Facts(
    strength=Strength(
        full=True, leader="db-euw1-a", sentence="full strength, db-euw1-a leads", at=NOW - 4
    ),
    lease=Lease(token=41, taken_at=NOW - 9, expires_at=0.0),
)


def an_incident(**more: Any) -> Incident:
    known: dict[str, Any] = {
        "incident_id": "20270115T075900-db-euw3-a",
        "slot": "db-euw3-a",
        "diagnosis": "presumed-dead",
        "opened_at": NOW - 60,
        "wake": "alarm:heartbeat",
    }
    return Incident(**(known | more))


def a_step(after_s: float, sentence: str, incident: str = "20270115T075900-db-euw3-a") -> Step:
    return Step(
        at=NOW - 60 + after_s,
        slot="db-euw3-a",
        incident=incident,
        kind="launch",
        outcome="done",
        sentence=sentence,
    )


def told(facts: Facts, *steps: Step) -> str:
    return status(facts, steps, now=NOW)


# -- what cannot be read


@pytest.mark.parametrize("listed", ["{", "[5]", '[{"from": 1, "until": 1e999, "why": "x"}]'])
def test_a_list_of_windows_that_cannot_be_read_is_told_and_not_thrown(listed: str) -> None:
    facts = facts_of({"windows": {"windows": {"S": listed}}})
    assert "window      on now   without end: the list of windows cannot be" in told(facts)
    (held,) = holds(facts, now=NOW)
    assert held.startswith("a window is on without end: the list of windows cannot be read")
    assert windows(facts, now=NOW).startswith("on now   without end")


@pytest.mark.parametrize("heard", ["{", "[]", '{"db-euw1-a": 5}', "null", "[" * 100_000])
def test_a_memory_that_cannot_be_read_keeps_nothing_else_off_the_page(heard: str) -> None:
    report = {"sk": {"S": "db-euw1-a"}, "instance_id": {"S": "i-1"}, "body": {"S": "{}"}}
    facts = facts_of({"freshness": {"slots": {"S": heard}}}, reports=[report])
    assert "mode        auto" in told(facts)


def test_a_report_that_is_all_depth_keeps_nothing_else_off_the_page() -> None:
    deep = {"sk": {"S": "db-euw1-a"}, "instance_id": {"S": "i-1"}, "body": {"S": "[" * 100_000}}
    paused = {
        "sk": {"S": "db-euw1-b"},
        "instance_id": {"S": "i-2"},
        "body": {"S": '{"patroni": {"paused": true}}'},
    }
    heard = '{"db-euw1-a": {"instance_id": "i-1"}, "db-euw1-b": {"instance_id": "i-2"}}'
    facts = facts_of({"freshness": {"slots": {"S": heard}}}, reports=[deep, paused])
    assert facts.paused_by == ("db-euw1-b",)


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({"state": {"S": "open"}, "kind": {"S": "rebuild"}}, "kind is 'rebuild', which nobody"),
        ({"state": {"N": "1"}}, "state is no string"),
    ],
    ids=["kind", "state"],
)
def test_an_order_that_cannot_be_read_is_told(item: dict[str, dict[str, str]], why: str) -> None:
    facts = facts_of({"planned": {"by": {"S": "user/ann"}, **item}})
    (line,) = (line for line in told(facts).splitlines() if line.startswith("planned"))
    assert line.startswith(f"planned     an order by user/ann that cannot be read: {why}")
    assert line.endswith("it is not carried out, order it again")


def test_an_order_that_is_done_is_nothing_planned() -> None:
    facts = facts_of({"planned": {"state": {"S": "done"}, "kind": {"S": "rebuild"}}})
    assert "planned     nothing" in told(facts)


# -- status


def test_a_cluster_that_is_well_is_six_lines() -> None:
    assert told(WELL).splitlines() == [
        "strength    full: full strength, db-euw1-a leads (said 4 s ago)",
        "mode        auto: the healer heals",
        "breaker     closed",
        "planned     nothing",
        "incidents   none open",
        "run         none under way (the last one had token 41)",
    ]


def test_a_healer_that_fell_silent_is_noticed() -> None:
    assert WELL.strength is not None
    silent = replace(WELL, strength=replace(WELL.strength, at=NOW - 600))
    assert "said 10 min ago - it should look every minute" in told(silent)


def test_a_cluster_nobody_ever_looked_at_says_so() -> None:
    assert "the healer has never looked" in told(Facts())
    assert "the healer has never run" in told(Facts())


@pytest.mark.parametrize(
    ("lease", "words"),
    [
        (
            Lease(token=7, taken_at=NOW - 12, expires_at=NOW + 20),
            "run 7 holds the lease, taken 12 s ago",
        ),
        (Lease(token=7, taken_at=None, expires_at=NOW + 20), "run 7 holds the lease"),
        (Lease(token=7, taken_at=NOW - 99, expires_at=NOW - 60), "run out 1 min ago: it died"),
    ],
)
def test_who_looks_is_told(lease: Lease, words: str) -> None:
    assert words in told(replace(WELL, lease=lease))


def test_a_pause_says_who_why_and_how_long() -> None:
    paused = replace(
        WELL,
        mode=Mode.OBSERVE,
        mode_until=NOW + 2 * HOUR,
        mode_said=Said(by="user/ann", why="new disks"),
    )
    assert (
        "mode        observe until 2027-01-15 10:00:00 UTC (in 2 h) by user/ann (new disks): "
        "the healer plans, says, and does nothing" in told(paused)
    )


def test_a_pause_that_is_over_is_not_told_as_one() -> None:
    over = replace(WELL, mode=Mode.OFF, mode_until=NOW, mode_said=Said(by="user/ann", why="disks"))
    assert "mode        auto: the healer heals" in told(over)
    assert "user/ann" not in told(over)


def test_windows_on_and_to_come_are_told_and_those_that_are_over_are_not() -> None:
    facts = replace(
        WELL,
        windows=(
            Window(from_=NOW + HOUR, until=NOW + 2 * HOUR, why="kernel"),
            Window(from_=NOW - 60, until=NOW + 60, why="disks"),
            Window(from_=NOW - HOUR, until=NOW, why="past"),
        ),
    )
    assert windows(facts, now=NOW).splitlines() == [
        "on now   2027-01-15 07:59:00 UTC to 2027-01-15 08:01:00 UTC (2 min): disks",
        "to come  2027-01-15 09:00:00 UTC to 2027-01-15 10:00:00 UTC (1 h): kernel",
    ]
    assert "window      on now   2027-01-15 07:59:00 UTC" in told(facts)
    assert windows(WELL, now=NOW) == "no window is on or to come"


def test_an_open_breaker_says_why_and_how_it_is_closed() -> None:
    facts = replace(WELL, breaker=Breaker(open=True, why="never joined", opened_at=NOW - 300))
    assert "breaker     OPEN since 2027-01-15 07:55:00 UTC (5 min): never joined; heal-ack" in told(
        facts
    )


def test_a_closed_breaker_says_who_looked_last() -> None:
    breaker = Breaker(open=False, why="", opened_at=0.0, acknowledged_at=NOW - 60)
    facts = replace(WELL, breaker=breaker, breaker_said=Said(by="user/bob"))
    assert "last acknowledged 2027-01-15 07:59:00 UTC by user/bob" in told(facts)


def test_planned_work_says_what_and_who() -> None:
    planned = Planned(plan_id="x", kind=PlannedKind.SWITCHOVER, since=NOW - 30, to="db-euw3-a")
    facts = replace(WELL, planned=planned, planned_said=Said(by="user/ann", why="zone work"))
    words = "planned     switchover to db-euw3-a, ordered 30 s ago by user/ann (zone work)"
    assert words in told(facts)
    roll = replace(planned, kind=PlannedKind.ROLL, to=None)
    assert "planned     roll, ordered 30 s ago" in told(replace(facts, planned=roll))


def test_an_open_incident_says_what_was_tried_and_what_holds_it() -> None:
    incident = an_incident(
        rungs={"restart-service": 2, "reboot": 1, ACKNOWLEDGED: int(NOW)},
        held="quorum",
        stand_in="db-euw3-b",
    )
    action = OpenAction(action_id="a", kind="configure", incident="x", started_at=NOW - 5)
    facts = replace(WELL, incidents=(incident,), actions={"db-euw3-a": action})
    steps = (a_step(0.4, "ended i-1"), a_step(3.0, "launched i-2"), a_step(1, "not ours", "other"))
    why = next(rail.why for rail in RAILS if rail.id == "quorum")
    assert told(facts, *steps).splitlines()[4:-1] == [
        "incident    db-euw3-a is presumed-dead, open for 1 min",
        "            20270115T075900-db-euw3-a, woken by alarm:heartbeat",
        "                +0 s  ended i-1",
        "                +3 s  launched i-2",
        f"            tried: {incident.story}",
        "            under way: configure, asked 5 s ago",
        "            db-euw3-b carries on in its place",
        f"            HELD by quorum: {why}",
    ]


def test_what_was_tried_before_a_person_looked_is_not_told_as_tried() -> None:
    begun_anew = an_incident(rungs={"reboot": 1}).begun_anew(NOW)
    assert "tried:" not in told(replace(WELL, incidents=(begun_anew,)))


def test_a_hold_of_no_rail_is_told_by_its_name() -> None:
    facts = replace(WELL, incidents=(an_incident(held="two-disks"),))
    assert "HELD by two-disks\n" in told(facts)


def test_the_oldest_incident_comes_first_and_long_ones_are_cut() -> None:
    young = an_incident(slot="app-euw1-a", incident_id="y", opened_at=NOW - 1)
    facts = replace(WELL, incidents=(young, an_incident()))
    steps = tuple(a_step(float(n), f"step {n}") for n in range(10))
    lines = told(facts, *steps).splitlines()
    told_of = [line.split()[1] for line in lines if line.startswith("incident ")]
    assert told_of == ["db-euw3-a", "app-euw1-a"]
    assert [line.split()[-1] for line in lines if " step " in line] == list("456789")


# -- what holds


def test_nothing_holds_a_healer_that_nobody_stopped() -> None:
    assert holds(WELL, now=NOW) == ()


def test_everything_that_holds_is_told() -> None:
    facts = replace(
        WELL,
        closed=True,
        mode=Mode.OFF,
        windows=(Window(from_=NOW, until=NOW + 60, why="disks"),),
        breaker=Breaker(open=True, why="x", opened_at=NOW),
        paused_by=("db-euw1-a",),
    )
    found = holds(facts, now=NOW)
    assert len(found) == 5
    assert "patroni     paused, says db-euw1-a" in told(facts)
    assert [why for why in found if "disks" in why] == [
        "a window is on until 2027-01-15 08:01:00 UTC: disks"
    ]
    assert "closed" in told(facts)


# -- history


PAST = Past(incident=an_incident(), healed_at=NOW - 19, sentence="db-euw3-a is healed after 41 s")
ORDERED = Order(at=NOW - 3600, by="user/ann", sentence="mode is observe until heal-resume")


def test_a_healed_incident_is_a_story_with_a_beginning_and_an_end() -> None:
    assert history([PAST], [a_step(3.4, "launched i-2")], []).splitlines() == [
        "2027-01-15 07:59:00 UTC  db-euw3-a is presumed-dead; healed after 41 s",
        "    20270115T075900-db-euw3-a, woken by alarm:heartbeat",
        "        +3 s  launched i-2",
        "       +41 s  db-euw3-a is healed after 41 s",
    ]


def test_orders_and_steps_of_no_incident_stand_between() -> None:
    birth = a_step(-7200, "the cluster is being born", "birth-1")
    lines = history([PAST], [birth], [ORDERED]).splitlines()
    assert lines[:3] == [
        "2027-01-15 05:59:00 UTC  the cluster is being born",
        "2027-01-15 07:00:00 UTC  user/ann: mode is observe until heal-resume",
        "2027-01-15 07:59:00 UTC  db-euw3-a is presumed-dead; healed after 41 s",
    ]


def test_an_incident_alone_is_told_alone() -> None:
    birth = a_step(-7200, "the cluster is being born", "birth-1")
    assert "born" not in history([PAST], [birth], [], alone=True)


def test_an_open_incident_has_no_end_yet() -> None:
    assert "still open" in history([replace(PAST, healed_at=None)], [], [])


def test_a_cluster_without_a_past_says_so() -> None:
    assert history([], [], []) == "nothing is known to have happened"
