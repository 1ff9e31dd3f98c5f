"""The world as it really is. The healer sees it only through the ports; faults and people change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdas.core.model import InstanceState, Phase, Spec
from tests.simulation.agents import Agents
from tests.simulation.aws import Aws
from tests.simulation.documents import Documents
from tests.simulation.etcd import Etcd
from tests.simulation.hub import Hub
from tests.simulation.nodes import Nodes
from tests.simulation.patroni import Patroni
from tests.simulation.spec import START
from tests.simulation.storage import Storage
from tests.simulation.things import Disk, Host
from tests.simulation.timeline import Timeline
from tests.simulation.weather import Weather

if TYPE_CHECKING:
    from tests.simulation.healers import Healers
    from tests.simulation.watch import Watch

TICK_S, SKIP_S, STIRRED_S = 1.0, 60.0, 45.0
CLOCK_OFF_S = 600.0
ANNOUNCED = "is going to be stopped by AWS"
CLOCK_WRONG = "has a clock that is wrong"
MUTE = frozenset({"keys", "unreachable"})  # what keeps a host that serves from being heard
FULL_SHARE = 0.802  # of a disk, where it cannot go on like that


class World:
    """Everything there is."""

    healers: Healers
    watch: Watch

    def __init__(self, seed: int, spec: Spec, *, recording: bool = False) -> None:
        self.seed, self.spec, self.recording = seed, spec, recording
        self.time = Timeline(START)
        self.weather = Weather(self.time)
        self.aws, self.etcd, self.patroni = Aws(self), Etcd(self), Patroni(self)
        self.nodes, self.agents, self.documents = Nodes(self), Agents(self), Documents(self)
        self.hub, self.storage = Hub(self), Storage(self)
        self.said: dict[str, object] = {}
        self.cuts: dict[frozenset[str], float] = {}  # pairs of regions → until
        self.story: list[tuple[float, str]] = []
        self._stirred_until = START + STIRRED_S
        self._tick_number = 0
        self._ticked_at = START
        self._schedule(TICK_S)

    # -- time

    @property
    def now(self) -> float:
        """True time, which no clock in the world shows."""
        return self.time.now

    def stir(self) -> None:
        """Something changes: from here on every second counts."""
        now = self.time.now
        if now >= self._stirred_until:
            self._stirred_until = now + STIRRED_S
            self._schedule(TICK_S)
        self._stirred_until = now + STIRRED_S

    def keep_up(self) -> None:
        """Somebody looks: meanwhile every second counts."""
        if self.time.now >= self._stirred_until:
            self._schedule(TICK_S)

    def catch_up(self) -> None:
        """Before anybody looks or strikes after skipped time: all have gone on reporting meanwhile."""
        if self.time.now - self._ticked_at > TICK_S:
            self._pass(everybody=True)

    def _schedule(self, seconds: float) -> None:
        self._tick_number += 1
        number = self._tick_number
        self.time.after(seconds, lambda: self._tick(number))

    def _tick(self, number: int) -> None:
        if number != self._tick_number:
            return
        skipped = self.time.now - self._ticked_at > 2 * TICK_S
        self._pass(everybody=skipped)
        stirred = self.time.now < self._stirred_until or self.healers.running
        self._schedule(TICK_S if stirred else SKIP_S)

    def _pass(self, *, everybody: bool) -> None:
        self._ticked_at = self.time.now
        self.storage.tick()
        self.etcd.tick()
        with self.etcd.held():
            self.patroni.tick()
            if everybody:
                self.agents.report_all()
            else:
                self.agents.tick(int(self.time.now))
            self.watch.passed()

    # -- the network

    def connected(self, a: Host, b: Host) -> bool:
        """Whether packets pass between two hosts."""
        if a is b:
            return True
        if a.isolated or b.isolated:
            return False
        if not self.cuts or a.slot.region == b.slot.region:
            return True
        until = self.cuts.get(frozenset((a.slot.region, b.slot.region)))
        return until is None or self.time.now >= until

    # -- events

    def wake(self, why: str) -> None:
        """Something happened that wakes a healer, if the event arrives."""
        self.healers.event(why)

    def tell(self, sentence: str) -> None:
        """For the story of a replay."""
        if self.recording:
            self.story.append((self.time.now, sentence))

    # -- what full strength really is

    def missing(self) -> list[str]:
        """What is not as it should be, by the truth; empty at full strength."""
        self.catch_up()
        found = []
        for slot in self.spec.slots:
            host = self.aws.occupant(slot.name)
            if host is None:
                if slot.active:
                    found.append(f"{slot.name} is empty")
                continue
            why = self.ill(host)
            if why is not None:
                found.append(f"{slot.name} {why}")
        if self.patroni.primary() is None or self.patroni.leader_name() is None:
            found.append("nobody leads")
        return found

    def why_unwell(self, slot: str) -> str | None:
        """Why the slot does not serve now, or its disk will not for long."""
        host = self.aws.occupant(slot)
        if host is None:
            return "is empty" if self.spec.by_name[slot].active else None
        why = self.ill(host)
        return None if why in (ANNOUNCED, CLOCK_WRONG) else why

    def ill(self, host: Host) -> str | None:
        """What is not as it should be with a slot's occupant."""
        now, slot = self.now, host.slot
        if host.state is not InstanceState.RUNNING or not host.up(now):
            return f"is {host.state} and not up"
        if host.agent != "up" or host.phase is not Phase.CONFIGURED or MUTE & host.ails.keys():
            return f"has its agent {host.agent}, phase {host.phase}, ails {', '.join(host.ails)}"
        down = [u for u in self.nodes.units(host) if not host.runs(u, now)]
        if down:
            return f"does not run {', '.join(down)}"
        if slot.etcd_voter and (
            slot.name not in self.etcd.healthy() or slot.name in self.etcd.alarms
        ):
            return "has no healthy etcd member"
        is_db = slot.name.startswith("db-")
        if is_db and not (self.patroni.leads(host) or self.patroni.streams(host)):
            return "neither leads nor streams"
        return self._frail(host)

    def _frail(self, host: Host) -> str | None:
        """What serves now and will not for long."""
        if host.announced:
            return ANNOUNCED
        if abs(host.clock_off_s) > CLOCK_OFF_S:
            return CLOCK_WRONG
        return None if host.disk is None else _frail_disk(host.disk)


def _frail_disk(disk: Disk) -> str | None:
    if not disk.current:
        return "runs on a disk that was set aside"
    if disk.bad_pages:
        return "has damaged pages"
    if disk.taken_gib > FULL_SHARE * disk.fs_gib:
        return f"has a disk of {disk.fs_gib:.0f} GiB with {disk.taken_gib:.0f} on it"
    return "has a file system smaller than its disk" if disk.fs_gib < disk.gib else None
