"""`join`: make a configured database node follow the leader again, by restarting its Patroni, which rewinds or rejoins.

It must never touch a leader, nor a clone that is under way: starting over would never end on a large database.
"""

from __future__ import annotations

from argparse import Namespace

from node_agent.errors import RefusedError
from node_agent.node import Node
from node_agent.probes.patroni import CLONING
from node_agent.setup.patroni import STOPPED, clear_unfinished
from node_agent.standing import Here, Standing, failed
from node_agent.units import Units
from node_agent.waiting import Deadline

PATIENCE_S = 210.0
STARTING_S = 20.0
START_FAILED, START_FAILED_S = (
    "start failed",
    20.0,
)  # Patroni tries again by itself, in vain after so long
BUSY = frozenset({CLONING, "running custom bootstrap script"})


def run(node: Node, _args: Namespace) -> str:
    """Compose and do."""
    return follow_again(Here.configured(node), Units(), Deadline(PATIENCE_S))


def follow_again(here: Here, units: Units, deadline: Deadline) -> str:
    """Nothing where it streams; else restart Patroni and wait for it. Raises RefusedError, AgentError."""
    here.require_database()
    found = here.require_follower()
    if found.streaming:
        return f"{found.slot} streams already"
    if found.patroni["state"] in BUSY:
        raise RefusedError(f"{found.slot} is being cloned from the leader; it was left alone")
    if found.patroni["state"] == "starting" and _streams(here, deadline.within(STARTING_S)):
        return f"{found.slot} streams; it only needed time"
    _restart(here, units)
    if not _streams(here, deadline):
        raise failed(f"{found.slot} was restarted and does not stream yet", here.look())
    return f"{found.slot} follows {found.leader} again"


def _restart(here: Here, units: Units) -> None:
    if units.state("patroni") not in STOPPED:
        here.require_follower()  # it may have been promoted while we looked
        units.stop("patroni")
    clear_unfinished(units)
    units.start("patroni")


def _streams(here: Here, deadline: Deadline) -> Standing | None:
    """Wait for it; not to the end where its PostgreSQL fails to start again and again."""
    patience: Deadline | None = None

    def ask() -> Standing | None:
        nonlocal patience
        found = here.look()
        fails = found.patroni["state"] == START_FAILED  # between two tries it is "starting" again
        if fails and patience is None:
            patience = deadline.within(START_FAILED_S)
        ended = fails and patience is not None and patience.left_s <= 0
        return found if found.streaming or ended else None

    found = deadline.until(ask, every_s=0.5)
    return found if found is not None and found.streaming else None
