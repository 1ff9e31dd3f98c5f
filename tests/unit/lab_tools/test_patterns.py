"""Event patterns and target inputs of the local EventBridge, against what AWS documents."""

from __future__ import annotations

from typing import Any

import pytest

from lab.aws.inputs import pick, target_input, transform
from lab.aws.patterns import check, matches

EVENT: dict[str, Any] = {
    "source": "aws.ec2",
    "detail-type": "EC2 Instance State-change Notification",
    "time": "2027-03-01T12:00:00Z",
    "resources": ["arn:aws:ec2:eu-west-1:1:instance/i-1", "arn:aws:ec2:eu-west-1:1:instance/i-2"],
    "detail": {
        "state": "running",
        "count": 3,
        "price": 2.5,
        "flag": True,
        "nothing": None,
        "blank": "",
        "empty": [],
        "address": "10.10.11.11",
        "disks": [{"name": "a", "size": 8}, {"name": "b", "size": 9}],
        "deep": {"er": {"value": "x"}},
    },
}
RULE_ARN = "arn:aws:events:eu-west-1:1:rule/bus/the-rule"


def in_detail(**wanted: object) -> dict[str, object]:
    return {"detail": wanted}


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param({"source": ["aws.ec2"]}, id="a value"),
        pytest.param({"source": ["aws.s3", "aws.ec2"]}, id="one of several"),
        pytest.param({"source": ["aws.ec2"], "detail": {"state": ["running"]}}, id="every field"),
        pytest.param(in_detail(deep={"er": {"value": ["x"]}}), id="nested"),
        pytest.param({"resources": ["arn:aws:ec2:eu-west-1:1:instance/i-2"]}, id="in an array"),
        pytest.param(in_detail(disks={"name": ["b"]}), id="in an array of objects"),
        pytest.param(in_detail(count=[3]), id="a number"),
        pytest.param(in_detail(count=[3.0]), id="a number written otherwise"),
        pytest.param(in_detail(flag=[True]), id="true"),
        pytest.param(in_detail(nothing=[None]), id="null"),
        pytest.param(in_detail(blank=[""]), id="an empty string"),
        pytest.param(in_detail(state=[{"prefix": "run"}]), id="prefix"),
        pytest.param({"resources": [{"prefix": "arn:aws:ec2"}]}, id="prefix in an array"),
        pytest.param(in_detail(state=[{"prefix": {"equals-ignore-case": "RUN"}}]), id="any case"),
        pytest.param(in_detail(state=[{"suffix": "ning"}]), id="suffix"),
        pytest.param(in_detail(state=[{"equals-ignore-case": "RUNNING"}]), id="ignoring case"),
        pytest.param(in_detail(state=[{"wildcard": "r*n*g"}]), id="wildcard"),
        pytest.param(in_detail(address=[{"cidr": "10.10.0.0/16"}]), id="cidr"),
        pytest.param(in_detail(state=[{"anything-but": "stopped"}]), id="anything but"),
        pytest.param(in_detail(state=[{"anything-but": ["stopped", "x"]}]), id="but several"),
        pytest.param(in_detail(count=[{"anything-but": [1, 2]}]), id="but numbers"),
        pytest.param(in_detail(state=[{"anything-but": {"prefix": "sto"}}]), id="but a prefix"),
        pytest.param(
            in_detail(state=[{"anything-but": {"prefix": ["sto", "ter"]}}]), id="but prefixes"
        ),
        pytest.param(in_detail(count=[{"numeric": [">", 2]}]), id="greater"),
        pytest.param(in_detail(price=[{"numeric": [">=", 2.5, "<", 3]}]), id="between"),
        pytest.param(in_detail(count=[{"numeric": ["=", 3]}]), id="equal"),
        pytest.param(in_detail(state=[{"exists": True}]), id="exists"),
        pytest.param(in_detail(missing=[{"exists": False}]), id="does not exist"),
        pytest.param(in_detail(missing={"deeper": [{"exists": False}]}), id="nor below"),
        pytest.param(in_detail(state=["x", {"prefix": "run"}]), id="a value or a filter"),
        pytest.param(
            {"$or": [{"source": ["x"]}, {"detail": {"state": ["running"]}}]}, id="either field"
        ),
        pytest.param({}, id="nothing asked"),
    ],
)
def test_a_pattern_fits(pattern: dict[str, Any]) -> None:
    check(pattern)
    assert matches(pattern, EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param({"source": ["aws.s3"]}, id="another value"),
        pytest.param({"source": ["aws.ec"]}, id="part of a value"),
        pytest.param({"source": ["aws.ec2"], "detail": {"state": ["stopped"]}}, id="one of two"),
        pytest.param(in_detail(missing=["x"]), id="a missing field"),
        pytest.param(in_detail(missing=[None]), id="missing is not null"),
        pytest.param(in_detail(state={"deeper": ["x"]}), id="nothing below a string"),
        pytest.param(in_detail(count=["3"]), id="text for a number"),
        pytest.param(in_detail(flag=[1]), id="one for true"),
        pytest.param(in_detail(flag=["true"]), id="text for true"),
        pytest.param(in_detail(disks={"name": ["a"], "size": [9]}), id="of two array members"),
        pytest.param(in_detail(state=[{"prefix": "ing"}]), id="prefix"),
        pytest.param(in_detail(count=[{"prefix": "3"}]), id="prefix of a number"),
        pytest.param(in_detail(state=[{"suffix": "run"}]), id="suffix"),
        pytest.param(in_detail(state=[{"wildcard": "r*x"}]), id="wildcard"),
        pytest.param(in_detail(address=[{"cidr": "10.20.0.0/16"}]), id="cidr"),
        pytest.param(in_detail(state=[{"cidr": "10.20.0.0/16"}]), id="cidr of no address"),
        pytest.param(in_detail(state=[{"anything-but": ["running", "x"]}]), id="anything but"),
        pytest.param(in_detail(missing=[{"anything-but": "x"}]), id="anything but of nothing"),
        pytest.param(in_detail(state=[{"anything-but": {"prefix": ["x", "ru"]}}]), id="prefixes"),
        pytest.param(in_detail(count=[{"numeric": [">", 3]}]), id="greater"),
        pytest.param(in_detail(state=[{"numeric": [">", 0]}]), id="number of text"),
        pytest.param(in_detail(flag=[{"numeric": ["=", 1]}]), id="number of true"),
        pytest.param(in_detail(state=[{"exists": False}]), id="does not exist"),
        pytest.param(in_detail(missing=[{"exists": True}]), id="exists"),
        pytest.param({"$or": [{"source": ["x"]}, {"source": ["y"]}]}, id="neither"),
    ],
)
def test_a_pattern_does_not_fit(pattern: dict[str, Any]) -> None:
    check(pattern)
    assert not matches(pattern, EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        in_detail(state=[{"regex": "run.*"}]),
        {"$or": [{"source": [{"regex": "x"}]}, {"source": ["y"]}]},
    ],
)
def test_a_filter_that_aws_does_not_know_is_refused(pattern: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Unrecognized match type regex"):
        check(pattern)


# -- what a target is given


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.source", "aws.ec2"),
        ("$.detail-type", "EC2 Instance State-change Notification"),
        ("$.detail.deep.er.value", "x"),
        ("$.detail.disks[1].name", "b"),
        ("$.resources[0]", "arn:aws:ec2:eu-west-1:1:instance/i-1"),
        ("$.detail.disks[7]", None),
        ("$.detail.state.deeper", None),
        ("$.missing", None),
    ],
)
def test_a_path_picks_a_value(path: str, value: object) -> None:
    assert pick(EVENT, path) == value


