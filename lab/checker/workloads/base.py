"""What a workload is to the client that runs it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Protocol

from lab.checker.calls import Call, Result

Row = tuple[Any, ...]


class NotPrimaryError(Exception):
    """A replica answered; what it says is no reading of the primary."""


class RefusedError(Exception):
    """The workload itself gave up before COMMIT: nothing happened."""


class Transaction(Protocol):
    """One open transaction."""

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[Row]:
        """What the statement returns."""

    def change(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """How many rows the statement changed."""


class Workload(Protocol):
    """What one client asks, one transaction a call. An instance belongs to one client."""

    @property
    def serializable(self) -> bool:
        """Whether its transactions are SERIALIZABLE; otherwise they are READ COMMITTED."""

    def plan(self, rng: random.Random, number: int) -> Call:
        """The next call; `number` counts the calls of this client from 1. Asks nobody."""

    def perform(self, transaction: Transaction, call: Call) -> Result:
        """Ask it, up to but without the COMMIT.

        Raises `psycopg.Error`, `NotPrimaryError` or `RefusedError`: then it surely did not happen.
        """


def primary_rows(
    transaction: Transaction, statement: str, parameters: Sequence[object] = ()
) -> list[Row]:
    """The rows of a statement whose first column is `pg_is_in_recovery()`, without that column."""
    rows = transaction.rows(statement, parameters)
    if any(row[0] for row in rows):
        raise NotPrimaryError("a replica answered")
    return [row[1:] for row in rows]


def the_row(rows: list[Row]) -> Row:
    """The one row there must be; `RefusedError` when it is not there, or more than once."""
    if len(rows) != 1:
        raise RefusedError(f"there are {len(rows)} rows where one must be")
    return rows[0]
