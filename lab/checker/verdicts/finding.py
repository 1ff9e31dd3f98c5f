"""One thing that is wrong, in a sentence that names the operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from lab.checker.history import Operation

NAMED_MAX: Final = 5  # operations a sentence names; the rest are counted


class Anomaly(StrEnum):
    """What can be wrong."""

    LOST = "lost"  # acknowledged, and gone
    DUPLICATED = "duplicated"  # there more than once
    RESURRECTED = "resurrected"  # surely failed, and there
    FROM_NOWHERE = "from nowhere"  # there, and nobody wrote it
    STALE_READ = "stale read"  # a value that had been replaced was read
    LOST_UPDATE = "lost update"  # a value was replaced twice, or by who had not seen its successor
    FROM_THE_FUTURE = "from the future"  # read before it was written
    MONEY = "money"  # made or gone
    OVERDRAWN = "overdrawn"
    TWO_WRITABLE = "two writable"
    COPIES_DIFFER = "copies differ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A broken promise, or what would be one had the promise not been suspended."""

    anomaly: Anomaly
    sentence: str
    operations: tuple[Operation, ...] = ()
    excused: bool = False  # inside a window in which the promise was suspended

    def as_json(self) -> dict[str, Any]:
        """For the record of a run; operations are counted, the sentence names the first."""
        return {
            "anomaly": self.anomaly.value,
            "sentence": self.sentence,
            "operations": len(self.operations),
        }


def names(operations: Sequence[Operation]) -> str:
    """The first few, and how many more there are."""
    return listed([str(operation) for operation in operations])


def listed(words: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = len(words) - NAMED_MAX
    shown = "; ".join(words[:NAMED_MAX])
    return f"{shown}; and {more} more" if more > 0 else shown
