"""The hub table's truth: reports, marks, the healer's own items and its lease, with DynamoDB's conditional writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lambdas.core.actions import REMOVALS, STOPS
from lambdas.core.consent import Breaker, Planned, Window
from lambdas.core.model import Birth, Incident, Mode, OpenAction

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass(slots=True)
class Lease:
    """Who may act. `token` rises with every taking."""

    owner: str = ""
    token: int = 0
    expires_at: float = 0.0
    wake_pending: bool = False
    taken_at: float = 0.0


@dataclass(slots=True)
class Hub:
    """The items."""

    world: World
    reports: dict[str, str] = field(default_factory=dict)
    birth: Birth | None = None
    closed: bool = False
    mode: Mode = Mode.AUTO
    freshness: dict[str, Any] = field(default_factory=dict)
    actions: dict[str, OpenAction] = field(default_factory=dict)
    open: dict[str, Incident] = field(default_factory=dict)
    journal: dict[str, Mapping[str, str]] = field(default_factory=dict)
    lease: Lease = field(default_factory=Lease)
    windows: tuple[Window, ...] = ()
    breaker: Breaker | None = None
    planned: Planned | None = None
    planned_done: list[str] = field(default_factory=list)

    def put_report(self, slot: str, body: str) -> None:
        """The newest writer wins, whatever it says."""
        self.reports[slot] = body

    def birth_pending(self) -> bool:
        """The cluster is being born."""
        return self.birth is not None and self.birth.state == "pending"

    def first_leader(self) -> str:
        """Whom the birth item names."""
        return "" if self.birth is None else self.birth.first_leader

    def declare_birth(self, birth: Birth) -> bool:
        """Once."""
        if self.birth is not None:
            return False
        self.birth = birth
        self.world.watch.marks["birth"] = self.world.now
        return True

    def declare_born(self, *, etcd_cluster_id: str, system_identifier: str) -> bool:
        """Close the birth; False when it is not pending."""
        if self.birth is None or self.birth.state != "pending":
            return False
        self.birth = replace(
            self.birth,
            state="born",
            etcd_cluster_id=etcd_cluster_id,
            system_identifier=system_identifier,
        )
        self.world.watch.marks["born"] = self.world.now
        return True

    def begin(self, slot: str, action: OpenAction) -> None:
        """The slot's open action. One on a machine takes the place of a document that nobody waits for there any more.

        Should the run die before it acts, nobody knows of that document.
        """
        before = self.actions.get(slot)
        if before is not None and before.command_id and action.kind in REMOVALS | STOPS:
            self.world.documents.commands[before.command_id].known = False
        self.actions[slot] = action

    # -- what people allow

    def open_breaker(self, *, why: str, now: float) -> bool:
        """Once; False when it is open, or a person has looked since `now`."""
        known = self.breaker
        if known is not None and (known.open or known.acknowledged_at >= now):
            return False
        acknowledged_at = 0.0 if known is None else known.acknowledged_at
        self.breaker = Breaker(open=True, why=why, opened_at=now, acknowledged_at=acknowledged_at)
        self.world.watch.breaker_opened(why)
        return True

    def acknowledge(self) -> None:
        """A person has looked."""
        opened_at = 0.0 if self.breaker is None else self.breaker.opened_at
        now = self.world.now
        self.breaker = Breaker(open=False, why="", opened_at=opened_at, acknowledged_at=now)
        self.world.watch.acknowledged()
        self.world.stir()

    def finish_planned(self, plan_id: str, *, state: str) -> bool:
        """The order is over; False when it is no longer the one that is open."""
        if self.planned is None or self.planned.plan_id != plan_id:
            return False
        self.planned = None
        self.planned_done.append(f"{plan_id} {state}")
        return True

    # -- the lease

    def take_lease(self, *, owner: str, now: float, lease_s: float) -> int | None:
        """A new token when the lease is free by the asker's clock; else the holder is told to look once more."""
        lease = self.lease
        if lease.expires_at >= now:
            lease.wake_pending = True
            return None
        self.lease = Lease(
            owner=owner,
            token=lease.token + 1,
            expires_at=now + lease_s,
            taken_at=self.world.now,
        )
        return self.lease.token

    def renew_lease(
        self, *, owner: str, token: int, now: float, lease_s: float
    ) -> tuple[bool, bool]:
        """(still ours, a wake came meanwhile)."""
        lease = self.lease
        if not self.holds(owner, token) or lease.expires_at < now:
            return False, False
        woken, lease.wake_pending = lease.wake_pending, False
        lease.expires_at = now + lease_s
        return True, woken

    def release_lease(self, *, owner: str, token: int) -> bool:
        """Give it back unless a wake is pending."""
        if not self.holds(owner, token) or self.lease.wake_pending:
            return False
        self.lease.expires_at = 0.0
        return True

    def holds(self, owner: str, token: int) -> bool:
        """Whether the lease is still this run's, expired or not."""
        return self.lease.owner == owner and self.lease.token == token
