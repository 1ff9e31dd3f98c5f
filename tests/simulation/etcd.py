"""etcd's truth: who is a member, who serves, and whether a majority does.

Members are known by slot and by the id their directory was written under; a directory of another id serves nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.simulation.things import FOREVER, Host

if TYPE_CHECKING:
    from tests.simulation.world import World

ELECTION_S = 2.0


class Etcd:
    """The one etcd cluster."""

    def __init__(self, world: World) -> None:
        self._w = world
        self.members: dict[str, int] = {}  # slot → member id
        self.learners: set[str] = set()
        self.awaited: set[str] = set()  # of the birth's members, those that have not begun yet
        self.leader: str | None = None
        self.born = False  # its keys exist: Patroni's initialize key is set
        self.alarms: dict[str, str] = {}  # slot → NOSPACE or CORRUPT
        self._next_id = 1
        self.answers_since = FOREVER
        self._lost_at: float | None = None
        self._held: list[str] | None = None  # who is healthy, while nothing of etcd changes

    # -- questions

    def serves(self, slot: str) -> bool:
        """The slot's member runs on its own directory."""
        host = self._w.aws.occupant(slot)
        if host is None or host.disk is None or not host.runs("etcd", self._w.now):
            return False
        return slot in self.members and host.disk.member == self.members[slot]

    def voting(self) -> list[str]:
        """Members that count."""
        return [slot for slot in self.members if slot not in self.learners]

    def majority(self) -> int:
        """How many of them decide."""
        return len(self.voting()) // 2 + 1

    def healthy(self) -> list[str]:
        """Voting members that serve and are in touch with etcd's leader; empty without one."""
        return self._healthy() if self._held is None else self._held

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, nothing happens that concerns etcd, so that who is healthy is found out once."""
        self._held = self._healthy()
        try:
            yield
        finally:
            self._held = None

    def _healthy(self) -> list[str]:
        if self.leader is None or not self.serves(self.leader):
            return []
        chief = self._w.aws.occupant(self.leader)
        found = []
        for slot in self.voting():
            host = self._w.aws.occupant(slot)
            if host is None or chief is None or not self.serves(slot):
                continue
            if host is chief or self._w.connected(host, chief):
                found.append(slot)
        return found if len(found) >= self.majority() else []

    def quorum(self) -> bool:
        """Whether anybody gets answers."""
        return bool(self.healthy())

    def reaches(self, host: Host) -> bool:
        """Whether this host gets linearizable answers."""
        for slot in self.healthy():
            member = self._w.aws.occupant(slot)
            if member is host or (member is not None and self._w.connected(host, member)):
                return True
        return False

    def is_well(self, host: Host) -> bool:
        """Whether the host's own member answers: it is in touch with etcd's leader, and not known to be corrupt."""
        slot = host.slot.name
        return slot in self.healthy() and self.alarms.get(slot) != "CORRUPT"

    def enough_without(self, slot: str) -> bool:
        """Whether a majority serves when this member does not."""
        others = [s for s in self.voting() if s != slot and self.serves(s)]
        return len(others) >= self.majority()

    # -- what happens

    def tick(self) -> None:
        """Elect a leader when there is none."""
        if self.healthy():
            self._lost_at, self.answers_since = None, min(self.answers_since, self._w.now)
            return
        self.answers_since = FOREVER
        self._lost_at = self._w.now if self._lost_at is None else self._lost_at
        if self._w.now - self._lost_at < ELECTION_S:
            return
        before, self.leader = self.leader, None
        order = sorted(self.voting(), key=lambda s: (not s.startswith("witness"), s))
        for slot in order:
            self.leader = slot
            if self.healthy():
                self._lost_at = None
                return
        self.leader = before

    def found(self, slot: str) -> int:
        """A voter of the birth starts. All of them are members from the first, so that one alone decides nothing."""
        if not self.members:
            self.members = {voter.name: self._new_id() for voter in self._w.spec.voters}
            self.awaited = set(self.members)
        self.awaited.discard(slot)
        return self.members[slot]

    def awaits(self, slot: str) -> bool:
        """Whether the slot's member of the birth has not begun yet."""
        return not self.members or slot in self.awaited

    def take_seat(self, slot: str) -> int:
        """Remove the old member of the slot, add a learner; its id."""
        self.members[slot] = self._new_id()
        self.learners.add(slot)
        self.awaited.discard(slot)
        self.alarms.pop(slot, None)
        self._w.stir()
        return self.members[slot]

    def promote(self, slot: str) -> None:
        """The learner has caught up."""
        self.learners.discard(slot)
        self._w.stir()

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id
