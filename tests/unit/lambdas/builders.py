"""Clusters in words: `a_cluster().with_leader("db-euw1-a").silent("db-euw3-a")`.

Every cluster starts healthy, born and led by db-euw1-a on timeline 2; each word breaks one thing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

from lambdas.core.consent import Breaker, Planned, PlannedKind, Window
from lambdas.core.model import Disk, Etcd, Lag, ReplicationSlot, ScheduledEvent
from tests.unit.lambdas.cluster import (
    EXAMPLES,
    LONG_AGO,
    NOW,
    UNITS,
    BareCluster,
    follower_of,
    instance_id,
    the_spec,
    volume_id,
)

__all__ = [
    "EXAMPLES",
    "LONG_AGO",
    "NOW",
    "UNITS",
    "Cluster",
    "a_cluster",
    "follower_of",
    "instance_id",
    "the_spec",
    "volume_id",
]

GIB = 1024**3
SOUND = Disk(
    mounted=True,
    read_only=False,
    writable=True,
    size_bytes=20 * GIB,
    used_bytes=2 * GIB,
    device_bytes=20 * GIB,
    ballast_bytes=GIB,
)


class Cluster(BareCluster):
    """The words for disks, copies, etcd, AWS's announcements, and what was tried before."""

    # -- hosts

    def nobody_answered(self, slot: str, *, for_s: float) -> Self:
        """Neither we nor any peer have heard from it for so long; nobody hears it stream either."""
        self.unheard(slot, for_s=for_s)
        for name, seen in list(self.reports.items()):
            if name != slot:
                self.says(name, peers_for_s={**seen.report.peers_for_s, slot: for_s})
        return self

    def announced(self, slot: str, *, code: str = "instance-retirement", in_s: float) -> Self:
        """AWS has announced an event."""
        event = ScheduledEvent(code=code, not_before=self.now + in_s)
        return self._instance(slot, events=(event,))

    def occupied(self, slot: str) -> Self:
        """A spare slot has an instance, with its disk, configured and heard."""
        self._occupy(self.spec.by_name[slot])
        return self

    def clock_off(self, slot: str, *, by_s: float) -> Self:
        self.reports[slot] = replace(self.reports[slot], clock_off_s=by_s)
        return self

    def launched(self, slot: str, *, ago_s: float) -> Self:
        return self._instance(slot, launched_at=self.now - ago_s)

    def stopped_and_started(self, slot: str, *, ago_s: float) -> Self:
        """The same instance as ever: EC2's LaunchTime begins anew with a start."""
        first = self.instances[slot].launched_at
        return self._instance(slot, launched_at=self.now - ago_s, first_launched_at=first)

    # -- disks

    def disk_says(self, slot: str, **changes: Any) -> Self:
        """What the agent sees of its data disk; sound but for the changes."""
        self.disk_is(slot, "in-use", size_gib=20)
        return self.says(slot, disk=replace(SOUND, **changes))

    def used(self, slot: str, share: float, **changes: Any) -> Self:
        return self.disk_says(slot, used_bytes=int(20 * GIB * share), **changes)

    def runs_on_a_disk_set_aside(self, slot: str) -> Self:
        """Its volume has the tag of those out of use, and the node still runs on it."""
        self.set_aside.append(replace(self.volumes.pop(slot), set_aside=True))
        return self

    def grown(self, slot: str, *s_ago: float) -> Self:
        self.extra["growths"] = {slot: tuple(self.now - s for s in s_ago)}
        return self

    def disk_hangs(self, slot: str, *, for_s: float, **changes: Any) -> Self:
        """What is written to its data disk neither ends nor fails."""
        self.disk_says(slot, writable=None, **changes)
        before = self.extra.get("stalled_disks", {})
        self.extra["stalled_disks"] = {**before, slot: self.now - for_s}
        return self

    # -- copies

    def patroni_says(self, slot: str, **changes: Any) -> Self:
        patroni = self.reports[slot].report.patroni
        assert patroni is not None
        return self.says(slot, patroni=replace(patroni, **changes))

    def postgres_says(self, slot: str, **changes: Any) -> Self:
        postgres = self.reports[slot].report.postgres
        assert postgres is not None
        return self.says(slot, postgres=replace(postgres, **changes))

    def broken(self, slot: str) -> Self:
        """The leader sees it, and not streaming."""
        return self.lagging(slot, state="startup", lag_bytes=None)

    def patroni_hangs(self, slot: str, *, for_s: float) -> Self:
        """Its unit is active, it answers nobody, and what it did last goes on."""
        self.extra["mute_patronis"] = {slot: self.now - for_s}
        return self.patroni_says(slot, up=False, role=None, state=None, leader=None)

    def keeps_wal(self, leader: str, kept: str, **changes: Any) -> Self:
        """One replication slot of the leader's; inactive, physical and hoarding but for the changes."""
        row = ReplicationSlot(
            name=kept, active=False, physical=True, wal_status="extended", retained_bytes=5 * GIB
        )
        return self.postgres_says(leader, replication_slots=(replace(row, **changes),))

    def was_behind(self, slot: str, *, least_bytes: int, ago_s: float) -> Self:
        self.extra["lags"] = {
            slot: Lag(least_bytes=least_bytes, at=self.now - ago_s, since=self.now - ago_s)
        }
        return self

    def etcd_says(self, slot: str, *, healthy: bool = True, alarms: tuple[str, ...] = ()) -> Self:
        etcd = Etcd(healthy=healthy, cluster_id="cdf8", is_leader=False, alarms=alarms)
        return self.says(slot, etcd=etcd)

    # -- people, and what was tried

    def rolled(self, *, since_s_ago: float = 60.0) -> Self:
        """A person has ordered that every node older than this is replaced."""
        since = self.now - since_s_ago
        self.extra["planned"] = Planned(plan_id="p", kind=PlannedKind.ROLL, since=since)
        return self

    def to_lead(self, to: str | None) -> Self:
        """A person has ordered a switchover."""
        planned = Planned(plan_id="p", kind=PlannedKind.SWITCHOVER, since=self.now, to=to)
        self.extra["planned"] = planned
        return self

    def window(self, *, from_s_ago: float = 10.0, for_s: float = 3600.0) -> Self:
        begin = self.now - from_s_ago
        self.extra["windows"] = (Window(from_=begin, until=begin + for_s, why="a rack moves"),)
        return self

    def breaker(self, *, is_open: bool, acknowledged_s_ago: float | None = None) -> Self:
        at = 0.0 if acknowledged_s_ago is None else self.now - acknowledged_s_ago
        self.extra["breaker"] = Breaker(
            open=is_open, why="too much", opened_at=self.now - 600, acknowledged_at=at
        )
        return self

    def tried(self, slot: str, *, last_s_ago: float = 6000.0, **rungs: int) -> Self:
        """The slot's incident has tried these rungs; `_` stands for `-` and `__` for `:`."""
        named = {key.replace("__", ":").replace("_", "-"): n for key, n in rungs.items()}
        return self.incident(
            slot, opened_s_ago=last_s_ago + 60, rungs=named, last_acted_at=self.now - last_s_ago
        )


def a_cluster() -> Cluster:
    """A healthy minimal cluster."""
    return Cluster(the_spec())
