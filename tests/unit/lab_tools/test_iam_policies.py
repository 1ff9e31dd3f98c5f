"""How the local AWS judges a policy, statement by statement, with no request in sight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lab.aws.iam.model import Ask, NotUnderstood, Value
from lab.aws.iam.policies import Verdict, identity_says, parse, resource_says
from lab.aws.iam.wildcards import fits
from tests.unit.lab_tools.iam_world import allow, deny, document

ALLOWED, DENIED, SILENT = Verdict.ALLOWED, Verdict.DENIED, Verdict.SILENT
INSTANCE = "arn:aws:ec2:eu-west-1:123456789012:instance/i-1"
TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/pgmend"
PRINCIPAL = {
    "aws:PrincipalArn": "arn:aws:iam::123456789012:role/r",
    "aws:RequestedRegion": "eu-west-1",
    "aws:PrincipalTag/slot": "db-*",
    "aws:PrincipalTag/id": "i-1",
    "ec2:SourceInstanceARN": INSTANCE,
}


def end_it(tags: Mapping[str, str] | None = None, **keys: Value) -> Ask:
    return Ask(
        action="ec2:TerminateInstances",
        resource=INSTANCE,
        keys={name.replace("__", ":").replace("_", "/"): value for name, value in keys.items()},
        tags={} if tags is None else tags,
    )


def put(*leading: str) -> Ask:
    keys = {"dynamodb:LeadingKeys": leading} if leading else {}
    return Ask(action="dynamodb:PutItem", resource=TABLE, keys=keys)


def says(ask: Ask, *statements: Mapping[str, Any], version: str = "2012-10-17") -> Verdict:
    return identity_says(parse(document(*statements, version=version)), ask, PRINCIPAL)


OWN = "arn:aws:ec2:*:*:instance/${aws:PrincipalTag/id}"
OURS = {"aws:ResourceTag/pgmend:cluster": "pgmend"}


@pytest.mark.parametrize(
    ("statements", "verdict"),
    [
        pytest.param([], SILENT, id="nothing is allowed by default"),
        pytest.param([allow("ec2:TerminateInstances")], ALLOWED, id="an action by name"),
        pytest.param([allow("EC2:terminateinstances")], ALLOWED, id="actions know no case"),
        pytest.param([allow("ec2:Terminate*")], ALLOWED, id="an action by *"),
        pytest.param([allow("ec2:TerminateInstance?")], ALLOWED, id="an action by ?"),
        pytest.param([allow("ec2:TerminateInstances?")], SILENT, id="a ? is one character"),
        pytest.param([allow("ec2:Start*")], SILENT, id="another action"),
        pytest.param([allow(["ec2:StartInstances", "ec2:T*"])], ALLOWED, id="one of several"),
        pytest.param([allow("*"), deny("ec2:*")], DENIED, id="an explicit deny wins"),
        pytest.param(
            [deny("ec2:*"), allow("*")], DENIED, id="an explicit deny wins, wherever it is"
        ),
        pytest.param([allow("*"), deny("s3:*")], ALLOWED, id="a deny of something else"),
    ],
)
def test_actions_are_allowed_by_name(statements: list[dict[str, Any]], verdict: Verdict) -> None:
    assert says(end_it(), *statements) is verdict


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, ALLOWED),
        ({"Effect": "Allow", "NotAction": "ec2:*", "Resource": "*"}, SILENT),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::*"}, ALLOWED),
        ({"Effect": "Allow", "Action": "*", "NotResource": INSTANCE}, SILENT),
        ({"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}, DENIED),
    ],
)
def test_not_action_and_not_resource_name_what_is_left_out(
    statement: dict[str, Any], verdict: Verdict
) -> None:
    assert says(end_it(), statement) is verdict


@pytest.mark.parametrize(
    ("resource", "verdict"),
    [
        ("*", ALLOWED),
        (INSTANCE, ALLOWED),
        ("arn:aws:ec2:*:123456789012:instance/*", ALLOWED),
        ("arn:aws:ec2:eu-west-1:123456789012:instance/i-?", ALLOWED),
        ("arn:aws:ec2:*", ALLOWED),
        ("arn:aws:ec2:eu-west-1:123456789012:volume/*", SILENT),
        ("arn:aws:ec2:eu-west-?:999999999999:instance/*", SILENT),
        ("arn:aws:ec2:eu*st-1:123456789012:instance/i-1", ALLOWED),
        ("arn:aws:ec2:e*2:instance/i-1", SILENT),
        ("arn:aws:ec2:eu-west-1:123456789012:instance/I-1", SILENT),
    ],
)
def test_resources_are_matched_as_arns(resource: str, verdict: Verdict) -> None:
    assert says(end_it(), allow("ec2:*", resource)) is verdict


@pytest.mark.parametrize(
    ("tags", "verdict"),
    [
        pytest.param({"pgmend:cluster": "pgmend"}, ALLOWED, id="ours"),
        pytest.param({"PGMEND:cluster": "pgmend"}, ALLOWED, id="ours, written otherwise"),
        pytest.param({"pgmend:cluster": "PGMEND"}, SILENT, id="values have a case"),
        pytest.param({"pgmend:cluster": "other"}, SILENT, id="another cluster's"),
        pytest.param({}, SILENT, id="nobody's"),
    ],
)
def test_a_tag_decides_whose_instance_may_be_ended(tags: dict[str, str], verdict: Verdict) -> None:
    assert says(end_it(tags), allow("ec2:*", StringEquals=OURS)) is verdict


def test_tags_that_are_not_known_here_are_not_taken_for_absent() -> None:
    ask = Ask(action="s3:GetObject", resource="arn:aws:s3:::b/k", tags=None)
    with pytest.raises(NotUnderstood, match="tags"):
        says(ask, allow("s3:*", Null={"aws:ResourceTag/a": "true"}))


@pytest.mark.parametrize(
    ("condition", "verdict"),
    [
        ({"StringEquals": {"aws:RequestedRegion": ["eu-west-3", "eu-west-1"]}}, ALLOWED),
        ({"StringEquals": {"AWS:requestedregion": "eu-west-1"}}, ALLOWED),
        ({"StringEquals": {"aws:RequestedRegion": "eu-*"}}, SILENT),
        ({"StringEqualsIgnoreCase": {"aws:RequestedRegion": "EU-WEST-1"}}, ALLOWED),
        ({"StringLike": {"aws:RequestedRegion": "eu-*"}}, ALLOWED),
        ({"StringLike": {"aws:RequestedRegion": "us-*"}}, SILENT),
        ({"StringNotEquals": {"aws:RequestedRegion": "eu-west-1"}}, SILENT),
        ({"StringNotEquals": {"aws:RequestedRegion": ["us-east-1", "us-east-2"]}}, ALLOWED),
        ({"StringNotLike": {"aws:RequestedRegion": "us-*"}}, ALLOWED),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}, ALLOWED),
        ({"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/r"}}, ALLOWED),
        ({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/r"}}, SILENT),
        ({"NumericLessThan": {"ec2:VolumeSize": "10"}}, ALLOWED),
        ({"NumericGreaterThanEquals": {"ec2:VolumeSize": "9"}}, SILENT),
        ({"NumericNotEquals": {"ec2:VolumeSize": 8}}, SILENT),
        ({"Bool": {"ec2:Encrypted": True}}, ALLOWED),
        ({"Bool": {"ec2:Encrypted": "false"}}, SILENT),
        ({"Null": {"aws:RequestTag/a": "true"}}, ALLOWED),
        ({"Null": {"ec2:VolumeSize": "true"}}, SILENT),
        ({"Null": {"ec2:VolumeSize": "false"}}, ALLOWED),
        ({"StringEquals": {"aws:RequestTag/a": "b"}}, SILENT),
        ({"StringNotEquals": {"aws:RequestTag/a": "b"}}, ALLOWED),
        ({"StringEqualsIfExists": {"aws:RequestTag/a": "b"}}, ALLOWED),
        ({"StringEqualsIfExists": {"ec2:VolumeSize": "9"}}, SILENT),
        (
            {"StringLike": {"aws:RequestedRegion": "eu-*"}, "Bool": {"ec2:Encrypted": "false"}},
            SILENT,
        ),
    ],
)
def test_conditions_hold_as_on_aws(condition: dict[str, Any], verdict: Verdict) -> None:
    ask = end_it(ec2__VolumeSize="8", ec2__Encrypted="true")
    assert says(ask, allow("ec2:*", **condition)) is verdict


@pytest.mark.parametrize(
    ("ask", "condition", "verdict"),
    [
        (put("REPORT"), {"ForAllValues:StringEquals": ["REPORT"]}, ALLOWED),
        (put("CLUSTER"), {"ForAllValues:StringEquals": ["REPORT"]}, SILENT),
        (put("REPORT", "CLUSTER"), {"ForAllValues:StringEquals": ["REPORT"]}, SILENT),
        (put("REPORT", "CLUSTER"), {"ForAllValues:StringLike": ["REP*", "CLUSTER"]}, ALLOWED),
        (put(), {"ForAllValues:StringEquals": ["REPORT"]}, ALLOWED),
        (put("REPORT", "CLUSTER"), {"ForAnyValue:StringEquals": ["REPORT"]}, ALLOWED),
        (put("CLUSTER"), {"ForAnyValue:StringEquals": ["REPORT"]}, SILENT),
        (put(), {"ForAnyValue:StringEquals": ["REPORT"]}, SILENT),
        (put("CLUSTER"), {"ForAllValues:StringNotEquals": ["REPORT"]}, ALLOWED),
        (put("REPORT", "CLUSTER"), {"ForAllValues:StringNotEquals": ["REPORT"]}, SILENT),
        (put("REPORT"), {"StringEquals": ["REPORT"]}, ALLOWED),
    ],
)
def test_sets_of_values_are_compared_all_or_any(
    ask: Ask, condition: dict[str, list[str]], verdict: Verdict
) -> None:
    keyed = {name: {"dynamodb:LeadingKeys": values} for name, values in condition.items()}
    assert says(ask, allow("dynamodb:*", TABLE, **keyed)) is verdict


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        pytest.param(allow("ec2:*", OWN), ALLOWED, id="a resource"),
        pytest.param(
            allow("ec2:*", ArnEquals={"ec2:SourceInstanceARN": INSTANCE}), ALLOWED, id="a condition"
        ),
        pytest.param(
            allow("ec2:*", StringEquals={"aws:ResourceTag/slot": "${aws:PrincipalTag/slot}"}),
            SILENT,
            id="a value is no pattern when compared",
        ),
        pytest.param(
            allow("ec2:*", StringLike={"aws:ResourceTag/slot": "${aws:PrincipalTag/slot}"}),
            SILENT,
            id="nor when matched",
        ),
        pytest.param(
            allow("ec2:*", StringLike={"aws:ResourceTag/slot": "db-${*}"}), SILENT, id="a real star"
        ),
        pytest.param(
            allow("ec2:*", StringLike={"aws:ResourceTag/slot": "${aws:PrincipalTag/x, 'db'}-?"}),
            ALLOWED,
            id="a default",
        ),
        pytest.param(
            allow("ec2:*", "arn:aws:ec2:*:*:instance/${aws:PrincipalTag/x}"), SILENT, id="no value"
        ),
    ],
)
def test_policy_variables_stand_for_what_the_request_has(
    statement: dict[str, Any], verdict: Verdict
) -> None:
    assert says(end_it({"slot": "db-a"}), statement) is verdict


def test_the_old_version_of_the_language_has_no_variables() -> None:
    assert says(end_it(), allow("ec2:*", OWN), version="2008-10-17") is SILENT


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(
            allow("ec2:*", IpAddress={"aws:RequestedRegion": "10.0.0.0/8"}), id="operator"
        ),
        pytest.param(allow("ec2:*", DateLessThan={"aws:RequestedRegion": "2030"}), id="dates"),
        pytest.param(allow("ec2:*", ForSomeValues_StringEquals=OURS), id="quantifier"),
        pytest.param(allow("ec2:*", StringEquals={"aws:SourceIp": "10.0.0.1"}), id="key"),
        pytest.param(
            allow("ec2:*", StringNotEqualsIfExists={"ec2:Tenancy": "host"}), id="if exists"
        ),
        pytest.param(deny("ec2:*", StringEquals={"aws:SourceVpce": "vpce-1"}), id="key in a deny"),
        pytest.param(allow("ec2:*", "instance/*"), id="no ARN"),
        pytest.param({**allow("ec2:*"), "Principal": "*"}, id="a principal"),
        pytest.param({**allow("ec2:*"), "Nonsense": "*"}, id="element"),
        pytest.param({**allow("ec2:*"), "Effect": "Perhaps"}, id="effect"),
        pytest.param({"Effect": "Allow", "Resource": "*"}, id="no action"),
        pytest.param({"Effect": "Allow", "Action": "ec2:*"}, id="no resource"),
        pytest.param(
            allow("ec2:*", StringNotEquals={"ec2:Region": "${aws:PrincipalTag/none}"}),
            id="variable",
        ),
    ],
)
def test_what_is_not_understood_is_said_and_never_allowed(statement: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood):
        says(end_it(ec2__Region="eu-west-1"), statement)


def test_several_values_are_not_compared_as_one() -> None:
    with pytest.raises(NotUnderstood, match="ForAllValues"):
        says(put("A", "B"), allow("*", StringEquals={"dynamodb:LeadingKeys": "A"}))


def test_a_document_that_is_no_json_is_not_understood() -> None:
    with pytest.raises(NotUnderstood):
        parse("{")


def test_a_condition_of_a_statement_about_something_else_does_not_matter() -> None:
    statements = [allow("ec2:*"), allow("s3:*", IpAddress={"aws:SourceIp": "10.0.0.0/8"})]
    assert says(end_it(), *statements) is ALLOWED


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("a*c", "abbbc", True),
        ("a*c", "ac", True),
        ("a?c", "ac", False),
        ("a?c", "abc", True),
        ("a.c", "abc", False),
        ("a[b]c", "abc", False),
        ("*", "", True),
        ("a*", "a\nb", True),
    ],
)
def test_wildcards_are_only_star_and_question_mark(
    pattern: str,
    value: str,
    expected: bool,
) -> None:
    assert fits(pattern, value) is expected


EVENTS = {"Service": "events.amazonaws.com"}


@pytest.mark.parametrize(
    ("principal", "verdict"),
    [
        (EVENTS, ALLOWED),
        ({"Service": ["sns.amazonaws.com", "events.amazonaws.com"]}, ALLOWED),
        ("*", ALLOWED),
        ({"AWS": "*"}, ALLOWED),
        ({"Service": "sns.amazonaws.com"}, SILENT),
        ({"AWS": "arn:aws:iam::123456789012:root"}, SILENT),
    ],
)
def test_a_resource_policy_is_for_whom_it_names(principal: object, verdict: Verdict) -> None:
    ask = Ask(action="sqs:SendMessage", resource="arn:aws:sqs:eu-west-1:123456789012:q")
    statements = parse(document({**allow("sqs:SendMessage"), "Principal": principal}))
    assert resource_says(statements, ask, "events.amazonaws.com", {}) is verdict
