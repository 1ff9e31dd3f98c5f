"""Entry point of the notifier: the healer's events become messages to people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.compose import Deployment
from lambdas.errors import MalformedEventError

logger = Logger(service="pgmend-notifier")
TOLD = frozenset({"Incident Opened", "Action Taken", "Incident Healed", "Held"})


@cache
def deployment() -> Deployment:
    """The container's adapters."""
    return Deployment.from_env()


def message(event: Mapping[str, Any]) -> tuple[str, str]:
    """(subject, body) of the notice. Raises MalformedEventError."""
    kind, detail = event.get("detail-type"), event.get("detail")
    if kind not in TOLD or not isinstance(detail, Mapping) or detail.get("version") != 1:
        raise MalformedEventError(f"not an event of the healer that people are told of: {kind!r}")
    subject = f"[{detail.get('cluster')}] {kind}: {detail.get('slot')}"[:100]
    return subject, f"{detail.get('sentence')}\n\n{json.dumps(dict(detail), indent=2)}\n"


def handler(event: Mapping[str, Any], _context: LambdaContext) -> dict[str, object]:
    """Publish one notice."""
    subject, body = message(event)
    here = deployment()
    client = here.clients.get("sns", here.settings.hub_region)
    client.publish(TopicArn=here.settings.topic_arn, Subject=subject, Message=body)
    logger.info(subject)
    return {"version": 1, "ok": True}
