"""`reinit`: discard this copy and make it anew from the leader, by Patroni's own road.

It must never run on the leader, nor without one.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from node_agent.errors import RefusedError
from node_agent.node import Node
from node_agent.probes.http import mapping
from node_agent.standing import Here, failed
from node_agent.waiting import Deadline

PATIENCE_S = 570.0


def run(node: Node, _args: Namespace) -> str:
    """Compose and do."""
    return make_anew(Here.configured(node), Deadline(PATIENCE_S))


def make_anew(here: Here, deadline: Deadline) -> str:
    """Ask Patroni and wait until the new copy streams. Raises RefusedError, AgentError."""
    here.require_database()
    found = here.require_follower()
    before = _started(here)
    answer = here.http.post(f"{here.rest}/reinitialize", {"force": True})
    if answer is None:
        raise RefusedError("Patroni does not answer here; join it first")
    if answer[0] != 200:
        raise RefusedError(f"Patroni refused to make {found.slot} anew (HTTP {answer[0]})")

    def done() -> bool:
        started = _started(here)
        return started is not None and started != before and here.look().streaming

    if not deadline.until(done, every_s=0.5):
        raise failed(f"{found.slot} is being made anew and does not stream yet", here.look())
    return f"{found.slot} was made anew from {found.leader}"


def _started(here: Here) -> Any:  # noqa: ANN401 - compared, never read
    """When this PostgreSQL was started, in Patroni's words; None while it is not running."""
    answer = here.http.get(f"{here.rest}/patroni")
    return None if answer is None else mapping(answer[1]).get("postmaster_start_time")
