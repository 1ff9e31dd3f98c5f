"""`replace-etcd-member`: give this voter a new seat where its old data is lost or corrupt.

The others remove the old member, its directory is set aside on the same disk, the new member joins as a learner and is
promoted. It must never touch a member that is well, nor change anything without a healthy majority of the others.
"""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime
from typing import Protocol

from node_agent import disk, shell
from node_agent.errors import RefusedError
from node_agent.membership import Voters, majority_without, promote, vacate
from node_agent.node import Node
from node_agent.probes.etcd import Etcd
from node_agent.probes.http import Http
from node_agent.setup import etcd
from node_agent.setup.context import Setup
from node_agent.standing import ANSWER_S, Here
from node_agent.units import Units
from node_agent.waiting import Deadline

PATIENCE_S = 230.0
CHANGE_S = 60.0
SLOW_S = 5.0  # a member on a busy disk may miss one answer, and is well


class Own(Protocol):
    """This node's etcd, as far as it is asked."""

    def healthy(self) -> bool:
        """Whether it serves linearizable reads and is not known to be corrupt."""

    def leads(self) -> bool:
        """Whether it is known to be etcd's leader."""


def run(node: Node, _args: Namespace) -> str:
    """Compose and do."""
    here = Here.configured(node)
    disk.require_ours(node)
    setup = Setup(
        node=node,
        spec=here.spec,
        passwords={},
        birth=None,
        birthing=False,
        etcd_token=None,
        others=Voters.of(here.spec, without=node.slot),
        everyone=here.everyone,
        units=Units(),
        run=shell.run,
        deadline=Deadline(PATIENCE_S),
    )
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return replace(setup, Etcd(Http(ANSWER_S)), stamp)


def replace(s: Setup, own: Own, stamp: str) -> str:
    """Check, then do it step by step; each may be done again after a crash. Raises RefusedError, AgentError."""
    slot = s.node.slot
    if not s.me["etcd_voter"]:
        raise RefusedError(f"{slot} is no etcd voter; nothing was done")
    well = s.deadline.within(SLOW_S).until(own.healthy) is True
    members, refusal = majority_without(s.others, slot)
    if members is None:
        raise RefusedError(f"{refusal}; nothing was done")
    mine = [m for m in members if s.peer_url in m.peer_urls]
    if well and mine:
        if own.leads():
            raise RefusedError(f"{slot} is well and leads etcd; nothing was done")
        if any(m.learner for m in mine):
            promote(s.others, s.peer_url, s.deadline.within(etcd.CATCH_UP_S))
            return f"the etcd member of {slot} votes now; it only had to be promoted"
        return f"the etcd member of {slot} is well; nothing was done"
    vacate(s.others, slot, s.peer_url, members, s.deadline.within(CHANGE_S))
    # A boot between these steps must not start etcd on an empty directory as what it was before.
    s.units.disable("etcd")
    s.units.stop("etcd")
    kept = etcd.set_aside(stamp)
    left = [m for m in members if m not in mine and m.name != slot]
    plan = etcd.Plan(seat=etcd.Seat.TAKEN, members=left)
    etcd.start(s, plan)
    etcd.vote(s, plan)
    where = "there was no old directory" if kept is None else f"the old directory is {kept}"
    return f"the etcd member of {slot} is replaced; {where}"
