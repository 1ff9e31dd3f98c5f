"""What a rule's target is given of an event: constant input, a part of it, or a transformed one. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
VARIABLE = re.compile(r"<([\w.-]+)>")


def target_input(target: Mapping[str, Any], event: Mapping[str, Any], rule_arn: str) -> object:
    """The body that goes to a target."""
    if target.get("Input"):
        return json.loads(target["Input"])
    if target.get("InputPath"):
        return pick(event, target["InputPath"])
    if target.get("InputTransformer"):
        return transform(target["InputTransformer"], event, rule_arn)
    return event


def pick(event: Any, path: str) -> Any:
    """A value by its JSON path of names, dots and array indices; None where there is none."""
    value = event
    for name, index in STEP.findall(path.removeprefix("$")):
        if name:
            value = value.get(name) if isinstance(value, Mapping) else None
        else:
            at = int(index)
            value = value[at] if isinstance(value, list) and at < len(value) else None
    return value


def transform(transformer: Mapping[str, Any], event: Mapping[str, Any], rule_arn: str) -> object:
    """An input transformer's result; text where it is no JSON."""
    paths = transformer.get("InputPathsMap") or {}
    values = {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rsplit("/", 1)[-1],
        "aws.events.event": {key: value for key, value in event.items() if key != "detail"},
        "aws.events.event.json": event,
        "aws.events.event.ingestion-time": event.get("time"),
        **{name: pick(event, path) for name, path in paths.items()},
    }
    template = transformer["InputTemplate"]
    try:
        return json.loads(_filled(template, values))
    except ValueError:
        return VARIABLE.sub(lambda found: _bare(values, found), template)


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """Variables inside a JSON string become part of it; elsewhere they are JSON values."""
    filled, at, quotes = "", 0, 0
    for found in VARIABLE.finditer(template):
        before = template[at : found.start()]
        filled += before
        quotes += before.count('"') - before.count('\\"')
        if found[1] not in values:
            filled += found[0]
        elif quotes % 2:
            filled += json.dumps(_bare(values, found))[1:-1]
        else:
            filled += json.dumps(values[found[1]])
        at = found.end()
    return filled + template[at:]


def _bare(values: Mapping[str, Any], found: re.Match[str]) -> str:
    value = values.get(found[1], found[0])
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
