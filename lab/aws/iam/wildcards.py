"""Patterns of policies: `*`, `?` and policy variables. Pure; it must never read a variable's value as a pattern."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

VARIABLE = re.compile(r"\$\{([^}]*)\}")
Lookup = Callable[[str], str | None]


def fits(pattern: str, value: str, lookup: Lookup | None = None, *, arn: bool = False) -> bool:
    """Whether a value fits a pattern; a variable that has no value makes it not fit.

    `lookup` gives a variable's value and is None where the policy's version knows no variables.
    """
    if lookup is None or "${" not in pattern:
        return _plain(pattern, arn).fullmatch(value) is not None
    found = _with_variables(pattern, lookup, arn=arn)
    return found is not None and re.fullmatch(found, value, re.DOTALL) is not None


def resolved(text: str, lookup: Lookup | None) -> str | None:
    """A text with its variables' values in place; None when one has none."""
    if lookup is None or "${" not in text:
        return text
    parts = [value if variable else part for part, variable, value in _parts(text, lookup)]
    return None if None in parts else "".join(part for part in parts if part is not None)


@lru_cache(maxsize=4096)
def _plain(pattern: str, arn: bool) -> re.Pattern[str]:
    return re.compile(_translated(pattern, 0 if arn else None), re.DOTALL)


def _with_variables(pattern: str, lookup: Lookup, *, arn: bool) -> str | None:
    out, colons = "", 0
    for part, variable, value in _parts(pattern, lookup):
        if value is None and variable:
            return None
        out += re.escape(value or "") if variable else _translated(part, colons if arn else None)
        colons += part.count(":")
    return out


def _parts(text: str, lookup: Lookup) -> Iterator[tuple[str, bool, str | None]]:
    """(text, whether it is a variable, the variable's value)."""
    at = 0
    for found in VARIABLE.finditer(text):
        yield text[at : found.start()], False, None
        yield "", True, _value(found[1], lookup)
        at = found.end()
    yield text[at:], False, None


def _value(inside: str, lookup: Lookup) -> str | None:
    if inside in ("*", "?", "$"):
        return inside
    name, comma, default = inside.partition(",")
    value = lookup(name.strip())
    return default.strip().strip("'") if value is None and comma else value


def _translated(text: str, colons: int | None) -> str:
    """A regular expression. In an ARN a `*` crosses a colon only where it ends a part, as AWS documents it."""
    out = []
    for n, char in enumerate(text):
        inner = colons is not None and colons < 5
        if char == "*":
            ends = n + 1 == len(text) or text[n + 1] == ":"
            out.append(".*" if not inner or ends else "[^:]*")
        elif char == "?":
            out.append("[^:]" if inner else ".")
        else:
            out.append(re.escape(char))
            if char == ":" and colons is not None:
                colons += 1
    return "".join(out)
