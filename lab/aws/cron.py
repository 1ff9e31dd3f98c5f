"""EventBridge's schedule expressions: `rate(5 minutes)` and `cron(0 12 ? * MON-FRI *)`. Pure."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta

UNIT_S = {"minute": 60, "minutes": 60, "hour": 3600, "hours": 3600, "day": 86400, "days": 86400}
MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
DAYS = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
LOOK_AHEAD = timedelta(days=366 * 5)


def rate_s(expression: str) -> float | None:
    """Seconds of a rate expression; None for what is not one."""
    found = re.fullmatch(r"rate\((\d+) (\w+)\)", expression.strip())
    return None if found is None or found[2] not in UNIT_S else int(found[1]) * UNIT_S[found[2]]


def next_time(expression: str, after: datetime) -> datetime | None:
    """When an expression fires next; None when never. Raises ValueError for what is no expression."""
    period_s = rate_s(expression)
    if period_s is not None:
        return after + timedelta(seconds=period_s)
    return next_cron(expression, after)


def next_cron(expression: str, after: datetime) -> datetime | None:
    """The first whole minute after `after` (UTC) that fits; None when there is none in five years."""
    found = re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)", expression.strip())
    if found is None:
        raise ValueError(f"{expression!r} is no schedule expression")
    minute, hour, day, month, weekday, year = found.groups()
    if (day == "?") == (weekday == "?"):
        raise ValueError("one of day of month and day of week must be '?', the other not")
    minutes, hours = _numbers(minute, 0, 59), _numbers(hour, 0, 23)
    months, years = _numbers(month, 1, 12, MONTHS), _numbers(year, 1970, 2199)
    at = after.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    limit = at + LOOK_AHEAD
    while at < limit:
        if at.year not in years or at.month not in months or not _day_fits(at, day, weekday):
            at = at.replace(hour=0, minute=0) + timedelta(days=1)
        elif at.hour not in hours:
            at = at.replace(minute=0) + timedelta(hours=1)
        elif at.minute not in minutes:
            at += timedelta(minutes=1)
        else:
            return at
    return None


def _day_fits(at: datetime, day: str, weekday: str) -> bool:
    last = calendar.monthrange(at.year, at.month)[1]
    if weekday == "?":
        return at.day == last if day == "L" else at.day in _numbers(day, 1, 31)
    today = at.isoweekday() % 7 + 1
    nth = re.fullmatch(r"(\w+)#([1-5])", weekday)
    if nth is not None:
        return today in _numbers(nth[1], 1, 7, DAYS) and (at.day - 1) // 7 + 1 == int(nth[2])
    if weekday.endswith("L"):
        return today in _numbers(weekday[:-1] or "7", 1, 7, DAYS) and at.day + 7 > last
    return today in _numbers(weekday, 1, 7, DAYS)


def _numbers(text: str, low: int, high: int, names: dict[str, int] | None = None) -> set[int]:
    """The values of one field: `*`, lists, ranges, steps and names."""
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span in ("*", "?"):
            begin, end = low, high
        else:
            begin = _number(first, names)
            end = _number(last, names) if last else (high if step else begin)
        if not low <= begin <= end <= high or (step and not int(step)):
            raise ValueError(f"{text!r} does not lie within {low} to {high}")
        values.update(range(begin, end + 1, int(step or 1)))
    return values


def _number(text: str, names: dict[str, int] | None) -> int:
    return names[text.upper()] if names and text.upper() in names else int(text)
