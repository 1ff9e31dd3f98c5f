"""Where this node stands in the cluster now, for commands that must not touch a leader.

Patroni's word and etcd's leader key are both asked; when neither can speak, a PostgreSQL that takes writes counts as
the leader. Unknown is never taken for "not the leader".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from node_agent.errors import AgentError, RefusedError
from node_agent.membership import Voters
from node_agent.node import Node
from node_agent.paths import SECRET_FILE
from node_agent.phase import CONFIGURED, phase
from node_agent.probes import patroni
from node_agent.probes.http import Http
from node_agent.probes.postgres import UNKNOWN, Postgres, conninfo
from node_agent.render.patroni import REST_PORT, leader_key
from node_agent.spec import Spec

ANSWER_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One look. `leader` is meaningful only when `etcd_answered`."""

    slot: str
    patroni: dict[str, Any]
    etcd_answered: bool
    leader: str | None
    in_recovery: bool | None

    @property
    def leads(self) -> str | None:
        """Why this node counts as the leader, or None."""
        if self.patroni["role"] == "leader":
            return f"Patroni says that {self.slot} leads"
        if self.leader == self.slot:
            return f"etcd's leader key names {self.slot}"
        another = self.etcd_answered and self.leader is not None
        if self.in_recovery is False and not another:
            return f"PostgreSQL on {self.slot} takes writes and nobody else is known to lead"
        return None

    @property
    def streaming(self) -> bool:
        """Whether Patroni sees this copy stream from its leader."""
        mine = [m for m in self.patroni["members"] if m["name"] == self.slot]
        return bool(mine) and mine[0]["state"] == "streaming"

    @property
    def words(self) -> str:
        """For people."""
        return f"Patroni here is {self.patroni['state'] or 'silent'}, the leader is {self.leader or 'unknown'}"


class Here:
    """Looks at this node."""

    def __init__(
        self,
        node: Node,
        spec: Spec,
        *,
        http: Http | None = None,
        voters: Voters | None = None,
        postgres: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self.node, self.spec = node, spec
        self.address = str(spec.slots[node.slot]["address"])
        self.http = http or Http(ANSWER_S)
        self.everyone = voters or Voters.of(spec)
        self.postgres = postgres or ask_postgres

    @classmethod
    def configured(cls, node: Node) -> Here:
        """Raises RefusedError on a node that no document has configured."""
        spec = Spec.kept()
        if spec is None or phase() != CONFIGURED or node.slot not in spec.slots:
            raise RefusedError(f"{node.slot} is not configured; nothing was done")
        return cls(node, spec)

    def look(self) -> Standing:
        """Ask Patroni and etcd; PostgreSQL only when Patroni is silent."""
        found = patroni.probe(self.http, self.address)
        answered, leader = self.everyone.value(leader_key(self.spec))
        return Standing(
            slot=self.node.slot,
            patroni=found,
            etcd_answered=answered,
            leader=leader,
            in_recovery=None if found["role"] else self.postgres()["in_recovery"],
        )

    @property
    def rest(self) -> str:
        """Patroni's REST API on this node."""
        return f"http://{self.address}:{REST_PORT}"

    def require_database(self) -> None:
        """Raise RefusedError on a node without a database."""
        if self.node.role != "db":
            raise RefusedError(f"{self.node.slot} has no database; nothing was done")

    def require_follower(self) -> Standing:
        """Raise RefusedError on a leader, and where there is no leader to follow."""
        found = self.look()
        if found.leads is not None:
            raise RefusedError(f"{found.leads}; a living leader is never touched")
        if not found.etcd_answered:
            raise RefusedError("etcd has no majority, so who leads is not known; nothing was done")
        if found.leader is None:
            raise RefusedError("there is no leader to follow now; nothing was done")
        if found.patroni["paused"]:
            raise RefusedError("Patroni is paused; nothing was done")
        return found


def ask_postgres() -> dict[str, Any]:
    """The report's `postgres`, asked as the monitor role on this host; unknown when it does not answer."""
    if not SECRET_FILE.exists():
        return dict(UNKNOWN)
    probe = Postgres(conninfo(json.loads(SECRET_FILE.read_text())["monitor"], ANSWER_S))
    try:
        return probe.probe()
    finally:
        probe.close()


def failed(what: str, standing: Standing) -> AgentError:
    """The error of a wait that ran out."""
    return AgentError(f"{what}: {standing.words}")
