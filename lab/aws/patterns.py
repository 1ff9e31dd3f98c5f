"""EventBridge's event patterns, matched as AWS documents them. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from operator import eq, ge, gt, le, lt
from typing import Any

COMPARE = {"=": eq, ">": gt, ">=": ge, "<": lt, "<=": le}
ABSENT = object()
FILTERS = frozenset(
    {
        "anything-but",
        "cidr",
        "equals-ignore-case",
        "exists",
        "numeric",
        "prefix",
        "suffix",
        "wildcard",
    }
)


def check(pattern: Mapping[str, Any]) -> None:
    """Raises ValueError with the reason why a pattern can match nothing."""
    for key, wanted in pattern.items():
        if isinstance(wanted, Mapping):
            check(wanted)
        elif key == "$or":
            for option in wanted:
                check(option)
        else:
            for option in wanted:
                unknown = set(option) - FILTERS if isinstance(option, Mapping) else set()
                if unknown:
                    raise ValueError(f"Unrecognized match type {min(unknown)}")


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event fits a pattern: every field named, any of its values."""
    for key, wanted in pattern.items():
        if key == "$or":
            if not any(matches(option, event) for option in wanted):
                return False
            continue
        value = event.get(key, ABSENT)
        if isinstance(wanted, Mapping):
            if not any(matches(wanted, inner) for inner in _objects(value)):
                return False
        elif not any(_fits(option, one) for option in wanted for one in _values(value)):
            return False
    return True


def _values(value: object) -> list[object]:
    return value if isinstance(value, list) and value else [value]


def _objects(value: object) -> list[Mapping[str, Any]]:
    """The objects in which a nested pattern looks; an empty one where there is none."""
    return [one for one in _values(value) if isinstance(one, Mapping)] or [{}]


def _fits(wanted: object, value: object) -> bool:
    if isinstance(wanted, Mapping):
        return all(_filter(name, argument, value) for name, argument in wanted.items())
    if isinstance(wanted, bool) or wanted is None:
        return value is wanted
    return value is not ABSENT and type(value) is not bool and value == wanted


def _filter(name: str, argument: Any, value: object) -> bool:
    if name == "exists":
        return (value is not ABSENT) is bool(argument)
    if value is ABSENT:
        return False
    if name == "anything-but":
        return _anything_but(argument, value)
    if name == "numeric":
        return _numeric(argument, value)
    return isinstance(value, str) and _text(name, argument, value)


def _text(name: str, argument: Any, value: str) -> bool:
    if isinstance(argument, Mapping):  # {"prefix": {"equals-ignore-case": "..."}}
        return _text(name, str(argument["equals-ignore-case"]).lower(), value.lower())
    match name:
        case "prefix":
            return value.startswith(argument)
        case "suffix":
            return value.endswith(argument)
        case "equals-ignore-case":
            return value.lower() == str(argument).lower()
        case "wildcard":
            return (
                re.fullmatch(re.escape(argument).replace(r"\*", ".*"), value, re.DOTALL) is not None
            )
        case "cidr":
            return _in_network(argument, value)
        case _:
            raise ValueError(f"event pattern filter {name!r} is not known")


def _in_network(network: str, value: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _anything_but(argument: Any, value: object) -> bool:
    if isinstance(argument, Mapping):
        return not any(
            _filter(name, one, value)
            for name, several in argument.items()
            for one in (several if isinstance(several, list) else [several])
        )
    return value not in (argument if isinstance(argument, list) else [argument])


def _numeric(argument: list[Any], value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    pairs = zip(argument[::2], argument[1::2], strict=True)
    return all(COMPARE[sign](value, bound) for sign, bound in pairs)
