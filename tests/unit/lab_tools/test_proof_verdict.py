"""What a scenario may show, what it must, and which promises it broke."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.demo.record import Sample
from lab.freeze.plan import Variant
from lab.proof.account import (
    Account,
    Call,
    Step,
    back_at,
    calls_of,
    calls_with,
    first_opened,
    outages_s,
    steps_of,
    still_open,
)
from lab.proof.record import as_json, as_markdown, grouped, line_of, line_of_failure, table
from lab.proof.rows import ROWS
from lab.proof.scenario import Freeze, Scenario, blow
from lab.proof.verdict import all_done, broken, mends_now, permitted, was_called
from tests.unit.lab_tools.fakes import a_write

TARGET, OTHER = "db-euw1-b", "db-euw1-a"
SILENT = Scenario(
    name="agent-silent",
    row="agent silent on a healthy node",
    blows=blow("stop-agent", "replica"),
    called=("agent-silent",),
    must=("restart-service:pgmend-agent",),
    full_s=60.0,
)


def a_step(
    kind: str = "restart-service",
    service: str | None = "pgmend-agent",
    *,
    slot: str = TARGET,
    outcomes: tuple[str, ...] = ("sent", "success"),
    at: float = 100.0,
) -> Step:
    return Step(
        action_id=f"x-1-{kind}",
        kind=kind,
        service=service,
        slot=slot,
        at=at,
        diagnosis="agent-silent",
        outcomes=outcomes,
        sentences=(),
    )


def seen(**changes: Any) -> Account:
    good = Account(
        targets=(TARGET,),
        begin=1000.0,
        begin_wall=90.0,
        struck=1001.0,
        mended=None,
        end=1050.0,
        settled=True,
        back=1030.0,
        detected_s=6.0,
        calls=frozenset({Call(slot=TARGET, diagnosis="agent-silent", held=None)}),
        steps=(a_step(),),
        missing=(),
        open_slots=(),
        outage_s=0.2,
        acked=900,
        lost=0,
        two_writable_s=0.0,
        full_strength_s=30.0,
    )
    return replace(good, **changes)


def test_a_scenario_that_went_as_it_should_broke_nothing() -> None:
    assert broken(SILENT, seen()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lost": 3}, "3 acknowledged writes are gone"),
        ({"two_writable_s": 0.5}, "two nodes were writable at once for 0.50 s"),
        (
            {"back": None, "full_strength_s": None, "missing": ("db-euw1-b is empty",)},
            "strength did not return: db-euw1-b is empty",
        ),
        ({"full_strength_s": 61.0}, "strength returned after 61 s, promised were 60 s"),
        ({"outage_s": 12.0}, "no write was acknowledged for 12.0 s, promised were 10 s"),
        ({"calls": frozenset()}, "nobody called it agent-silent, but nothing"),
        ({"steps": ()}, "restart-service:pgmend-agent did not happen"),
        ({"open_slots": (TARGET,)}, "incidents are open in the end: db-euw1-b"),
        ({"settled": False}, "it did not come to rest in the time there was"),
    ],
)
def test_every_broken_promise_is_a_sentence(changes: dict[str, Any], said: str) -> None:
    assert broken(SILENT, seen(**changes)) == [said]


@pytest.mark.parametrize(
    "step",
    [
        a_step(service="patroni"),
        a_step(slot=OTHER),
        a_step("terminate", None),
        a_step("launch", None, slot=OTHER),
    ],
)
def test_the_agent_is_restarted_and_nothing_else(step: Step) -> None:
    (sentence,) = broken(SILENT, seen(steps=(a_step(), step)))
    assert "was not to happen" in sentence


def test_a_step_that_aws_refused_has_not_happened() -> None:
    failed = a_step(outcomes=("sent", "failed"))
    assert broken(SILENT, seen(steps=(failed,))) == ["restart-service:pgmend-agent did not happen"]
    assert all_done(SILENT, (failed, a_step()), (TARGET,))


def test_a_step_of_which_aws_said_nothing_has_neither_happened_nor_failed() -> None:
    unknown = a_step("launch", None, outcomes=("unknown",))
    assert not unknown.succeeded
    assert not unknown.failed
    assert not all_done(replace(SILENT, must=("launch",)), (unknown,), (TARGET,))


def test_a_diagnosis_of_another_slot_is_none_of_the_target() -> None:
    elsewhere = {Call(slot=OTHER, diagnosis="agent-silent", held=None)}
    assert not was_called(SILENT, elsewhere, (TARGET,))
    assert was_called(SILENT, elsewhere, ())


def test_a_hold_that_was_promised_has_to_be_seen() -> None:
    held = replace(SILENT, held="region-cut-off")
    assert broken(held, seen()) == ["nothing was held by 'region-cut-off'"]
    call = Call(slot=TARGET, diagnosis="agent-silent", held="region-cut-off")
    assert broken(held, seen(calls=frozenset({call}))) == []


def test_a_step_may_be_allowed_on_any_slot() -> None:
    launch = a_step("launch", None, slot=OTHER)
    assert permitted(launch, ("launch@any",), (TARGET,))
    assert not permitted(launch, ("launch",), (TARGET,))
    assert permitted(a_step(), ("restart-service",), (TARGET,))


def test_damage_is_taken_back_when_it_was_found_or_when_a_step_failed() -> None:
    by_step = replace(SILENT, mended_on=("restart-service:pgmend-agent failed",))
    assert not mends_now(by_step, (), (a_step(),))
    assert mends_now(by_step, (), (a_step(outcomes=("sent", "failed")),))
    by_call = replace(SILENT, mended_on=("boot-stuck",))
    assert mends_now(by_call, (Call(slot=TARGET, diagnosis="boot-stuck", held=None),), ())


# -- facts out of items


def entry(second: int, action_id: str, kind: str, outcome: str, sentence: str) -> dict[str, Any]:
    return {
        "sk": f"2026-01-01T00:00:{second:02d}.000Z#{action_id}",
        "action_id": action_id,
        "kind": kind,
        "slot": TARGET,
        "outcome": outcome,
        "sentence": sentence,
        "diagnosis": "agent-silent",
    }


MIDNIGHT = 1767225600.0


def test_lines_of_the_journal_become_steps_with_their_service_and_outcomes() -> None:
    journal = [
        entry(1, "old-1-launch", "launch", "done", "launched i-1 into db-euw1-b"),
        entry(
            20,
            "new-1-restart-service",
            "restart-service",
            "sent",
            "asked i-1 in db-euw1-b to restart pgmend-agent",
        ),
        entry(25, "new-1-restart-service-end", "restart-service", "success", "ended: Success"),
        entry(26, "new-2-hold", "hold", "held", "holding"),
    ]
    (step,) = steps_of(journal, MIDNIGHT + 10)
    assert (step.word, step.slot) == ("restart-service:pgmend-agent", TARGET)
    assert step.outcomes == ("sent", "success")
    assert step.at == MIDNIGHT + 20
    assert not step.failed


def test_what_an_illness_turns_out_to_be_counts_as_well_as_its_first_name() -> None:
    incidents = [
        {"slot": TARGET, "diagnosis": "replica-broken", "found": "disk-full", "opened_at": 101.0}
    ]
    assert {c.diagnosis for c in calls_of(incidents, 100.0)} == {"replica-broken", "disk-full"}
    journal = [{**entry(20, "a-1-reinit", "reinit", "sent", "x"), "diagnosis": "replica-wal-gone"}]
    (call,) = calls_with(steps_of(journal, MIDNIGHT))
    assert (call.slot, call.diagnosis) == (TARGET, "replica-wal-gone")


def test_only_incidents_since_the_blow_count() -> None:
    incidents = [
        {"sk": "a", "slot": OTHER, "diagnosis": "stopped", "opened_at": 50.0, "state": "healed"},
        {"sk": "b", "slot": OTHER, "diagnosis": "suspected", "opened_at": 101.0, "state": "open"},
        {"sk": "c", "slot": TARGET, "diagnosis": "agent-silent", "opened_at": 104.0, "held": "x"},
    ]
    assert {call.diagnosis for call in calls_of(incidents, 100.0)} == {"suspected", "agent-silent"}
    assert first_opened(incidents, 100.0, (TARGET,)) == 104.0
    assert first_opened(incidents, 100.0, ("witness-euc1-a",)) == 101.0
    assert first_opened(incidents, 200.0, (TARGET,)) is None
    assert still_open(incidents) == (OTHER, TARGET)


def samples(*full: bool) -> list[Sample]:
    return [
        Sample(at=float(at), full=value, leader=OTHER, missing=()) for at, value in enumerate(full)
    ]


@pytest.mark.parametrize(
    ("looks", "back"),
    [
        ((True, True, True), 0.0),
        ((True, False, True, True), 2.0),
        ((True, False, True, False, True), 4.0),
        ((True, False), None),
    ],
)
def test_strength_is_back_when_it_stays(looks: tuple[bool, ...], back: float | None) -> None:
    assert back_at(samples(*looks), 0.0) == back


def test_outages_of_a_second_and_more_add_up() -> None:
    writes = [a_write(at, number=n) for n, at in enumerate((0.0, 0.5, 3.5, 4.0, 9.0))]
    total = outages_s(writes, 0.0, 9.5, least_s=1.0)
    assert total == pytest.approx(3.0 + 5.0)


def test_steps_before_the_mending_are_told_from_those_after_it() -> None:
    account = seen(mended=1020.0, steps=(a_step(at=105.0), a_step("launch", None, at=115.0)))
    assert [step.kind for step in account.before_mending()] == ["restart-service"]
    assert [step.kind for step in account.of_kind("launch")] == ["launch"]


# -- the table


def test_the_table_has_a_line_for_every_scenario_and_says_what_broke() -> None:
    good = line_of("agent-silent", "agent", seen(), broken=(), took_s=55.0)
    bad = line_of_failure("boot-stuck", "boot", "the lab broke off | here", took_s=9.0)
    header, first, second = table((good, bad))
    assert header[0] == "fault"
    assert first == (
        *("agent-silent", "6.0 s", "restart-service:pgmend-agent db-euw1-b"),
        *("0.2 s", "30.0 s", "0", "0.00 s", "kept"),
    )
    assert second[-1] == "BROKEN"
    text = as_markdown((good, bad), took_s=120.0)
    assert "1 of 2 scenarios kept their promises, in 2 minutes." in text
    assert "- boot-stuck: the lab broke off | here" in text


def test_a_run_is_only_good_when_every_scenario_ran_and_kept_its_promises() -> None:
    good = line_of("agent-silent", "agent", seen(), broken=(), took_s=55.0)
    whole = as_json((good,), wanted=("agent-silent",), began=0.0, took_s=60.0)
    assert whole["ok"] is True
    short = as_json((good,), wanted=("agent-silent", "boot-stuck"), began=0.0, took_s=60.0)
    assert (short["ok"], short["not_run"]) == (False, ["boot-stuck"])
    bad = replace(good, broken=("something",))
    assert as_json((bad,), wanted=("agent-silent",), began=0.0, took_s=60.0)["ok"] is False


def test_steps_done_again_and_again_are_counted() -> None:
    assert grouped(("a x", "a x", "b y")) == "a x (2 times), b y"
    assert grouped(()) == "none"


# -- the catalogue


def test_every_scenario_has_a_name_of_its_own() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


def test_labs_are_changed_once() -> None:
    sizes = [row.size for row in ROWS]
    assert sizes == sorted(sizes)


def test_there_are_two_trials_of_each_kind_of_thaw() -> None:
    trials = [row.variant for row in ROWS if isinstance(row, Freeze)]
    assert sorted(trials) == [Variant.FORCED] * 2 + [Variant.NATURAL] * 2


def test_what_is_never_taken_back_is_never_waited_for() -> None:
    for row in ROWS:
        if isinstance(row, Scenario):
            assert not row.mended_on or row.stands_s is not None
