"""Documents that no agent and no OpenTofu writes: endless numbers, nothing but depth, another type than the field's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdas.adapters import items
from lambdas.core.parse import (
    INTEGER_MAX,
    BadReportError,
    document,
    report_from_json,
    spec_from_json,
)
from lambdas.core.wanted import MIB
from lambdas.errors import MalformedSpecError
from tests.unit.lambdas.builders import EXAMPLES

DEEP = "[" * 100_000


def the_report(lag_bytes: object) -> Any:
    raw = json.loads((EXAMPLES / "report-leader.json").read_text())
    raw["postgres"]["replication"][0]["lag_bytes"] = lag_bytes
    report = report_from_json(json.dumps(raw), cluster=raw["cluster"], slot=raw["slot"])
    assert report.postgres is not None
    return report.postgres.replication[0].lag_bytes


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (0, 0),
        (INTEGER_MAX - 1, INTEGER_MAX - 1),
        (INTEGER_MAX, None),
        (-INTEGER_MAX, None),
        (10**400, None),
        (True, None),
        (1.5, None),
    ],
    ids=["nothing", "the last", "one more", "and below", "endless", "a bool", "a fraction"],
)
def test_a_whole_number_has_64_bits(said: object, read: int | None) -> None:
    assert the_report(said) == read


def test_the_largest_number_can_be_reckoned_with() -> None:
    assert (INTEGER_MAX - 1) / MIB > 0


def test_a_lag_that_a_report_may_have_can_be_remembered() -> None:
    entry = {"instance_id": "i-1", "sequence": 1, "at": 1.0, "lag": [INTEGER_MAX - 1, 1.0]}
    kept = {"slots": {"S": json.dumps({"db-euw1-a": entry})}}
    assert items.read_freshness(kept) == ({"db-euw1-a": entry}, None)


@pytest.mark.parametrize("lag", [[INTEGER_MAX, 1.0], [1, 2.0, 3.0], [1], ["1", 1.0], [1, None]])
def test_a_lag_that_no_look_remembers_is_no_memory(lag: list[object]) -> None:
    entry = {"instance_id": "i-1", "sequence": 1, "at": 1.0, "lag": lag}
    kept = {"slots": {"S": json.dumps({"db-euw1-a": entry})}}
    found, why = items.read_freshness(kept)
    assert found == {}
    assert why is not None


# -- depth


def test_a_document_that_is_all_depth_is_none() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        document(DEEP)


def test_a_report_that_is_all_depth_is_refused() -> None:
    with pytest.raises(BadReportError, match="nested too deeply"):
        report_from_json(DEEP, cluster="pgmend", slot="db-euw1-a")


def test_a_spec_that_is_all_depth_is_refused() -> None:
    with pytest.raises(MalformedSpecError, match="nested too deeply"):
        spec_from_json(DEEP)


# -- types


def the_spec(path: str, value: object) -> str:
    raw = json.loads((EXAMPLES / "spec.json").read_text())
    *parents, last = path.split(".")
    owner = raw if parents != ["disk"] else raw["slots"][0]
    for parent in parents:
        owner = owner[parent]
    owner[last] = value
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("timings.lease_s", "2", "lease_s of timings is '2', which is no number;"),
        ("timings.lease_s", None, "lease_s of timings is 'None', which is no number;"),
        ("timings.lease_s", True, "lease_s of timings is 'True', which is no number;"),
        ("timings.lease_s", -1, "lease_s of timings is '-1', which is out of range;"),
        ("timings.lease_s", float("nan"), "lease_s of timings is 'nan', which is out of range;"),
        ("timings.lease_s", float("inf"), "lease_s of timings is 'inf', which is out of range;"),
        ("timings.drain_before_s", [], "drain_before_s of timings is '[]', which is no number;"),
        (
            "budget.replacements_per_day",
            "20",
            "replacements_per_day of budget is '20', which is no whole number;",
        ),
        (
            "budget.disk_growths_per_day",
            0.5,
            "disk_growths_per_day of budget is '0.5', which is no whole number;",
        ),
        ("disk.size_gib", "20", "disk is '20', which is no whole number;"),
        ("disk.max_gib", "20", "disk is '20', which is neither a whole number nor null;"),
        ("disk.type", 3, "disk is '3', which is no string;"),
        ("disk.kms_key_id", 3, "disk is '3', which is neither a string nor null;"),
    ],
)
def test_a_spec_whose_field_has_another_type_is_refused_in_words(
    path: str, value: object, said: str
) -> None:
    with pytest.raises(MalformedSpecError) as refused:
        spec_from_json(the_spec(path, value))
    assert said in str(refused.value)
    assert str(refused.value).endswith("apply tofu/ again")


@pytest.mark.parametrize(
    ("path", "value"),
    [("timings.lease_s", 30), ("timings.lease_s", 30.5), ("disk.max_gib", None)],
)
def test_what_a_field_may_be_is_read(path: str, value: object) -> None:
    spec_from_json(the_spec(path, value))
