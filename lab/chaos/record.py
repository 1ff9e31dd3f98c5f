"""What one block found, as `block.json` and in words. Pure but for reading and writing it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

FILE: Final = "block.json"
BROKEN_ON_PURPOSE: Final = "broken on purpose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block. Times in seconds."""

    seed: int
    size: str
    durability: str
    broken_on_purpose: str  # "commit", or empty
    without: tuple[str, ...]  # kinds that were not to be drawn
    commit: str
    began_wall: float
    minutes: float  # of faults
    faults: Mapping[str, Mapping[str, int]]  # by kind and deed
    operations: Mapping[str, Mapping[str, int]]  # by workload and outcome
    outages_s: tuple[float, ...]
    lost: int  # acknowledged and gone although promised
    excused: int  # acknowledged and gone while the promise was suspended, or none was made
    lost_s: float  # how far back the worst loss went
    anomalies: Mapping[str, int]  # broken promises by their name
    suspended_s: float
    two_writable_s: float  # the moments after a thaw included
    full_strength_s: float | None  # after everything was taken back
    broken: tuple[str, ...]  # a sentence for each broken promise
    doubts: tuple[str, ...]  # what could not be judged

    @property
    def ok(self) -> bool:
        """Every promise was kept, and everything could be judged."""
        return not self.broken and not self.doubts

    @property
    def mode(self) -> str:
        """What blocks are put together by."""
        words = [self.durability, self.size]
        if self.broken_on_purpose:
            words.append(f"{self.broken_on_purpose} {BROKEN_ON_PURPOSE}")
        if self.without:
            words.append(f"without {' and '.join(self.without)}")
        return ", ".join(words)

    def save(self, directory: Path) -> None:
        """Write it; whole or not at all, since a block that has one is not run again."""
        text = json.dumps({"ok": self.ok, **asdict(self)}, indent=2)
        half = directory / f"{FILE}.new"
        half.write_text(text + "\n", "utf-8")
        half.replace(directory / FILE)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The way back."""
        item: dict[str, Any] = json.loads(path.read_text("utf-8"))
        item.pop("ok")
        for name in ("without", "outages_s", "broken", "doubts"):
            item[name] = tuple(item[name])
        return cls(**item)


def name_of(
    *,
    durability: str,
    size: str,
    seed: int,
    length_s: float,
    broken_on_purpose: str,
    without: Sequence[str],
) -> str:
    """The folder of a block: the same for the same faults, another for others."""
    words = [durability, size]
    if broken_on_purpose:
        words.append(f"{broken_on_purpose}-broken")
    if without:
        words.append(f"without-{zlib.crc32(' '.join(without).encode()):08x}")
    return "-".join([*words, f"{length_s:.0f}s", f"seed-{seed}"])


def sentences(block: Block) -> Sequence[str]:
    """Every reason why it is not well."""
    return (*block.broken, *(f"not judged: {doubt}" for doubt in block.doubts))
