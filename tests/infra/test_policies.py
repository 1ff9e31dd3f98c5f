"""Least privilege: nobody may do more than its work, and every wildcard says why no ARN can stand in its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lambdas.act import DOCUMENTS
from tests.infra.planned import UNKNOWN, Plan, statements

SSM_DOCUMENTS = Path(__file__).resolve().parents[2] / "ssm_documents"
CLUSTER = {"aws:ResourceTag/pgmend:cluster", "aws:RequestTag/pgmend:cluster"}
# Statement → the other conditions that narrow it further.
NARROWER = {
    "LaunchTagged": {"ec2:InstanceType"},
    "SetDisksAside": {"aws:RequestTag/pgmend:disk", "aws:TagKeys"},
}
NO_RESOURCE = "the action has no resource-level permissions"
BY_TAG = "ids are made by AWS; the cluster's tag narrows it"
# Statement → why its resources hold a wildcard.
REASONS = {
    "Log": "streams are named by Lambda; the group is this function's own",
    "LookAtEc2": NO_RESOURCE,
    "LookAtGrowth": NO_RESOURCE,
    "LookAtSsm": NO_RESOURCE,
    "Measure": f"{NO_RESOURCE}; the namespace narrows it",
    "LaunchFromOurTemplates": BY_TAG,
    "LaunchTagged": BY_TAG,
    "LaunchTheTemplatesImage": "whichever image the launch template names, and no other",
    "LaunchRootDisks": "made by the launch, as its template says",
    "MakeDisks": BY_TAG,
    "TagWhatIsMade": "only while a launch or CreateVolume makes it",
    "StartAndEnd": BY_TAG,
    "GiveDisks": BY_TAG,
    "GrowDisks": BY_TAG,
    "SetDisksAside": BY_TAG,
    "OnOurNodes": BY_TAG,
    "EndNodes": BY_TAG,
    "EndDisks": BY_TAG,
    "FinalSnapshots": BY_TAG,
    "TagSnapshots": "only while CreateSnapshot makes it",
    "Passwords": "Secrets Manager ends a secret's ARN with six random characters",
}
NOT_BY_RESOURCE = {
    "cloudwatch:PutMetricData",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeInstances",
    "ec2:DescribeVolumes",
    "ec2:DescribeVolumesModifications",
    "ssm:DescribeInstanceInformation",
    "ssm:GetCommandInvocation",
    "ssm:ListCommands",
}


def all_statements(plan: Plan) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(role policy, statement) of everything roles may do."""
    for resource in plan.resources("aws_iam_role_policy"):
        if resource.values["policy"] != UNKNOWN:
            for statement in statements(resource.values["policy"]):
                yield resource.address, statement


def test_only_the_policy_that_names_interfaces_cannot_be_read_in_a_plan(plan: Plan) -> None:
    hidden = [r.key for r in plan.resources("aws_iam_role_policy") if r.values["policy"] == UNKNOWN]
    assert hidden == ["healer_slots"]


def test_every_wildcard_has_its_reason_and_no_reason_is_left_over(plan: Plan) -> None:
    wild = {
        statement.get("Sid", address)
        for address, statement in all_statements(plan)
        if any({"*", "?"} & set(resource) for resource in statement["Resource"])
    }
    assert wild == REASONS.keys()


def test_no_action_is_a_wildcard_and_nothing_is_said_by_exception(plan: Plan) -> None:
    for address, statement in all_statements(plan):
        assert statement["Effect"] == "Allow", address
        assert not any("*" in action for action in statement["Action"]), address
        assert not {"NotAction", "NotResource"} & statement.keys(), address


def test_a_bare_wildcard_stands_only_where_aws_knows_no_resource(plan: Plan) -> None:
    for address, statement in all_statements(plan):
        if "*" in statement["Resource"]:
            assert set(statement["Action"]) <= NOT_BY_RESOURCE, address


