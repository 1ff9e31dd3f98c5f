"""Histories, as short to write down as to tell."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from lab.checker.calls import (
    Append,
    Call,
    CompareAndSet,
    ReadBalances,
    ReadRegister,
    Result,
    Transfer,
    WriteRegister,
)
from lab.checker.history import Operation
from lab.checker.settings import INITIAL_VALUE, client_of, unique
from lab.load.history import Outcome

NUMBERS = itertools.count(1)


def an_operation(
    call: Call,
    begin: float,
    end: float | None = None,
    *,
    client: int = 1,
    outcome: Outcome = Outcome.ACKED,
    result: Result = (),
    number: int | None = None,
) -> Operation:
    """One operation from `begin` to `end` (or for half a second)."""
    return Operation(
        client=client,
        number=next(NUMBERS) if number is None else number,
        path="proxy",
        call=call,
        invoked_at=begin,
        completed_at=begin + 0.5 if end is None else end,
        outcome=outcome,
        result=result,
        reason="" if outcome is Outcome.ACKED else "the line broke",
    )


def an_append(id_: int, begin: float, end: float | None = None, **more: Any) -> Operation:
    return an_operation(Append(id=id_), begin, end, **more)


def a_value(client: int, number: int) -> int:
    """A value that this client may write."""
    return unique(client, number)


def a_write(value: int, begin: float, end: float | None = None, **more: Any) -> Operation:
    more.setdefault("client", client_of(value))
    return an_operation(WriteRegister(key=more.pop("key", 0), value=value), begin, end, **more)


def a_read(value: int, begin: float, end: float | None = None, **more: Any) -> Operation:
    writer = -1 if value == INITIAL_VALUE else client_of(value)
    call = ReadRegister(key=more.pop("key", 0))
    return an_operation(call, begin, end, result=(value, writer), **more)


def a_cas(
    expected: int,
    value: int,
    begin: float,
    end: float | None = None,
    *,
    held: int | None = None,
    **more: Any,
) -> Operation:
    """A compare-and-set; it succeeded unless the register `held` something else."""
    more.setdefault("client", client_of(value))
    call = CompareAndSet(key=more.pop("key", 0), expected=expected, value=value)
    sure = more.get("outcome", Outcome.ACKED) is Outcome.ACKED
    result = ((expected if held is None else held),) if sure else ()
    return an_operation(call, begin, end, result=result, **more)


def a_transfer(
    id_: int, source: int, target: int, amount: int, begin: float, **more: Any
) -> Operation:
    call = Transfer(id=id_, source=source, target=target, amount=amount)
    outcome = more.get("outcome", Outcome.ACKED)
    more.setdefault("result", (1,) if outcome is Outcome.ACKED else ())
    return an_operation(call, begin, **more)


def balances_of(balances: Iterable[int], begin: float, **more: Any) -> Operation:
    return an_operation(ReadBalances(), begin, result=tuple(balances), **more)
