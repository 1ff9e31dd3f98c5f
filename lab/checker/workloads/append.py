"""Unique ids, inserted by everybody.

The table has no unique index: an id that is there twice shall be seen, not refused.
"""

from __future__ import annotations

import random
from typing import Final

from lab.checker.calls import Append, Call, Result
from lab.checker.settings import unique
from lab.checker.workloads.base import Transaction

TABLE: Final = "checker_append"
SCHEMA: Final = (
    f"DROP TABLE IF EXISTS {TABLE}",
    f"CREATE TABLE {TABLE} (id bigint NOT NULL)",
)
INSERT: Final = f"INSERT INTO {TABLE} (id) VALUES (%s)"  # noqa: S608 - no input in it
READ_ALL: Final = f"SELECT id FROM {TABLE} ORDER BY id"  # noqa: S608 - no input in it


class AppendWorkload:
    """One client's appends."""

    serializable: Final = False

    def __init__(self, client: int) -> None:
        self._client = client

    def plan(self, _rng: random.Random, number: int) -> Call:
        """The next id."""
        return Append(id=unique(self._client, number))

    def perform(self, transaction: Transaction, call: Call) -> Result:
        """INSERT it."""
        if not isinstance(call, Append):
            raise TypeError(f"{call} is not an append")
        transaction.change(INSERT, (call.id,))
        return ()


def read_all(transaction: Transaction) -> tuple[int, ...]:
    """Every id there is, repeated as often as it is there."""
    return tuple(int(id_) for (id_,) in transaction.rows(READ_ALL))
