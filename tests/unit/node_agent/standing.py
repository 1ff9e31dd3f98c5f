"""A configured node with its Patroni and the cluster around it, for the commands that documents call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node_agent.commands.join import follow_again
from node_agent.commands.leave import go
from node_agent.commands.reinit import make_anew
from node_agent.commands.restart import again
from node_agent.phase import CONFIGURED, enter
from node_agent.probes.http import Http
from node_agent.standing import Here
from node_agent.units import Units
from tests.unit.node_agent.builders import (
    LEADER,
    Clock,
    Cluster,
    Programs,
    a_node,
    the_spec,
)
from tests.unit.node_agent.conftest import Home


class Patroni(Http):
    """Patroni's REST API and etcd's health on one node."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.role: str | None = "replica"
        self.state, self.paused, self.up = "running", False, True
        self.started_at = "2026-01-01 00:00:00"
        self.refuses: str | None = None
        self.etcd_healthy = True
        self.name = "db-euw1-b"
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.on_post: Callable[[], None] = lambda: None

    def get(self, url: str) -> tuple[int, Any] | None:
        if url.endswith("/health"):
            return (200, {"health": "true"}) if self.etcd_healthy else None
        if not self.up:
            return None
        if url.endswith("/cluster"):
            mine = {"name": self.name, "role": "replica", "state": self.state, "lag": 0}
            return 200, {"members": [mine], **({"pause": True} if self.paused else {})}
        return 200, {
            "state": self.state,
            "role": self.role,
            "postmaster_start_time": self.started_at,
        }

    def post(self, url: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        self.posts.append((url, body))
        if not self.up:
            return None
        if self.refuses is not None:
            return 503, None
        self.on_post()
        return 200, None


class Bench:
    """A configured node, a leader elsewhere."""

    def __init__(self, home: Home, slot: str = "db-euw1-b") -> None:
        self.home, self.slot = home, slot
        self.clock, self.programs, self.patroni = Clock(), Programs(), Patroni()
        self.cluster = Cluster().holding(LEADER, "db-euw3-a")
        self.in_recovery: bool | None = True
        self.units = Units(run=self.programs, folder=home.units, packaged=home.packaged)
        self.programs.states.update({"patroni": "active", "etcd": "active"})
        self.patroni.name = slot
        enter(CONFIGURED)

    def leading(self) -> Bench:
        self.patroni.role = "primary"
        self.cluster.keys[LEADER] = self.slot
        return self

    @property
    def here(self) -> Here:
        return Here(
            a_node(self.slot),
            the_spec(),
            http=self.patroni,
            voters=self.cluster.voters(),
            in_recovery=lambda: self.in_recovery,
        )

    def streams_once_patroni_is_started(self) -> Bench:
        self.programs.started = lambda _unit: self._streams()
        return self

    def _streams(self) -> None:
        self.patroni.up, self.patroni.state = True, "streaming"

    def join(self) -> str:
        return follow_again(self.here, self.units, self.clock.deadline(210))

    def reinit(self) -> str:
        return make_anew(self.here, self.clock.deadline(570))

    def leave(self) -> str:
        others = self.cluster.voters(without=self.slot)
        return go(self.here, others, self.units, self.clock.deadline(30))

    def restart(self, service: str) -> str:
        return again(self.here, self.cluster.voters(without=self.slot), service, self.units)

    def nothing_was_done(self) -> bool:
        verbs = {call[1] for call in self.programs.calls if call[0] == "systemctl"}
        return verbs <= {"show"} and not self.patroni.posts and not self.cluster.calls
