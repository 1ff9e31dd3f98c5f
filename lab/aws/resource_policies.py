"""Who may deliver: what EventBridge may hand to a target, by the target's own policy or by the target's role.

It answers for deliveries only; a role's own calls are judged in lab.aws.iam. What it cannot judge it refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from moto.awslambda_simple.models import lambda_simple_backends
from moto.events.models import Rule
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from moto.utilities.arns import parse_arn

from lab.aws.context import ACCOUNT
from lab.aws.iam.model import Ask, NotUnderstood, Value
from lab.aws.iam.policies import Statement, Verdict, identity_says, parse, resource_says
from lab.aws.iam.principals import policies_of, role_by_arn

EVENTS = "events.amazonaws.com"
# What moto leaves of an AddPermission request in a function's statements; AWS keeps no such elements.
LAMBDA_EXTRAS = frozenset({"FunctionName", "EventSourceToken", "RevisionId", "Qualifier"})


def why_not(rule: Rule, target: Mapping[str, Any], event: Mapping[str, Any]) -> str | None:
    """Why EventBridge may not deliver an event of a rule to a target; None when it may."""
    if parse_arn(target["Arn"]).service == "events":
        return _closed(lambda: _by_role(rule, target, event))
    return _closed(lambda: _by_policy(rule, target["Arn"]))


def why_no_letter(rule: Rule, queue_arn: str) -> str | None:
    """Why EventBridge may not put a rule's dead letters on a queue; None when it may."""
    return _closed(lambda: _by_policy(rule, queue_arn))


def _closed(judge: Callable[[], str | None]) -> str | None:
    """A judgement that fails is a refusal; a target that is gone is one too, which AWS does not try again either."""
    try:
        return judge()
    except NotUnderstood as error:
        return f"the local AWS refuses what it does not understand: {error}"
    except Exception as error:  # noqa: BLE001 - moto raises many kinds for what does not exist
        return f"the target cannot be used: {error!r}"


def _by_policy(rule: Rule, arn: str) -> str | None:
    """Functions, queues and topics say themselves who may use them."""
    action, statements = _policy(arn)
    caller: dict[str, Value] = {
        "aws:SourceArn": rule.arn,
        "aws:SourceAccount": ACCOUNT,
        "aws:PrincipalIsAWSService": "true",
        "aws:PrincipalServiceName": EVENTS,
        "aws:SecureTransport": "true",
        "aws:RequestedRegion": parse_arn(arn).region,
    }
    verdict = resource_says(statements, Ask(action=action, resource=arn, tags=None), EVENTS, caller)
    if verdict is Verdict.ALLOWED:
        return None
    return f"{EVENTS} is not authorized to perform: {action} on resource: {arn} for {rule.arn} ({verdict})"


def _policy(arn: str) -> tuple[str, tuple[Statement, ...]]:
    """(the action a delivery is, the statements of the target's policy)."""
    found = parse_arn(arn)
    match found.service:
        case "lambda":
            function = lambda_simple_backends[found.account][found.region].get_function(arn)
            raw = [
                {key: value for key, value in statement.items() if key not in LAMBDA_EXTRAS}
                for statement in function.policy.statements
            ]
            text = json.dumps({"Version": "2012-10-17", "Statement": raw})
            return "lambda:InvokeFunction", parse(text)
        case "sqs":
            queue = sqs_backends[found.account][found.region].get_queue(found.resource_id)
            return "sqs:SendMessage", parse(queue.policy) if queue.policy else ()
        case "sns":
            topic = sns_backends[found.account][found.region].get_topic(arn)
            return "sns:Publish", parse(topic.policy)
        case other:
            raise NotUnderstood(f"targets of service {other}")


def _by_role(rule: Rule, target: Mapping[str, Any], event: Mapping[str, Any]) -> str | None:
    """Another bus: the target's role must be EventBridge's to take, and must be allowed to put events there."""
    arn, role_arn = target["Arn"], str(target.get("RoleArn"))
    role = role_by_arn(role_arn)
    if role is None:
        return f"the target {arn} needs a role, and {role_arn} is given"
    taking = Ask(action="sts:AssumeRole", resource=role_arn, tags=None)
    trust = parse(_text(role.assume_role_policy_document))
    caller: dict[str, Value] = {"aws:SourceArn": rule.arn, "aws:SourceAccount": ACCOUNT}
    if resource_says(trust, taking, EVENTS, caller) is not Verdict.ALLOWED:
        return f"{EVENTS} may not assume {role_arn}"
    keys = {"events:source": str(event["source"]), "events:detail-type": str(event["detail-type"])}
    putting = Ask(action="events:PutEvents", resource=arn, keys=keys, tags=None)
    if identity_says(policies_of(role), putting, {}) is Verdict.ALLOWED:
        return None
    return (
        f"{role_arn} is not authorized to perform: events:PutEvents on resource: {arn} "
        "because no identity-based policy allows the events:PutEvents action"
    )


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)
