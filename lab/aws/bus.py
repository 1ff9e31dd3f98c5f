"""EventBridge: AWS's own events, rules on buses in every region, delivery with retries and dead letters."""

from __future__ import annotations

import copy
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any, Protocol

from moto.core.exceptions import JsonRESTError, ServiceException
from moto.events.exceptions import InvalidEventPatternException, ResourceNotFoundException
from moto.events.models import EventsBackend, Rule, events_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from moto.utilities.arns import parse_arn

from lab.aws import patterns
from lab.aws.context import ACCOUNT, Context, log
from lab.aws.inputs import target_input
from lab.aws.resource_policies import why_no_letter, why_not
from lab.aws.takeover import take_over
from lab.ports import RegionService

RETRIES_MAX = 185
AGE_MAX_S = 86400.0
RETRY_S = 0.5
RETRY_MAX_S = 10.0
# What retrying cannot mend: moto's own refusals (the target does not exist) and missing permission.
FINAL = (JsonRESTError, ServiceException, PermissionError)


class Functions(Protocol):
    """What delivery needs of the local Lambda."""

    def invoke_async(self, arn: str, payload: bytes) -> None:
        """Queue an event for a function; raises when it cannot be taken."""


class Bus:
    """Routes events. Where EventBridge is out, events are lost, and those on their way wait."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.functions: Functions | None = None

    def install(self) -> None:
        """Take over from moto what its rules do with an event."""
        take_over(Rule, "send_to_targets", self._sent)
        take_over(EventsBackend, "put_rule", partial(self._put_rule, EventsBackend.put_rule))

    def _sent(self, rule: Rule, event: dict[str, Any], *_: object) -> None:
        """moto offers an event of PutEvents to a rule."""
        if not rule.scheduled_expression and rule.event_pattern.dump():
            self.offer(rule, _as_sent(event))

    @staticmethod
    def _put_rule(original: Callable[..., Rule], backend: Any, name: str, **given: Any) -> Rule:
        try:
            patterns.check(json.loads(given.get("event_pattern") or "{}"))
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidEventPatternException(reason=str(error)) from error
        return original(backend, name, **given)

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
            raise ResourceNotFoundException(f"Event bus {bus_name} does not exist in {region}.")
        for rule in list(found.rules.values()):
            if not rule.scheduled_expression:
                self.offer(rule, event)

    def offer(self, rule: Rule, event: dict[str, Any]) -> None:
        """Deliver to the rule's targets if it is enabled and fits."""
        if self._out(rule.region_name):
            return
        fits = rule.state == "ENABLED" and patterns.matches(
            json.loads(rule.event_pattern.dump() or "{}"), event
        )
        if not fits:
            return
        for target in list(rule.targets):
            self.deliver(rule, target, event)

    def deliver(self, rule: Rule, target: dict[str, Any], event: dict[str, Any]) -> None:
        """Hand an event to one target in a thread of its own, with the target's retry policy."""
        threading.Thread(
            target=self._context.guarded,
            args=(lambda: self._try(rule, target, event), f"delivery by {rule.name}"),
            daemon=True,
        ).start()

    def _try(self, rule: Rule, target: dict[str, Any], event: dict[str, Any]) -> None:
        refused = why_not(rule, target, event)
        if refused is not None:  # AWS does not try again what it may not do
            self._dead_letter(rule, target, event, 0, PermissionError(refused), None)
            return
        body = target_input(target, event, rule.arn)
        policy = target.get("RetryPolicy") or {}
        retries_max = int(policy.get("MaximumRetryAttempts", RETRIES_MAX))
        until = time.monotonic() + float(policy.get("MaximumEventAgeInSeconds", AGE_MAX_S))
        for retries in count():
            wait_s = min(RETRY_S * 2 ** min(retries, 10), RETRY_MAX_S)
            if not self._outlast(rule.region_name):
                return
            try:
                self._hand_over(target, body, event)
            except FINAL as error:
                self._dead_letter(rule, target, event, retries, error, None)
                return
            except Exception as error:  # noqa: BLE001 - whatever else a target raises may pass
                over = "MaximumRetryAttempts" if retries >= retries_max else None
                if time.monotonic() + wait_s > until:
                    over = over or "MaximumEventAgeInSeconds"
                if over is not None:
                    self._dead_letter(rule, target, event, retries, error, over)
                    return
            else:
                self._record(rule, target, event, retries, None)
                return
            if self._context.down.wait(wait_s):
                return

    def _outlast(self, region: str) -> bool:
        """Wait until EventBridge works there: it keeps what it has taken in. False when the local AWS stops."""
        while self._out(region):
            if self._context.down.wait(RETRY_S):
                return False
        return True

    def _out(self, region: str) -> bool:
        return self._context.outages.out(region, RegionService.EVENTS)

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
        if self._context.outages.gone(arn.region):
            raise LookupError(f"nothing of AWS answers in {arn.region}")
        payload = json.dumps(body)
        match arn.service:
            case "lambda":
                if self.functions is None:
                    raise LookupError("no functions here")
                self.functions.invoke_async(target["Arn"], payload.encode())
            case "events":
                if self._out(arn.region):
                    raise LookupError(f"EventBridge in {arn.region} does not answer")
                self.route(arn.region, arn.resource_id, event)
            case "sqs":
                sqs_backends[arn.account][arn.region].send_message(arn.resource_id, payload)
            case "sns":
                sns_backends[arn.account][arn.region].publish(payload, arn=target["Arn"])
            case _:
                raise NotImplementedError(f"targets of service {arn.service}")

    def _dead_letter(
        self,
        rule: Rule,
        target: dict[str, Any],
        event: dict[str, Any],
        retries: int,
        error: Exception,
        exhausted: str | None,
    ) -> None:
        self._record(rule, target, event, retries, repr(error))
        queue = (target.get("DeadLetterConfig") or {}).get("Arn")
        if queue is None:
            log.warning("an event for %s is dropped: %r", target["Arn"], error)
            return
        refused = why_no_letter(rule, queue)
        if refused is not None:
            log.warning("a dead letter is dropped: %s; it died of: %r", refused, error)
            return
        about = {
            "RULE_ARN": rule.arn,
            "TARGET_ARN": target["Arn"],
            "ERROR_CODE": _error_code(error),
            "ERROR_MESSAGE": str(error) or repr(error),
        }
        if exhausted is not None:
            about |= {"EXHAUSTED_RETRY_CONDITION": exhausted, "RETRY_ATTEMPTS": str(retries)}
        send_to_queue(queue, json.dumps(event), about)


def _error_code(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "NO_PERMISSIONS"
    return "NO_RESOURCE" if isinstance(error, FINAL) else "SDK_CLIENT_ERROR"


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
