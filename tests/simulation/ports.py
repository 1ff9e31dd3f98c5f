"""The hub as the real healer uses it, over the simulated world: the table, the bus, and metrics.

As with AWS's ports, every call takes time and may be the last of its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lambdas.adapters.table import RawReport, State
from lambdas.core.model import Birth, Incident, OpenAction
from lambdas.errors import BusRefusedError, LeaseLostError
from tests.simulation.aws import refusal

if TYPE_CHECKING:
    from tests.simulation.healers import Healer

CALL_S = 0.05


def iso(at: float) -> str:
    """As the composition root's, without its cost."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


class TablePort:
    """The hub table for one run."""

    def __init__(self, healer: Healer) -> None:
        self._h, self._w, self._hub = healer, healer.world, healer.world.hub

    def _call(self) -> None:
        self._h.spend(CALL_S)
        if self._w.weather.on("table-silent") or self._h.dice_say("table-throttled", ""):
            raise refusal("ProvisionedThroughputExceededException", "PutItem")

    def _write(self) -> None:
        """A call that changes something: refused once the lease is another's, as its transaction would be."""
        self._call()
        if self._h.token is None or not self._hub.holds(self._h.owner, self._h.token):
            raise LeaseLostError("another run took the lease over; nothing was written")

    def state(self) -> State:
        self._call()
        self._h.read_the_table()
        hub = self._hub
        return State(
            reports=tuple(RawReport(slot=s, body=b) for s, b in hub.reports.items()),
            birth=hub.birth,
            closed=hub.closed,
            mode=hub.mode,
            freshness=dict(hub.freshness),
            open_actions=dict(hub.actions),
            incidents=dict(hub.open),
            windows=hub.windows,
            breaker=hub.breaker,
            planned=hub.planned,
        )

    def declare_birth(self, birth: Birth) -> bool:
        self._write()
        self._w.watch.call(self._h, "declare-birth", birth.first_leader, "")
        done = self._hub.declare_birth(birth)
        self._h.perhaps_die()
        return done

    def declare_born(self, *, etcd_cluster_id: str, system_identifier: str) -> None:
        self._write()
        self._w.watch.call(self._h, "declare-born", self._hub.first_leader(), "")
        done = self._hub.declare_born(
            etcd_cluster_id=etcd_cluster_id, system_identifier=system_identifier
        )
        if not done:
            raise refusal("ConditionalCheckFailedException", "UpdateItem")
        self._h.perhaps_die()

    def save_freshness(self, slots: Mapping[str, Any]) -> None:
        self._write()
        self._hub.freshness = dict(slots)
        self._h.perhaps_die()

    def save_strength(self, **verdict: Any) -> None:
        self._write()
        assert verdict
        self._h.perhaps_die()

    def open_breaker(self, *, why: str, now: float) -> bool:
        self._write()
        done = self._hub.open_breaker(why=why, now=now)
        self._h.perhaps_die()
        return done

    def finish_planned(self, plan_id: str, *, state: str) -> bool:
        self._write()
        done = self._hub.finish_planned(plan_id, state=state)
        self._h.perhaps_die()
        return done

    def save_incident(self, incident: Incident) -> None:
        self._write()
        self._hub.open[incident.slot] = incident
        self._h.perhaps_die()

    def heal_incident(self, incident: Incident, *, at: float, sentence: str) -> None:
        assert at
        assert sentence
        self._write()
        self._hub.open.pop(incident.slot, None)
        self._h.perhaps_die()

    def save_action(self, slot: str, action: OpenAction, *, token: int) -> None:
        self._write()
        self._h.intends(token)
        self._hub.begin(slot, action)
        self._h.perhaps_die()

    def clear_action(self, slot: str) -> None:
        self._write()
        self._hub.actions.pop(slot, None)
        self._h.perhaps_die()

    def journal(
        self, *, at_iso: str, action_id: str, entry: Mapping[str, str], token: int, at: float
    ) -> None:
        self._write()
        row = {**entry, "token": str(token), "at": str(at)}
        self._hub.journal[f"{at_iso}#{action_id}"] = row
        self._h.perhaps_die()

    def journal_since(self, at_iso: str) -> list[Mapping[str, str]]:
        self._call()
        return [row for key, row in self._hub.journal.items() if key >= at_iso]

    def take_lease(self, *, owner: str, now: float, lease_s: float) -> int | None:
        self._call()
        token = self._hub.take_lease(owner=owner, now=now, lease_s=lease_s)
        self._h.took(token)
        self._h.perhaps_die()
        return token

    def renew_lease(
        self, *, owner: str, token: int, now: float, lease_s: float
    ) -> tuple[bool, bool]:
        self._call()
        answer = self._hub.renew_lease(owner=owner, token=token, now=now, lease_s=lease_s)
        self._h.perhaps_die()
        return answer

    def release_lease(self, *, owner: str, token: int) -> bool:
        self._call()
        done = self._hub.release_lease(owner=owner, token=token)
        self._h.perhaps_die()
        return done


class BusPort:
    """The hub bus: what the healer says may wake another run."""

    def __init__(self, healer: Healer) -> None:
        self._h, self._w = healer, healer.world

    def say(self, detail_type: str, detail: Mapping[str, object]) -> None:
        self._h.spend(CALL_S)
        if self._w.weather.on("bus-refuses"):
            raise BusRefusedError(f"the hub bus did not take {detail_type!r}: as simulated")
        assert detail
        if detail_type == "Reconcile Unfinished":
            self._w.wake("unfinished")
        self._h.perhaps_die()


class MetricsPort:
    """CloudWatch."""

    def __init__(self, healer: Healer) -> None:
        self._h = healer

    def put(self, values: Mapping[tuple[str, str | None], float]) -> None:
        assert values
        self._h.spend(CALL_S)
