"""A few keys, read, written and compared at the primary.

Each value is written once, so that a read names its write. A compare-and-set locks the row and
reads it first: when it does not succeed, it still tells what it saw.
"""

from __future__ import annotations

import random
from typing import Final

from lab.checker.calls import Call, CompareAndSet, ReadRegister, Result, WriteRegister
from lab.checker.final import Register
from lab.checker.settings import INITIAL_VALUE, Settings, unique
from lab.checker.workloads.base import RefusedError, Transaction, primary_rows, the_row

TABLE: Final = "checker_register"
NOBODY: Final = -1  # the writer of the initial value
READ: Final = f"SELECT pg_is_in_recovery(), value, writer FROM {TABLE} WHERE key = %s"  # noqa: S608
LOCK: Final = f"SELECT value FROM {TABLE} WHERE key = %s FOR UPDATE"  # noqa: S608
WRITE: Final = f"UPDATE {TABLE} SET value = %s, writer = %s WHERE key = %s"  # noqa: S608
READ_ALL: Final = f"SELECT key, value, writer FROM {TABLE} ORDER BY key"  # noqa: S608


def schema(settings: Settings) -> tuple[str, ...]:
    """The table with every key at its initial value."""
    return (
        f"DROP TABLE IF EXISTS {TABLE}",
        (
            f"CREATE TABLE {TABLE}"
            " (key integer PRIMARY KEY, value bigint NOT NULL, writer integer NOT NULL)"
        ),
        (
            f"INSERT INTO {TABLE} SELECT key, {INITIAL_VALUE}, {NOBODY}"  # noqa: S608
            f" FROM generate_series(0, {settings.keys - 1}) AS key"
        ),
    )


class RegisterWorkload:
    """One client's reads, writes and compare-and-sets, one third each."""

    serializable: Final = False

    def __init__(self, client: int, settings: Settings) -> None:
        self._client = client
        self._keys = settings.keys
        self._seen = dict.fromkeys(range(settings.keys), INITIAL_VALUE)

    def plan(self, rng: random.Random, number: int) -> Call:
        """The next call; a compare-and-set expects what this client saw last."""
        key = rng.randrange(self._keys)
        value = unique(self._client, number)
        kind = rng.randrange(3)
        if kind == 0:
            return ReadRegister(key=key)
        if kind == 1:
            return WriteRegister(key=key, value=value)
        return CompareAndSet(key=key, expected=self._seen[key], value=value)

    def perform(self, transaction: Transaction, call: Call) -> Result:
        """Ask it."""
        match call:
            case ReadRegister(key=key):
                value, writer = the_row(primary_rows(transaction, READ, (key,)))
                self._seen[key] = int(value)
                return int(value), int(writer)
            case WriteRegister(key=key, value=value):
                self._write(transaction, key, value)
                return ()
            case CompareAndSet(key=key, expected=expected, value=value):
                (held,) = the_row(transaction.rows(LOCK, (key,)))
                self._seen[key] = int(held)
                if held == expected:
                    self._write(transaction, key, value)
                return (int(held),)
            case _:
                raise TypeError(f"{call} is not a call of a register")

    def _write(self, transaction: Transaction, key: int, value: int) -> None:
        changed = transaction.change(WRITE, (value, self._client, key))
        if changed != 1:
            raise RefusedError(f"key {key} is in {changed} rows, not in one")
        self._seen[key] = value


def read_all(transaction: Transaction) -> tuple[Register, ...]:
    """Every key."""
    return tuple(
        Register(key=int(key), value=int(value), writer=int(writer))
        for key, value, writer in transaction.rows(READ_ALL)
    )
