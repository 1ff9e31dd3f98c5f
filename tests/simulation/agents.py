"""Node agents: what each says in a pass, how it reaches the table, and what the others see of it.

Bodies are rendered once for each content and told again with a new sequence number.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lambdas.core.model import Phase, Role
from tests.simulation.things import Host

if TYPE_CHECKING:
    from tests.simulation.world import World

PASSES_S = 5
DELIVERY_S = 0.3
SYSTEM = "745"
CLUSTER_ID = "cdf8"
PATRONI = ("up", "role", "state", "timeline", "paused", "leader")
Content = tuple[Any, ...]


class Agents:
    """All agents, and the road from them to the hub table."""

    def __init__(self, world: World) -> None:
        self._w = world
        self._rendered: dict[Content, str] = {}
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
            self._send(host, host.spoken, None)
            return
        host.sequence += 1
        content = self._content(host)
        host.spoken = self._body(host, content)
        self._notice(host, content)
        if weather.on("report-malformed", slot):
            self._send(host, weather.word("report-malformed", slot), None)
            return
        self._send(host, host.spoken, content)

    def _send(self, host: Host, body: str, content: Content | None) -> None:
        """To the hub table; a cut swallows it, a slow road brings it late, perhaps after younger ones."""
        weather, slot = self._w.weather, host.slot.name
        if host.aws_cut or weather.on("reports-lost", host.slot.region):
            return
        if weather.on("report-late", slot) and host.sequence % 2:
            late_s = weather.amount("report-late", slot)
            self._w.time.after(late_s, lambda: self.late(host, body))
            return
        self._w.hub.put_report(slot, body)
        if content is not None:
            leader = content[5][5] if content[5] is not None else None
            self._w.watch.told(host, self.well_parts(content), leader)

    def late(self, host: Host, body: str) -> None:
        """A word arrives long after it was said."""
        host.heard_at = self._w.now
        self._w.hub.put_report(host.slot.name, body)

    # -- what it sees

    def _content(self, host: Host) -> Content:
        up = host.phase is Phase.CONFIGURED
        role, voter = host.slot.role, host.slot.etcd_voter
        return (
            host.slot.name,
            host.phase.value,
            None if host.disk is None or host.disk.blank else host.disk.volume_id,
            tuple(sorted(host.services.items())),
            self._postgres(host) if up and role is Role.DB else None,
            self._patroni(host) if up and role is Role.DB else None,
            self._etcd(host) if up and voter else None,
            self._backends(host) if up and role is Role.HAPROXY else None,
            self._ready(host) if up and role is Role.APP else None,
            self._peers(host) if up else (),
        )

    def _postgres(self, host: Host) -> Content:
        disk, patroni = host.disk, self._w.patroni
        blind = self._w.weather.on("probe-blind", host.instance_id)
        cloning = disk is None or not disk.database
        if host.pg == "down" or disk is None or cloning or blind:
            return (False, None, None, None, ())
        if host.pg == "primary":
            rows = tuple(self._row(h) for h in patroni.hosts() if h is not host)
            return (True, False, disk.timeline, None, tuple(r for r in rows if r is not None))
        return (True, True, disk.timeline, patroni.streams(host), ())

    def _row(self, host: Host) -> tuple[str, str, int] | None:
        """One standby as its leader sees it: there, behind, or gone."""
        if self._w.patroni.streams(host):
            behind = self._w.weather.on("lagging", host.instance_id)
            return (host.slot.name, "streaming", 64 * 1024 * 1024 if behind else 0)
        if host.slot.name in self._w.patroni.sync:
            return (host.slot.name, "streaming", 4096)  # not noticed yet
        return None

    def _patroni(self, host: Host) -> Content:
        now, patroni = self._w.now, self._w.patroni
        blind = self._w.weather.on("probe-blind", host.instance_id)
        hung = self._w.weather.on("patroni-hung", host.instance_id)
        if host.services.get("patroni") != "active" or hung or blind or not host.up(now):
            return (False, None, None, None, False, None)
        leader = patroni.leader_name() if self._w.etcd.reaches(host) else None
        timeline = None if host.disk is None else host.disk.timeline
        role = "leader" if host.pg == "primary" else "replica"
        return (True, role, self._patroni_state(host), timeline, patroni.paused, leader)

    def _patroni_state(self, host: Host) -> str:
        if host.pg == "primary":
            return "running"
        if host.disk is not None and not host.disk.database:
            return "creating replica"
        return "streaming" if self._w.patroni.streams(host) else "starting"

    def _etcd(self, host: Host) -> Content:
        slot, etcd = host.slot.name, self._w.etcd
        blind = self._w.weather.on("probe-blind", host.instance_id)
        healthy = etcd.serves(slot) and etcd.reaches(host)
        alarm = slot in etcd.alarms
        return (None if blind else healthy and not alarm, alarm)

    def _backends(self, host: Host) -> Content | None:
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

    def _peers(self, host: Host) -> Content:
        return tuple((n, self.sees(host, n)) for n in self._active if n != host.slot.name)

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

    @staticmethod
    def well_parts(content: Content) -> dict[str, bool]:
        """Unit → whether these words call it well, as far as they speak of it."""
        services, postgres, etcd, backends, ready = (content[i] for i in (3, 4, 6, 7, 8))
        parts = {unit: state == "active" for unit, state in services}
        if postgres is not None:
            parts["patroni"] = (
                parts.get("patroni", False) and postgres[0] and postgres[3] is not False
            )
        if etcd is not None:
            parts["etcd"] = parts.get("etcd", False) and etcd[0] is True
        if backends is not None:
            parts["haproxy"] = parts.get("haproxy", False) and len(backends) == 1
        if ready is not None:
            parts["pgmend-app"] = parts.get("pgmend-app", False) and ready
        return parts

    def _notice(self, host: Host, content: Content) -> None:
        """Changes are announced, as wakes."""
        words = (content[1:4], content[5] and content[5][5], content[6], content[7], content[8])
        silent = tuple(name for name, state in content[9] if state == "silent")
        if self._w.said.get(host.instance_id) != (words, silent):
            self._w.said[host.instance_id] = (words, silent)
            self._w.wake(f"agent:{host.slot.name}")

    # -- words

    def _body(self, host: Host, content: Content) -> str:
        rest = self._rendered.get(content)
        if rest is None:
            rest = self._rendered[content] = _render(content, self._w.spec.cluster)
        return f'{{"instance_id": "{host.instance_id}", "sequence": {host.sequence}, {rest}'


def _render(content: Content, cluster: str) -> str:
    slot, phase, volume, services, postgres, patroni, etcd, backends, ready, peers = content
    body: dict[str, Any] = {
        "version": 1,
        "cluster": cluster,
        "slot": slot,
        "phase": phase,
        "volume_id": volume,
        "services": dict(services),
        "postgres": None if postgres is None else _postgres_words(postgres),
        "patroni": None if patroni is None else dict(zip(PATRONI, patroni, strict=True)),
        "etcd": None
        if etcd is None
        else {
            "healthy": etcd[0],
            "cluster_id": CLUSTER_ID,
            "alarms": ["NOSPACE"] if etcd[1] else [],
        },
        "haproxy": None if backends is None else {"up": True, "write_backends_up": list(backends)},
        "app": None if ready is None else {"up": True, "ready": ready},
        "peers": {name: {"state": state, "for_s": 1.0} for name, state in peers},
    }
    return json.dumps(body)[1:]


def _postgres_words(postgres: Content) -> dict[str, Any]:
    up, in_recovery, timeline, receiver, rows = postgres
    return {
        "up": up,
        "in_recovery": in_recovery,
        "timeline": timeline,
        "lsn_bytes": None,
        "system_identifier": SYSTEM if up else None,
        "receiver_up": receiver,
        "replication": [{"name": n, "state": s, "lag_bytes": lag} for n, s, lag in rows],
    }
