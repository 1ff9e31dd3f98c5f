"""Times as people write and read them: `2h30m`, `2026-11-25T22:00Z`, `3 min 5 s`. Seconds and epoch seconds inside.

Pure.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from lambdas.people.errors import RefusedError

UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
DURATION_S_MAX = 31 * 86400
YEAR_10000 = 253_402_300_800


def seconds(said: str) -> int:
    """A duration such as `90m`, `2h` or `1d12h`. Raises RefusedError."""
    found = DURATION.fullmatch(said.strip().lower())
    parts = [] if found is None else [int(n or 0) for n in found.groups()]
    total = sum(n * unit_s for n, unit_s in zip(parts, UNITS_S.values(), strict=False))
    if total <= 0:
        raise RefusedError(f"{said!r} is no duration; write for example 90m, 2h or 1d12h")
    if total > DURATION_S_MAX:
        raise RefusedError(f"{said!r} is longer than {DURATION_S_MAX // 86400} days")
    return total


def moment(said: str) -> float:
    """A time in ISO 8601, in UTC unless it says otherwise. Raises RefusedError."""
    try:
        parsed = datetime.fromisoformat(said.strip())
    except ValueError as error:
        hint = "write ISO 8601, for example 2026-11-25T22:00Z"
        raise RefusedError(f"{said!r} is no time; {hint}") from error
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def until(*, for_: str | None, until_: str | None, begin: float, now: float) -> float | None:
    """When it ends: `for_` after `begin`, or `until_`; None without either. Raises RefusedError."""
    if for_ is not None and until_ is not None:
        raise RefusedError("say --for or --until, not both")
    if for_ is not None:
        return begin + seconds(for_)
    if until_ is None:
        return None
    end = moment(until_)
    if end <= now:
        raise RefusedError(f"{written(end)} is past")
    if end <= begin:
        raise RefusedError(f"it would end at {written(end)}, before it begins")
    if end - begin > DURATION_S_MAX:
        raise RefusedError(f"{written(end)} is more than {DURATION_S_MAX // 86400} days away")
    return end


def written(at: float) -> str:
    """A time for people, to the second, in UTC."""
    if not 0 <= at < YEAR_10000:
        return "a time that no calendar has"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def spent(duration_s: float) -> str:
    """A duration for people: its two largest units."""
    if duration_s == math.inf:
        return "for ever"
    words: list[str] = []
    left = int(max(0.0, duration_s))
    for unit, unit_s in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, unit_s)
        if count or (unit == "s" and not words):
            words.append(f"{count} {unit}")
        elif words:
            break  # `1 d 5 s` would say more than anybody asked
    return " ".join(words[:2])
