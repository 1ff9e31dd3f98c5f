"""Roles' calls and EventBridge's deliveries against the running local AWS, over HTTP, as boto3 makes and reads them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lab.ports import OPERATOR_KEY

REGION, HUB = "eu-west-1", "eu-central-1"
ACCOUNT = "123456789012"
ROOT = Path(__file__).resolve().parents[3]
CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30, proxies={})
Connect = Callable[..., Any]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The local AWS in a process of its own, since it changes moto for good in the one it is in."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.aws", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("local-aws"))},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def operator(endpoint: str) -> Connect:
    """Clients with the operator's key."""

    def connect(service: str, region: str = REGION) -> Any:
        return client(endpoint, service, region, OPERATOR_KEY, OPERATOR_KEY)

    return connect


def client(
    endpoint: str, service: str, region: str, key: str, secret: str, token: str | None = None
) -> Any:
    return boto3.session.Session().client(
        service,  # type: ignore[call-overload]
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=CONFIG,
    )


@pytest.fixture(scope="module")
def as_role(endpoint: str, operator: Connect) -> Connect:
    """Clients of a new role with the given policy statements, through STS."""

    def become(*statements: dict[str, Any]) -> Connect:
        given = operator("sts").assume_role(
            RoleArn=make_role(operator, "ec2.amazonaws.com", *statements),
            RoleSessionName="session",
        )["Credentials"]
        keys = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        return lambda service, region=REGION: client(endpoint, service, region, *keys)

    return become


def make_role(operator: Connect, service: str, *statements: dict[str, Any]) -> str:
    """A role of a service; its ARN."""
    name = f"role-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    iam = operator("iam")
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy(*statements))
    return arn


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str, resource: str = "*", **condition: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    return found | ({"Condition": condition} if condition else {})


