"""One item of the hub table, read attribute by attribute: what is not what the contract says is noted, never fatal.

It must never guess a value in place of one that cannot be read: whoever reads decides what forbids the most.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Item = Mapping[str, Any]

ID_MAX = 128  # characters of a name or an id; EC2 and SSM take fewer
PROSE_MAX = 1000  # characters of words for people that go on into notices
NUMBER_MAX = 1e12  # no time in epoch seconds and no count is beyond it
# What json.loads, and looking into what it made, may raise.
NOT_OURS = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def as_text(value: str) -> dict[str, str]:
    """A string attribute."""
    return {"S": value}


def as_number(value: float) -> dict[str, str]:
    """A number attribute."""
    return {"N": str(value)}


def text(item: Item, name: str) -> str | None:
    """A string attribute's value, None without one."""
    value = item.get(name)
    return None if value is None else value.get("S")


def number(item: Item, name: str) -> float | None:
    """A number attribute's value, None without one."""
    value = item.get(name)
    return None if value is None or "N" not in value else float(value["N"])


def plain(item: Item) -> dict[str, str]:
    """An item of strings and numbers, as strings."""
    return {key: str(next(iter(value.values()))) for key, value in item.items()}


@dataclass(slots=True)
class Attributes:
    """An item that is being read. `wrong` has, attribute by attribute, what cannot be what it claims."""

    item: Item
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def why(self) -> str | None:
        """Everything that is wrong with it, in words; None when nothing is."""
        return ", ".join(f"{name} {what}" for name, what in self.wrong.items()) or None

    def name(self, attribute: str, *, needed: bool = False) -> str | None:
        """A name or an id: None when it is absent, empty or wrong."""
        found = self._typed(attribute, "S", "is no string", needed=needed)
        if found is None:
            return None
        if len(found) > ID_MAX:
            self.wrong[attribute] = f"has {len(found)} characters"
            return None
        if needed and not found:
            self.wrong[attribute] = "is empty"
        return found or None

    def prose(self, attribute: str) -> str | None:
        """Words for people, cut where a notice would grow too large; None when they are absent or wrong."""
        found = self._typed(attribute, "S", "is no string", needed=False)
        return None if found is None else found[:PROSE_MAX]

    def number(self, attribute: str, *, needed: bool = False) -> float | None:
        """A time or a count: None when it is absent, negative or wrong."""
        found = self._typed(attribute, "N", "is no number", needed=needed)
        if found is None:
            return None
        value = float(found)
        if not 0.0 <= value < NUMBER_MAX:
            self.wrong[attribute] = "is out of range"
            return None
        return value

    def count(self, attribute: str) -> int:
        """A count that has to be there; 0 when it is not."""
        return int(self.number(attribute, needed=True) or 0)

    def counts(self, attribute: str) -> dict[str, int]:
        """JSON: name → how often; empty when it is absent or wrong."""
        document = self._typed(attribute, "S", "is no string", needed=False)
        try:
            found = counts_from_json(document or "{}")
        except NOT_OURS as error:
            self.wrong[attribute] = f"cannot be read ({said(error)})"
            return {}
        return found

    def _typed(self, attribute: str, kind: str, otherwise: str, *, needed: bool) -> str | None:
        value = self.item.get(attribute)
        if value is None:
            if needed:
                self.wrong[attribute] = "is missing"
            return None
        if kind not in value:
            self.wrong[attribute] = otherwise
            return None
        return str(value[kind])


def counts_from_json(document: str) -> dict[str, int]:
    """Name → how often. Raises one of NOT_OURS when it is anything else."""
    listed = json.loads(document)
    found = {str(name): times for name, times in listed.items()}
    if not all(type(times) is int and 0 <= times < NUMBER_MAX for times in found.values()):
        raise ValueError("not every count is one")
    return found


def said(error: Exception) -> str:
    """An error of reading in one short clause; a document that is all depth has no words of its own."""
    words = str(error).splitlines()[:1]
    return f"{type(error).__name__}: {words[0][:120]}" if words else type(error).__name__


def is_finite(value: object) -> bool:
    """Whether what JSON held is a number of the world."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < NUMBER_MAX and math.isfinite(value)
