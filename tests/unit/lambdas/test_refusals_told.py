"""What people are told of a try that AWS refused, or gave no answer to: which it was; never that it was done."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from lambdas.act import NO_ANSWER, last_line
from lambdas.core.model import Incident
from lambdas.core.plan import unanswered_key
from tests.unit.lambdas.world import FakeEc2, Stage, a_born_cluster

SLOT = "app-euw1-a"


def an_empty_slot() -> Stage:
    stage = a_born_cluster()
    stage.nodes.terminate_from_outside(SLOT)
    return stage


def of(stage: Stage, kind: str) -> list[dict[str, Any]]:
    return [detail for detail in stage.told.of(kind) if detail["slot"] == SLOT]


def test_tries_that_aws_refuses_are_no_actions_taken_and_have_one_occasion() -> None:
    stage = an_empty_slot()
    stage.nodes.no_room.add(SLOT)
    for _ in range(3):
        stage.wake()
        stage.nodes.sleep(60.0)
    refused = of(stage, "Action Refused")
    assert len({told["action"] for told in refused}) > 2
    occasions = {(told["incident"], told["step"], told["error"]) for told in refused}
    assert [occasion[1:] for occasion in occasions] == [("launch", "InsufficientInstanceCapacity")]
    assert all("was refused" in told["sentence"] for told in refused)
    assert of(stage, "Action Taken") == []


def test_a_try_that_goes_through_is_an_action_taken() -> None:
    stage = an_empty_slot()
    stage.until_full(within_s=60)
    assert of(stage, "Action Refused") == []
    launched = of(stage, "Action Taken")[0]
    assert launched["action"].endswith("-launch")
    assert "error" not in launched


# -- tries without an answer


def answers(monkeypatch: pytest.MonkeyPatch, *, from_try: int) -> list[float]:
    """Launches into the slot are answered only from this try on. When each was asked for."""
    launch, asked = FakeEc2.launch, []

    def lost(self: FakeEc2, slot: Any, **named: Any) -> str:
        if slot.name == SLOT:
            asked.append(self._nodes.now)
            if len(asked) < from_try:
                raise ReadTimeoutError(endpoint_url="https://ec2")
        return launch(self, slot, **named)

    monkeypatch.setattr(FakeEc2, "launch", lost)
    return asked


def journaled(stage: Stage) -> list[tuple[str, str]]:
    """Action id and outcome of each launch into the slot that the journal has."""
    lines = [entry for _, entry in stage.table.entries if entry["slot"] == SLOT]
    return [(e["action_id"], e["outcome"]) for e in lines if e["kind"] == "launch"]


def an_empty_slot_without_a_past() -> Stage:
    stage = an_empty_slot()
    stage.table.entries.clear()
    return stage


def test_a_try_without_an_answer_is_asked_again_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = an_empty_slot_without_a_past()
    asked = answers(monkeypatch, from_try=99)
    stage.wake()
    stage.wake()
    apart = [after - before for before, after in pairwise(asked)]
    assert len(apart) > 3
    assert all(gap >= wait for gap, wait in zip(apart, (5, 10, 20, 40, 80, 160), strict=False))
    assert any("AWS gave no answer to launch; it is asked again in" in s for s in stage.sentences)


def test_tries_without_an_answer_are_one_line_of_the_journal_and_one_occasion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = an_empty_slot_without_a_past()
    answers(monkeypatch, from_try=99)
    stage.wake()
    stage.wake()
    assert [outcome for _, outcome in journaled(stage)] == ["unknown"]
    told = of(stage, "Action Refused")
    assert len(told) > 2
    assert len({(t["incident"], t["step"], t["error"]) for t in told}) == 1
    assert told[0]["error"] == NO_ANSWER
    assert told[0]["sentence"].startswith(f"AWS did not say what became of launch on {SLOT}")
    assert of(stage, "Action Taken") == []


def test_one_try_without_an_answer_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = an_empty_slot()
    answers(monkeypatch, from_try=2)
    stage.until_full(within_s=60)
    assert of(stage, "Action Refused") == []


@pytest.mark.parametrize("tries", [2, 4])
def test_what_goes_through_after_tries_without_an_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    stage = an_empty_slot_without_a_past()
    asked = answers(monkeypatch, from_try=tries)
    stage.until_full(within_s=120)
    lines = journaled(stage)
    assert len(asked) == tries
    assert [outcome for _, outcome in lines] == ["unknown", "done"]
    assert len({action_id for action_id, _ in lines}) == 1
    launched = [told for told in of(stage, "Action Taken") if told["action"] == lines[0][0]]
    assert ["launched i-" in told["sentence"] for told in launched] == [True]


def test_what_was_answered_in_the_end_is_not_counted_against_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = an_empty_slot()
    answers(monkeypatch, from_try=4)
    seen: list[int] = []
    save = stage.table.save_incident

    def saved(incident: Incident) -> None:
        if incident.slot == SLOT:
            seen.append(incident.rung(unanswered_key("launch")))
        save(incident)

    stage.table.save_incident = saved  # type: ignore[method-assign]
    stage.until_full(within_s=120)
    assert max(seen) == 3
    assert seen[-1] == 0


def test_an_end_without_an_answer_is_one_removal_of_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(*_: object) -> None:
        raise ReadTimeoutError(endpoint_url="https://ec2")

    stage = a_born_cluster()
    stage.table.entries.clear()
    stage.lose(SLOT)
    monkeypatch.setattr(FakeEc2, "terminate", lost)
    stage.wake()
    lines = [e["outcome"] for _, e in stage.table.entries if e["kind"] == "terminate"]
    assert lines == ["unknown"]


def test_a_last_line_that_is_all_depth_is_told_as_it_is() -> None:
    deep = "[" * 100_000
    assert last_line(deep) == deep[:300]
