"""A configured node with its Patroni and the cluster around it, for the commands that documents call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node_agent.commands.join import follow_again
from node_agent.commands.leave import go
from node_agent.commands.reinit import make_anew
from node_agent.commands.restart import again
from node_agent.errors import AgentError
from node_agent.phase import CONFIGURED, enter
from node_agent.position import Position
from node_agent.probes.http import Http
from node_agent.probes.postgres import UNKNOWN
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
        self.others: list[dict[str, Any]] = []
        self.told: tuple[int, str] | None = (200, "Successfully switched over")
        self.leader_at = "10.20.10.11"
        self.leader: dict[str, Any] | None = {"timeline": 2, "xlog": {"location": 2000}}
        self.own: dict[str, Any] = {}
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.on_post: Callable[[], None] = lambda: None

    def get(self, url: str) -> tuple[int, Any] | None:
        if url.endswith(":2379/health"):
            return (200, {"health": "true"}) if self.etcd_healthy else None
        if self.leader_at in url:
            return None if self.leader is None else (200, {"role": "primary", **self.leader})
        if not self.up:
            return None
        if url.endswith("/cluster"):
            mine = {"name": self.name, "role": "replica", "state": self.state, "lag": 0}
            return 200, {
                "members": [mine, *self.others],
                **({"pause": True} if self.paused else {}),
            }
        return 200, {
            "state": self.state,
            "role": self.role,
            "postmaster_start_time": self.started_at,
            **self.own,
        }

    def post(self, url: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        self.posts.append((url, body))
        if not self.up:
            return None
        if self.refuses is not None:
            return 503, None
        self.on_post()
        return 200, None

    def tell(self, url: str, body: dict[str, Any]) -> tuple[int, str] | None:
        self.posts.append((url, body))
        if self.told is None or self.told[0] != 412:
            self.on_post()
        return self.told


class Bench:
    """A configured node, a leader elsewhere."""

    def __init__(self, home: Home, slot: str = "db-euw1-b") -> None:
        self.home, self.slot = home, slot
        self.clock, self.programs, self.patroni = Clock(), Programs(), Patroni()
        self.cluster = Cluster().holding(LEADER, "db-euw3-a")
        self.in_recovery: bool | None = True
        self.postgres: dict[str, Any] = {}
        self.files: Position | AgentError | None = Position(timeline=2, lsn_bytes=1000)
        self.units = Units(run=self.programs, folder=home.units, packaged=home.packaged)
        self.programs.states.update({"patroni": "active", "etcd": "active"})
        self.patroni.name = slot
        if slot == "db-euw3-a":
            self.patroni.leader_at = "10.10.10.11"
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
            postgres=lambda: {**UNKNOWN, **self.postgres, "in_recovery": self.in_recovery},
        )

    def streams_once_patroni_is_started(self) -> Bench:
        self.programs.started = lambda _unit: self.streams()
        return self

    def streams(self) -> None:
        self.patroni.up, self.patroni.state = True, "streaming"

    def join(self) -> str:
        return follow_again(self.here, self.units, self.clock.deadline(210))

    def reinit(self) -> str:
        return make_anew(self.here, self.clock.deadline(570), self._files_reach)

    def _files_reach(self) -> Position | None:
        if isinstance(self.files, AgentError):
            raise self.files
        return self.files

    def leave(self) -> str:
        others = self.cluster.voters(without=self.slot)
        return go(self.here, others, self.units, self.clock.deadline(30))

    def restart(self, service: str) -> str:
        others = self.cluster.voters(without=self.slot)
        return again(self.here, others, service, self.units, self.clock.deadline)

    def nothing_was_done(self) -> bool:
        verbs = {call[1] for call in self.programs.calls if call[0] == "systemctl"}
        return verbs <= {"show"} and not self.patroni.posts and not self.cluster.calls
