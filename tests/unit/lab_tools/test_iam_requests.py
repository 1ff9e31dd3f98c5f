"""What the local AWS makes of real requests of boto3: which action, on which resources, with which keys."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from moto import mock_aws
from moto.sts.models import sts_backends

from lab.aws import credentials
from lab.aws.iam import Guard, Refusal
from tests.unit.lab_tools import iam_world
from tests.unit.lab_tools.iam_world import ACCOUNT, REGION, World, allow, deny, set_policy

ROLE = "healer"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
OURS = {"aws:ResourceTag/pgmend:cluster": "pgmend"}
ASKED_OURS = {"aws:RequestTag/pgmend:cluster": "pgmend"}
TAGS = [{"Key": "pgmend:cluster", "Value": "pgmend"}]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Two clusters' resources. The tests read them and change nothing but the role's policy."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        found = iam_world.build_world()
        iam_world.make_role(ROLE)
        yield found


@pytest.fixture
def ask(world: World) -> Callable[..., Refusal | None]:  # noqa: ARG001 - its records are needed
    """A call by the role: service, operation, members."""
    guard = Guard()

    def call(service: str, operation: str, **members: Any) -> Refusal | None:
        return iam_world.ask(guard, ROLE, service, operation, **members)

    return call


def resource_of(refusal: Refusal | None) -> str:
    """What a refusal is about."""
    assert refusal is not None
    return refusal.sentence.partition(" on resource: ")[2].split(" ")[0]


# -- EC2


def test_an_instance_of_the_own_cluster_may_be_ended_and_no_other(
    world: World, ask: Callable[..., Any]
) -> None:
    set_policy(ROLE, allow("ec2:TerminateInstances", f"{EC2}:instance/*", StringEquals=OURS))
    assert ask("ec2", "terminate_instances", InstanceIds=[world.our_instance]) is None
    for other in (world.their_instance, world.bare_instance, "i-0123456789abcdef0"):
        refused = ask("ec2", "terminate_instances", InstanceIds=[other])
        assert refused.code == "UnauthorizedOperation"
        assert resource_of(refused) == f"{EC2}:instance/{other}"


def test_every_instance_of_a_call_must_be_allowed(world: World, ask: Callable[..., Any]) -> None:
    set_policy(ROLE, allow("ec2:TerminateInstances", "*", StringEquals=OURS))
    refused = ask(
        "ec2", "terminate_instances", InstanceIds=[world.our_instance, world.their_instance]
    )
    assert resource_of(refused) == f"{EC2}:instance/{world.their_instance}"


def test_a_refusal_is_in_the_words_of_aws(world: World, ask: Callable[..., Any]) -> None:
    set_policy(ROLE, allow("ec2:StartInstances"))
    who = f"arn:aws:sts::{ACCOUNT}:assumed-role/healer/a-session"
    what = f"{EC2}:instance/{world.our_instance}"
    assert ask("ec2", "terminate_instances", InstanceIds=[world.our_instance]).sentence == (
        "You are not authorized to perform this operation. "
        f"User: {who} is not authorized to perform: ec2:TerminateInstances on resource: {what} "
        "because no identity-based policy allows the ec2:TerminateInstances action"
    )


def test_an_explicit_deny_is_named(world: World, ask: Callable[..., Any]) -> None:
    set_policy(ROLE, allow("*"), deny("ec2:TerminateInstances"))
    refused = ask("ec2", "terminate_instances", InstanceIds=[world.our_instance])
    assert refused.sentence.endswith("with an explicit deny in an identity-based policy")


def test_attaching_needs_the_disk_and_the_instance(world: World, ask: Callable[..., Any]) -> None:
    set_policy(ROLE, allow("ec2:AttachVolume", "*", StringEquals=OURS))

    def attach(volume: str, instance: str) -> Any:
        return ask("ec2", "attach_volume", VolumeId=volume, InstanceId=instance, Device="/dev/sdf")

    assert attach(world.our_volume, world.our_instance) is None
    assert attach(world.their_volume, world.our_instance) is not None
    assert attach(world.our_volume, world.their_instance) is not None


def test_describing_is_about_everything(ask: Callable[..., Any]) -> None:
    set_policy(ROLE, allow("ec2:DescribeInstances", f"{EC2}:instance/*"))
    assert resource_of(ask("ec2", "describe_instances")) == "*"
    set_policy(ROLE, allow("ec2:Describe*"))
    assert ask("ec2", "describe_instances") is None


def create_volume(ask: Callable[..., Any], tags: list[dict[str, str]]) -> Any:
    specification = [{"ResourceType": "volume", "Tags": tags}] if tags else []
    return ask(
        "ec2",
        "create_volume",
        AvailabilityZone=f"{REGION}a",
        Size=8,
        TagSpecifications=specification,
    )


def test_a_disk_is_made_with_the_clusters_tag_or_not_at_all(ask: Callable[..., Any]) -> None:
    set_policy(
        ROLE,
        allow("ec2:CreateVolume", f"{EC2}:volume/*", StringEquals=ASKED_OURS),
        allow("ec2:CreateTags", "*", StringEquals={"ec2:CreateAction": "CreateVolume"}),
    )
    assert create_volume(ask, TAGS) is None
    assert create_volume(ask, [{"Key": "pgmend:cluster", "Value": "other"}]) is not None
    assert create_volume(ask, []) is not None


def test_tags_at_creation_need_a_permission_of_their_own(ask: Callable[..., Any]) -> None:
    set_policy(ROLE, allow("ec2:CreateVolume"))
    refused = create_volume(ask, TAGS)
    assert "ec2:CreateTags" in refused.sentence
    assert resource_of(refused) == f"{EC2}:volume/*"
    assert create_volume(ask, []) is None


def test_tags_may_be_written_only_at_creation(world: World, ask: Callable[..., Any]) -> None:
    at_creation = {"ec2:CreateAction": ["RunInstances", "CreateVolume"]}
    set_policy(ROLE, allow("ec2:CreateTags", "*", StringEquals=at_creation))
    assert ask("ec2", "create_tags", Resources=[world.their_instance], Tags=TAGS) is not None


def test_which_tags_are_written_can_be_limited(world: World, ask: Callable[..., Any]) -> None:
    only = {"aws:TagKeys": ["Name", "pgmend:cluster"]}
    set_policy(ROLE, allow("ec2:CreateTags", "*", ForAllValues_StringEquals=only))
    more = [*TAGS, {"Key": "admin", "Value": "yes"}]
    assert ask("ec2", "create_tags", Resources=[world.our_instance], Tags=TAGS) is None
    assert ask("ec2", "create_tags", Resources=[world.our_instance], Tags=more) is not None


def test_a_snapshot_needs_the_disk_and_the_snapshot(world: World, ask: Callable[..., Any]) -> None:
    set_policy(
        ROLE,
        allow("ec2:CreateSnapshot", f"{EC2}:volume/*", StringEquals=OURS),
        allow("ec2:CreateSnapshot", f"arn:aws:ec2:{REGION}::snapshot/*"),
    )
    assert ask("ec2", "create_snapshot", VolumeId=world.our_volume) is None
    refused = ask("ec2", "create_snapshot", VolumeId=world.their_volume)
    assert resource_of(refused) == f"{EC2}:volume/{world.their_volume}"


# -- launches

NODE_ROLE = f"arn:aws:iam::{ACCOUNT}:role/pgmend-node-db"
LAUNCH = {
    "template": allow("ec2:RunInstances", f"{EC2}:launch-template/*", StringEquals=OURS),
    "subnet": allow("ec2:RunInstances", f"{EC2}:subnet/*", StringEquals=OURS),
    "group": allow("ec2:RunInstances", f"{EC2}:security-group/*", StringEquals=OURS),
    "interface": allow("ec2:RunInstances", f"{EC2}:network-interface/*"),
    "instance": allow("ec2:RunInstances", f"{EC2}:instance/*", StringEquals=ASKED_OURS),
    "volume": allow("ec2:RunInstances", f"{EC2}:volume/*"),
    "image": allow(
        "ec2:RunInstances",
        f"arn:aws:ec2:{REGION}::image/*",
        Bool={"ec2:IsLaunchTemplateResource": "true"},
    ),
    "tags": allow(
        "ec2:CreateTags", f"{EC2}:instance/*", StringEquals={"ec2:CreateAction": "RunInstances"}
    ),
    "role": allow(
        "iam:PassRole", NODE_ROLE, StringEquals={"iam:PassedToService": "ec2.amazonaws.com"}
    ),
}


def launch(world: World, ask: Callable[..., Any], **changed: Any) -> Any:
    members: dict[str, Any] = {
        "LaunchTemplate": {"LaunchTemplateId": world.our_template, "Version": "1"},
        "NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": world.our_interface}],
        "MinCount": 1,
        "MaxCount": 1,
        "TagSpecifications": [{"ResourceType": "instance", "Tags": TAGS}],
    }
    return ask("ec2", "run_instances", **members | changed)


def test_a_launch_from_the_own_template_is_allowed(world: World, ask: Callable[..., Any]) -> None:
    set_policy(ROLE, *LAUNCH.values())
    assert launch(world, ask) is None


@pytest.mark.parametrize("missing", LAUNCH)
def test_a_launch_needs_every_one_of_its_resources(
    missing: str, world: World, ask: Callable[..., Any]
) -> None:
    set_policy(ROLE, *(statement for name, statement in LAUNCH.items() if name != missing))
    assert launch(world, ask) is not None


def test_a_launch_from_another_clusters_template_is_refused(
    world: World, ask: Callable[..., Any]
) -> None:
    set_policy(ROLE, *LAUNCH.values())
    refused = launch(world, ask, LaunchTemplate={"LaunchTemplateId": world.their_template})
    assert resource_of(refused) == f"{EC2}:launch-template/{world.their_template}"


def test_another_role_is_not_passed_on(world: World, ask: Callable[..., Any]) -> None:
    set_policy(ROLE, *LAUNCH.values())
    refused = launch(world, ask, IamInstanceProfile={"Name": "admin"})
    assert "iam:PassRole" in refused.sentence
    assert resource_of(refused) == f"arn:aws:iam::{ACCOUNT}:role/admin"


def test_a_launch_with_another_image_than_the_templates_is_refused(
    world: World, ask: Callable[..., Any]
) -> None:
    set_policy(ROLE, *LAUNCH.values())
    refused = launch(world, ask, ImageId="ami-0123456789abcdef0")
    assert resource_of(refused) == f"arn:aws:ec2:{REGION}::image/ami-0123456789abcdef0"


def test_a_launch_without_the_clusters_tag_is_refused(
    world: World, ask: Callable[..., Any]
) -> None:
    set_policy(ROLE, *LAUNCH.values())
    assert resource_of(launch(world, ask, TagSpecifications=[])) == f"{EC2}:instance/*"


def test_an_interface_cannot_be_told_by_its_tag_at_launch_but_by_where_it_lies(
    world: World, ask: Callable[..., Any]
) -> None:
    others = [statement for name, statement in LAUNCH.items() if name != "interface"]
    interface = f"{EC2}:network-interface/*"
    set_policy(ROLE, *others, allow("ec2:RunInstances", interface, StringEquals=OURS))
    assert resource_of(launch(world, ask)) == f"{EC2}:network-interface/{world.our_interface}"
    inside = {"ec2:Vpc": f"{EC2}:vpc/{world.our_vpc}"}
    set_policy(ROLE, *others, allow("ec2:RunInstances", interface, ArnEquals=inside))
    assert launch(world, ask) is None


# -- Run Command

DOCUMENTS = allow("ssm:SendCommand", f"arn:aws:ssm:{REGION}:{ACCOUNT}:document/pgmend-*")
ON_OURS = allow("ssm:SendCommand", f"{EC2}:instance/*", StringEquals=OURS)


def send(ask: Callable[..., Any], document: str, *instances: str) -> Any:
    return ask("ssm", "send_command", DocumentName=document, InstanceIds=list(instances))


def test_only_our_documents_run_and_only_on_our_nodes(
    world: World, ask: Callable[..., Any]
) -> None:
    set_policy(ROLE, DOCUMENTS, ON_OURS)
    assert send(ask, "pgmend-configure-node", world.our_instance) is None
    assert send(ask, "pgmend-configure-node", world.bare_instance) is not None
    assert send(ask, "pgmend-configure-node", world.their_instance) is not None
    assert send(ask, "pgmend-configure-node", world.our_instance, world.bare_instance) is not None
    refused = send(ask, "AWS-RunShellScript", world.our_instance)
    assert resource_of(refused) == f"arn:aws:ssm:{REGION}::document/AWS-RunShellScript"


def test_the_tag_of_a_node_has_a_name_of_ssms_own_too(
    world: World, ask: Callable[..., Any]
) -> None:
    tagged = {"ssm:resourceTag/pgmend:cluster": "pgmend"}
    set_policy(ROLE, DOCUMENTS, allow("ssm:SendCommand", f"{EC2}:*", StringEquals=tagged))
    assert send(ask, "pgmend-configure-node", world.our_instance) is None
    assert send(ask, "pgmend-configure-node", world.their_instance) is not None


def test_a_document_without_its_own_permission_is_refused(
    world: World, ask: Callable[..., Any]
) -> None:
    set_policy(ROLE, ON_OURS)
    assert send(ask, "pgmend-configure-node", world.our_instance) is not None


def test_targets_by_tag_are_refused_with_a_sentence(ask: Callable[..., Any]) -> None:
    set_policy(ROLE, allow("*"))
    targets = [{"Key": "tag:pgmend:cluster", "Values": ["other"]}]
    refused = ask("ssm", "send_command", DocumentName="pgmend-x", Targets=targets)
    assert "does not understand" in refused.sentence


# -- the table

TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/pgmend"


def item(pk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": "db-euw1-a"}}


def test_a_node_writes_reports_and_nothing_else(ask: Callable[..., Any]) -> None:
    leading = {"dynamodb:LeadingKeys": ["REPORT"]}
    set_policy(ROLE, allow("dynamodb:PutItem", TABLE, ForAllValues_StringEquals=leading))
    assert ask("dynamodb", "put_item", TableName="pgmend", Item=item("REPORT")) is None
    assert ask("dynamodb", "put_item", TableName="pgmend", Item=item("CLUSTER")) is not None
    assert ask("dynamodb", "delete_item", TableName="pgmend", Key=item("REPORT")) is not None


def test_a_report_of_another_slot_is_refused_where_the_partition_key_tells_slots_apart(
    ask: Callable[..., Any],
) -> None:
    own = {"dynamodb:LeadingKeys": ["REPORT#db-euw1-a"]}
    set_policy(ROLE, allow("dynamodb:PutItem", TABLE, ForAllValues_StringEquals=own))
    assert ask("dynamodb", "put_item", TableName="pgmend", Item=item("REPORT#db-euw1-a")) is None
    assert ask("dynamodb", "put_item", TableName="pgmend", Item=item("REPORT#db-euw1-b"))


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("pk = :pk", {}),
        ("sk >= :sk AND pk = :pk", {}),
        ("#k = :pk AND sk = :sk", {"#k": "pk"}),
    ],
)
def test_a_query_is_judged_by_the_partition_it_reads(
    expression: str, names: dict[str, str], ask: Callable[..., Any]
) -> None:
    leading = {"dynamodb:LeadingKeys": ["JOURNAL"]}
    set_policy(ROLE, allow("dynamodb:Query", TABLE, ForAllValues_StringEquals=leading))

    def query(pk: str) -> Any:
        more = {"ExpressionAttributeNames": names} if names else {}
        return ask(
            "dynamodb",
            "query",
            TableName="pgmend",
            KeyConditionExpression=expression,
            ExpressionAttributeValues={":pk": {"S": pk}, ":sk": {"S": "JOURNAL"}},
            **more,
        )

    assert query("JOURNAL") is None
    assert query("CLUSTER") is not None


def test_every_step_of_a_transaction_is_judged(ask: Callable[..., Any]) -> None:
    leading = {"dynamodb:LeadingKeys": ["A"]}
    set_policy(ROLE, allow("dynamodb:PutItem", TABLE, ForAllValues_StringEquals=leading))

    def write(*steps: dict[str, Any]) -> Any:
        return ask("dynamodb", "transact_write_items", TransactItems=list(steps))

    def put(pk: str) -> dict[str, Any]:
        return {"Put": {"TableName": "pgmend", "Item": item(pk)}}

    delete = {"Delete": {"TableName": "pgmend", "Key": item("A")}}
    assert write(put("A")) is None
    assert write(put("A"), put("B")) is not None
    assert "dynamodb:DeleteItem" in write(put("A"), delete).sentence


# -- the rest


def test_another_secret_is_not_read(world: World, ask: Callable[..., Any]) -> None:
    ours = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:pgmend/database-??????"
    set_policy(ROLE, allow("secretsmanager:GetSecretValue", ours))
    assert ask("secretsmanager", "get_secret_value", SecretId="pgmend/database") is None
    assert ask("secretsmanager", "get_secret_value", SecretId=world.our_secret) is None
    refused = ask("secretsmanager", "get_secret_value", SecretId="other/database")
    assert refused.code == "AccessDenied"
    assert ":secret:other/database-" in resource_of(refused)


@pytest.mark.parametrize(
    ("service", "operation", "members", "action", "resource"),
    [
        (
            "s3",
            "get_object",
            {"Bucket": "b", "Key": "a/spec.json"},
            "s3:GetObject",
            "arn:aws:s3:::b/a/spec.json",
        ),
        ("s3", "head_object", {"Bucket": "b", "Key": "k"}, "s3:GetObject", "arn:aws:s3:::b/k"),
        (
            "s3",
            "put_object",
            {"Bucket": "b", "Key": "k", "Body": b"x"},
            "s3:PutObject",
            "arn:aws:s3:::b/k",
        ),
        ("s3", "list_objects_v2", {"Bucket": "b"}, "s3:ListBucket", "arn:aws:s3:::b"),
        (
            "events",
            "put_events",
            {"Entries": [{"EventBusName": "pgmend", "Source": "s", "DetailType": "d"}]},
            "events:PutEvents",
            f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/pgmend",
        ),
        (
            "sns",
            "publish",
            {"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:t", "Message": "m"},
            "sns:Publish",
            f"arn:aws:sns:{REGION}:{ACCOUNT}:t",
        ),
        (
            "sqs",
            "send_message",
            {"QueueUrl": f"http://127.0.0.1:1/{ACCOUNT}/q", "MessageBody": "m"},
            "sqs:SendMessage",
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:q",
        ),
        (
            "lambda",
            "invoke",
            {"FunctionName": "f"},
            "lambda:InvokeFunction",
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f",
        ),
        (
            "logs",
            "put_log_events",
            {
                "logGroupName": "/aws/lambda/f",
                "logStreamName": "s",
                "logEvents": [{"timestamp": 1, "message": "m"}],
            },
            "logs:PutLogEvents",
            f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/f:log-stream:s",
        ),
        ("ssm", "list_commands", {}, "ssm:ListCommands", "*"),
    ],
)
def test_a_call_is_about_its_own_resource(
    service: str,
    operation: str,
    members: dict[str, Any],
    action: str,
    resource: str,
    ask: Callable[..., Any],
) -> None:
    set_policy(ROLE, allow("kms:*"))
    refused = ask(service, operation, **members)
    assert f"perform: {action} on" in refused.sentence
    assert resource_of(refused) == resource
    set_policy(ROLE, allow(action, resource))
    assert ask(service, operation, **members) is None


def test_events_may_be_limited_to_their_source(ask: Callable[..., Any]) -> None:
    source = {"events:source": "pgmend.agent"}
    set_policy(ROLE, allow("events:PutEvents", "*", StringEquals=source))

    def put(*sources: str) -> Any:
        entries = [{"Source": s, "DetailType": "d", "Detail": "{}"} for s in sources]
        return ask("events", "put_events", Entries=entries)

    assert put("pgmend.agent") is None
    assert put("pgmend.agent", "pgmend.healer") is not None


def test_metrics_may_be_limited_to_their_namespace(ask: Callable[..., Any]) -> None:
    only = {"cloudwatch:namespace": "pgmend"}
    set_policy(ROLE, allow("cloudwatch:PutMetricData", "*", StringEquals=only))
    data = [{"MetricName": "m", "Value": 1.0}]
    assert ask("cloudwatch", "put_metric_data", Namespace="pgmend", MetricData=data) is None
    assert ask("cloudwatch", "put_metric_data", Namespace="other", MetricData=data) is not None


def test_what_a_role_may_not_do_anywhere_is_refused_in_the_words_of_aws(
    ask: Callable[..., Any],
) -> None:
    set_policy(ROLE, allow("ec2:Describe*"))
    assert "because no identity-based policy" in ask("iam", "list_roles").sentence


def test_an_action_whose_resources_are_not_known_is_refused_even_when_all_is_allowed(
    ask: Callable[..., Any],
) -> None:
    set_policy(ROLE, allow("*"))
    for service, operation in (("iam", "list_roles"), ("kms", "list_keys"), ("s3", "list_buckets")):
        assert "does not understand" in ask(service, operation).sentence


def test_whoever_is_known_may_ask_who_it_is(ask: Callable[..., Any]) -> None:
    set_policy(ROLE, deny("*"))
    assert ask("sts", "get_caller_identity") is None


# -- who calls


def test_a_key_nobody_gave_out_is_refused(world: World) -> None:  # noqa: ARG001 - as in ask
    for service, code in (
        ("ec2", "AuthFailure"),
        ("sts", "InvalidClientTokenId"),
        ("s3", "InvalidAccessKeyId"),
        ("ssm", "UnrecognizedClient"),
        ("lambda", "UnrecognizedClient"),
    ):
        operation = {
            "ec2": "describe_instances",
            "sts": "get_caller_identity",
            "s3": "list_buckets",
            "ssm": "list_commands",
            "lambda": "list_functions",
        }[service]
        environ = iam_world.request(service, operation, "")
        refused = Guard().check(environ, "AKIAIOSFODNN7EXAMPLE", REGION, service)
        assert refused is not None
        assert refused.code == code


def test_an_unsigned_request_is_refused(world: World) -> None:  # noqa: ARG001 - as in ask
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/b/k", "wsgi.input": io.BytesIO()}
    assert Guard().check(environ, "", "", "") is not None


def test_another_sessions_token_is_refused(world: World) -> None:  # noqa: ARG001 - as in ask
    one, two = (credentials.of_role(ROLE_ARN, name) for name in ("one", "two"))
    environ = iam_world.request("sts", "get_caller_identity", two["Token"])
    refused = Guard().check(environ, one["AccessKeyId"], REGION, "sts")
    assert refused is not None
    assert refused.code == "InvalidClientTokenId"


def test_credentials_end(world: World) -> None:  # noqa: ARG001 - as in ask
    given = credentials.of_role(ROLE_ARN, "old")
    session = sts_backends[ACCOUNT]["aws"].get_assumed_role_from_access_key(given["AccessKeyId"])
    assert session is not None
    session.expiration -= timedelta(hours=credentials.HOURS, seconds=1)
    environ = iam_world.request("ssm", "list_commands", given["Token"])
    refused = Guard().check(environ, given["AccessKeyId"], REGION, "ssm")
    assert refused == Refusal(
        code="ExpiredToken", sentence="The security token included in the request is expired"
    )


def test_a_managed_policy_counts(world: World, ask: Callable[..., Any]) -> None:
    iam = iam_world.client("iam")
    arn = iam.create_policy(
        PolicyName="terminate",
        PolicyDocument=iam_world.document(allow("ec2:TerminateInstances")),
    )["Policy"]["Arn"]
    set_policy(ROLE, allow("kms:*"))
    assert ask("ec2", "terminate_instances", InstanceIds=[world.our_instance]) is not None
    iam.attach_role_policy(RoleName=ROLE, PolicyArn=arn)
    assert ask("ec2", "terminate_instances", InstanceIds=[world.our_instance]) is None
    iam.detach_role_policy(RoleName=ROLE, PolicyArn=arn)
    assert ask("ec2", "terminate_instances", InstanceIds=[world.our_instance]) is not None


def test_an_instance_is_known_by_the_name_of_its_session(world: World) -> None:
    itself = {"ec2:SourceInstanceARN": f"{EC2}:instance/{world.our_instance}"}
    set_policy(ROLE, allow("ec2:RebootInstances", "*", ArnEquals=itself))
    reboot: dict[str, Any] = {"InstanceIds": [world.our_instance]}
    guard = Guard()
    for session, allowed in ((world.our_instance, True), (world.their_instance, False)):
        found = iam_world.ask(guard, ROLE, "ec2", "reboot_instances", session=session, **reboot)
        assert (found is None) is allowed


# -- the request itself


def test_the_body_can_be_read_again(world: World) -> None:
    given = credentials.of_role(ROLE_ARN, "s")
    environ = iam_world.request(
        "ec2", "terminate_instances", given["Token"], InstanceIds=[world.our_instance]
    )
    before = environ["wsgi.input"].getvalue()
    Guard().check(environ, given["AccessKeyId"], REGION, "ec2")
    assert environ["wsgi.input"].read() == before


def test_a_body_in_chunks_can_be_read_again_by_its_length(world: World) -> None:
    set_policy(ROLE, allow("ec2:TerminateInstances"))
    given = credentials.of_role(ROLE_ARN, "s")
    environ = iam_world.request(
        "ec2", "terminate_instances", given["Token"], InstanceIds=[world.our_instance]
    )
    length = environ.pop("CONTENT_LENGTH")
    environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    assert Guard().check(environ, given["AccessKeyId"], REGION, "ec2") is None
    assert environ["CONTENT_LENGTH"] == length
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_a_compressed_body_is_understood(world: World) -> None:  # noqa: ARG001 - as in ask
    only = {"cloudwatch:namespace": "pgmend"}
    set_policy(ROLE, allow("cloudwatch:PutMetricData", "*", StringEquals=only))
    given = credentials.of_role(ROLE_ARN, "s")
    data = [{"MetricName": "m", "Value": 1.0}]
    environ = iam_world.request(
        "cloudwatch", "put_metric_data", given["Token"], Namespace="pgmend", MetricData=data
    )
    packed = gzip.compress(environ["wsgi.input"].read())
    environ |= {
        "wsgi.input": io.BytesIO(packed),
        "CONTENT_LENGTH": str(len(packed)),
        "HTTP_CONTENT_ENCODING": "gzip",
    }
    assert Guard().check(environ, given["AccessKeyId"], REGION, "monitoring") is None


def test_a_request_that_names_two_operations_is_refused(world: World) -> None:  # noqa: ARG001 - as in ask
    set_policy(ROLE, allow("*"))
    given = credentials.of_role(ROLE_ARN, "s")
    environ = iam_world.request("ssm", "list_commands", given["Token"])
    environ["QUERY_STRING"] = "Action=SendCommand"
    refused = Guard().check(environ, given["AccessKeyId"], REGION, "ssm")
    assert refused is not None
    assert "does not name one operation" in refused.sentence


def test_a_target_of_another_service_than_was_signed_for_is_refused(world: World) -> None:  # noqa: ARG001 - as in ask
    set_policy(ROLE, allow("*"))
    given = credentials.of_role(ROLE_ARN, "s")
    environ = iam_world.request("ssm", "list_commands", given["Token"])
    assert Guard().check(environ, given["AccessKeyId"], REGION, "dynamodb") is not None
