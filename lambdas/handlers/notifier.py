"""Entry point of the notifier: the healer's events become messages to people, each told once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.act import NO_ANSWER
from lambdas.adapters.notices import Notice
from lambdas.compose import Deployment, SystemClock
from lambdas.errors import MalformedEventError

logger = Logger(service="pgmend-notifier")
# Event → the fields of its detail that tell one occasion from another within an incident.
TOLD: Mapping[str, tuple[str, ...]] = {
    "Incident Opened": (),
    "Action Taken": ("action",),
    "Action Refused": ("step", "error"),
    "Incident Healed": (),
    "Held": ("rail", "acknowledged"),
    "Breaker Opened": ("opened_at",),
}
HINTS = {
    "Action Refused": "It is tried again, and told no more for the same reason; make heal-history shows each try.",
    "Held": "make heal-status shows it, make heal-ack lets the healer begin anew.",
    "Breaker Opened": "Until make heal-ack nothing is stopped, rebooted, removed or launched.",
}


@cache
def deployment() -> Deployment:
    """The container's adapters."""
    return Deployment.from_env()


def read(event: Mapping[str, Any]) -> Notice:
    """The notice in an event. Raises MalformedEventError."""
    kind, detail = event.get("detail-type"), event.get("detail")
    if not isinstance(kind, str) or kind not in TOLD:
        raise MalformedEventError(f"not an event of the healer that people are told of: {kind!r}")
    if not isinstance(detail, Mapping) or detail.get("version") != 1:
        raise MalformedEventError(f"{kind!r} has no detail of version 1")
    sentence, incident = detail.get("sentence"), detail.get("incident")
    if not isinstance(sentence, str) or not (isinstance(incident, str) or kind == "Breaker Opened"):
        raise MalformedEventError(f"{kind!r} says neither what happened nor in which incident")
    slot = detail.get("slot")
    subject = f"[{detail.get('cluster')}] {_called(kind, detail)}" + (f": {slot}" if slot else "")
    said = [sentence] + ([HINTS[kind]] if kind in HINTS else [])
    document = json.dumps({"kind": kind, **detail}, indent=2)
    return Notice(
        key=_key(kind, detail),
        subject="".join(c if " " <= c <= "~" else "?" for c in subject),
        body="\n".join(said) + f"\n\n{document}\n",
    )


def _called(kind: str, detail: Mapping[str, Any]) -> str:
    """The event in a subject: what AWS gave no answer to may have been done, so it was not refused."""
    return "No Answer" if detail.get("error") == NO_ANSWER else kind


def _key(kind: str, detail: Mapping[str, Any]) -> str:
    """Two events with one key are one notice. Where the field that tells them apart is missing, the words do."""
    fields = TOLD[kind]
    occasion = [detail.get(name) for name in fields]
    if fields and occasion[0] is None:
        occasion = [detail.get("token") if kind == "Breaker Opened" else detail.get("sentence")]
    of = [kind, detail.get("cluster"), detail.get("incident"), detail.get("slot"), *occasion]
    return hashlib.sha256(json.dumps(of, default=str).encode()).hexdigest()


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, object]:
    """Tell people, unless they were told. Raises MalformedEventError, and NoticeRefusedError for another try."""
    notice = read(event)
    notices = deployment().notices(
        lambda sentence, extra: logger.error(sentence, extra=dict(extra))
    )
    told = notices.tell(notice, owner=context.aws_request_id, now=SystemClock().now())
    logger.info(notice.subject, extra={"told": told})
    return {"version": 1, "ok": True, "told": told}
