"""Node agents: what each sees in a pass, how it reaches the table, and what the others see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdas.core.model import Phase, Role
from tests.simulation import words
from tests.simulation.spec import START
from tests.simulation.things import NEVER, Host
from tests.simulation.words import Words

if TYPE_CHECKING:
    from tests.simulation.world import World

PASSES_S = 5
WAL_BYTES_S = 100_000  # what the leader writes
LAG_BYTES, UNNOTICED_BYTES = 64 * 1024 * 1024, 4096
SPAN_S, SPAN_S_MAX = 15.0, 900.0  # how finely, and how far back, an agent's words say for how long
HOUR_S = 3600.0


class Agents:
    """All agents, and the road from them to the hub table."""

    def __init__(self, world: World) -> None:
        self._w = world
        self._rendered: dict[Words, str] = {}
        self._states: dict[tuple[str, str], tuple[str, float]] = {}  # who sees whom how since when
        self._active = [s.name for s in world.spec.slots if s.active]

    def tick(self, second: int) -> None:
        """Those whose pass is due report."""
        for place, host in enumerate(list(self._w.aws.sits.values())):
            if (second + place) % PASSES_S == 0:
                self.report(host)

    def report_all(self) -> None:
        """Everybody reports: time was skipped in which nothing else happened."""
        for host in list(self._w.aws.sits.values()):
            self.report(host)

    def report(self, host: Host) -> None:
        """One pass of one agent."""
        now, weather, slot = self._w.now, self._w.weather, host.slot.name
        if host.agent != "up" or not host.up(now):
            return
        if weather.on("report-frozen", slot) and host.spoken:
            self._repeat(host)
            return
        host.sequence += 1
        content = self._words(host)
        host.spoken = words.body(
            content,
            cluster=self._w.spec.cluster,
            instance_id=host.instance_id,
            sequence=host.sequence,
            observed_at=now + host.clock_off_s,
            lsn=_lsn(host),
            known=self._rendered,
        )
        self._notice(host, content)
        if weather.on("report-malformed", slot):
            self._send(host, weather.word("report-malformed", slot), None)
            return
        self._send(host, host.spoken, content)

    def _send(self, host: Host, body: str, content: Words | None) -> None:
        """To the hub table; a cut swallows it, a slow road brings it late, perhaps after younger ones."""
        weather, slot = self._w.weather, host.slot.name
        cut = host.aws_cut or "keys" in host.ails or "unreachable" in host.ails
        if cut or weather.on("reports-lost", host.slot.region):
            return
        if weather.on("report-late", slot) and host.sequence % 2:
            late_s = weather.amount("report-late", slot)
            self._w.time.after(late_s, lambda: self.late(host, body))
            return
        self._w.hub.put_report(slot, body)
        if content is not None:
            self._w.watch.told(host, content.well_parts(), content.leader)

    def _repeat(self, host: Host) -> None:
        """It says once more what it said last. Where that was lost on the way, the table has a new word by this."""
        new = self._w.hub.reports.get(host.slot.name) != host.spoken
        self._send(host, host.spoken, None)
        if new and self._w.hub.reports.get(host.slot.name) == host.spoken:
            host.heard_at = self._w.now

    def late(self, host: Host, body: str) -> None:
        """A word arrives long after it was said."""
        host.heard_at = self._w.now
        self._w.hub.put_report(host.slot.name, body)

    # -- what it sees

    def _words(self, host: Host) -> Words:
        up = host.phase is Phase.CONFIGURED
        role, voter = host.slot.role, host.slot.etcd_voter
        return Words(
            slot=host.slot.name,
            phase=host.phase.value,
            volume=None if host.disk is None or host.disk.blank else host.disk.volume_id,
            services=tuple(sorted(host.services.items())),
            postgres=self._postgres(host) if up and role is Role.DB else None,
            patroni=self._patroni(host) if up and role is Role.DB else None,
            etcd=self._etcd(host) if up and voter else None,
            backends=self._backends(host) if up and role is Role.HAPROXY else None,
            ready=self._ready(host) if up and role is Role.APP else None,
            disk=_disk(host) if up and host.slot.disk is not None else None,
            peers=self._peers(host) if up else (),
        )

    def _postgres(self, host: Host) -> words.Postgres:
        disk, patroni = host.disk, self._w.patroni
        blind = self._w.weather.on("probe-blind", host.instance_id)
        cloning = disk is None or not disk.database
        if host.pg == "down" or disk is None or cloning or blind:
            return words.Postgres(up=False)
        if host.pg == "primary":
            rows = tuple(self._row(h) for h in patroni.hosts() if h is not host)
            return words.Postgres(
                up=True,
                in_recovery=False,
                timeline=disk.timeline,
                rows=tuple(r for r in rows if r is not None),
                bad_pages=disk.bad_pages,
                slots=tuple(self._kept(host)),
            )
        return words.Postgres(
            up=True,
            in_recovery=True,
            timeline=disk.timeline,
            receiver_up=patroni.streams(host),
            bad_pages=disk.bad_pages,
        )

    def _row(self, host: Host) -> tuple[str, str, int] | None:
        """One standby as its leader sees it: there, behind, or gone."""
        if self._w.patroni.streams(host):
            behind = self._w.weather.on("lagging", host.instance_id)
            return (host.slot.name, "streaming", LAG_BYTES if behind else 0)
        if host.slot.name in self._w.patroni.sync:
            return (host.slot.name, "streaming", UNNOTICED_BYTES)  # not noticed yet
        return None

    def _kept(self, leader: Host) -> list[tuple[str, bool, str, int]]:
        """The leader's replication slots: its copies', and what nobody reads."""
        rows = []
        for host in self._w.patroni.hosts():
            if host is not leader and host.disk is not None:
                status = "lost" if host.disk.ails == "wal-gone" else "reserved"
                name = host.slot.name.replace("-", "_")
                rows.append((name, self._w.patroni.streams(host), status, 0))
        hoarded = {} if leader.disk is None else leader.disk.hoarded
        rows += [(name, False, "extended", int(kept * words.GIB)) for name, kept in hoarded.items()]
        return rows

    def _patroni(self, host: Host) -> words.Patroni:
        now, patroni = self._w.now, self._w.patroni
        blind = self._w.weather.on("probe-blind", host.instance_id)
        hung = self._w.weather.on("patroni-hung", host.instance_id)
        if host.services.get("patroni") != "active" or hung or blind or not host.up(now):
            return words.Patroni(up=False)
        state = patroni.state(host)
        if state != host.db_state:
            host.db_state, host.db_state_since = state, now
        return words.Patroni(
            up=True,
            role="leader" if host.pg == "primary" else "replica",
            state=state,
            timeline=None if host.disk is None else host.disk.timeline,
            paused=patroni.paused,
            leader=patroni.leader_name() if self._w.etcd.reaches(host) else None,
            state_for_s=_span_s(now - host.db_state_since),
            clones=sum(1 for at in host.clones if now - at < HOUR_S),
        )

    def _etcd(self, host: Host) -> words.Etcd:
        etcd = self._w.etcd
        blind = self._w.weather.on("probe-blind", host.instance_id)
        alarm = etcd.alarms.get(host.slot.name, "")
        return words.Etcd(healthy=None if blind else etcd.is_well(host), alarm=alarm)

    def _backends(self, host: Host) -> tuple[str, ...] | None:
        """Writable servers that HAProxy sees; None when its socket does not answer."""
        now = self._w.now
        if not host.runs("haproxy", now):
            return None
        if self._w.weather.on("proxy-blind", host.instance_id):
            return ()
        return tuple(
            h.slot.name
            for h in self._w.patroni.hosts()
            if h.pg == "primary" and h.up(now) and self._w.connected(host, h)
        )

    def _ready(self, host: Host) -> bool:
        """The app reaches a writable database through one of the proxies."""
        if not host.runs("pgmend-app", self._w.now):
            return False
        proxies = (h for h in self._w.aws.sits.values() if h.slot.role is Role.HAPROXY)
        return any(self._w.connected(host, h) and self._backends(h) for h in proxies)

    def _peers(self, host: Host) -> tuple[tuple[str, str, float], ...]:
        return tuple(self._peer(host, n) for n in self._active if n != host.slot.name)

    def _peer(self, host: Host, slot: str) -> tuple[str, str, float]:
        """What it sees of another, and for how long."""
        state, pair = self.sees(host, slot), (host.instance_id, slot)
        known = self._states.get(pair)
        if known is None or known[0] != state:
            known = self._states[pair] = (state, self._w.now)
        # For how long is only told finely of those who do not answer: nobody asks it of the others.
        for_s = _span_s(self._w.now - known[1]) if state == "silent" else SPAN_S_MAX
        return (slot, state, for_s)

    def sees(self, host: Host, slot: str) -> str:
        """What a probe of another slot's agent gets."""
        now, other = self._w.now, self._w.aws.occupant(slot)
        if other is None or not other.up(now) or not self._w.connected(host, other):
            return "silent"
        hidden = now < other.hidden_until and host.slot.name in other.hidden_from
        if hidden or other.agent == "mute":
            return "silent"
        return "alive" if other.agent == "up" else "refused"

    # -- what is well

    def serves(self, host: Host) -> bool:
        """A proxy that sees one primary, an app that reaches it."""
        if host.slot.role is Role.HAPROXY:
            return len(self._backends(host) or ()) == 1
        return self._ready(host)

    def _notice(self, host: Host, content: Words) -> None:
        """Changes are announced, as wakes."""
        silent = tuple(name for name, state, _ in content.peers if state == "silent")
        said = (
            content.phase,
            content.volume,
            content.services,
            content.leader,
            content.etcd,
            content.backends,
            content.ready,
            silent,
        )
        if self._w.said.get(host.instance_id) != said:
            self._w.said[host.instance_id] = said
            self._w.wake(f"agent:{host.slot.name}")


def _span_s(seconds: float) -> float:
    return min(seconds // SPAN_S * SPAN_S, SPAN_S_MAX)


def _lsn(host: Host) -> int | None:
    """Where the copy's WAL ends; None while nobody can be asked."""
    disk = host.disk
    if host.pg == "down" or disk is None or not disk.database or disk.wal_at == NEVER:
        return None
    return int((disk.wal_at - START + SPAN_S_MAX) * WAL_BYTES_S)


def _disk(host: Host) -> words.Disk:
    disk = host.disk
    if disk is None or not disk.attached or disk.blank or disk.trouble == "absent":
        return words.Disk(mounted=False)
    taken = round(min(disk.taken_gib, disk.fs_gib), 2)
    return words.Disk(
        mounted=True,
        read_only=disk.trouble == "read-only",
        writable=disk.sound,
        size=disk.fs_gib,
        used=taken,
        device=disk.gib,
        ballast=disk.ballast_gib,
    )
