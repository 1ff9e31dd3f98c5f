"""What lies in the hub table, as one read of it: the healer's memory and what people said. Frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lambdas.core.consent import Breaker, Planned, Window
from lambdas.core.model import Birth, Incident, Mode, OpenAction


@dataclass(frozen=True, slots=True, kw_only=True)
class RawReport:
    """A report as it lies in the table."""

    slot: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything the healer wrote or was told, read in one go."""

    reports: tuple[RawReport, ...]
    birth: Birth | None
    closed: bool
    mode: Mode  # as it was written; `mode_at` says what holds now
    freshness: Mapping[str, Any]
    open_actions: Mapping[str, OpenAction]
    incidents: Mapping[str, Incident]
    mode_until: float | None = None
    windows: tuple[Window, ...] = ()
    breaker: Breaker | None = None
    planned: Planned | None = None
    unread: Mapping[str, str] = field(default_factory=dict)  # `pk/sk` of an item → what is wrong

    def mode_at(self, now: float) -> Mode:
        """The mode that holds now. One that was set for a time is auto again past it."""
        return Mode.AUTO if self.mode_until is not None and now >= self.mode_until else self.mode
