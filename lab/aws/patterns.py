"""EventBridge's event patterns, matched as AWS documents them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from operator import eq, ge, gt, le, lt
from typing import Any

COMPARE = {"=": eq, ">": gt, ">=": ge, "<": lt, "<=": le}
ABSENT = object()


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event fits a pattern: every field named, any of its values."""
    for key, wanted in pattern.items():
        if key == "$or":
            if not any(matches(option, event) for option in wanted):
                return False
            continue
        value = event.get(key, ABSENT)
        if isinstance(wanted, Mapping):
            if not matches(wanted, value if isinstance(value, Mapping) else {}):
                return False
        elif not any(_fits(option, one) for option in wanted for one in _values(value)):
            return False
    return True


def _values(value: object) -> list[object]:
    return value if isinstance(value, list) and value else [value]


def _fits(wanted: object, value: object) -> bool:
    if isinstance(wanted, Mapping):
        return all(_filter(name, argument, value) for name, argument in wanted.items())
    if isinstance(wanted, bool) or wanted is None:
        return value is wanted
    return value is not ABSENT and type(value) is not bool and value == wanted


def _filter(name: str, argument: Any, value: object) -> bool:  # noqa: ANN401 - JSON
    if name == "exists":
        return (value is not ABSENT) is bool(argument)
    if value is ABSENT:
        return False
    text = value if isinstance(value, str) else None
    match name:
        case "prefix":
            return text is not None and text.startswith(argument)
        case "suffix":
            return text is not None and text.endswith(argument)
        case "equals-ignore-case":
            return text is not None and text.lower() == str(argument).lower()
        case "anything-but":
            return _anything_but(argument, value)
        case "numeric":
            return _numeric(argument, value)
        case _:
            raise ValueError(f"event pattern filter {name!r} is not known")


def _anything_but(argument: Any, value: object) -> bool:  # noqa: ANN401 - JSON
    if isinstance(argument, Mapping):
        return not any(_filter(name, one, value) for name, one in argument.items())
    return value not in (argument if isinstance(argument, list) else [argument])


def _numeric(argument: list[Any], value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    pairs = zip(argument[::2], argument[1::2], strict=True)
    return all(COMPARE[sign](value, bound) for sign, bound in pairs)
