"""Who may take the leader key when it is absent: two gaps in Patroni's election that only show within about a second of
a promotion, before the new leader has written its timeline to etcd.

A running primary is judged by the timeline in etcd's `/history` alone: it says so when it asks for the key, and
`leadership` lets only the last holder have it. A copy's position is compared without its timeline: here a member on a
newer timeline counts as ahead, whatever its position.
"""
# It stands in for methods of Patroni's classes: it has their signatures and uses what they use.
# ruff: noqa: ANN401, SLF001

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from node_agent.guard.leadership import Dcs, Standing

AHEAD = 2**63 - 1
log = logging.getLogger("pgmend.guard")


class Status(Protocol):
    """What a member's REST API answered."""

    member: Any
    timeline: int | None

    def _replace(self, *, wal_position: int) -> Status: ...


class Ha(Protocol):
    """The part of `patroni.ha.Ha` used here."""

    dcs: Dcs
    state_handler: Any
    cluster: Any
    fetch_nodes_statuses: Callable[[Any], list[Status]]

    def is_paused(self) -> bool:
        """Maintenance mode."""

    def is_standby_cluster(self) -> bool:
        """A cluster that follows another one, whose timeline is not its own."""


def install(ha: ModuleType) -> None:
    """Wrap the methods of `patroni.ha`'s `Ha`."""
    stock = ha.Ha
    stock.acquire_lock = declaring(stock.acquire_lock)
    stock._is_healthiest_node = timelines_first(stock._is_healthiest_node)


def declaring(acquire: Callable[[Any], bool]) -> Callable[[Ha], bool]:
    """Patroni's `acquire_lock`, which says when it asks for a running primary. In pause that is for people to judge."""

    def declare_and_acquire(ha: Ha) -> bool:
        standing = Standing.of(ha.dcs)
        standing.primary = bool(ha.state_handler.is_primary()) and not ha.is_paused()
        try:
            return acquire(ha)
        finally:
            standing.primary = False

    return declare_and_acquire


def timelines_first(check: Callable[..., bool]) -> Callable[..., bool]:
    """Patroni's `_is_healthiest_node`, for which a member on a newer timeline than ours is ahead of us."""

    def healthiest(ha: Ha, *args: Any, **kwargs: Any) -> bool:
        if ha.is_standby_cluster():
            return check(ha, *args, **kwargs)
        fetch = ha.fetch_nodes_statuses

        def statuses(members: Any) -> list[Status]:
            mine = ha.state_handler.replica_cached_timeline(ha.cluster.timeline)
            return [_ahead_if_newer(status, mine or 0) for status in fetch(members)]

        # On the object, where it hides the class's method for as long as this check asks.
        ha.fetch_nodes_statuses = statuses
        try:
            return check(ha, *args, **kwargs)
        finally:
            del ha.fetch_nodes_statuses

    return healthiest


def _ahead_if_newer(status: Status, mine: int) -> Status:
    theirs = status.timeline or 0
    if not mine or theirs <= mine:
        return status
    log.warning(
        "pgmend guard: %s is on timeline %s and this member on %s: it is ahead",
        status.member.name,
        theirs,
        mine,
    )
    return status._replace(wal_position=AHEAD)
