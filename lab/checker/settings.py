"""How much is asked, and where it starts; kept beside the histories, because the judge needs it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

FILE: Final = "settings.json"
INITIAL_VALUE: Final = 0  # of every register; no client writes it
UNIQUE_STRIDE: Final = 1_000_000_000  # ids and values of one client


class Kind(StrEnum):
    """The workloads; each has a history file of its own."""

    APPEND = "append"
    REGISTER = "register"
    BANK = "bank"

    def history(self, directory: Path) -> Path:
        """Where its history is."""
        return directory / f"{self}.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Sizes of all workloads."""

    clients: int = 3  # of each workload
    rate_hz: float = 10.0  # of each client, on average
    deadline_s: float = 5.0  # of one operation, from its BEGIN to the answer to its COMMIT
    keys: int = 5
    accounts: int = 8
    initial_balance: int = 100
    overdraft: bool = False  # whether a balance may be negative

    @property
    def total(self) -> int:
        """The money there is."""
        return self.accounts * self.initial_balance

    def save(self, directory: Path) -> None:
        """Write them beside the histories."""
        text = json.dumps(dataclasses.asdict(self), indent=2)
        (directory / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The way back from `save`."""
        return cls(**json.loads((directory / FILE).read_text(encoding="utf-8")))


def unique(client: int, number: int) -> int:
    """A number nobody else makes: the client can be read from it. Never `INITIAL_VALUE`."""
    return (client + 1) * UNIQUE_STRIDE + number


def client_of(value: int) -> int:
    """Who makes this number."""
    return value // UNIQUE_STRIDE - 1
