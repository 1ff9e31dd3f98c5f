"""A plan as the tests ask about it: what will be made, with every value that is known beforehand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.ports import REGIONS

UNKNOWN = "known after the apply"
CONTRACT = Path(__file__).resolve().parents[2] / "docs/contracts.md"
EXAMPLES = Path(__file__).resolve().parents[1] / "contract/examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One managed resource. Values that are not known yet are UNKNOWN."""

    address: str
    kind: str
    values: Mapping[str, Any]

    @property
    def region(self) -> str:
        """Where it is made; what is in no region's module is the observer's."""
        first, second, observer = (region.name for region in REGIONS)
        found = re.match(r"module\.(first|second)|aws_\w+\.(first|second)_", self.address)
        if found is None:
            return observer
        return first if "first" in (found[1], found[2]) else second

    @property
    def key(self) -> str:
        """Its for_each key, or its name."""
        found = re.search(r'\["([^"]+)"\]$', self.address)
        return self.address.rsplit(".", 1)[-1] if found is None else found[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A fresh plan of one size."""

    size: str
    raw: Mapping[str, Any]

    def resources(self, *kinds: str) -> Sequence[Resource]:
        """All managed resources, or those of some kinds."""
        return [
            Resource(
                address=item["address"],
                kind=item["type"],
                values=filled(item["change"]["after"], item["change"]["after_unknown"]),
            )
            for item in self.raw["resource_changes"]
            if item["mode"] == "managed" and (not kinds or item["type"] in kinds)
        ]

    def one(self, kind: str, key: str) -> Resource:
        """The resource of a kind with a key."""
        (found,) = (resource for resource in self.resources(kind) if resource.key == key)
        return found

    @property
    def spec(self) -> Mapping[str, Any]:
        """The cluster spec."""
        change = self.raw["output_changes"]["spec"]
        spec: Mapping[str, Any] = filled(change["after"], change["after_unknown"])
        return spec


def filled(after: Any, unknown: Any) -> Any:
    """A planned value with UNKNOWN in each place that an apply will fill."""
    if unknown is True:
        return UNKNOWN
    if isinstance(unknown, dict) and isinstance(after, dict | None):
        known = after or {}
        return {key: filled(known.get(key), unknown.get(key, False)) for key in [*known, *unknown]}
    if isinstance(unknown, list) and isinstance(after, list):
        rest = [False] * (len(after) - len(unknown))
        return [filled(a, u) for a, u in zip(after, [*unknown, *rest], strict=True)]
    return after


def statements(policy: str) -> Sequence[Mapping[str, Any]]:
    """A policy document's statements, with every action and resource as a list."""
    found = json.loads(policy)["Statement"]
    return [
        {
            **statement,
            **{
                name: [statement[name]] if isinstance(statement[name], str) else statement[name]
                for name in ("Action", "Resource")
                if name in statement
            },
        }
        for statement in (found if isinstance(found, list) else [found])
    ]


def example(name: str) -> dict[str, Any]:
    """A worked example of the contract."""
    loaded: dict[str, Any] = json.loads((EXAMPLES / name).read_text())
    return loaded


def kinds_of_events() -> Sequence[str]:
    """Every DetailType that the contract gives to agents."""
    section = CONTRACT.read_text().split("## Events from nodes")[1].split("Detail:")[0]
    return re.findall(r"`([A-Z][A-Za-z]+(?: [A-Z][A-Za-z]+)+)`", section)
