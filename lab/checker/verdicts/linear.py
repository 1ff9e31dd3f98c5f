"""Whether one register was linearizable: whether its operations can be put in one order in which
every read sees the last write, and nothing is before what had ended before it began.

Values are unique, so a read names its write, and the question has an exact answer in n log n:

1. Everything about one value is a *cluster*: the write, then its reads. A compare-and-set from v
   to w puts the cluster of w right behind the cluster of v, so chains of them are one *block*.
   A register holds one value at a time: each block is one stretch of its life.
2. Inside a block the order is known, and each operation is checked against it.
3. Between blocks, A is before B when something of A ended before something of B began: when the
   earliest end in A is before the latest begin in B. An order exists unless two blocks are each
   before the other. (A shortest circle has length two: in a longer one without a chord every
   block's earliest end would be before its predecessor's, all the way round.) Two blocks whose
   earliest end is before their latest begin must not overlap there, and no other may lie inside.

An operation of unknown outcome happened if somebody saw its value, at any time from its
invocation on; if nobody saw it, it may be left out.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.checker.calls import ReadRegister
from lab.checker.history import FINAL_CLIENT, HistoryError, Operation
from lab.checker.settings import INITIAL_VALUE
from lab.checker.verdicts.finding import Anomaly, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One operation as its register knows it."""

    operation: Operation
    sees: int | None  # the value it found
    sets: int | None  # the value it left; None when it left what it found
    sure: bool  # whether it is known to have happened

    @property
    def begin(self) -> float:
        """It did not happen before."""
        return self.operation.invoked_at

    @property
    def end(self) -> float:
        """It did not happen after, if it happened; infinite when nobody knows."""
        return self.operation.latest


@dataclass(frozen=True, slots=True)
class _Cluster:
    """A value: who wrote it (None: it was there from the start), and who read it."""

    value: int
    writer: Access | None
    readers: list[Access] = field(default_factory=list)

    def members(self) -> list[Access]:
        """The writer first."""
        return [*([] if self.writer is None else [self.writer]), *self.readers]


@dataclass(frozen=True, slots=True)
class _Block:
    """Clusters that follow one another without anything between."""

    clusters: list[_Cluster]
    first_end: Access | None  # whose end is the earliest; None: the beginning of time
    last_begin: Access | None  # whose begin is the latest; None: nobody but the beginning of time

    @property
    def end(self) -> float:
        """The earliest end."""
        return -math.inf if self.first_end is None else self.first_end.end

    @property
    def begin(self) -> float:
        """The latest begin."""
        return -math.inf if self.last_begin is None else self.last_begin.begin


def findings(
    key: int, accesses: Sequence[Access], refused: Mapping[int, Operation]
) -> tuple[Finding, ...]:
    """What shows that this register was not linearizable; nothing when it was.

    `refused` are the values of writes that surely failed. `HistoryError` when a value has two
    writers: nobody can judge that.
    """
    writers = _writers(accesses)
    happened, strange = _happened(key, accesses, writers, refused)
    if strange:
        return strange
    successors, twice = _successors(key, happened)
    if twice:
        return twice
    clusters = _clusters(happened, accesses)
    chains = list(_chains(clusters, successors))
    circle = _circle(key, clusters, chains)
    inner = [finding for chain in chains for finding in _inside(key, chain)]
    if circle or inner:
        return _each_once([*circle, *inner])
    return _each_once(_between(key, [_block(chain) for chain in chains]))


