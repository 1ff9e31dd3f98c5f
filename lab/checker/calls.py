"""What a client can ask for: the closed set of operations of all workloads.

Each call documents the shape of its result, a tuple of integers, so that a history is plain JSON.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

Result = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """INSERT one id that nobody else inserts. Result: empty."""

    kind: ClassVar[str] = "append"
    id: int

    def told(self, _result: Result) -> str:
        """In words."""
        return f"append of {self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRegister:
    """Read one key. Result: value, client that wrote it."""

    kind: ClassVar[str] = "read"
    key: int

    def told(self, result: Result) -> str:
        """In words."""
        return f"read of key {self.key}" + (f" as {result[0]}" if result else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRegister:
    """Set one key to a value that nobody else writes. Result: empty."""

    kind: ClassVar[str] = "write"
    key: int
    value: int

    def told(self, _result: Result) -> str:
        """In words."""
        return f"write of {self.value} to key {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareAndSet:
    """Set one key to a new value if it holds the expected one. Result: the value it held.

    It has succeeded when the value it held is the expected one.
    """

    kind: ClassVar[str] = "compare-and-set"
    key: int
    expected: int
    value: int

    def told(self, result: Result) -> str:
        """In words."""
        held = f" (it held {result[0]})" if result else ""
        return f"compare-and-set of key {self.key} from {self.expected} to {self.value}{held}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Move an amount between two accounts and note it in the ledger. Result: 1 moved, 0 refused."""

    kind: ClassVar[str] = "transfer"
    id: int
    source: int
    target: int
    amount: int

    def told(self, result: Result) -> str:
        """In words."""
        refused = " (refused)" if result == (0,) else ""
        return (
            f"transfer {self.id} of {self.amount} from account {self.source}"
            f" to account {self.target}{refused}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBalances:
    """Read every account at once. Result: the balances by account number."""

    kind: ClassVar[str] = "balances"

    def told(self, result: Result) -> str:
        """In words."""
        return f"read of the balances {', '.join(map(str, result))}".rstrip()


Call = Append | ReadRegister | WriteRegister | CompareAndSet | Transfer | ReadBalances
KINDS: Final[Mapping[str, type[Call]]] = {
    call.kind: call
    for call in (Append, ReadRegister, WriteRegister, CompareAndSet, Transfer, ReadBalances)
}


def as_json(call: Call) -> dict[str, Any]:
    """Kind and arguments."""
    return {"kind": call.kind, "arguments": dataclasses.asdict(call)}


def parse(item: Mapping[str, Any]) -> Call:
    """The way back from `as_json`; `KeyError` or `TypeError` when it is not one of ours."""
    return KINDS[item["kind"]](**item["arguments"])
