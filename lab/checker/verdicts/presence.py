"""Whether what was acknowledged is there at the end, once, and what failed is not.

For whatever is written once under an id of its own: the appended rows and the bank's ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.checker.history import Operation
from lab.checker.verdicts.finding import Anomaly, Finding, listed, names
from lab.checker.verdicts.windows import Loss, Window, inside, losses


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Every operation that would leave an id behind, by that id, and what is known of it."""

    noun: str  # "appends"
    promised: Mapping[int, Operation]  # acknowledged
    refused: Mapping[int, Operation]  # surely did not happen
    unknown: Mapping[int, Operation]

    def lost(self, found: Collection[int]) -> tuple[Operation, ...]:
        """Promised and not there, oldest acknowledgement first."""
        gone = self.promised.keys() - set(found)
        return tuple(sorted((self.promised[id_] for id_ in gone), key=lambda it: it.latest))


def findings(
    written: Written, found: Sequence[int], windows: Sequence[Window]
) -> tuple[Finding, ...]:
    """Everything wrong with the ids that were found at the end."""
    return (
        *_lost(written, found, windows),
        *_duplicated(written, found),
        *_resurrected(written, found),
        *_from_nowhere(written, found),
    )


def lost_stretches(written: Written, found: Collection[int]) -> tuple[Loss, ...]:
    """How much was lost, by the changes of the leader that lost it."""
    there = set(found)
    kept = [operation for id_, operation in written.promised.items() if id_ in there]
    return losses(kept, written.lost(found))


def _lost(written: Written, found: Sequence[int], windows: Sequence[Window]) -> Iterator[Finding]:
    gone = written.lost(found)
    excused = tuple(operation for operation in gone if inside(operation, windows))
    broken = tuple(operation for operation in gone if not inside(operation, windows))
    if broken:
        yield Finding(
            anomaly=Anomaly.LOST,
            sentence=f"{len(broken)} acknowledged {written.noun} are gone: {names(broken)}",
            operations=broken,
        )
    if excused:
        yield Finding(
            anomaly=Anomaly.LOST,
            sentence=(
                f"{len(excused)} {written.noun} acknowledged while the promise was suspended"
                f" are gone: {names(excused)}"
            ),
            operations=excused,
            excused=True,
        )


def _duplicated(written: Written, found: Sequence[int]) -> Iterator[Finding]:
    known = {**written.promised, **written.unknown, **written.refused}
    many = {id_: times for id_, times in Counter(found).items() if times > 1 and id_ in known}
    if many:
        words = [f"{known[id_]}, {times} times" for id_, times in sorted(many.items())]
        yield Finding(
            anomaly=Anomaly.DUPLICATED,
            sentence=f"{len(many)} {written.noun} are there more than once: {listed(words)}",
            operations=tuple(known[id_] for id_ in sorted(many)),
        )


def _resurrected(written: Written, found: Sequence[int]) -> Iterator[Finding]:
    there = tuple(written.refused[id_] for id_ in sorted(written.refused.keys() & set(found)))
    if there:
        yield Finding(
            anomaly=Anomaly.RESURRECTED,
            sentence=f"{len(there)} {written.noun} that had failed are there: {names(there)}",
            operations=there,
        )


def _from_nowhere(written: Written, found: Sequence[int]) -> Iterator[Finding]:
    known = written.promised.keys() | written.unknown.keys() | written.refused.keys()
    strange = sorted(set(found) - known)
    if strange:
        yield Finding(
            anomaly=Anomaly.FROM_NOWHERE,
            sentence=(
                f"{len(strange)} {written.noun} are there that nobody asked for:"
                f" {listed([str(id_) for id_ in strange])}"
            ),
        )
