"""Looks at the cluster from outside for `lab.strength`: AWS as an operator, databases, etcd,
proxies and app directly.

All questions of one look are asked at once and each has a short deadline, so a dead host delays a
look by at most two seconds. It keeps only what freshness needs: when each report's sequence last
rose, by this computer's clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import psycopg
import requests

from lab.operator import Occupant, Slot, StoredReport
from lab.strength import SILENT, Copy, Database, Reading, Strength, judge, leader_of, wanted_of

TIMEOUT_S: Final = 2.0
ANSWER_DEADLINE_S: Final = 5.0
API_DEADLINE_S: Final = 30.0
R = TypeVar("R")
MONITOR: Final = "monitor"
PROBE_TABLE: Final = "lab_strength"

ASK_DATABASE: Final = """
SELECT pg_is_in_recovery(), (SELECT timeline_id FROM pg_control_checkpoint())
"""
# All nodes share this computer's clock, so ages across nodes need no care here.
ASK_COPIES: Final = """
SELECT application_name, state, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint,
       extract(epoch FROM clock_timestamp() - reply_time)::float
FROM pg_stat_replication
"""


class View(Protocol):
    """The part of `lab.operator.Operator` a look needs."""

    def slots(self) -> tuple[Slot, ...]:
        """Every slot."""

    def passwords(self) -> Mapping[str, str]:
        """Passwords by role."""

    def occupants(self) -> tuple[Occupant, ...]:
        """Instances that are not terminated."""

    def reports(self) -> Mapping[str, StoredReport]:
        """Last reports."""


class Freshness:
    """Since when each slot's (instance, sequence) stands still."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[str, int, float | None]] = {}

    def ages_s(self, reports: Mapping[str, StoredReport]) -> dict[str, float]:
        """Seconds since the sequence was seen to rise; absent until it has risen once."""
        now = self._clock()
        for slot, report in reports.items():
            known = self._seen.get(slot)
            if known is None:
                self._seen[slot] = (report.instance_id, report.sequence, None)
            elif known[:2] != (report.instance_id, report.sequence):
                self._seen[slot] = (report.instance_id, report.sequence, now)
        return {
            slot: now - since for slot, (_, _, since) in self._seen.items() if since is not None
        }


