"""What the other services ask IAM about, a table a service. A call that is in no table raises NotUnderstood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from moto.secretsmanager.models import secretsmanager_backends
from moto.ssm.models import ssm_backends

from lab.aws.context import ACCOUNT
from lab.aws.iam import ec2_records
from lab.aws.iam.model import Ask, Call, NotUnderstood, Value

Make = Callable[[Call], Iterator[Ask]]


def _arn(call: Call, rest: str) -> str:
    return (
        rest
        if rest.startswith("arn:")
        else f"arn:aws:{call.service}:{call.region}:{ACCOUNT}:{rest}"
    )


def _any(call: Call) -> Iterator[Ask]:
    """A call without resource-level permissions."""
    yield Ask(action=call.action, resource="*")


# -- SSM


def _send_command(call: Call) -> Iterator[Ask]:
    """The document and every instance it would run on."""
    if call.get("OutputS3BucketName"):
        raise NotUnderstood("SendCommand with output to a bucket, which asks S3 too")
    yield _document(call, str(call.get("DocumentName") or ""))
    ids = list(call.get("InstanceIds") or [])
    for target in call.get("Targets") or []:
        if target["Key"].lower() != "instanceids":
            raise NotUnderstood("SendCommand with targets by tag")
        ids += target.get("Values") or []
    if not ids:
        raise NotUnderstood("SendCommand without instances")
    for instance_id in ids:
        yield Ask(
            action=call.action,
            resource=ec2_records.arn(call.region, "instance", instance_id),
            tags=ec2_records.tags(call.region, instance_id),
        )


def _document(call: Call, name: str) -> Ask:
    """A document; AWS's own belong to no account."""
    short = name.rsplit("/", 1)[-1]
    owner = "" if short.startswith("AWS-") else ACCOUNT
    arn = name if name.startswith("arn:") else f"arn:aws:ssm:{call.region}:{owner}:document/{name}"
    found = ssm_backends[ACCOUNT][call.region]._resource_tags["Document"]  # noqa: SLF001 - moto has no public way
    return Ask(action=call.action, resource=arn, tags=dict(found.get(short, {})))


def _one_document(call: Call) -> Iterator[Ask]:
    yield _document(call, str(call.get("Name") or ""))


def _parameters(call: Call) -> Iterator[Ask]:
    for name in call.get("Names") or [call.get("Name")]:
        yield Ask(
            action=call.action, resource=_arn(call, f"parameter/{str(name).lstrip('/')}"), tags=None
        )


# -- events, functions, logs, metrics, messages, secrets


def _put_events(call: Call) -> Iterator[Ask]:
    for entry in call.get("Entries") or []:
        bus = entry.get("EventBusName") or "default"
        keys = {"events:source": entry.get("Source"), "events:detail-type": entry.get("DetailType")}
        yield Ask(
            action=call.action,
            resource=_arn(call, bus if bus.startswith("arn:") else f"event-bus/{bus}"),
            keys={key: str(value) for key, value in keys.items() if value is not None},
            tags=None,
        )


def _invoke(call: Call) -> Iterator[Ask]:
    name, qualifier = str(call.get("FunctionName")), call.get("Qualifier")
    arn = _arn(call, name if name.startswith("arn:") else f"function:{name}")
    yield Ask(
        action="lambda:InvokeFunction",
        resource=f"{arn}:{qualifier}" if qualifier else arn,
        tags=None,
    )


def _log_stream(call: Call) -> Iterator[Ask]:
    where = f"log-group:{call.get('logGroupName')}:log-stream:{call.get('logStreamName')}"
    yield Ask(action=call.action, resource=_arn(call, where), tags=None)


def _metrics(call: Call) -> Iterator[Ask]:
    yield Ask(
        action=call.action, resource="*", keys={"cloudwatch:namespace": str(call.get("Namespace"))}
    )


def _publish(call: Call) -> Iterator[Ask]:
    arn = call.get("TopicArn") or call.get("TargetArn")
    if not arn:
        raise NotUnderstood("Publish without a topic")
    yield Ask(action="sns:Publish", resource=str(arn), tags=None)


