"""What people are told of a try that AWS refused: that it was refused, and for which reason; never that it was done."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from lambdas.act import last_line
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


def test_a_try_without_an_answer_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> str:
        raise ReadTimeoutError(endpoint_url="https://ec2")

    stage = an_empty_slot()
    monkeypatch.setattr(FakeEc2, "launch", lost)
    stage.wake()
    assert of(stage, "Action Refused") == []
    assert "AWS did not say" in of(stage, "Action Taken")[0]["sentence"]


def test_a_last_line_that_is_all_depth_is_told_as_it_is() -> None:
    deep = "[" * 100_000
    assert last_line(deep) == deep[:300]