class StrengthProbe:
    """One object for a whole run; `look` as often as you like, from one thread."""

    def __init__(
        self, view: View, *, clock: Callable[[], float] = time.monotonic, port: int = 5432
    ) -> None:
        self._view = view
        self._port = port
        self._freshness = Freshness(clock)
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="look")
        self._http = requests.Session()
        self._http.trust_env = False
        self._passwords: Mapping[str, str] | None = None
        self._lost: frozenset[str] = frozenset()

    def without(self, *lost: str) -> None:
        """From now on these regions (`eu-west-1`) are lost, and nothing is asked of them; none: all are there."""
        self._lost = frozenset(lost)

    def look(self) -> Strength:
        """One look and its verdict. Raises LabError when the local AWS does not answer."""
        return judge(self._view.slots(), self.read(), self._lost)

    def read(self) -> Reading:
        """One look."""
        if self._passwords is None:
            self._passwords = self._view.passwords()
        slots = wanted_of(self._view.slots(), self._lost)
        ask = self._pool.submit
        occupants = ask(self._view.occupants)
        reports = ask(self._view.reports)
        databases = {s.name: ask(self._database, s.address) for s in slots if s.role == "db"}
        members = {s.name: ask(self._etcd, s.address) for s in slots if self._may_vote(s)}
        proxies = {s.name: ask(self._proxy, s) for s in slots if s.role == "haproxy"}
        apps = {s.name: ask(self._app, s.address) for s in slots if s.role == "app"}
        found = reports.result(timeout=API_DEADLINE_S)
        return Reading(
            occupants=occupants.result(timeout=API_DEADLINE_S),
            reports=found,
            report_age_s=self._freshness.ages_s(found),
            databases={
                name: _in_time(answer, otherwise=SILENT) for name, answer in databases.items()
            },
            etcd_healthy=_those_true(members),
            proxies_writing=_those_true(proxies),
            apps_ready=_those_true(apps),
        )

    def _may_vote(self, slot: Slot) -> bool:
        """The voters; and every database while a region is lost, since seats move then."""
        return slot.etcd_voter or (bool(self._lost) and slot.role == "db")

    def leader(self) -> str | None:
        """The one database that is not in recovery, asked now: an active one, else a spare one that is filled."""
        if self._passwords is None:
            self._passwords = self._view.passwords()
        slots = [slot for slot in self._view.slots() if slot.role == "db"]
        found = self._databases([slot for slot in slots if slot.active])
        if all(database.in_recovery is not False for database in found.values()):
            filled = {occupant.slot for occupant in self._view.occupants()}
            spares = [slot for slot in slots if not slot.active and slot.name in filled]
            found = {**found, **self._databases(spares)}
        return leader_of(Reading(databases=found))

    def _databases(self, slots: Sequence[Slot]) -> dict[str, Database]:
        asked = {slot.name: self._pool.submit(self._database, slot.address) for slot in slots}
        return {name: _in_time(answer, otherwise=SILENT) for name, answer in asked.items()}

    def close(self) -> None:
        """Let go of threads and sockets."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    def _connect(self, host: str, *, user: str, dbname: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=host,
            port=self._port,
            user=user,
            dbname=dbname,
            password=(self._passwords or {}).get(user, ""),
            connect_timeout=2,
            tcp_user_timeout=int(TIMEOUT_S * 1000),
            options=f"-c statement_timeout={int(TIMEOUT_S * 1000)}",
            application_name="pgmend-lab-strength",
            autocommit=True,
            gssencmode="disable",
        )

    def _database(self, address: str) -> Database:
        try:
            with self._connect(address, user=MONITOR, dbname="postgres") as connection:
                row = connection.execute(ASK_DATABASE).fetchone()
                if row is None:
                    return SILENT
                copies = () if row[0] else connection.execute(ASK_COPIES).fetchall()
        except psycopg.Error:
            return SILENT
        return Database(
            answered=True,
            in_recovery=row[0],
            timeline=row[1],
            copies=tuple(
                Copy(name=name, state=state, lag_bytes=lag, reply_age_s=age)
                for name, state, lag, age in copies
            ),
        )

    def _proxy(self, slot: Slot) -> bool:
        """A real write, committed here and not waiting for other copies."""
        try:
            with self._connect(slot.address, user="app", dbname="app") as connection:
                connection.execute("SET synchronous_commit = local")
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {PROBE_TABLE}"
                    " (proxy text PRIMARY KEY, at timestamptz)"
                )
                connection.execute(
                    f"INSERT INTO {PROBE_TABLE} VALUES (%s, now()) "  # noqa: S608 - a constant name
                    "ON CONFLICT (proxy) DO UPDATE SET at = excluded.at",
                    (slot.name,),
                )
        except psycopg.Error:
            return False
        return True

    def _etcd(self, address: str) -> bool:
        answer = self._get(f"http://{address}:2379/health")
        return answer is not None and str(answer.get("health")).lower() == "true"

    def _app(self, address: str) -> bool:
        return self._get(f"http://{address}:5000/readyz") is not None

    def _get(self, url: str) -> Mapping[str, Any] | None:
        try:
            answer = self._http.get(url, timeout=TIMEOUT_S)
            body = answer.json()
        except (requests.RequestException, ValueError):
            return None
        return body if answer.status_code == 200 and isinstance(body, dict) else None


def _in_time(answer: Future[R], *, otherwise: R) -> R:
    """A host can stop between two packets; whatever is late gave no answer."""
    try:
        return answer.result(timeout=ANSWER_DEADLINE_S)
    except TimeoutError:
        return otherwise


def _those_true(answers: Mapping[str, Future[bool]]) -> frozenset[str]:
    return frozenset(name for name, answer in answers.items() if _in_time(answer, otherwise=False))
