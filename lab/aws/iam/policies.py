"""Policy documents: read once, asked often. Pure. An explicit deny wins; what no statement allows is not allowed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from lab.aws.iam.conditions import Condition
from lab.aws.iam.keys import Keys
from lab.aws.iam.model import Ask, NotUnderstood, Value
from lab.aws.iam.wildcards import fits

ELEMENTS = frozenset("Sid Effect Action NotAction Resource NotResource Condition Principal".split())


class Verdict(StrEnum):
    """What a set of statements says to an ask."""

    ALLOWED = "allowed"
    DENIED = "denied"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement. `but` says that the list names what is left out (NotAction, NotResource).

    `resources` is None in a trust policy, `services` are the principals of type Service, `everyone` means `*`.
    """

    allows: bool
    actions: tuple[str, ...]
    but_actions: bool
    resources: tuple[str, ...] | None
    but_resources: bool
    conditions: tuple[Condition, ...]
    variables: bool
    has_principal: bool
    services: tuple[str, ...]
    everyone: bool

    def names(self, action: str) -> bool:
        """Whether it is about an action."""
        found = any(fits(pattern.lower(), action.lower()) for pattern in self.actions)
        return found is not self.but_actions

    def applies(self, ask: Ask, keys: Keys) -> bool:
        """Whether it is about this ask, conditions included. Raises NotUnderstood."""
        if not self.names(ask.action):
            return False
        if self.resources is not None:
            lookup = keys.variable if self.variables else None
            found = any(fits(p, ask.resource, lookup, arn=True) for p in self.resources)
            if found is self.but_resources:
                return False
        return all(condition.holds(keys) for condition in self.conditions)


def identity_says(
    statements: Iterable[Statement], ask: Ask, principal: Mapping[str, Value]
) -> Verdict:
    """The verdict of a principal's own policies."""
    statements = tuple(statements)
    if any(s.has_principal or s.resources is None for s in statements):
        raise NotUnderstood("an identity policy has resources and no principal")
    return _says(statements, ask, Keys(ask, principal))


def resource_says(
    statements: Iterable[Statement], ask: Ask, service: str, caller: Mapping[str, Value]
) -> Verdict:
    """The verdict of a resource's or a role's own policy on a call by a service of AWS."""
    meant = [s for s in statements if s.everyone or service in s.services]
    return _says(meant, ask, Keys(ask, caller))


def _says(statements: Iterable[Statement], ask: Ask, keys: Keys) -> Verdict:
    verdict = Verdict.SILENT
    for statement in statements:
        if statement.applies(ask, keys):
            if not statement.allows:
                return Verdict.DENIED
            verdict = Verdict.ALLOWED
    return verdict


@lru_cache(maxsize=512)
def parse(document: str) -> tuple[Statement, ...]:
    """The statements of a document; the text is the cache's key. Raises NotUnderstood."""
    try:
        raw = json.loads(document)
        version = raw.get("Version", "2008-10-17")
        return tuple(
            _statement(s, variables=version == "2012-10-17") for s in _list(raw["Statement"])
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotUnderstood(f"a policy document cannot be read: {error!r}") from error


def _statement(raw: Mapping[str, Any], *, variables: bool) -> Statement:
    strange = sorted(set(raw) - ELEMENTS)
    if strange:
        raise NotUnderstood(f"a policy statement has the unknown elements {', '.join(strange)}")
    if raw["Effect"] not in ("Allow", "Deny"):
        raise NotUnderstood(f"a policy statement has the effect {raw['Effect']}")
    resources = raw.get("Resource", raw.get("NotResource"))
    services, everyone = _principals(raw.get("Principal"))
    return Statement(
        allows=raw["Effect"] == "Allow",
        actions=_texts(raw["Action"] if "Action" in raw else raw["NotAction"]),
        but_actions="Action" not in raw,
        resources=None if resources is None else _arns(resources),
        but_resources="Resource" not in raw,
        conditions=_conditions(raw.get("Condition") or {}, variables=variables),
        variables=variables,
        has_principal="Principal" in raw,
        services=services,
        everyone=everyone,
    )


def _conditions(raw: Mapping[str, Mapping[str, Any]], *, variables: bool) -> tuple[Condition, ...]:
    return tuple(
        Condition(operator=name, key=key, values=_texts(values), variables=variables)
        for name, pairs in raw.items()
        for key, values in pairs.items()
    )


def _principals(raw: Any) -> tuple[tuple[str, ...], bool]:
    if raw is None or raw == "*":
        return (), raw == "*"
    return _texts(raw.get("Service", [])), "*" in _texts(raw.get("AWS", []))


def _arns(raw: Any) -> tuple[str, ...]:
    found = _texts(raw)
    for pattern in found:
        if pattern != "*" and not pattern.startswith("arn:"):
            raise NotUnderstood(f"the resource {pattern} of a policy is no ARN")
    return found


def _texts(raw: Any) -> tuple[str, ...]:
    return tuple(str(item).lower() if isinstance(item, bool) else str(item) for item in _list(raw))


def _list(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else [raw]
