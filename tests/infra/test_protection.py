"""What keeps a cluster from being emptied by mistake, and what opens one again that was closed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.infra.planned import Plan

EMPTIES = "module.wakes"


def root(plan: Plan) -> Mapping[str, Any]:
    """The root module as it is written."""
    found: Mapping[str, Any] = plan.raw["configuration"]["root_module"]
    return found


def written(plan: Plan) -> Mapping[str, str]:
    """Address → all that is written there, of what the root module makes or calls."""
    module = root(plan)
    made = {r["address"]: r for r in module["resources"] if r["mode"] == "managed"}
    called = {
        f"module.{name}": {key: value for key, value in call.items() if key != "module"}
        for name, call in module["module_calls"].items()
    }
    return {address: json.dumps(body) for address, body in {**made, **called}.items()}


def asked(plan: Plan) -> Mapping[str, Any]:
    """What the lifecycle function is asked with."""
    request: Mapping[str, Any] = json.loads(
        plan.one("aws_lambda_invocation", "lifecycle").values["input"]
    )
    return request


def test_a_cluster_is_protected_unless_somebody_says_otherwise(plan: Plan) -> None:
    variables = root(plan)["variables"]
    assert variables["deletion_protection"]["default"] is True
    assert variables["notice_emails"]["default"] == []


def test_the_lifecycle_function_learns_of_the_protection_and_of_every_opening(plan: Plan) -> None:
    assert asked(plan) == {
        "version": 1,
        "deletion_protection": False,  # the lab's
        "final_snapshot": True,
        "opening": 1,
    }
    inputs = root(plan)["module_calls"]["wakes"]["expressions"]
    for name in ("deletion_protection", "opening"):
        assert inputs[name] == {"references": [f"var.{name}"]}


def test_a_new_opening_calls_the_function_again_and_replaces_nothing(plan: Plan) -> None:
    call = plan.one("aws_lambda_invocation", "lifecycle").values
    assert call["lifecycle_scope"] == "CRUD"
    assert not call["triggers"]  # another one would mean a delete and a create


def test_a_refused_destroy_has_touched_nothing_else(plan: Plan) -> None:
    """All else is undone after it: each thing is one that it depends on, or one that such a thing refers to."""
    sources = written(plan)
    first = set(root(plan)["module_calls"]["wakes"]["depends_on"])
    assert first <= sources.keys()
    for address in sources.keys() - first - {EMPTIES}:
        others = [text for other, text in sources.items() if other != address]
        assert any(f'"{address}' in text for text in others), address


def test_the_hub_table_is_protected_like_the_cluster_and_can_be_brought_back(plan: Plan) -> None:
    (table,) = plan.resources("aws_dynamodb_table")
    assert table.values["deletion_protection_enabled"] is False  # the lab's
    (resource,) = (r for r in root(plan)["resources"] if r["address"] == "aws_dynamodb_table.hub")
    protected = resource["expressions"]["deletion_protection_enabled"]
    assert protected == {"references": ["var.deletion_protection"]}
    (recovery,) = table.values["point_in_time_recovery"]
    assert recovery["enabled"] is True


def test_everybody_named_is_written_to(plan: Plan) -> None:
    assert plan.resources("aws_sns_topic_subscription") == []
    (resource,) = (
        r for r in root(plan)["resources"] if r["address"] == "aws_sns_topic_subscription.email"
    )
    assert resource["for_each_expression"] == {"references": ["var.notice_emails"]}
    assert resource["expressions"]["protocol"] == {"constant_value": "email"}