def test_the_whole_event_is_picked_by_the_dollar() -> None:
    assert pick(EVENT, "$") == EVENT


@pytest.mark.parametrize(
    ("template", "given"),
    [
        pytest.param('{"s": <state>}', {"s": "running"}, id="a value"),
        pytest.param('{"s": "<state>"}', {"s": "running"}, id="a value in quotes"),
        pytest.param('{"n": <count>}', {"n": 3}, id="a number"),
        pytest.param('{"n": "<count>"}', {"n": "3"}, id="a number in quotes"),
        pytest.param('{"d": <deep>}', {"d": {"er": {"value": "x"}}}, id="an object"),
        pytest.param('"it is <state> with <count>"', "it is running with 3", id="in a sentence"),
        pytest.param("it is <state>", "it is running", id="plain text"),
        pytest.param(r'"it is \"<state>\" now"', 'it is "running" now', id="quotes escaped"),
        pytest.param('{"x": "<missing>"}', {"x": ""}, id="missing in quotes"),
        pytest.param('{"x": <missing>}', {"x": None}, id="missing"),
        pytest.param('{"x": "<other>"}', {"x": "<other>"}, id="not a variable"),
        pytest.param('{"r": <aws.events.rule-name>}', {"r": "the-rule"}, id="rule name"),
        pytest.param('{"r": <aws.events.rule-arn>}', {"r": RULE_ARN}, id="rule ARN"),
        pytest.param('{"e": <aws.events.event.json>}', {"e": EVENT}, id="the whole event"),
    ],
)
def test_a_template_is_filled(template: str, given: object) -> None:
    paths = {
        "state": "$.detail.state",
        "count": "$.detail.count",
        "deep": "$.detail.deep",
        "missing": "$.detail.missing",
    }
    transformer = {"InputTemplate": template, "InputPathsMap": paths}
    assert transform(transformer, EVENT, RULE_ARN) == given


def test_a_text_with_quotes_in_it_stays_valid_json() -> None:
    event = {"detail": {"text": 'he said "no"\n'}}
    transformer = {"InputTemplate": '{"t": "<t>"}', "InputPathsMap": {"t": "$.detail.text"}}
    assert transform(transformer, event, RULE_ARN) == {"t": 'he said "no"\n'}


def test_without_wishes_a_target_is_given_the_event() -> None:
    assert target_input({"Arn": "x"}, EVENT, RULE_ARN) is EVENT
