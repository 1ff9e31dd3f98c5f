"""The verdict over the registers: each key was linearizable, or not while that was promised.

A key that fails is judged again as if nobody had been told of anything inside the windows without a
promise: writes may have been lost, reads saw what may be gone. What still fails then is broken; what
failed only before is excused. Losing what is newest explains no value that failed, that nobody
wrote or that was seen before it was written: these are broken in any window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from lab.checker.calls import CompareAndSet, ReadRegister, WriteRegister
from lab.checker.final import FinalState
from lab.checker.history import FINAL_CLIENT, HistoryError, Operation
from lab.checker.settings import INITIAL_VALUE, Settings, client_of
from lab.checker.verdicts import linear
from lab.checker.verdicts.finding import Anomaly, Finding
from lab.checker.verdicts.linear import Access
from lab.checker.verdicts.windows import Window, inside
from lab.load.history import Outcome

NEVER_EXCUSED: Final = frozenset(
    {Anomaly.RESURRECTED, Anomaly.FROM_NOWHERE, Anomaly.FROM_THE_FUTURE}
)


@dataclass(frozen=True, slots=True)
class _Key:
    """What was done to one key."""

    accesses: list[Access] = field(default_factory=list)
    refused: dict[int, Operation] = field(default_factory=dict)  # by the value it did not leave


def findings(operations: Iterable[Operation], windows: Sequence[Window]) -> tuple[Finding, ...]:
    """Everything wrong, key by key; the readings at the end belong to `operations`."""
    keys: dict[int, _Key] = {}
    torn: list[Finding] = []
    for operation in operations:
        torn += _torn(operation)
        _sort_in(operation, keys)
    return (
        *torn,
        *(finding for key in sorted(keys) for finding in _judge(key, keys[key], windows)),
    )


def final_reads(final: FinalState) -> tuple[Operation, ...]:
    """The reading at the end as operations."""
    return tuple(
        Operation(
            client=FINAL_CLIENT,
            number=number,
            path="final",
            call=ReadRegister(key=register.key),
            invoked_at=final.at,
            completed_at=final.at,
            outcome=Outcome.ACKED,
            result=(register.value, register.writer),
            reason="",
        )
        for number, register in enumerate(final.registers or (), start=1)
    )


def final_findings(final: FinalState, settings: Settings) -> Iterator[Finding]:
    """Keys that are not there at the end, or that nobody made."""
    there = [register.key for register in final.registers or ()]
    if there != list(range(settings.keys)):
        yield Finding(
            anomaly=Anomaly.LOST,
            sentence=f"at the end the keys are {there}, which must be 0 to {settings.keys - 1}",
        )


def _sort_in(operation: Operation, keys: dict[int, _Key]) -> None:
    call = operation.call
    if not isinstance(call, ReadRegister | WriteRegister | CompareAndSet):
        raise HistoryError(f"the {operation} does not belong to a history of registers")
    place = keys.setdefault(call.key, _Key())
    if operation.outcome is Outcome.FAILED:
        if not isinstance(call, ReadRegister):
            place.refused[call.value] = operation
        return
    access = _access(operation, call)
    if access is None:
        return
    place.accesses.append(access)
    if access.sets is None and isinstance(call, CompareAndSet):
        place.refused[call.value] = operation


def _access(
    operation: Operation, call: ReadRegister | WriteRegister | CompareAndSet
) -> Access | None:
    """None for a read of unknown outcome: it shows nothing."""
    sure = operation.acked
    match call:
        case ReadRegister():
            if not sure:
                return None
            return Access(operation=operation, sees=operation.result[0], sets=None, sure=True)
        case WriteRegister(value=value):
            return Access(operation=operation, sees=None, sets=value, sure=sure)
        case CompareAndSet(expected=expected, value=value):
            held = operation.result[0] if sure else expected
            changed = value if held == expected else None
            return Access(operation=operation, sees=held, sets=changed, sure=sure)


def _torn(operation: Operation) -> Iterator[Finding]:
    """A row whose value is of one client and whose writer is another."""
    if not isinstance(operation.call, ReadRegister) or not operation.acked:
        return
    value, writer = operation.result
    if value != INITIAL_VALUE and client_of(value) != writer:
        yield Finding(
            anomaly=Anomaly.FROM_NOWHERE,
            sentence=(
                f"{operation} found a row that no transaction wrote: the value is of client"
                f" {client_of(value)}, the writer is {writer}"
            ),
            operations=(operation,),
        )


def _judge(key: int, seen: _Key, windows: Sequence[Window]) -> Iterator[Finding]:
    strict = linear.findings(key, seen.accesses, seen.refused)
    if not strict or not windows:
        yield from strict
        return
    relaxed = linear.findings(key, _without_promise(seen.accesses, windows), seen.refused)
    yield from relaxed
    for finding in strict:
        if finding not in relaxed:
            yield replace(finding, excused=finding.anomaly not in NEVER_EXCUSED)


def _without_promise(accesses: Iterable[Access], windows: Sequence[Window]) -> list[Access]:
    """What may have been lost may not have happened: its reads show nothing, its writes may be
    missing."""
    return [
        replace(access, sure=False) if inside(access.operation, windows) else access
        for access in accesses
    ]
