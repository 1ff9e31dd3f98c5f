"""Is the cluster at full strength? Judged by the lab itself, independently of the healer.

Full strength: every active slot has a running occupant with a fresh report in phase `configured`;
one leader; every other copy streams within 1 MiB of it; every etcd voter is healthy; each HAProxy
takes a write; each app is ready. This file only judges; `lab.strength_probe` looks. What could not
be learnt counts as missing.

While a region is lost, full strength is what the others have to carry. Without a data region: every
database and every HAProxy slot of the other one, its spares too; one app; as many etcd members as the
cluster has voters, whoever holds the seats. Without the observer: all the rest; nobody's report can
be fresh then, since the hub's table is lost, so none is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lab.operator import Occupant, Slot, StoredReport

LAG_BYTES_MAX: Final = 1024 * 1024
REPORT_FRESH_S: Final = 15.0
REPLY_FRESH_S: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One row of the leader's pg_stat_replication."""

    name: str
    state: str
    lag_bytes: int | None
    reply_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What one database answered when asked directly."""

    answered: bool
    in_recovery: bool | None = None
    timeline: int | None = None
    copies: tuple[Copy, ...] = ()


SILENT: Final = Database(answered=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at everything. Slots that gave no answer are absent, never healthy."""

    occupants: tuple[Occupant, ...] = ()
    reports: Mapping[str, StoredReport] = field(default_factory=dict)
    report_age_s: Mapping[str, float] = field(default_factory=dict)  # since the sequence last rose
    databases: Mapping[str, Database] = field(default_factory=dict)
    etcd_healthy: frozenset[str] = frozenset()  # slots
    proxies_writing: frozenset[str] = frozenset()  # slots
    apps_ready: frozenset[str] = frozenset()  # slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """The verdict."""

    missing: tuple[str, ...]
    leader: str | None
    without: tuple[str, ...] = ()  # the regions that are lost, of which nothing was asked

    @property
    def full(self) -> bool:
        """True when nothing is missing."""
        return not self.missing

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if self.full:
            lost = f" without {' and '.join(self.without)}" if self.without else ""
            return f"full strength{lost}, {self.leader} leads"
        return "; ".join(self.missing)


def judge(slots: Sequence[Slot], reading: Reading, lost: Collection[str] = frozenset()) -> Strength:
    """What is missing, in words, most basic first; and who leads, when exactly one does.

    `lost` names regions (`eu-west-1`) that are lost as a whole: nothing of them is missed.
    """
    wanted = wanted_of(slots, lost)
    leader = leader_of(reading)
    missing = [
        *_unoccupied(wanted, reading),
        *(_unreported(wanted, reading) if _hub_of(slots).isdisjoint(lost) else ()),
        *_databases(wanted, reading, leader),
        *(
            _seats(slots, wanted, reading)
            if _data_of(slots) & set(lost)
            else _voters(wanted, reading)
        ),
        *_ways_in(wanted, reading),
    ]
    return Strength(missing=tuple(missing), leader=leader, without=tuple(sorted(lost)))


def wanted_of(slots: Sequence[Slot], lost: Collection[str] = frozenset()) -> list[Slot]:
    """The slots that have to be filled: the active ones; and what carries a data region that is lost."""
    there = [slot for slot in slots if slot.region not in lost]
    if not _data_of(slots) & set(lost):
        return [slot for slot in there if slot.active]
    apps = [slot for slot in there if slot.role == "app"]
    enough = [slot for slot in apps if slot.active] or apps[:1]
    return [slot for slot in there if slot.role != "app" or slot in enough]


def strays(slots: Sequence[Slot], reading: Reading) -> tuple[str, ...]:
    """Spare slots that are filled: beyond the cluster's first shape, and no weakness."""
    filled = {occupant.slot for occupant in reading.occupants}
    return tuple(slot.name for slot in slots if not slot.active and slot.name in filled)


