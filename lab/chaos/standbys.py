"""What a leader's `synchronous_standby_names` promises. Pure.

The promise of `region`: more copies have to answer than there are names in the leader's own region, so that one of them
is in another. The promise of `zone`: at least one has to answer. What cannot be read promises nothing and suspends
nothing: it is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ANYBODY: Final = "*"
_COUNTED: Final = re.compile(
    r"\s*(?:(?:ANY|FIRST)\s+)?(\d+)\s*\((.*)\)\s*", re.IGNORECASE | re.DOTALL
)
_NAME: Final = r'"(?:[^"]|"")+"|\*|[A-Za-z_0-9\x80-\U0010ffff][A-Za-z_0-9$\x80-\U0010ffff]*'
_LIST: Final = re.compile(rf"\s*(?:{_NAME})\s*(?:,\s*(?:{_NAME})\s*)*", re.DOTALL)
_EACH: Final = re.compile(_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standbys:
    """How many of whom have to answer before a commit is acknowledged."""

    number: int
    names: tuple[str, ...]  # lower case, as PostgreSQL compares them


NOBODY: Final = Standbys(number=0, names=())


def parse(text: str) -> Standbys | None:
    """The setting's meaning; None for a text that is none."""
    if not text.strip():
        return NOBODY
    counted = _COUNTED.fullmatch(text)
    number, names = (int(counted[1]), counted[2]) if counted else (1, text)
    if number < 1 or not _LIST.fullmatch(names):
        return None
    return Standbys(number=number, names=tuple(_plain(name) for name in _EACH.findall(names)))


def kept(text: str, *, durability: str, region: str, regions: Mapping[str, str]) -> bool | None:
    """Whether the promise of this durability is in force; None when nobody can say.

    `region` is the leader's own, `regions` are those of all database slots by their names.
    """
    found = parse(text)
    if found is None:
        return None
    match durability:
        case "zone":
            return found.number >= 1
        case "region":
            return _remote(found, region, regions)
        case _:
            return False  # nothing is promised


def _remote(found: Standbys, region: str, regions: Mapping[str, str]) -> bool | None:
    if found.number == 0:
        return False
    known = {name.lower(): place for name, place in regions.items()}
    if any(name not in known for name in found.names):
        return None
    return found.number > sum(known[name] == region for name in found.names)


def _plain(name: str) -> str:
    if name.startswith('"'):
        name = name[1:-1].replace('""', '"')
    return name.lower()