def error_of(call: Callable[..., Any], **members: Any) -> str:
    """The error code that boto3 reads from a refusal."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    return str(caught.value.response["Error"]["Code"])


# -- roles


def test_a_role_ends_instances_of_its_own_cluster_only(operator: Connect, as_role: Connect) -> None:
    ours, theirs = (launch(operator, cluster) for cluster in ("pgmend", "other"))
    tagged = {"StringEquals": {"aws:ResourceTag/pgmend:cluster": "pgmend"}}
    ec2 = as_role(allow("ec2:TerminateInstances", "arn:aws:ec2:*:*:instance/*", **tagged))("ec2")
    refused = error_of(ec2.terminate_instances, InstanceIds=[theirs])
    assert refused == "UnauthorizedOperation"
    answer = ec2.terminate_instances(InstanceIds=[ours])["TerminatingInstances"]
    assert [instance["InstanceId"] for instance in answer] == [ours]
    found = operator("ec2").describe_instances(InstanceIds=[theirs])["Reservations"][0]["Instances"]
    assert found[0]["State"]["Name"] in ("pending", "running")


def launch(operator: Connect, cluster: str) -> str:
    tags = [{"Key": "pgmend:cluster", "Value": cluster}]
    found: str = operator("ec2").run_instances(
        ImageId=operator("ec2").describe_images()["Images"][0]["ImageId"],
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"][0]["InstanceId"]
    return found


def test_a_body_that_was_judged_still_arrives(operator: Connect, as_role: Connect) -> None:
    operator("s3").create_bucket(
        Bucket="bodies", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    s3 = as_role(allow("s3:*Object", "arn:aws:s3:::bodies/*"))("s3")
    body = bytes(range(256)) * 4096
    s3.put_object(Bucket="bodies", Key="a/b", Body=body)
    assert s3.get_object(Bucket="bodies", Key="a/b")["Body"].read() == body


def test_a_secret_is_read_by_name_and_another_is_not(operator: Connect, as_role: Connect) -> None:
    for name in ("pgmend/database", "other/database"):
        operator("secretsmanager").create_secret(Name=name, SecretString=name)
    ours = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:pgmend/database-??????"
    secrets = as_role(allow("secretsmanager:GetSecretValue", ours))("secretsmanager")
    found = secrets.get_secret_value(SecretId="pgmend/database")
    assert found["SecretString"] == "pgmend/database"
    refused = error_of(secrets.get_secret_value, SecretId="other/database")
    assert refused == "AccessDeniedException"


def test_a_changed_policy_counts_from_the_next_call(operator: Connect, endpoint: str) -> None:
    arn = make_role(operator, "ec2.amazonaws.com", allow("ssm:ListCommands"))
    given = operator("sts").assume_role(RoleArn=arn, RoleSessionName="session")["Credentials"]
    keys = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    ssm = client(endpoint, "ssm", REGION, *keys)
    ssm.list_commands()
    operator("iam").put_role_policy(
        RoleName=arn.rsplit("/", 1)[-1], PolicyName="own", PolicyDocument=policy(allow("kms:*"))
    )
    assert error_of(ssm.list_commands) == "AccessDeniedException"


def test_a_refusal_has_the_shape_that_each_services_client_reads(as_role: Connect) -> None:
    connect = as_role(allow("kms:*"))
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"
    metric = [{"MetricName": "m", "Value": 1.0}]
    found = {
        "ec2": error_of(connect("ec2").describe_instances),
        "dynamodb": error_of(connect("dynamodb").list_tables),
        "sns": error_of(connect("sns").publish, TopicArn=topic, Message="m"),
        "sqs": error_of(connect("sqs").list_queues),
        "s3": error_of(connect("s3").get_object, Bucket="b", Key="k"),
        "lambda": error_of(connect("lambda").invoke, FunctionName="f"),
        "cloudwatch": error_of(
            connect("cloudwatch").put_metric_data, Namespace="n", MetricData=metric
        ),
        "iam": error_of(connect("iam").list_roles),
    }
    assert found == {
        "ec2": "UnauthorizedOperation",
        "dynamodb": "AccessDeniedException",
        "sns": "AuthorizationError",
        "sqs": "AccessDeniedException",
        "s3": "AccessDenied",
        "lambda": "AccessDeniedException",
        "cloudwatch": "AccessDeniedException",
        "iam": "AccessDenied",
    }


def test_a_key_nobody_gave_out_is_refused_and_the_operator_is_not_asked(
    endpoint: str, operator: Connect
) -> None:
    stranger = client(endpoint, "sts", REGION, "AKIAIOSFODNN7EXAMPLE", "secret")
    assert error_of(stranger.get_caller_identity) == "InvalidClientTokenId"
    assert operator("sts").get_caller_identity()["Account"] == ACCOUNT


# -- deliveries

MAY_SEND = {
    "Effect": "Allow",
    "Principal": {"Service": "events.amazonaws.com"},
    "Action": "sqs:SendMessage",
    "Resource": "*",
    "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
}


class Road:
    """A rule of its own on a bus of its own, with a target and a queue for what dies on the way."""

    def __init__(self, operator: Connect, region: str = REGION) -> None:
        self.connect, self.region = operator, region
        self.bus = f"bus-{uuid.uuid4().hex[:8]}"
        self.events = operator("events", region)
        self.events.create_event_bus(Name=self.bus)
        pattern = json.dumps({"source": ["test"]})
        self.rule = self.events.put_rule(Name="rule", EventBusName=self.bus, EventPattern=pattern)[
            "RuleArn"
        ]
        self.dead = self.queue(MAY_SEND)

    def queue(self, *statements: dict[str, Any]) -> str:
        """A queue with this policy; its URL."""
        attributes = {"Policy": policy(*statements)} if statements else {}
        name = f"queue-{uuid.uuid4().hex[:8]}"
        sqs = self.connect("sqs", self.region)
        return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def arn(self, url: str) -> str:
        return f"arn:aws:sqs:{self.region}:{ACCOUNT}:{url.rsplit('/', 1)[-1]}"

    def to(self, arn: str, **more: Any) -> None:
        """Set the target and put an event on the road."""
        letters = {"DeadLetterConfig": {"Arn": self.arn(self.dead)}}
        target = {"Id": "target", "Arn": arn, **letters, **more}
        self.events.put_targets(Rule="rule", EventBusName=self.bus, Targets=[target])
        entry = {"EventBusName": self.bus, "Source": "test", "DetailType": "d", "Detail": "{}"}
        assert self.events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def next(self, url: str) -> dict[str, Any]:
        """The next message of a queue, with its attributes."""
        found = self.connect("sqs", self.region).receive_message(
            QueueUrl=url, WaitTimeSeconds=10, MessageAttributeNames=["All"]
        )
        message: dict[str, Any] = found["Messages"][0]
        return message

    def reason(self) -> str:
        """What the dead letter died of."""
        attributes = self.next(self.dead)["MessageAttributes"]
        return str(attributes["ERROR_MESSAGE"]["StringValue"])


def test_a_queue_takes_events_only_when_its_policy_says_so(operator: Connect) -> None:
    road = Road(operator)
    road.to(road.arn(road.queue()))
    assert "not authorized to perform: sqs:SendMessage" in road.reason()
    willing = road.queue(MAY_SEND)
    road.to(road.arn(willing))
    assert json.loads(road.next(willing)["Body"])["source"] == "test"


def test_a_queue_may_name_the_rule_it_takes_events_of(operator: Connect) -> None:
    road = Road(operator)
    other = {"ArnEquals": {"aws:SourceArn": f"{road.rule}-other"}}
    road.to(road.arn(road.queue(MAY_SEND | {"Condition": other})))
    assert "not authorized" in road.reason()
    own = road.queue(MAY_SEND | {"Condition": {"ArnEquals": {"aws:SourceArn": road.rule}}})
    road.to(road.arn(own))
    assert json.loads(road.next(own)["Body"])["source"] == "test"


def test_another_bus_takes_events_only_by_a_role_that_may_put_them_there(
    operator: Connect,
) -> None:
    near, far = Road(operator), Road(operator, HUB)
    arrived = far.queue(MAY_SEND)
    letters = {"Id": "target", "Arn": far.arn(arrived)}
    far.events.put_targets(Rule="rule", EventBusName=far.bus, Targets=[letters])
    arn = f"arn:aws:events:{HUB}:{ACCOUNT}:event-bus/{far.bus}"
    putting = allow("events:PutEvents", arn)

    near.to(arn)
    assert "needs a role" in near.reason()
    near.to(arn, RoleArn=make_role(operator, "lambda.amazonaws.com", putting))
    assert "may not assume" in near.reason()
    near.to(arn, RoleArn=make_role(operator, "events.amazonaws.com", allow("s3:*")))
    assert "not authorized to perform: events:PutEvents" in near.reason()
    near.to(arn, RoleArn=make_role(operator, "events.amazonaws.com", putting))
    assert json.loads(far.next(arrived)["Body"])["source"] == "test"


def test_a_function_is_invoked_only_by_rules_that_it_permits(operator: Connect) -> None:
    road = Road(operator)
    name = f"function-{uuid.uuid4().hex[:8]}"
    function = operator("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="a.b",
        Role=make_role(operator, "lambda.amazonaws.com", allow("s3:*")),
        Code={"ZipFile": b"PK\x05\x06" + bytes(18)},
    )["FunctionArn"]
    road.to(function)
    assert "not authorized to perform: lambda:InvokeFunction" in road.reason()
    permitted = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/*other*"
    permit(operator, name, "other", permitted)
    road.to(function)
    assert "not authorized to perform: lambda:InvokeFunction" in road.reason()
    permit(operator, name, "own", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{road.bus}/r*")
    failures = road.queue()
    operator("lambda").put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": road.arn(failures)}},
    )
    # The zip is empty: that the function failed to start shows that it was invoked.
    road.to(function)
    message = json.loads(road.next(failures)["Body"])
    assert message["requestPayload"]["source"] == "test"


def permit(operator: Connect, function: str, statement: str, source: str) -> None:
    operator("lambda").add_permission(
        FunctionName=function,
        StatementId=statement,
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=source,
    )