def _each_once(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """The first finding about each operation: one that is out of place is so towards many."""
    first: dict[tuple[Anomaly, Operation], Finding] = {}
    for finding in found:
        first.setdefault((finding.anomaly, finding.operations[0]), finding)
    return tuple(first.values())


def _writers(accesses: Iterable[Access]) -> dict[int, Access]:
    writers: dict[int, Access] = {}
    for access in accesses:
        if access.sets is None:
            continue
        if access.sets in writers or access.sets == INITIAL_VALUE:
            raise HistoryError(
                f"the value of the {access.operation} is not its own; nobody can judge that"
            )
        writers[access.sets] = access
    return writers


def _happened(
    key: int,
    accesses: Iterable[Access],
    writers: Mapping[int, Access],
    refused: Mapping[int, Operation],
) -> tuple[dict[int, Access], tuple[Finding, ...]]:
    """The writes that happened by value, and sightings of values that cannot have been there."""
    happened: dict[int, Access] = {}
    strange: list[Finding] = []
    due = [access for access in accesses if access.sure]
    while due:
        access = due.pop()
        if access.sets is not None:
            happened[access.sets] = access
        seen = access.sees
        if seen is None or seen == INITIAL_VALUE or seen in happened:
            continue
        if seen in writers:
            due.append(writers[seen])
            happened[seen] = writers[seen]
        else:
            strange.append(_strange(key, access, seen, refused.get(seen)))
    return happened, tuple(strange)


def _strange(key: int, access: Access, seen: int, failed: Operation | None) -> Finding:
    if failed is not None:
        return Finding(
            anomaly=Anomaly.RESURRECTED,
            sentence=f"key {key}: {access.operation} saw what had failed: {failed}",
            operations=(access.operation, failed),
        )
    return Finding(
        anomaly=Anomaly.FROM_NOWHERE,
        sentence=f"key {key}: {access.operation} saw {seen}, which nobody wrote",
        operations=(access.operation,),
    )


def _successors(
    key: int, happened: Mapping[int, Access]
) -> tuple[dict[int, Access], tuple[Finding, ...]]:
    """The compare-and-set that replaced each value, and those that replaced the same one."""
    successors: dict[int, Access] = {}
    twice: list[Finding] = []
    for access in sorted(happened.values(), key=lambda it: it.begin):
        if access.sees is None:
            continue
        other = successors.setdefault(access.sees, access)
        if other is not access:
            twice.append(
                Finding(
                    anomaly=Anomaly.LOST_UPDATE,
                    sentence=(
                        f"key {key}: {access.sees} was replaced twice:"
                        f" {other.operation}; {access.operation}"
                    ),
                    operations=(other.operation, access.operation),
                )
            )
    return successors, tuple(twice)


def _clusters(happened: Mapping[int, Access], accesses: Iterable[Access]) -> dict[int, _Cluster]:
    clusters = {INITIAL_VALUE: _Cluster(INITIAL_VALUE, None)}
    clusters |= {value: _Cluster(value, writer) for value, writer in happened.items()}
    for access in accesses:
        if access.sure and access.sets is None and access.sees is not None:
            clusters[access.sees].readers.append(access)
    return clusters


def _chains(
    clusters: Mapping[int, _Cluster], successors: Mapping[int, Access]
) -> Iterator[list[_Cluster]]:
    """Every cluster that replaced none in particular, with those that replaced it in turn."""
    for head in clusters.values():
        if head.writer is not None and head.writer.sees is not None:
            continue
        chain = [head]
        while (follower := successors.get(chain[-1].value)) and follower.sets is not None:
            chain.append(clusters[follower.sets])
        yield chain


def _circle(
    key: int, clusters: Mapping[int, _Cluster], chains: Iterable[Iterable[_Cluster]]
) -> tuple[Finding, ...]:
    """Compare-and-sets that each saw another's value and none of which came first."""
    placed = {cluster.value for chain in chains for cluster in chain}
    writers = [
        cluster.writer.operation
        for value, cluster in clusters.items()
        if value not in placed and cluster.writer is not None
    ]
    if not writers:
        return ()
    return (
        Finding(
            anomaly=Anomaly.FROM_THE_FUTURE,
            sentence=(
                f"key {key}: each of these saw what another one of them was yet to write:"
                f" {'; '.join(map(str, writers))}"
            ),
            operations=tuple(writers),
        ),
    )


def _inside(key: int, chain: Iterable[_Cluster]) -> Iterator[Finding]:
    """Operations of one block that ended before something began that has to be before them."""
    latest: Access | None = None  # of all that has to be before
    for cluster in chain:
        for access in [] if cluster.writer is None else [cluster.writer]:
            yield from _ended_too_early(key, access, latest)
            latest = _later(latest, access)
        before = latest
        for access in cluster.readers:
            yield from _ended_too_early(key, access, before)
            latest = _later(latest, access)


def _later(one: Access | None, other: Access) -> Access:
    return other if one is None or other.begin > one.begin else one


def _ended_too_early(key: int, access: Access, before: Access | None) -> Iterator[Finding]:
    if before is None or access.end >= before.begin:
        return
    if before.sets is None:
        yield Finding(
            anomaly=_kind(before),
            sentence=(
                f"key {key}: {before.operation} saw a value already replaced: {access.operation}"
            ),
            operations=(before.operation, access.operation),
        )
        return
    yield Finding(
        anomaly=Anomaly.FROM_THE_FUTURE,
        sentence=f"key {key}: {access.operation} saw what was yet to come: {before.operation}",
        operations=(access.operation, before.operation),
    )


def _kind(late: Access) -> Anomaly:
    """What it means that this one saw a value that had been replaced."""
    if late.operation.client == FINAL_CLIENT:
        return Anomaly.LOST
    if isinstance(late.operation.call, ReadRegister) or late.sets is None:
        return Anomaly.STALE_READ
    return Anomaly.LOST_UPDATE


def _block(chain: list[_Cluster]) -> _Block:
    members = [access for cluster in chain for access in cluster.members()]
    from_the_start = chain[0].writer is None
    return _Block(
        clusters=chain,
        first_end=None if from_the_start else min(members, key=lambda access: access.end),
        last_begin=max(members, key=lambda access: access.begin) if members else None,
    )


def _between(key: int, blocks: Sequence[_Block]) -> Iterator[Finding]:
    """Pairs of blocks each of which has to be before the other."""
    solid = sorted((b for b in blocks if b.end < b.begin), key=lambda block: block.end)
    disjoint: list[_Block] = []
    for block in solid:
        if disjoint and block.end < disjoint[-1].begin:
            yield _went_back(key, disjoint[-1], block)
            if block.begin > disjoint[-1].begin:
                disjoint[-1] = block
        else:
            disjoint.append(block)
    ends = [block.end for block in disjoint]
    for block in blocks:
        if block.end < block.begin:
            continue
        place = bisect.bisect_left(ends, block.begin) - 1
        if place >= 0 and block.end < disjoint[place].begin:
            yield _went_back(key, disjoint[place], block)


def _went_back(key: int, one: _Block, other: _Block) -> Finding:
    """The sentence for two such blocks: the one that was there first came back."""
    if other.end < one.end:
        one, other = other, one
    late, proof, early, between = one.last_begin, other.first_end, one.first_end, other.last_begin
    if late is None or proof is None or between is None:
        raise AssertionError("two blocks contradict each other without an operation that shows it")
    told = f"key {key} went back: {late.operation} began after the end of {proof.operation}"
    if early is None:
        told += ", which had replaced the value that was there from the start"
    else:
        told += f", while {early.operation} had ended before {between.operation} began"
    shown = [late, proof, *([] if early is None else [early, between])]
    return Finding(
        anomaly=_kind(late),
        sentence=told,
        operations=tuple(dict.fromkeys(access.operation for access in shown)),
    )
