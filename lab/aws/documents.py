"""SSM documents of the local AWS: found, and their parameters checked as SSM checks them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml
from moto.core.exceptions import JsonRESTError
from moto.ssm.models import ssm_backends

from lab.aws.context import ACCOUNT

STEP_S = "3600"
Parameters = Mapping[str, list[str]]
SHELL: Mapping[str, Any] = {
    "schemaVersion": "2.2",
    "parameters": {
        "commands": {"type": "StringList"},
        "executionTimeout": {"type": "String", "default": STEP_S, "allowedPattern": "^[0-9]{1,6}$"},
    },
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "run",
            "inputs": {
                "timeoutSeconds": "{{ executionTimeout }}",
                "runCommand": "{{ commands }}",
            },
        }
    ],
}


def refuse(code: str, message: str) -> JsonRESTError:
    """An error in SSM's shape."""
    return JsonRESTError(code, message)


def document(region: str, name: str) -> Mapping[str, Any]:
    """A document's content. AWS's own are few here."""
    if name == "AWS-RunShellScript":
        return SHELL
    known = ssm_backends[ACCOUNT][region]._documents  # noqa: SLF001 - moto has no public way
    if name not in known:
        raise refuse("InvalidDocument", f"Document with name {name} does not exist.")
    content = known[name].get_default_version().content
    plain: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(content)))
    return plain


def checked(content: Mapping[str, Any], given: Parameters) -> dict[str, list[str]]:
    """Parameters with defaults filled in, checked against the document as SSM does."""
    declared = content.get("parameters") or {}
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise refuse("InvalidParameters", f"Document does not support parameters {unknown}.")
    values: dict[str, list[str]] = {}
    for name, spec in declared.items():
        if name in given:
            values[name] = given[name]
        elif "default" in spec:
            default = spec["default"]
            values[name] = default if isinstance(default, list) else [str(default)]
        else:
            raise refuse("InvalidParameters", f"Parameter {name} is required.")
        if spec.get("type") != "StringList" and len(values[name]) != 1:
            raise refuse("InvalidParameters", f"Parameter {name} takes one value.")
        for value in values[name]:
            _check_value(name, spec, value)
    return values


def _check_value(name: str, spec: Mapping[str, Any], value: str) -> None:
    pattern, allowed = spec.get("allowedPattern"), spec.get("allowedValues")
    if pattern is not None and re.search(pattern, value) is None:
        raise refuse("InvalidParameters", f"Parameter {name} does not match {pattern}.")
    if allowed is not None and value not in allowed:
        raise refuse("InvalidParameters", f"Parameter {name} is not one of {allowed}.")


def time_limit_s(content: Mapping[str, Any], parameters: Parameters) -> float:
    """How long all steps together may take."""
    total = 0.0
    for step in content.get("mainSteps") or []:
        raw = str(step.get("inputs", {}).get("timeoutSeconds", STEP_S))
        named = re.fullmatch(r"\{\{\s*(\w+)\s*\}\}", raw)
        total += float(parameters[named[1]][0] if named else raw)
    return total
