"""A small AWS in moto's records, with two clusters in it, and calls to it as they arrive at the local AWS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from moto.core.request import Request

from lab.aws import credentials
from lab.aws.iam import Guard, Refusal

REGION = "eu-west-1"
ACCOUNT = "123456789012"
SIGNED_AS = {"cloudwatch": "monitoring"}


class _Captured(Exception):  # noqa: N818 - it is no error
    """The request that a client was about to send."""


@cache
def client(service: str) -> Any:
    """boto3 for the region, in moto's hands."""
    return boto3.session.Session().client(
        service,  # type: ignore[call-overload]
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@cache
def _sender(service: str) -> Any:
    """boto3 that raises what it was about to send. Nothing here checks signatures, so it does not sign."""
    sender = boto3.session.Session().client(
        service,  # type: ignore[call-overload]
        region_name=REGION,
        endpoint_url="http://127.0.0.1:1",
        config=Config(signature_version=UNSIGNED),
    )

    def stop(request: Any, **_: Any) -> None:
        raise _Captured(request)

    sender.meta.events.register_first("before-send", stop)
    return sender


def request(service: str, operation: str, token: str, **members: Any) -> dict[str, Any]:
    """The WSGI environment of a call made with a session's token. Nothing is sent."""
    try:
        getattr(_sender(service), operation)(**members)
    except _Captured as captured:
        sent = captured.args[0]
        headers = {**dict(sent.headers), "X-Amz-Security-Token": token}
        environ: dict[str, Any] = Request.from_primitives(
            sent.method, sent.url, headers, sent.body
        ).environ
        return environ
    raise AssertionError("the client sent nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Ids of what there is. `our` is tagged pgmend:cluster = pgmend, `their` is another cluster's."""

    our_instance: str
    our_volume: str
    their_instance: str
    their_volume: str
    bare_instance: str
    our_template: str
    their_template: str
    our_interface: str
    our_vpc: str
    our_secret: str


def document(*statements: Mapping[str, Any], version: str = "2012-10-17") -> str:
    """A policy document."""
    return json.dumps({"Version": version, "Statement": list(statements)})


def allow(
    action: str | list[str], resource: str | list[str] = "*", **condition: Any
) -> dict[str, Any]:
    """A statement; conditions by operator, `ForAllValues_StringEquals` for the quantified ones."""
    return _statement("Allow", action, resource, condition)


def deny(
    action: str | list[str], resource: str | list[str] = "*", **condition: Any
) -> dict[str, Any]:
    """The same, as an explicit deny."""
    return _statement("Deny", action, resource, condition)


def _statement(
    effect: str, action: str | list[str], resource: str | list[str], condition: Mapping[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {"Effect": effect, "Action": action, "Resource": resource}
    if condition:
        found["Condition"] = {name.replace("_", ":"): keys for name, keys in condition.items()}
    return found


def make_role(name: str, *statements: Mapping[str, Any]) -> str:
    """A role with one inline policy; its ARN."""
    iam = client("iam")
    trust = document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    )
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    if statements:
        set_policy(name, *statements)
    return arn


def set_policy(role: str, *statements: Mapping[str, Any]) -> None:
    """Replace a role's inline policy."""
    client("iam").put_role_policy(
        RoleName=role, PolicyName="own", PolicyDocument=document(*statements)
    )


def ask(
    guard: Guard,
    role: str,
    service: str,
    operation: str,
    session: str = "a-session",
    **members: Any,
) -> Refusal | None:
    """What the guard says to a role's call."""
    given = credentials.of_role(f"arn:aws:iam::{ACCOUNT}:role/{role}", session)
    environ = request(service, operation, given["Token"], **members)
    return guard.check(environ, given["AccessKeyId"], REGION, SIGNED_AS.get(service, service))


def _tags(cluster: str | None) -> list[dict[str, str]]:
    return [] if cluster is None else [{"Key": "pgmend:cluster", "Value": cluster}]


def _specification(kind: str, cluster: str | None) -> list[dict[str, Any]]:
    return [] if cluster is None else [{"ResourceType": kind, "Tags": _tags(cluster)}]


def build_world() -> World:
    """Everything, in moto's records of this process."""
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.10.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(
        VpcId=vpc,
        CidrBlock="10.10.10.0/24",
        AvailabilityZone=f"{REGION}a",
        TagSpecifications=_specification("subnet", "pgmend"),
    )["Subnet"]["SubnetId"]
    group = ec2.create_security_group(
        GroupName="db",
        Description="db",
        VpcId=vpc,
        TagSpecifications=_specification("security-group", "pgmend"),
    )["GroupId"]
    interface = ec2.create_network_interface(
        SubnetId=subnet,
        Groups=[group],
        TagSpecifications=_specification("network-interface", "pgmend"),
    )["NetworkInterface"]["NetworkInterfaceId"]
    _make_elsewhere()
    return World(
        our_instance=_instance(ec2, subnet, "pgmend"),
        our_volume=_volume(ec2, "pgmend"),
        their_instance=_instance(ec2, subnet, "other"),
        their_volume=_volume(ec2, "other"),
        bare_instance=_instance(ec2, subnet, None),
        our_template=_template(ec2, "pgmend", "pgmend-node-db"),
        their_template=_template(ec2, "other", "admin"),
        our_interface=interface,
        our_vpc=vpc,
        our_secret=client("secretsmanager").create_secret(
            Name="pgmend/database", SecretString="{}"
        )["ARN"],
    )


def _make_elsewhere() -> None:
    """What is not EC2's."""
    iam = client("iam")
    for name in ("pgmend-node-db", "admin"):
        make_role(name)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    client("secretsmanager").create_secret(Name="other/database", SecretString="{}")
    client("dynamodb").create_table(
        TableName="pgmend",
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def _instance(ec2: Any, subnet: str, cluster: str | None) -> str:
    found: str = ec2.run_instances(
        ImageId="ami-12c6146b",
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        TagSpecifications=_specification("instance", cluster),
    )["Instances"][0]["InstanceId"]
    return found


def _volume(ec2: Any, cluster: str) -> str:
    found: str = ec2.create_volume(
        AvailabilityZone=f"{REGION}a", Size=1, TagSpecifications=_specification("volume", cluster)
    )["VolumeId"]
    return found


def _template(ec2: Any, cluster: str, profile: str) -> str:
    found: str = ec2.create_launch_template(
        LaunchTemplateName=f"{cluster}-db",
        LaunchTemplateData={
            "ImageId": "ami-12c6146b",
            "InstanceType": "t3.micro",
            "IamInstanceProfile": {"Name": profile},
        },
        TagSpecifications=_specification("launch-template", cluster),
    )["LaunchTemplate"]["LaunchTemplateId"]
    return found