def _queue(action: str) -> Make:
    def make(call: Call) -> Iterator[Ask]:
        name = str(call.get("QueueUrl") or call.get("QueueName")).rsplit("/", 1)[-1]
        yield Ask(action=f"sqs:{action}", resource=_arn(call, name), tags=None)

    return make


def _secret(call: Call) -> Iterator[Ask]:
    """A secret by its real ARN, whose end is random, also when it is asked for by name."""
    wanted = str(call.get("SecretId"))
    found = secretsmanager_backends[ACCOUNT][call.region].secrets.get(wanted)
    keys: dict[str, Value] = {"secretsmanager:SecretId": wanted}
    keys["secretsmanager:VersionStage"] = str(call.get("VersionStage") or "AWSCURRENT")
    if call.get("VersionId"):
        keys["secretsmanager:VersionId"] = str(call.get("VersionId"))
    yield Ask(
        action=call.action,
        resource=_arn(call, f"secret:{wanted}") if found is None else str(found.arn),
        keys=keys,
        tags={} if found is None else {t["Key"]: t["Value"] for t in found.tags or []},
    )


# -- S3


def _object(action: str, versioned: str | None = None) -> Make:
    def make(call: Call) -> Iterator[Ask]:
        name = versioned if versioned and call.get("VersionId") else action
        arn = f"arn:aws:s3:::{call.get('Bucket')}/{call.get('Key')}"
        yield Ask(action=f"s3:{name}", resource=arn, tags=None)

    return make


def _bucket(action: str) -> Make:
    def make(call: Call) -> Iterator[Ask]:
        prefix = call.get("Prefix")
        keys: dict[str, Value] = {} if prefix is None else {"s3:prefix": str(prefix)}
        arn = f"arn:aws:s3:::{call.get('Bucket')}"
        yield Ask(action=f"s3:{action}", resource=arn, keys=keys, tags=None)

    return make


TABLES: Mapping[str, Mapping[str, Make]] = {
    "cloudwatch": {"PutMetricData": _metrics},
    "events": {"PutEvents": _put_events},
    "lambda": {"Invoke": _invoke},
    "logs": {"CreateLogStream": _log_stream, "PutLogEvents": _log_stream},
    "s3": {
        "DeleteObject": _object("DeleteObject", "DeleteObjectVersion"),
        "GetObject": _object("GetObject", "GetObjectVersion"),
        "HeadBucket": _bucket("ListBucket"),
        "HeadObject": _object("GetObject", "GetObjectVersion"),
        "ListObjects": _bucket("ListBucket"),
        "ListObjectsV2": _bucket("ListBucket"),
        "PutObject": _object("PutObject"),
    },
    "secretsmanager": {"DescribeSecret": _secret, "GetSecretValue": _secret},
    "sns": {"Publish": _publish},
    "sqs": {
        "DeleteMessage": _queue("DeleteMessage"),
        "GetQueueAttributes": _queue("GetQueueAttributes"),
        "GetQueueUrl": _queue("GetQueueUrl"),
        "ReceiveMessage": _queue("ReceiveMessage"),
        "SendMessage": _queue("SendMessage"),
        "SendMessageBatch": _queue("SendMessage"),
    },
    "ssm": {
        "CancelCommand": _any,
        "DescribeDocument": _one_document,
        "DescribeInstanceInformation": _any,
        "GetCommandInvocation": _any,
        "GetDocument": _one_document,
        "GetParameter": _parameters,
        "GetParameters": _parameters,
        "ListCommandInvocations": _any,
        "ListCommands": _any,
        "SendCommand": _send_command,
    },
}


def service_asks(call: Call) -> Iterator[Ask]:
    """Everything a call needs to be allowed. Raises NotUnderstood."""
    make = TABLES.get(call.service, {}).get(call.operation)
    if make is None:
        raise NotUnderstood(f"which resources {call.action} is about")
    yield from make(call)
