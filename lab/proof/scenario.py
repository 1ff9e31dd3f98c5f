"""What a scenario is: who is hit by what, what the healer must call it, what it may do, and what must hold.

A scenario ends when the cluster is at full strength again, no incident is open, and everything that had to happen has
happened. What must not happen is watched all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lab.demo.runner import Stage
    from lab.freeze.plan import Variant
    from lab.proof.account import Account

MINIMAL: Final = "minimal"
STANDARD: Final = "standard"
ANYWHERE: Final = "@any"
# Filling a slot again: what follows when an occupant has been ended, whoever ended it.
REFILL: Final = ("launch", "attach-disk", "configure")
FRESH_DISK: Final = ("create-disk", *REFILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One fault on one target, in the words of `lab break`."""

    fault: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row. `may` and `must` are steps of the healer: `kind` or `kind:service`, on the slots that were hit.

    With `@any` behind it, a step may happen on any slot. Nothing that neither lists may happen at all.
    """

    name: str
    row: str  # the catalogue's words
    blows: tuple[Blow, ...] = ()
    called: tuple[
        str, ...
    ] = ()  # diagnoses, one of which must be found; empty: the healer may see nothing
    may: tuple[str, ...] = ()
    must: tuple[str, ...] = ()
    held: str | None = None  # the rail, or diagnosis, that has to have held the healer
    full_s: float = 90.0  # to full strength, from the blow, or from the mending when that is ours
    outage_s: float | None = 10.0  # the longest time without an acknowledged write
    stands_s: float | None = None  # the damage is ours to mend, after so long
    mended_on: tuple[str, ...] = ()  # or as soon as one of these was found or done
    size: str = MINIMAL
    before: Callable[[Stage], None] | None = None  # at full strength, before the blows
    meanwhile: Callable[[Stage, Sequence[str]], None] | None = None  # right after them
    until: Callable[[Stage], bool] | None = None  # it is not over before this is true
    mend: Callable[[Stage], None] | None = None  # more to put back than the faults' own
    check: Callable[[Stage, Account], Sequence[str]] | None = None  # what is broken, in words

    @property
    def allowed(self) -> frozenset[str]:
        """Every step that may happen."""
        return frozenset((*self.may, *self.must))


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """One trial of `lab.freeze`: the host of both leaders stands still and comes back."""

    name: str
    row: str
    variant: Variant
    size: str = MINIMAL


Row = Scenario | Freeze


def blow(fault: str, target: str) -> tuple[Blow, ...]:
    """The one blow of most scenarios."""
    return (Blow(fault=fault, target=target),)
