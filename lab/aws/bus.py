"""EventBridge: AWS's own events, rules on buses in every region, delivery with retries and dead letters."""

from __future__ import annotations

import copy
import json
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from moto.events.models import Rule, events_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from moto.utilities.arns import parse_arn

from lab.aws.context import ACCOUNT, Context, log
from lab.aws.patterns import matches
from lab.aws.resource_policies import why_no_letter, why_not

RETRIES_MAX = 185
RETRY_S = 0.5


class Functions(Protocol):
    """What delivery needs of the local Lambda."""

    def invoke_async(self, arn: str, payload: bytes) -> None:
        """Queue an event for a function; raises when it cannot be taken."""


class Bus:
    """Routes events. `stop` names regions whose EventBridge is down (a fault)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.functions: Functions | None = None
        self.stopped: set[str] = set()

    def install(self) -> None:
        """Take over from moto what its rules do with an event."""
        bus = self

        def send_to_targets(
            rule: Rule, event: dict[str, Any], transform_input: bool = True
        ) -> None:
            if rule.scheduled_expression or not rule.event_pattern.dump():
                return
            bus.offer(rule, _as_sent(event))

        Rule.send_to_targets = send_to_targets

    def put_aws_event(
        self,
        region: str,
        source: str,
        detail_type: str,
        detail: Mapping[str, Any],
        resources: tuple[str, ...] = (),
    ) -> None:
        """An event of AWS itself, on the region's default bus."""
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": _now(),
            "region": region,
            "resources": list(resources),
            "detail": dict(detail),
        }
        self.route(region, "default", event)

    def route(self, region: str, bus_name: str, event: dict[str, Any]) -> None:
        """Offer an event to every rule of a bus."""
        backend = events_backends[ACCOUNT][region]
        found = backend.event_buses.get(bus_name)
        if found is None:
            raise LookupError(f"there is no bus {bus_name} in {region}")
        for rule in list(found.rules.values()):
            if not rule.scheduled_expression:
                self.offer(rule, event)

    def offer(self, rule: Rule, event: dict[str, Any]) -> None:
        """Deliver to the rule's targets if it is enabled and fits."""
        if rule.region_name in self.stopped:
            return
        fits = rule.state == "ENABLED" and matches(json.loads(rule.event_pattern.dump()), event)
        if not fits:
            return
        for target in list(rule.targets):
            self.deliver(rule, target, event)

    def deliver(self, rule: Rule, target: dict[str, Any], event: dict[str, Any]) -> None:
        """Hand an event to one target in a thread of its own, with the target's retry policy."""
        body = _input(target, event)
        threading.Thread(
            target=self._context.guarded,
            args=(lambda: self._try(rule, target, event, body), f"delivery by {rule.name}"),
            daemon=True,
        ).start()

    def _try(self, rule: Rule, target: dict[str, Any], event: dict[str, Any], body: object) -> None:
        refused = why_not(rule, target, event)
        if refused is not None:  # AWS does not try again what it may not do
            self._record(rule, target, event, 0, refused)
            self._dead_letter(rule, target, event, 0, refused)
            return
        policy = target.get("RetryPolicy") or {}
        tries = min(int(policy.get("MaximumRetryAttempts", RETRIES_MAX)), 20) + 1
        error = ""
        for attempt in range(tries):
            try:
                self._hand_over(target, body, event)
            except Exception as found:  # noqa: BLE001 - whatever a target raises is a failed delivery
                error = repr(found)
                if self._context.down.wait(min(RETRY_S * 2**attempt, 10.0)):
                    return
            else:
                self._record(rule, target, event, attempt, None)
                return
        self._record(rule, target, event, tries - 1, error)
        self._dead_letter(rule, target, event, tries - 1, error)

    def _record(
        self,
        rule: Rule,
        target: dict[str, Any],
        event: dict[str, Any],
        retries: int,
        error: str | None,
    ) -> None:
        self._context.evidence.add(
            "events",
            rule=rule.name,
            region=rule.region_name,
            target=target["Arn"],
            event=event,
            retries=retries,
            error=error,
        )

    def _hand_over(self, target: dict[str, Any], body: object, event: dict[str, Any]) -> None:
        arn = parse_arn(target["Arn"])
        payload = json.dumps(body)
        match arn.service:
            case "lambda":
                if self.functions is None:
                    raise LookupError("no functions here")
                self.functions.invoke_async(target["Arn"], payload.encode())
            case "events":
                self.route(arn.region, arn.resource_id, event)
            case "sqs":
                sqs_backends[arn.account][arn.region].send_message(arn.resource_id, payload)
            case "sns":
                sns_backends[arn.account][arn.region].publish(payload, arn=target["Arn"])
            case _:
                raise NotImplementedError(f"targets of service {arn.service}")

    def _dead_letter(
        self, rule: Rule, target: dict[str, Any], event: dict[str, Any], retries: int, error: str
    ) -> None:
        queue = (target.get("DeadLetterConfig") or {}).get("Arn")
        if queue is None:
            log.warning("an event for %s is dropped: %s", target["Arn"], error)
            return
        refused = why_no_letter(rule, queue)
        if refused is not None:
            log.warning("a dead letter is dropped: %s; it died of: %s", refused, error)
            return
        about = {
            "RULE_ARN": rule.arn,
            "TARGET_ARN": target["Arn"],
            "ERROR_CODE": "SDK_CLIENT_ERROR",
            "ERROR_MESSAGE": error,
            "RETRY_ATTEMPTS": str(retries),
        }
        send_to_queue(queue, json.dumps(event), about)


def send_to_queue(arn: str, body: str, about: Mapping[str, str]) -> None:
    """Put a message with string attributes on a queue."""
    queue = parse_arn(arn)
    attributes = {key: {"DataType": "String", "StringValue": value} for key, value in about.items()}
    sqs_backends[queue.account][queue.region].send_message(
        queue.resource_id, body, message_attributes=attributes
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_sent(event: dict[str, Any]) -> dict[str, Any]:
    """moto's event in AWS's shape."""
    sent = copy.deepcopy(event)
    sent.pop("ingestion-time", None)
    if not isinstance(sent.get("time"), str):
        at = float(sent.get("time") or time.time())
        sent["time"] = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return sent


def _input(target: dict[str, Any], event: dict[str, Any]) -> object:
    if target.get("Input"):
        return json.loads(target["Input"])
    if target.get("InputPath"):
        return pick(event, target["InputPath"])
    if target.get("InputTransformer"):
        return transform(target["InputTransformer"], event)
    return event


def pick(event: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    """A value by its JSON path (names and dots)."""
    value = event
    for name in path.removeprefix("$").strip(".").split("."):
        if name:
            value = value.get(name) if isinstance(value, Mapping) else None
    return value


def transform(transformer: Mapping[str, Any], event: dict[str, Any]) -> object:
    """An input transformer's result; text where it is no JSON."""
    text = transformer["InputTemplate"]
    for name, path in (transformer.get("InputPathsMap") or {}).items():
        value = pick(event, path)
        raw = value if isinstance(value, str) else json.dumps(value)
        text = text.replace(f'"<{name}>"', json.dumps(raw)).replace(f"<{name}>", json.dumps(value))
    try:
        return json.loads(text)
    except ValueError:
        return text