def _data_of(slots: Sequence[Slot]) -> set[str]:
    return {slot.region for slot in slots if slot.role == "db"}


def _hub_of(slots: Sequence[Slot]) -> set[str]:
    """The hub stands beside the witness."""
    return {slot.region for slot in slots if slot.role == "witness"}


def leader_of(reading: Reading) -> str | None:
    """The one database that answered and is not in recovery."""
    leaders = [name for name, db in reading.databases.items() if db.in_recovery is False]
    return leaders[0] if len(leaders) == 1 else None


def _unoccupied(active: Sequence[Slot], reading: Reading) -> Iterator[str]:
    by_slot: dict[str, list[Occupant]] = {}
    for occupant in reading.occupants:
        by_slot.setdefault(occupant.slot, []).append(occupant)
    for slot in active:
        there = by_slot.get(slot.name, [])
        running = [occupant for occupant in there if occupant.state == "running"]
        if not there:
            yield f"{slot.name} is empty"
        elif not running:
            yield f"{slot.name} is {there[-1].state}"
        elif all(occupant.checks == "impaired" for occupant in running):
            yield f"{slot.name} fails its status checks"


def _unreported(active: Sequence[Slot], reading: Reading) -> Iterator[str]:
    running = {item.slot: item.instance_id for item in reading.occupants if item.state == "running"}
    for slot in active:
        if slot.name not in running:
            continue
        report = reading.reports.get(slot.name)
        age = reading.report_age_s.get(slot.name)
        if report is None or report.instance_id != running[slot.name]:
            yield f"{slot.name} has not reported"
        elif report.body.get("phase") != "configured":
            yield f"{slot.name} is not configured"
        elif age is None or age > REPORT_FRESH_S:
            yield f"the report of {slot.name} is not fresh"


def _databases(active: Sequence[Slot], reading: Reading, leader: str | None) -> Iterator[str]:
    wanted = [slot.name for slot in active if slot.role == "db"]
    if leader is None:
        several = [name for name, db in reading.databases.items() if db.in_recovery is False]
        yield f"{' and '.join(sorted(several))} both lead" if several else "no database leads"
        return
    copies = {copy.name: copy for copy in reading.databases[leader].copies}
    for name in wanted:
        if name != leader:
            yield from _copy(name, reading.databases.get(name, SILENT), copies.get(name))


def _copy(name: str, database: Database, copy: Copy | None) -> Iterator[str]:
    if not database.answered:
        yield f"{name} does not answer"
    elif copy is None or copy.state != "streaming":
        yield f"{name} does not stream"
    elif copy.reply_age_s is None or copy.reply_age_s > REPLY_FRESH_S:
        yield f"{name} has not confirmed anything lately"
    elif copy.lag_bytes is None:
        yield f"the lag of {name} is not known"
    elif copy.lag_bytes > LAG_BYTES_MAX:
        yield f"{name} lags {copy.lag_bytes / 1024 / 1024:.0f} MiB"


def _voters(active: Sequence[Slot], reading: Reading) -> Iterator[str]:
    for slot in active:
        if slot.etcd_voter and slot.name not in reading.etcd_healthy:
            yield f"etcd on {slot.name} is not healthy"


def _seats(slots: Sequence[Slot], wanted: Sequence[Slot], reading: Reading) -> Iterator[str]:
    """As many members as there are voters, among those that are left."""
    seats = sum(slot.etcd_voter for slot in slots)
    healthy = reading.etcd_healthy & {slot.name for slot in wanted}
    if len(healthy) < seats:
        yield f"etcd has {len(healthy)} healthy members of {seats}"


def _ways_in(active: Sequence[Slot], reading: Reading) -> Iterator[str]:
    for slot in active:
        if slot.role == "haproxy" and slot.name not in reading.proxies_writing:
            yield f"{slot.name} does not take writes"
        if slot.role == "app" and slot.name not in reading.apps_ready:
            yield f"{slot.name} is not ready"
