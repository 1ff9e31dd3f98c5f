"""What people allow, as frozen data: maintenance windows, the breaker, and work that was planned. Pure.

Times are epoch seconds by the healer's own clock. Written by people's commands and, for the breaker, by the healer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A maintenance window: inside it every plan is a hold that says what would have been done."""

    from_: float
    until: float
    why: str

    def holds(self, now: float) -> bool:
        """Whether it is on now."""
        return self.from_ <= now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Open: healing did not help and a person has to look. `acknowledged_at` is when one last did."""

    open: bool
    why: str
    opened_at: float
    acknowledged_at: float = 0.0


class PlannedKind(StrEnum):
    """Work that a person ordered."""

    SWITCHOVER = "switchover"
    ROLL = "roll"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An order under way. A roll replaces what was launched before `since`, a switchover ends when `to` leads."""

    plan_id: str
    kind: PlannedKind
    since: float
    to: str | None = None


def window_at(windows: tuple[Window, ...], now: float) -> Window | None:
    """The maintenance window that is on, None without one."""
    return next((window for window in windows if window.holds(now)), None)
