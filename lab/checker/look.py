"""The reading at the end: what the primary holds, and whether all copies hold the same.

A commit that waits for replication is hidden at the primary and visible on a copy; so the reading
waits until none of the checker's own transactions is open, and says so when that does not end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import psycopg

from lab.checker.client import Usable
from lab.checker.final import CopyDigest, FinalState
from lab.checker.session import APPLICATION_NAME
from lab.checker.settings import Kind
from lab.checker.watch import Watch
from lab.checker.workloads import append, bank, register
from lab.checker.workloads.base import Transaction, the_row
from lab.errors import LabError

PRIMARY: Final = "primary"
LOOK_AGAIN_AFTER_S: Final = 0.2
TABLES: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.APPEND: (append.TABLE,),
    Kind.REGISTER: (register.TABLE,),
    Kind.BANK: (bank.ACCOUNTS, bank.LEDGER),
}
ONE_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
OPEN: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    " AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL"
)
PLACE: Final = "SELECT pg_current_wal_flush_lsn()::text"
REPLAYED: Final = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
DIGEST: Final = (
    "SELECT count(*), coalesce(sum(hashtextextended(line::text, 0)), 0)::text FROM {table} AS line"
)


class NotInTimeError(Exception):
    """What was waited for did not come."""


class NoPrimaryError(LabError):
    """Nobody could be asked what is there at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """How the reading at the end reaches the databases, and how long it waits for them."""

    primary: Callable[[], Usable]
    copies: Mapping[str, Callable[[], Usable]]  # replicas by name, reached directly
    watch: Watch
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    patience_s: float = 60.0  # for each thing that is waited for


def look(looking: Looking, kinds: Collection[Kind]) -> FinalState:
    """Read everything these workloads left behind.

    Raises `NoPrimaryError` when the primary does not answer in time; a copy that does not is a
    doubt.
    """
    tables = [table for kind in Kind if kind in kinds for table in TABLES[kind]]
    final, lsn = _primary(looking, kinds, tables)
    digests, doubts = [*final.copies], [*final.doubts]
    for name, connect in looking.copies.items():
        try:
            digests += _copy(looking, name, connect, tables, lsn)
        except (psycopg.Error, NotInTimeError) as error:
            doubts.append(f"{name} could not be compared: {' '.join(str(error).split())}")
    return replace(final, copies=tuple(digests), doubts=tuple(doubts))


def _primary(
    looking: Looking, kinds: Collection[Kind], tables: Sequence[str]
) -> tuple[FinalState, str]:
    end = looking.clock() + looking.patience_s
    while True:
        try:
            with _session(looking, looking.primary) as session:
                doubts = _settle(looking, session)
                return _read(looking, session, kinds, tables, doubts)
        except psycopg.Error as error:
            if looking.clock() > end:
                raise NoPrimaryError(
                    f"the primary could not be read at the end: {error}; read it when the cluster"
                    " is well"
                ) from error
        looking.sleep(LOOK_AGAIN_AFTER_S)


def _settle(looking: Looking, session: Usable) -> tuple[str, ...]:
    """Wait until no client's transaction is open any more; a doubt when some stay."""
    end = looking.clock() + looking.patience_s
    while True:
        (still_open,) = the_row(session.rows(OPEN, (APPLICATION_NAME,)))
        session.commit()
        if not still_open:
            return ()
        if looking.clock() > end:
            return (
                (
                    f"{still_open} transactions of the checker were still open at the primary when it"
                    " was read"
                ),
            )
        looking.sleep(LOOK_AGAIN_AFTER_S)


def _read(
    looking: Looking,
    session: Usable,
    kinds: Collection[Kind],
    tables: Sequence[str],
    doubts: tuple[str, ...],
) -> tuple[FinalState, str]:
    at = looking.clock()
    session.change(ONE_SNAPSHOT)
    (lsn,) = the_row(session.rows(PLACE))
    final = FinalState(
        at=at,
        appended=append.read_all(session) if Kind.APPEND in kinds else None,
        registers=register.read_all(session) if Kind.REGISTER in kinds else None,
        balances=bank.read_balances(session) if Kind.BANK in kinds else None,
        ledger=bank.read_ledger(session) if Kind.BANK in kinds else None,
        copies=tuple(_digests(session, PRIMARY, tables, lsn)),
        doubts=doubts,
    )
    session.commit()
    return final, str(lsn)


def _copy(
    looking: Looking,
    name: str,
    connect: Callable[[], Usable],
    tables: Sequence[str],
    lsn: str,
) -> list[CopyDigest]:
    end = looking.clock() + looking.patience_s
    with _session(looking, connect) as session:
        while True:
            (replayed,) = the_row(session.rows(REPLAYED, (lsn,)))
            session.commit()
            if replayed:
                break
            if replayed is None:
                raise NotInTimeError("it does not replay anything; it is not a copy")
            if looking.clock() > end:
                raise NotInTimeError(f"it has not replayed up to {lsn}")
            looking.sleep(LOOK_AGAIN_AFTER_S)
        session.change(ONE_SNAPSHOT)
        digests = list(_digests(session, name, tables, lsn))
        session.commit()
        return digests


def _digests(
    transaction: Transaction, copy: str, tables: Sequence[str], lsn: str
) -> Iterator[CopyDigest]:
    for table in tables:
        rows, digest = the_row(transaction.rows(DIGEST.format(table=table)))
        yield CopyDigest(copy=copy, table=table, lsn=str(lsn), rows=int(rows), digest=str(digest))


@contextlib.contextmanager
def _session(looking: Looking, connect: Callable[[], Usable]) -> Iterator[Usable]:
    session = connect()
    try:
        # Twice: to wait for something, and to read.
        with looking.watch.limit(session, 2 * looking.patience_s):
            yield session
    finally:
        session.close()
