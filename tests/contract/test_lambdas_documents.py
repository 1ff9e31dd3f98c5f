"""The healer reads every example of the contract, and treats what is missing as unknown."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.model import Phase, Role
from lambdas.core.parse import BadReportError, report_from_json, spec_from_json
from lambdas.errors import MalformedSpecError
from lambdas.wake import AGENT_EVENTS, read_wake

EXAMPLES = Path(__file__).parent / "examples"
CONTRACT = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()
REPORTS = sorted(path.name for path in EXAMPLES.glob("report-*.json"))


def example(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EXAMPLES / name).read_text())
    return document


def read(document: dict[str, Any]) -> Any:
    return report_from_json(json.dumps(document), cluster="pgmend", slot=document["slot"])


# -- the cluster spec


def test_the_example_spec_is_the_minimal_cluster() -> None:
    spec = spec_from_json((EXAMPLES / "spec.json").read_text())
    active = [slot for slot in spec.slots if slot.active]
    assert [s.name for s in active if s.role is Role.DB] == ["db-euw1-a", "db-euw1-b", "db-euw3-a"]
    assert [s.name for s in spec.voters] == ["db-euw1-a", "db-euw3-a", "witness-euc1-a"]
    assert spec.regions == ("eu-west-1", "eu-west-3", "eu-central-1")
    assert all((s.disk is None) == (s.role in (Role.HAPROXY, Role.APP)) for s in spec.slots)


def test_a_spec_of_another_version_is_refused() -> None:
    with pytest.raises(MalformedSpecError, match="version"):
        spec_from_json(json.dumps({**example("spec.json"), "version": 2}))


@pytest.mark.parametrize("missing", ["slots", "regions", "timings", "budget", "hub", "cluster"])
def test_half_a_spec_is_refused(missing: str) -> None:
    spec = example("spec.json")
    del spec[missing]
    with pytest.raises(MalformedSpecError):
        spec_from_json(json.dumps(spec))


def test_a_spec_that_names_a_slot_twice_is_refused() -> None:
    spec = example("spec.json")
    spec["slots"].append(spec["slots"][0])
    with pytest.raises(MalformedSpecError, match="twice"):
        spec_from_json(json.dumps(spec))


def test_fields_of_later_versions_are_no_trouble() -> None:
    spec = example("spec.json")
    spec["timings"]["something_new_s"] = 1
    spec["something_new"] = {}
    assert spec_from_json(json.dumps(spec)).cluster == "pgmend"


# -- reports


@pytest.mark.parametrize("name", REPORTS)
def test_every_example_report_is_understood(name: str) -> None:
    document = example(name)
    report = read(document)
    assert report.instance_id == document["instance_id"]
    assert report.sequence == document["sequence"]
    assert set(report.peers) == set(document["peers"])
    assert report.services == document["services"]


def test_the_leaders_report_says_who_follows() -> None:
    report = read(example("report-leader.json"))
    assert report.patroni.role == "leader"
    assert {row.name: row.lag_bytes for row in report.postgres.replication} == {
        "db-euw1-b": 0,
        "db-euw3-a": 0,
    }
    assert report.etcd.cluster_id == "cdf818194e3a8c32"


def test_an_idle_report_says_nothing_of_services_it_does_not_run() -> None:
    report = read(example("report-idle.json"))
    assert report.phase is Phase.IDLE
    assert (report.postgres, report.patroni, report.etcd) == (None, None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"cluster": "another"},
        {"slot": "db-euw1-b"},
        {"instance_id": ""},
        {"instance_id": None},
        {"sequence": None},
        {"sequence": "4711"},
        {"sequence": True},
        {"phase": "dreaming"},
        {"phase": None},
    ],
    ids=str,
)
def test_a_report_that_cannot_be_what_it_claims_is_refused(change: dict[str, Any]) -> None:
    document = {**example("report-leader.json"), **change}
    with pytest.raises(BadReportError):
        report_from_json(json.dumps(document), cluster="pgmend", slot="db-euw1-a")


@pytest.mark.parametrize("part", ["postgres", "patroni", "etcd", "haproxy", "app"])
@pytest.mark.parametrize("nothing", [{}, None])
def test_a_probe_without_an_answer_is_unknown_and_not_well(part: str, nothing: object) -> None:
    name = {"haproxy": "report-haproxy.json", "app": "report-app.json"}.get(
        part, "report-leader.json"
    )
    read_part = getattr(read({**example(name), part: nothing}), part)
    if nothing is None:
        assert read_part is None
        return
    values = [getattr(read_part, field) for field in read_part.__dataclass_fields__]
    assert all(value is None or value == () for value in values)


@given(st.text() | st.binary().map(repr))
def test_no_body_breaks_the_reader(body: str) -> None:
    with pytest.raises(BadReportError):
        report_from_json(body, cluster="pgmend", slot="db-euw1-a")


VALUES: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})
)


@given(st.sampled_from(REPORTS), st.data())
def test_no_value_in_any_field_breaks_the_reader(name: str, data: st.DataObject) -> None:
    document = example(name)
    field = data.draw(st.sampled_from(sorted(document)))
    document[field] = data.draw(VALUES)
    with suppress(BadReportError):  # a reasoned refusal is the only other way out
        report_from_json(json.dumps(document), cluster="pgmend", slot=example(name)["slot"])


# -- events


def test_the_example_event_wakes_the_healer() -> None:
    assert (
        str(read_wake(example("event.json"))) == "agent:Patroni Leader Changed (db-euw1-b: leader)"
    )


def test_every_agent_event_of_the_contract_is_known() -> None:
    listed = CONTRACT.split("`DetailType` one of ")[1].split(".\n")[0]
    named = {part.strip(" `\n") for part in listed.split(",")}
    assert named <= AGENT_EVENTS
