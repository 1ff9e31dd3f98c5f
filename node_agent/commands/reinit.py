"""`reinit`: discard this copy and make it anew from the leader, by Patroni's own road.

It must never run on the leader, nor without one, nor discard a copy that streams, nor one that reaches further than the
leader: that may be the only place where an acknowledged write still is.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from node_agent import database, position, shell
from node_agent.errors import AgentError, RefusedError
from node_agent.node import Node
from node_agent.position import Position
from node_agent.probes.http import mapping, number, rows, text
from node_agent.render.patroni import REST_PORT
from node_agent.standing import Here, Standing, failed
from node_agent.waiting import Deadline

PATIENCE_S = 570.0
POSITIONS = ("location", "received_location", "replayed_location")


def run(node: Node, _args: Namespace) -> str:
    """Compose and do."""
    return make_anew(Here.configured(node), Deadline(PATIENCE_S), files_reach)


def files_reach() -> Position | None:
    """How far this copy's files reach."""
    return position.on_disk(database.DATA_DIR, shell.run)


def make_anew(here: Here, deadline: Deadline, files: Callable[[], Position | None]) -> str:
    """Ask Patroni and wait until the new copy streams. Raises RefusedError, AgentError."""
    here.require_database()
    found = here.require_follower()
    _require_not_streaming(here, found)
    require_not_the_last(here, found, files)
    _require_the_same(here, found)
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


def _require_not_streaming(here: Here, found: Standing) -> None:
    """Raise RefusedError where both Patroni here and the leader call this copy streaming."""
    if found.streaming and _is_sent_wal(here, found):
        raise RefusedError(
            f"{found.slot} streams from {found.leader}, so it is as good as a new one; it was left as it is"
        )


def _is_sent_wal(here: Here, found: Standing) -> bool:
    """Whether the leader's Patroni lists this copy as one that streams from its PostgreSQL."""
    leader = here.spec.slots.get(found.leader or "")
    answer = here.http.get(f"http://{leader['address']}:{REST_PORT}/patroni") if leader else None
    senders = rows(mapping(None if answer is None else answer[1]).get("replication"))
    mine = [row for row in senders if text(row.get("application_name")) == found.slot]
    return any(row.get("state") == "streaming" for row in mine)


def require_not_the_last(here: Here, found: Standing, files: Callable[[], Position | None]) -> None:
    """Raise RefusedError unless the leader is known to have everything that this copy has."""
    try:
        own = files()
    except (AgentError, OSError) as error:
        raise RefusedError(
            f"how far the copy of {found.slot} reaches is not known: {error}; nothing was done"
        ) from error
    if own is None:
        return  # there is no finished copy to lose
    served = position_of(here, here.rest)
    if served is not None and served.lsn_bytes > own.lsn_bytes:
        own = Position(timeline=own.timeline, lsn_bytes=served.lsn_bytes)
    leader = here.spec.slots.get(found.leader or "")
    theirs = leader and position_of(here, f"http://{leader['address']}:{REST_PORT}")
    if not theirs:
        raise RefusedError(
            f"the leader {found.leader} does not say how far it is; nothing was done"
        )
    if theirs.timeline < own.timeline or theirs.lsn_bytes < own.lsn_bytes:
        raise RefusedError(
            f"the copy of {found.slot} reaches {own}, the leader {found.leader} only {theirs}; it may hold the last"
            " of some writes and was left as it is"
        )


def _require_the_same(here: Here, found: Standing) -> None:
    """Reading the files may take minutes: raise RefusedError when who leads is not what it was before."""
    now = here.require_follower()
    if now.leader != found.leader:
        raise RefusedError(
            f"{now.leader} leads now and {found.leader} did; nothing was done, ask again"
        )


def position_of(here: Here, rest: str) -> Position | None:
    """Where Patroni says that its PostgreSQL is; None when it does not say both."""
    answer = here.http.get(f"{rest}/patroni")
    body = mapping(None if answer is None else answer[1])
    reached = [number(mapping(body.get("xlog")).get(name)) for name in POSITIONS]
    known = [lsn for lsn in reached if lsn is not None]
    timeline = number(body.get("timeline"))
    if not known or timeline is None:
        return None
    return Position(timeline=timeline, lsn_bytes=max(known))


def _started(here: Here) -> Any:  # noqa: ANN401 - compared, never read
    """When this PostgreSQL was started, in Patroni's words; None while it is not running."""
    answer = here.http.get(f"{here.rest}/patroni")
    return None if answer is None else mapping(answer[1]).get("postmaster_start_time")
