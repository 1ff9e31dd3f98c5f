"""Patroni's truth: the leader key and its time to live, who leads, who follows, and who holds the newest WAL.

A copy's place in the WAL is the time up to which it has what the leader wrote. Writes are acknowledged while as many of
the synchronous copies stream as the durability asks for; Patroni lowers the number when copies are away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdas.core.model import Role
from tests.simulation.things import NEVER, Host

if TYPE_CHECKING:
    from tests.simulation.world import World

TTL_S, RETRY_S = 20.0, 5.0
SYNC_AWAY_S = 6.0  # how long a lost standby looks alive
REWIND_S, CLONE_S, CATCH_UP_S = 12.0, 30.0, 4.0


class Patroni:
    """The one database cluster."""

    def __init__(self, world: World) -> None:
        self._w = world
        self.key: Host | None = None
        self.key_until = NEVER
        self.timeline = 0
        self.paused = False
        self.sync: dict[str, float] = {}  # synchronous copies → last seen streaming
        self.needed = 0
        self.last_leader = ""
        self.last_host: Host | None = None
        self.acked_at = NEVER
        self.stepped_down_at = NEVER
        self.identities = 0  # databases ever made; more than one is the end of the world
        self._unreached: dict[str, float] = {}
        self._databases = [s.name for s in world.spec.slots if s.role is Role.DB]
        copies = [s for s in world.spec.slots if s.role is Role.DB and s.active]
        self._count = max(
            sum(1 for s in copies if s.region == region) for region in world.spec.regions
        )

    # -- questions

    def hosts(self) -> list[Host]:
        """Occupants of database slots."""
        sits = self._w.aws.sits
        return [sits[name] for name in self._databases if name in sits]

    def primary(self) -> Host | None:
        """The host that takes writes on the newest timeline, frozen or not."""
        return next((h for h in self.hosts() if self.leads(h)), None)

    def leads(self, host: Host) -> bool:
        """Whether it really leads: nobody has superseded it, and it is not dead."""
        if host.pg != "primary" or not host.power or host.disk is None:
            return False
        return host.disk.timeline == self.timeline

    def rules(self, host: Host) -> bool:
        """Whether it leads by right: its key has not run out."""
        return (
            self.leads(host) and self.key is host and (self.paused or self._w.now < self.key_until)
        )

    def leader_name(self) -> str | None:
        """Whom the leader key names."""
        valid = self.key is not None and self._w.now < self.key_until
        return self.key.slot.name if valid and self.key is not None else None

    def streams(self, host: Host) -> bool:
        """Whether the copy receives WAL from the primary now."""
        now, primary = self._w.now, self.primary()
        if host.pg != "replica" or host.stuck or not host.up(now) or now < host.settling_until:
            return False
        if primary is None or not primary.up(now) or not self._w.connected(host, primary):
            return False
        disk = host.disk
        return disk is not None and disk.serves and disk.database and not disk.ails

    def state(self, host: Host) -> str:
        """Patroni's own word for what its PostgreSQL does."""
        disk = host.disk
        if host.pg == "primary":
            return "running"
        if host.pg == "down" or disk is None:
            return "start failed"
        if not disk.database:
            return "creating replica"
        if self.streams(host):
            return "streaming"
        return "running" if disk.ails else "starting"

    def enough_without(self, slot: str) -> bool:
        """Whether a majority of copies is up and current when this one is not."""
        copies = [s for s in self._databases if self._w.spec.by_name[s].active]
        well = [h for h in self.hosts() if self.streams(h) or self.leads(h)]
        return sum(1 for h in well if h.slot.name != slot) >= len(copies) // 2 + 1

    # -- what happens

    def start(self, host: Host) -> None:
        """Patroni and its PostgreSQL start on a host."""
        disk, now = host.disk, self._w.now
        if disk is None or not disk.serves:
            return
        still = self.key is host and now < self.key_until and disk.timeline == self.timeline
        host.pg = "primary" if still else "replica"
        host.stuck = False
        if not still:
            disk.hoarded.clear()  # a member of the cluster keeps no slots that Patroni does not know
        behind = disk.timeline != self.timeline
        host.settling_until = now + (REWIND_S if behind else CATCH_UP_S)
        if not disk.database and not still:
            self._clone(host)

    def _clone(self, host: Host) -> None:
        """It begins to make its copy anew."""
        host.settling_until = self._w.now + CLONE_S
        host.clones.append(self._w.now)

    def reinit(self, host: Host) -> None:
        """The copy is thrown away and made anew from the leader."""
        disk = host.disk
        if disk is None or not disk.serves:
            return
        disk.database, disk.timeline, disk.wal_at = False, 0, NEVER
        disk.ails, disk.bad_pages, host.stuck, host.pg = "", 0, False, "replica"
        self._clone(host)
        self._w.stir()

    def stop(self, host: Host, *, clean: bool) -> None:
        """PostgreSQL is gone; one that stops in good order gives the key back."""
        host.pg = "down"
        if clean and self.key is host:
            self.key = None

    def bootstrap(self, host: Host) -> None:
        """The first leader makes the database."""
        disk = host.disk
        if disk is None:
            return
        self.identities += 1
        self.timeline, disk.timeline, disk.database = 1, 1, True
        host.pg, host.led_since, self.acked_at = "primary", self._w.now, self._w.now
        self._takes_key(host)
        self._w.etcd.born = True
        self._w.stir()

    def switch(self, old: Host, new: Host) -> None:
        """A planned failover: the leader steps down with everything sent, a copy takes over."""
        if old.disk is not None and new.disk is not None:
            new.disk.wal_at = old.disk.wal_at
        self._demote(old)
        self._promote(new)

    def _takes_key(self, host: Host) -> None:
        self.key, self.key_until = host, self._w.now + TTL_S
        if host is not self.last_host:
            host.known_to_lead, host.named_at = False, NEVER
        self.last_leader, self.last_host = host.slot.name, host

    def tick(self) -> None:
        """One round of everybody's loop."""
        for host in self.hosts():
            if host.pg == "primary":
                self._lead(host)
            elif host.pg == "replica":
                self._follow(host)
        if self.key is not None and self._w.now >= self.key_until and not self.paused:
            self._w.tell(f"Patroni: the key of {self.key.slot.name} runs out")
            self.key.known_to_lead = False
            self.key = None
            self._w.stir()
        if self.key is None and not self.paused and self.timeline:
            self._elect()
        self._write()

    def _loops(self, host: Host) -> bool:
        return host.runs("patroni", self._w.now) and not self._w.weather.on(
            "patroni-hung", host.instance_id
        )

    def _lead(self, host: Host) -> None:
        now, disk = self._w.now, host.disk
        if disk is None or not disk.serves or not host.power:
            host.pg = "down"
            return
        if not self._loops(host) or self.paused:
            if self.paused and self.key is host:
                self.key_until = now + TTL_S
            return
        if not self._w.etcd.reaches(host):
            since = self._unreached.setdefault(host.instance_id, now)
            if now - since >= RETRY_S:
                self._demote(host)
            return
        self._unreached.pop(host.instance_id, None)
        if self.key is host:
            self.key_until = now + TTL_S
            self._tend_sync()
        else:
            self._demote(host)

    def _demote(self, host: Host) -> None:
        self._w.tell(f"Patroni: {host.slot.name} steps down")
        host.pg, host.led_since = "replica", float("inf")
        self.stepped_down_at = self._w.now
        if host.disk is not None:
            host.disk.hoarded.clear()
        host.settling_until = self._w.now + CATCH_UP_S
        self._w.stir()

    def _follow(self, host: Host) -> None:
        disk, now = host.disk, self._w.now
        if disk is None or not disk.serves or not host.power:
            host.pg = "down"
            return
        primary = self.primary()
        if primary is None or not host.up(now) or not self._w.connected(host, primary):
            if not disk.database:
                host.settling_until = now + CLONE_S  # there is nobody to clone from
            elif now >= host.settling_until:
                host.settling_until = now + CATCH_UP_S
            return
        if now < host.settling_until or host.stuck or (disk.ails and disk.database):
            return
        if not disk.database and host.clones_fail:
            host.clones_fail -= 1
            self._clone(host)
            return
        if not disk.database or disk.timeline != self.timeline:
            disk.database, disk.timeline = True, self.timeline
            self._w.stir()

    def _tend_sync(self) -> None:
        """The leader's Patroni keeps the list of synchronous copies."""
        now = self._w.now
        for host in self.hosts():
            if self.streams(host):
                self.sync[host.slot.name] = now
        self.sync = {s: at for s, at in self.sync.items() if now - at < SYNC_AWAY_S}
        self.needed = min(self._count, len(self.sync))

    def _write(self) -> None:
        """The leader writes; copies that stream have it; what enough of them have is acknowledged."""
        now, primary = self._w.now, self.primary()
        if primary is None or primary.disk is None or not primary.up(now):
            return
        primary.disk.wal_at = now
        have = 0
        for host in self.hosts():
            if host.disk is not None and self.streams(host):
                host.disk.wal_at = now
                have += host.slot.name in self.sync
        if have >= self.needed and self.key is primary:
            self.acked_at = now

    def _elect(self) -> None:
        """Among those whom etcd answers: only one that surely has every acknowledged write may lead."""
        able = [
            h
            for h in self.hosts()
            if h.pg == "replica" and self._loops(h) and self._w.etcd.reaches(h) and _has_data(h)
        ]
        last = [h for h in able if h.slot.name == self.last_leader]
        synced = [h for h in able if h.slot.name in self.sync]
        sure = self.needed > 0 and len(synced) > len(self.sync) - self.needed
        if last or sure:
            self._promote(max(last + synced, key=_wal_at))

    def _promote(self, host: Host) -> None:
        disk = host.disk
        if disk is None:
            return
        self.timeline += 1
        self._w.watch.promoted()
        self._w.tell(f"Patroni: {host.slot.name} leads on timeline {self.timeline}")
        disk.timeline = self.timeline
        host.pg, host.led_since, host.stuck = "primary", self._w.now, False
        self._takes_key(host)
        self.sync.pop(host.slot.name, None)
        self.needed = min(self.needed, len(self.sync))
        for other in self.hosts():
            other.well.pop("patroni", None)
            if other is not host and other.pg == "replica":
                other.settling_until = self._w.now + CATCH_UP_S
        self._w.stir()
        self._w.wake("agent:Patroni Leader Changed")


def _has_data(host: Host) -> bool:
    return host.disk is not None and host.disk.database and host.disk.ails != "diverged"


def _wal_at(host: Host) -> float:
    return NEVER if host.disk is None else host.disk.wal_at