def test_what_is_narrowed_by_tag_asks_for_this_cluster(plan: Plan) -> None:
    for address, statement in all_statements(plan):
        if REASONS.get(statement.get("Sid", "")) == BY_TAG:
            keys = conditions(statement)
            further = NARROWER.get(statement["Sid"], set())
            assert further <= keys.keys(), address
            ours = {key: value for key, value in keys.items() if key not in further}
            assert list(ours.values()) == [["pgmend"]], address
            assert ours.keys() <= CLUSTER, address


def conditions(statement: Mapping[str, Any]) -> Mapping[str, list[str]]:
    """Condition key → values, whatever the operator."""
    return {
        key: [values] if isinstance(values, str) else values
        for pairs in statement["Condition"].values()
        for key, values in pairs.items()
    }


@pytest.mark.parametrize("function", ["healer", "lifecycle", "notifier"])
def test_a_function_writes_to_its_own_log_only(plan: Plan, function: str) -> None:
    policy = plan.one("aws_iam_role_policy", function).values["policy"]
    (log,) = (s for s in statements(policy) if s["Sid"] == "Log")
    assert [r.split("log-group:")[1] for r in log["Resource"]] == [
        f"/aws/lambda/pgmend-{function}:*"
    ]


def test_only_the_lifecycle_function_may_delete_a_disk(plan: Plan) -> None:
    may = {a for a, s in all_statements(plan) if "ec2:DeleteVolume" in s["Action"]}
    assert may == {'aws_iam_role_policy.function["lifecycle"]'}


def test_nodes_write_only_their_reports_and_read_only_the_birth(plan: Plan) -> None:
    for address, statement in all_statements(plan):
        table = [a for a in statement["Action"] if a.startswith("dynamodb:")]
        if ".node[" in address and table:
            keys = statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]
            allowed = {"dynamodb:PutItem": "REPORT", "dynamodb:GetItem": "CLUSTER"}
            assert [allowed[action] for action in table] == (
                [keys] if isinstance(keys, str) else keys
            )


def only(plan: Plan, sid: str) -> Mapping[str, Any]:
    """The statement of that name."""
    (found,) = (s for _, s in all_statements(plan) if s.get("Sid") == sid)
    return found


def test_the_healer_launches_no_image_but_the_templates(plan: Plan) -> None:
    images = only(plan, "LaunchTheTemplatesImage")
    assert images["Condition"] == {"Bool": {"ec2:IsLaunchTemplateResource": "true"}}
    for address, statement in all_statements(plan):
        if statement is not images and statement.get("Sid") != images["Sid"]:
            assert not any(":image/" in r for r in statement["Resource"]), address


def test_the_healer_launches_the_listed_types_and_no_others(plan: Plan) -> None:
    allowed = set(conditions(only(plan, "LaunchTagged"))["ec2:InstanceType"])
    assert allowed == {kind for slot in plan.spec["slots"] for kind in slot["instance_types"]}


def test_the_healer_tags_a_disk_only_to_set_it_aside(plan: Plan) -> None:
    aside = only(plan, "SetDisksAside")
    assert aside["Action"] == ["ec2:CreateTags"]
    assert all(":volume/" in resource for resource in aside["Resource"])
    keys = conditions(aside)
    assert keys["aws:TagKeys"] == ["pgmend:disk"]
    assert keys["aws:RequestTag/pgmend:disk"] == ["quarantined"]
    tagging = {
        s["Sid"]
        for address, s in all_statements(plan)
        if "ec2:CreateTags" in s["Action"] and '["healer"]' in address
    }
    assert tagging == {"SetDisksAside", "TagWhatIsMade"}


@pytest.mark.parametrize(
    "action",
    [
        "ec2:RebootInstances",
        "ec2:StartInstances",
        "ec2:StopInstances",
        "ec2:TerminateInstances",
        "ec2:ModifyVolume",
    ],
)
def test_the_healer_disturbs_nothing_but_its_cluster(plan: Plan, action: str) -> None:
    (may,) = (
        s for address, s in all_statements(plan) if action in s["Action"] and '"healer"' in address
    )
    assert conditions(may) == {"aws:ResourceTag/pgmend:cluster": ["pgmend"]}


