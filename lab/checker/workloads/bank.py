"""Accounts among which money moves, at SERIALIZABLE, with a ledger of the transfers.

A serialization failure (SQLSTATE 40001) is a failed transfer like any other; nothing is repeated.
"""

from __future__ import annotations

import random
from typing import Final

from lab.checker.calls import Call, ReadBalances, Result, Transfer
from lab.checker.final import Entry
from lab.checker.settings import Settings, unique
from lab.checker.workloads.base import Transaction, primary_rows, the_row

ACCOUNTS: Final = "checker_accounts"
LEDGER: Final = "checker_ledger"
AMOUNT_MAX: Final = 20
BALANCE: Final = f"SELECT balance FROM {ACCOUNTS} WHERE id = %s"  # noqa: S608 - no input in it
SET_BALANCE: Final = f"UPDATE {ACCOUNTS} SET balance = %s WHERE id = %s"  # noqa: S608
NOTE: Final = f"INSERT INTO {LEDGER} (id, source, target, amount) VALUES (%s, %s, %s, %s)"  # noqa: S608
BALANCES: Final = f"SELECT pg_is_in_recovery(), balance FROM {ACCOUNTS} ORDER BY id"  # noqa: S608
READ_LEDGER: Final = f"SELECT id, source, target, amount FROM {LEDGER} ORDER BY id"  # noqa: S608


def schema(settings: Settings) -> tuple[str, ...]:
    """All accounts at their initial balance, and an empty ledger."""
    return (
        f"DROP TABLE IF EXISTS {ACCOUNTS}, {LEDGER}",
        f"CREATE TABLE {ACCOUNTS} (id integer PRIMARY KEY, balance bigint NOT NULL)",
        (
            f"CREATE TABLE {LEDGER} (id bigint NOT NULL, source integer NOT NULL,"
            " target integer NOT NULL, amount bigint NOT NULL)"
        ),
        (
            f"INSERT INTO {ACCOUNTS} SELECT id, {settings.initial_balance}"  # noqa: S608
            f" FROM generate_series(0, {settings.accounts - 1}) AS id"
        ),
    )


class BankWorkload:
    """One client's transfers and readings, half each.

    A transfer writes balances it has computed itself, so that a lost update would show.
    """

    serializable: Final = True

    def __init__(self, client: int, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    def plan(self, rng: random.Random, number: int) -> Call:
        """The next call."""
        if rng.random() < 0.5:
            return ReadBalances()
        source, target = rng.sample(range(self._settings.accounts), 2)
        return Transfer(
            id=unique(self._client, number),
            source=source,
            target=target,
            amount=rng.randint(1, AMOUNT_MAX),
        )

    def perform(self, transaction: Transaction, call: Call) -> Result:
        """Ask it."""
        match call:
            case ReadBalances():
                return tuple(int(held) for (held,) in primary_rows(transaction, BALANCES))
            case Transfer():
                return self._move(transaction, call)
            case _:
                raise TypeError(f"{call} is not a call of the bank")

    def _move(self, transaction: Transaction, call: Transfer) -> Result:
        (left,) = the_row(transaction.rows(BALANCE, (call.source,)))
        (right,) = the_row(transaction.rows(BALANCE, (call.target,)))
        if left < call.amount and not self._settings.overdraft:
            return (0,)
        transaction.change(SET_BALANCE, (left - call.amount, call.source))
        transaction.change(SET_BALANCE, (right + call.amount, call.target))
        transaction.change(NOTE, (call.id, call.source, call.target, call.amount))
        return (1,)


def read_balances(transaction: Transaction) -> tuple[int, ...]:
    """Every account, by number."""
    return tuple(int(held) for _, held in transaction.rows(BALANCES))


def read_ledger(transaction: Transaction) -> tuple[Entry, ...]:
    """Every transfer there was."""
    return tuple(
        Entry(id=int(id_), source=int(source), target=int(target), amount=int(amount))
        for id_, source, target, amount in transaction.rows(READ_LEDGER)
    )
