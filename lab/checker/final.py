"""What was there in the end: one reading of the primary, and a digest of every copy."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")
FILE: Final = "final.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One key at the end."""

    key: int
    value: int
    writer: int  # the client that says it wrote it


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the bank's ledger."""

    id: int
    source: int
    target: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyDigest:
    """One table on one copy, when it had replayed everything up to `lsn`."""

    copy: str
    table: str
    lsn: str
    rows: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalState:
    """Everything read at the end. A workload that was not run is None."""

    at: float  # monotonic seconds, before the reading began and after the last client stopped
    appended: tuple[int, ...] | None = None
    registers: tuple[Register, ...] | None = None
    balances: tuple[int, ...] | None = None  # by account number
    ledger: tuple[Entry, ...] | None = None
    copies: tuple[CopyDigest, ...] = ()
    doubts: tuple[str, ...] = ()  # what could not be read, one sentence each

    def save(self, directory: Path) -> None:
        """Write it beside the histories."""
        text = json.dumps(dataclasses.asdict(self), indent=1)
        (directory / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The way back from `save`."""
        item: Mapping[str, Any] = json.loads((directory / FILE).read_text(encoding="utf-8"))
        return cls(
            at=item["at"],
            appended=_numbers(item["appended"]),
            registers=_each(Register, item["registers"]),
            balances=_numbers(item["balances"]),
            ledger=_each(Entry, item["ledger"]),
            copies=_each(CopyDigest, item["copies"]) or (),
            doubts=tuple(item["doubts"]),
        )


def _numbers(values: list[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)


def _each(kind: type[T], items: list[dict[str, Any]] | None) -> tuple[T, ...] | None:
    return None if items is None else tuple(kind(**item) for item in items)
