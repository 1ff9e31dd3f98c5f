"""Reads a raw request with the very parsers moto will read it with, so that what is judged is what is done.

It must leave the body to be read again.
"""

from __future__ import annotations

import gzip
import io
from typing import Any

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model

from lab.aws.iam.model import Call, NotUnderstood

# The name in the signature → (the SDK's name of the service, IAM's prefix).
SERVICES = {
    "dynamodb": ("dynamodb", "dynamodb"),
    "ec2": ("ec2", "ec2"),
    "events": ("events", "events"),
    "iam": ("iam", "iam"),
    "lambda": ("lambda", "lambda"),
    "logs": ("logs", "logs"),
    "monitoring": ("cloudwatch", "cloudwatch"),
    "s3": ("s3", "s3"),
    "secretsmanager": ("secretsmanager", "secretsmanager"),
    "sns": ("sns", "sns"),
    "sqs": ("sqs", "sqs"),
    "ssm": ("ssm", "ssm"),
    "sts": ("sts", "sts"),
}
REST = frozenset({"lambda", "s3"})


def read_call(environ: dict[str, Any], signed_for: str, region: str) -> Call:
    """The call of a request. Raises NotUnderstood."""
    if signed_for not in SERVICES:
        raise NotUnderstood(f"the service {signed_for or 'of an unsigned request'} is not known")
    name, prefix = SERVICES[signed_for]
    body = _plain(environ, take_body(environ))
    request = Request({**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
    model = get_service_model(name)
    if name in REST:
        operation, in_path = get_service_router(name).match(request)
    else:
        operation, in_path = model.operation_model(_named(request, model.metadata)), {}
    protocol = determine_request_protocol(model, request.content_type)
    params = PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": request.data,
            "url_path": request.path,
            "url_params": in_path,
        }
    )
    return Call(service=prefix, operation=operation.name, params=params or {}, region=region)


def take_body(environ: dict[str, Any]) -> bytes:
    """The body, which stays readable for whoever comes next."""
    stream = environ["wsgi.input"]
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        # The server's stream undoes the chunks; moto is given the result with its length.
        body: bytes = stream.read()
        environ.pop("HTTP_TRANSFER_ENCODING")
        environ["CONTENT_LENGTH"] = str(len(body))
    else:
        body = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _plain(environ: dict[str, Any], body: bytes) -> bytes:
    if environ.get("HTTP_CONTENT_ENCODING", "").lower() == "gzip":
        return gzip.decompress(body)
    return body


def _named(request: Request, metadata: dict[str, Any]) -> str:
    """The operation's name from the target header or the form; a request that has both could be read in two ways."""
    target = request.headers.get("X-Amz-Target")
    actions = request.values.getlist("Action")
    if target is not None and not actions:
        prefix, _, name = target.rpartition(".")
        if prefix == metadata.get("targetPrefix"):
            return str(name)
        raise NotUnderstood(f"the target {target} is not one of the service that was signed for")
    if target is None and len(actions) == 1:
        return str(actions[0])
    raise NotUnderstood("the request does not name one operation")
