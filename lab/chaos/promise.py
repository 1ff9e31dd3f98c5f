"""When the cluster itself had suspended its promise, from what its leaders' setting was. Pure.

An answer that shows a suspended promise suspends it from the question before it to the answer after it, since the
setting changed somewhere between; never further than `REACH_S`. Where nobody was asked, or nobody can tell, the promise
is in force: that is the stricter reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from lab.chaos.standbys import kept
from lab.checker.verdicts.windows import Window

REACH_S: Final = 1.5  # an answer speaks for so long before and after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one database said when it was asked."""

    slot: str
    at: float  # monotonic seconds when it was asked
    until: float  # when it had answered, or was given up
    primary: bool | None  # None: no answer
    names: str = ""  # its `synchronous_standby_names`

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """The way back."""
        item: Mapping[str, Any] = json.loads(line)
        return cls(**item)


def read(path: Path) -> tuple[Sample, ...]:
    """All samples of a file; a last line without its end is left out."""
    complete, _, _ = path.read_text("utf-8").rpartition("\n")
    return tuple(Sample.parse(line) for line in complete.splitlines())


def windows(
    samples: Iterable[Sample], *, durability: str, regions: Mapping[str, str]
) -> tuple[Window, ...]:
    """The times in which a leader had announced that the promise was suspended, oldest first."""
    by_slot: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda it: it.at):
        by_slot.setdefault(sample.slot, []).append(sample)
    found: list[Window] = []
    for slot, answers in by_slot.items():
        for index, sample in enumerate(answers):
            if _suspended(sample, durability, regions[slot], regions):
                found.append(_around(answers, index))
    return merged(found)


def merged(found: Iterable[Window]) -> tuple[Window, ...]:
    """The same times, without overlaps."""
    whole: list[Window] = []
    for window in sorted(found, key=lambda it: it.begin):
        if whole and window.begin <= whole[-1].end:
            whole[-1] = Window(begin=whole[-1].begin, end=max(whole[-1].end, window.end))
        else:
            whole.append(window)
    return tuple(whole)


def seconds(found: Sequence[Window]) -> float:
    """How long that is in all."""
    return sum(window.end - window.begin for window in merged(found))


def _suspended(sample: Sample, durability: str, region: str, regions: Mapping[str, str]) -> bool:
    if not sample.primary:
        return False
    return kept(sample.names, durability=durability, region=region, regions=regions) is False


def _around(answers: Sequence[Sample], index: int) -> Window:
    sample = answers[index]
    before = answers[index - 1].at if index else sample.at
    after = answers[index + 1].until if index + 1 < len(answers) else sample.until
    return Window(begin=max(before, sample.at - REACH_S), end=min(after, sample.until + REACH_S))