def test_nobody_may_delete_tags_or_detach_disks(plan: Plan) -> None:
    for address, statement in all_statements(plan):
        assert not {"ec2:DeleteTags", "ec2:DetachVolume"} & set(statement["Action"]), address


def test_the_healer_alone_writes_under_a_check_of_its_lease(plan: Plan) -> None:
    """Each of its writes is a transaction: the changes, and that the lease is still its own."""
    may = [(a, s) for a, s in all_statements(plan) if "dynamodb:ConditionCheckItem" in s["Action"]]
    ((address, statement),) = may
    assert '["healer"]' in address
    changes = {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}
    assert set(statement["Action"]) == changes | {"dynamodb:ConditionCheckItem", "dynamodb:Query"}


def test_the_notifier_writes_down_what_it_has_told_and_nothing_else(plan: Plan) -> None:
    told = only(plan, "Told")
    assert told["Action"] == ["dynamodb:UpdateItem"]
    assert conditions(told) == {"dynamodb:LeadingKeys": ["NOTICE"]}
    others = {
        action
        for address, statement in all_statements(plan)
        if '["notifier"]' in address
        for action in statement["Action"]
        if action.startswith("dynamodb:")
    }
    assert others == {"dynamodb:UpdateItem"}


def test_nobody_on_a_node_speaks_for_the_healer(plan: Plan) -> None:
    told = [
        (address, statement)
        for address, statement in all_statements(plan)
        if "events:PutEvents" in statement["Action"] and ".node[" in address
    ]
    assert len(told) == 4
    for address, statement in told:
        assert statement["Condition"] == {"StringEquals": {"events:source": "pgmend.agent"}}, (
            address
        )


def test_the_healer_sends_the_documents_it_knows_and_no_others(plan: Plan) -> None:
    names = {r.split("document/")[1] for r in only(plan, "OurDocuments")["Resource"]}
    assert names == set(DOCUMENTS.values())
    assert names <= {document.stem for document in SSM_DOCUMENTS.glob("*.yaml")}


def test_a_secrets_pattern_fits_no_longer_name(plan: Plan) -> None:
    for _, statement in all_statements(plan):
        if statement.get("Sid") == "Passwords":
            assert {r.split(":secret:")[1] for r in statement["Resource"]} == {
                "pgmend/database-??????"
            }


def test_only_databases_and_apps_may_read_passwords(plan: Plan) -> None:
    may = {a for a, s in all_statements(plan) if "secretsmanager:GetSecretValue" in s["Action"]}
    assert may == {f'aws_iam_role_policy.node["{role}"]' for role in ("app", "db")}


def test_nodes_have_no_policy_of_aws_but_the_agents(plan: Plan) -> None:
    given = {r.values["policy_arn"] for r in plan.resources("aws_iam_role_policy_attachment")}
    assert given == {"arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"}


def test_every_role_is_one_services_to_take(plan: Plan) -> None:
    services = {"function": "lambda", "node": "ec2", "forward": "events"}
    for role in plan.resources("aws_iam_role"):
        (statement,) = statements(role.values["assume_role_policy"])
        name = role.address.split(".")[-1].split("[")[0]
        assert statement["Principal"] == {"Service": f"{services[name]}.amazonaws.com"}, (
            role.address
        )


def test_only_this_clusters_rules_may_call_a_function(plan: Plan) -> None:
    rules = "arn:aws:events:eu-central-1:123456789012:rule"
    may = {
        (p.key, p.values["function_name"]): p.values["source_arn"]
        for p in plan.resources("aws_lambda_permission")
    }
    assert may == {
        ("default", "pgmend-healer"): f"{rules}/pgmend-*",
        ("hub", "pgmend-healer"): f"{rules}/pgmend/pgmend-*",
        ("notifier", "pgmend-notifier"): f"{rules}/pgmend/pgmend-notices",
    }


def test_queues_take_letters_of_this_accounts_rules_only(plan: Plan) -> None:
    for queue in plan.resources("aws_sqs_queue"):
        (statement,) = statements(queue.values["policy"])
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
        assert statement["Resource"] == [
            f"arn:aws:sqs:{queue.region}:123456789012:{queue.values['name']}"
        ]
