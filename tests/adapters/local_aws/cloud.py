"""What a test needs of AWS before it begins: a subnet with interfaces, a template, a queue that events come to."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.adapters.local_aws.setting import REGION, Local
from tests.adapters.local_aws.waiting import eventually

ACCOUNT = "123456789012"
USER_DATA = "#!/bin/sh\necho once\n"
Names = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A subnet in a zone, and a template for what is launched there."""

    local: Local
    region: str
    zone: str
    subnet: str
    template: str

    @property
    def ec2(self) -> Any:
        return self.local.client("ec2", self.region)

    def interface(self) -> str:
        made = self.ec2.create_network_interface(SubnetId=self.subnet)
        return str(made["NetworkInterface"]["NetworkInterfaceId"])

    def interface_status(self, interface: str) -> str:
        found = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])
        return str(found["NetworkInterfaces"][0]["Status"])

    def launch(
        self, interface: str, token: str = "", tags: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The instance that RunInstances answers."""
        extra = {"ClientToken": token} if token else {}
        answer = self.ec2.run_instances(
            LaunchTemplate={"LaunchTemplateId": self.template, "Version": "1"},
            NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": interface}],
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tag_list(tags or {"k": "v"})}],
            **extra,
        )
        (instance,) = answer["Instances"]
        return dict(instance)

    def running(self, tags: Mapping[str, str] | None = None) -> str:
        """The id of an instance that runs."""
        instance_id = str(self.launch(self.interface(), tags=tags)["InstanceId"])
        self.reaches(instance_id, "running")
        return instance_id

    def describe(self, instance_id: str) -> dict[str, Any]:
        answer = self.ec2.describe_instances(InstanceIds=[instance_id])
        return dict(answer["Reservations"][0]["Instances"][0])

    def state(self, instance_id: str) -> str:
        return str(self.describe(instance_id)["State"]["Name"])

    def reaches(self, instance_id: str, state: str) -> None:
        eventually(lambda: self.state(instance_id) == state)

    def checks(self, instance_id: str) -> set[str]:
        """What both status checks say."""
        (found,) = self.ec2.describe_instance_status(
            InstanceIds=[instance_id], IncludeAllInstances=True
        )["InstanceStatuses"]
        return {found["InstanceStatus"]["Status"], found["SystemStatus"]["Status"]}

    def volume(self, zone: str = "", size: int = 8, **more: Any) -> str:
        made = self.ec2.create_volume(AvailabilityZone=zone or self.zone, Size=size, **more)
        return str(made["VolumeId"])

    def attach(self, volume_id: str, instance_id: str, device: str = "/dev/sdf") -> None:
        self.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)

    def volume_state(self, volume_id: str) -> tuple[str, str]:
        """(state of the volume, state of its attachment)."""
        (found,) = self.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
        held = found["Attachments"]
        return str(found["State"]), str(held[0]["State"]) if held else ""


def a_place(local: Local, names: Names, region: str = REGION, letter: str = "b") -> Place:
    """Zone b, since what moto assumes by itself is zone a."""
    ec2, zone = local.client("ec2", region), f"{region}{letter}"
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.77.1.0/24", AvailabilityZone=zone)
    template = ec2.create_launch_template(
        LaunchTemplateName=names("template"),
        LaunchTemplateData={
            "ImageId": "ami-0123456789abcdef0",
            "InstanceType": "t3.micro",
            "UserData": base64.b64encode(USER_DATA.encode()).decode(),
            "IamInstanceProfile": {"Name": a_profile(local, names("node"))},
            "MetadataOptions": {
                "HttpTokens": "required",
                "HttpPutResponseHopLimit": 2,
                "InstanceMetadataTags": "enabled",
            },
            "BlockDeviceMappings": [
                {
                    "DeviceName": "/dev/xvda",
                    "Ebs": {"VolumeSize": 12, "DeleteOnTermination": True},
                }
            ],
        },
    )
    return Place(
        local=local,
        region=region,
        zone=zone,
        subnet=subnet["Subnet"]["SubnetId"],
        template=template["LaunchTemplate"]["LaunchTemplateId"],
    )


def a_role(local: Local, name: str, service: str, *allowed: str) -> str:
    """The ARN of a role that a service may take; it may do what is given, on everything."""
    iam = local.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))
    if allowed:
        may = {"Effect": "Allow", "Action": list(allowed), "Resource": "*"}
        iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=policy(may))
    return str(made["Role"]["Arn"])


def a_profile(local: Local, name: str) -> str:
    """An instance profile with a role of the same name."""
    a_role(local, name, "ec2.amazonaws.com", "ec2:DescribeInstances")
    iam = local.client("iam")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@dataclass(kw_only=True)
class Queue:
    """A queue that EventBridge may write to."""

    sqs: Any
    url: str
    arn: str
    seen: list[dict[str, Any]]

    def messages(self) -> list[dict[str, Any]]:
        """Everything that has come so far."""
        answer = self.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        self.seen += answer.get("Messages", [])
        return self.seen

    def bodies(self) -> list[Any]:
        return [json.loads(message["Body"]) for message in self.messages()]

    def gets(self, count: int = 1) -> list[Any]:
        """The bodies, once there are so many of them."""
        return eventually(lambda: bodies if len(bodies := self.bodies()) >= count else None) or []


def a_queue(local: Local, name: str, region: str = REGION) -> Queue:
    sqs, arn = local.client("sqs", region), f"arn:aws:sqs:{region}:{ACCOUNT}:{name}"
    may = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    made = sqs.create_queue(QueueName=name, Attributes={"Policy": policy(may)})
    return Queue(sqs=sqs, url=made["QueueUrl"], arn=arn, seen=[])


def a_rule(
    local: Local,
    name: str,
    pattern: Mapping[str, Any],
    *targets: Mapping[str, Any],
    region: str = REGION,
    bus: str = "default",
    state: str = "ENABLED",
) -> str:
    """The ARN of a rule with targets; a target without an id gets one."""
    events = local.client("events", region)
    made = events.put_rule(
        Name=name, EventPattern=json.dumps(pattern), EventBusName=bus, State=state
    )
    if targets:
        with_ids = [{"Id": f"target{n}", **target} for n, target in enumerate(targets)]
        events.put_targets(Rule=name, EventBusName=bus, Targets=with_ids)
    return str(made["RuleArn"])


def a_watch(local: Local, names: Names, pattern: Mapping[str, Any], region: str = REGION) -> Queue:
    """A queue to which the region's default bus sends what fits."""
    queue = a_queue(local, names("watch"), region)
    a_rule(local, names("watch"), pattern, {"Arn": queue.arn}, region=region)
    return queue
