"""Entry point of the lifecycle function: opens the cluster for filling, and empties it before a destroy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.compose import Deployment, SystemClock
from lambdas.errors import MalformedEventError
from lambdas.lifecycle import empty, refuse_if_protected

logger = Logger(service="pgmend-lifecycle")


@cache
def deployment() -> Deployment:
    """The container's adapters."""
    return Deployment.from_env()


def _action(event: object) -> str | None:
    """What OpenTofu asks for; None when this is no request of version 1."""
    if not isinstance(event, Mapping) or event.get("version") != 1:
        return None
    tf = event.get("tf")
    action = tf.get("action") if isinstance(tf, Mapping) else None
    return action if action in ("create", "update", "delete") else None


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, object]:
    """Lift the closed mark, or write it and end everything. Raises MalformedEventError, FatalError when protected."""
    action = _action(event)
    if action is None:
        raise MalformedEventError(
            "the lifecycle function takes {version: 1, tf: {action: create | update | delete}}"
        )
    here = deployment()
    if action != "delete":
        here.table().set_closed(closed=False)
        return {"version": 1, "ok": True, "opened": True}
    refuse_if_protected(event)
    result = empty(
        here.world(),
        clock=SystemClock(),
        remaining_s=lambda: context.get_remaining_time_in_millis() / 1000,
        final_snapshot=bool(event.get("final_snapshot")),
    )
    logger.info("the cluster is emptied", extra=result)
    return result
