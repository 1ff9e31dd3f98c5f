"""What a call asks for and how it is judged, as plain values. Pure.

NotUnderstood is the way out of everything this package does not know for certain: it becomes a refusal, never an allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Value = str | tuple[str, ...]
NONE: Mapping[str, Any] = MappingProxyType({})


class NotUnderstood(Exception):  # noqa: N818 - it says what it is
    """A policy or a call that cannot be judged here; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as read. `service` is IAM's prefix, `params` are the operation's members by the service's model."""

    service: str
    operation: str
    params: Mapping[str, Any]
    region: str

    @property
    def action(self) -> str:
        """The action's name where it is the operation's own."""
        return f"{self.service}:{self.operation}"

    def get(self, name: str, default: Any = None) -> Any:
        """A member of the request."""
        return self.params.get(name, default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One action on one resource. `tags` are the resource's, None where AWS would know them and we do not.

    `keys` holds the condition keys that this call and resource have; a tuple where AWS has a set of values.
    """

    action: str
    resource: str
    keys: Mapping[str, Value] = field(default_factory=lambda: NONE)
    tags: Mapping[str, str] | None = field(default_factory=lambda: NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A refused call: the error code of the service's family, and AWS's sentence."""

    code: str
    sentence: str
