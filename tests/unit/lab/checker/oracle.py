"""Linearizability of one register by plain search, for histories short enough: every order is tried
(after Wing and Gong), remembering (operations done, value held) that led nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from lab.checker.settings import INITIAL_VALUE
from lab.checker.verdicts.linear import Access


def is_linearizable(accesses: Sequence[Access]) -> bool:
    """Whether some order explains what was seen."""
    sure = frozenset(place for place, access in enumerate(accesses) if access.sure)
    dead: set[tuple[frozenset[int], int]] = set()

    def search(left: frozenset[int], value: int) -> bool:
        if not left & sure:
            return True
        if (left, value) in dead:
            return False
        horizon = min(accesses[place].end for place in left)
        for place in left:
            access = accesses[place]
            if access.begin > horizon or access.sees not in {None, value}:
                continue
            if search(left - {place}, value if access.sets is None else access.sets):
                return True
        dead.add((left, value))
        return False

    return search(frozenset(range(len(accesses))), INITIAL_VALUE)
