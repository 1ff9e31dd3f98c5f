"""`leave`: take this node out of the cluster in good order. It stays off after a reboot, until it is configured again.

It must never take a leader away, nor etcd's majority. The disk stays as it is.
"""

from __future__ import annotations

from argparse import Namespace

from node_agent import phase, services
from node_agent.errors import AgentError, RefusedError
from node_agent.membership import Voters, may_lose, peer_url, vacate
from node_agent.node import Node
from node_agent.standing import Here
from node_agent.units import Units
from node_agent.waiting import Deadline

REMOVE_S = 30.0


def run(node: Node, _args: Namespace) -> str:
    """Compose and do."""
    here = Here.configured(node)
    others = Voters.of(here.spec, without=node.slot)
    return go(here, others, Units(), Deadline(REMOVE_S))


def go(here: Here, others: Voters, units: Units, deadline: Deadline) -> str:
    """Check everything, then stop and leave. Raises RefusedError with nothing done, AgentError with etcd running on."""
    slot = here.node.slot
    voter = bool(here.spec.slots[slot]["etcd_voter"])
    if here.node.role == "db":
        here.require_follower()
    if voter:
        _require_spare_majority(others, slot)
    for unit in services.OWN[here.node.role]:
        units.disable(unit)
        units.stop(unit)
    if voter:
        _give_up_seat(here, others, deadline)
        units.disable(services.ETCD)
        units.stop(services.ETCD)
    units.settle()
    phase.enter(phase.LEFT)
    return f"{slot} has left the cluster"


def _require_spare_majority(others: Voters, slot: str) -> None:
    members = others.members()
    if members is None:
        raise RefusedError("no other etcd voter answers; nothing was done")
    refusal = may_lose(members, others.healthy(), slot)
    if refusal is not None:
        raise RefusedError(f"{refusal}; nothing was done")


def _give_up_seat(here: Here, others: Voters, deadline: Deadline) -> None:
    """Raises AgentError while the seat is not known to be given up: a member that stops and stays listed counts
    against the majority for ever.
    """
    url = peer_url(here.spec.slots[here.node.slot])
    listed = deadline.until(others.members)
    if listed is None:
        raise AgentError(
            f"no healthy etcd voter answers, so {here.node.slot} keeps its seat and its etcd runs on; leave again"
            " once etcd has a majority"
        )
    vacate(others, here.node.slot, url, listed, deadline)
