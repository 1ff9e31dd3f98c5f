"""`restart`: restart one service of this node.

A living leader's Patroni and etcd are never restarted, nor an etcd member that the majority needs; a service that is
down may always be started.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from node_agent import services
from node_agent.errors import AgentError, HoldError, RefusedError
from node_agent.guard import REFUSED
from node_agent.membership import Voters, may_lose
from node_agent.node import Node
from node_agent.probes.etcd import Etcd
from node_agent.services import AGENT, ETCD
from node_agent.standing import Here
from node_agent.units import Units
from node_agent.waiting import Deadline

PATIENCE_S = 90.0
STEADY_S = 5.0  # systemd calls active what it has only just started, and what ends ends within this
CLOCK = "chrony"
# Nothing of the unit runs, or systemd is just starting it again. In any other state it may serve.
DOWN = frozenset({"inactive", "failed", "activating"})


def run(node: Node, args: Namespace) -> str:
    """Compose and do."""
    service = str(args.service)
    units = Units()
    if service == AGENT:
        units.restart(AGENT)  # asked for and not waited for: this command must outlive it
        return f"{AGENT} is being restarted"
    if service == CLOCK:
        return set_clock(units)
    here = Here.configured(node)
    others = Voters.of(here.spec, without=node.slot)
    return again(here, others, service, units)


Wait = Callable[[float], Deadline]


def again(here: Here, others: Voters, service: str, units: Units, wait: Wait = Deadline) -> str:
    """Check, restart, see that it stays up. Raises RefusedError, AgentError, and HoldError for an unknown Patroni."""
    if service not in services.of_slot(here.spec, here.node.slot):
        raise RefusedError(f"{here.node.slot} does not run {service}; nothing was done")
    if units.state(service) not in DOWN:
        _require_harmless(here, others, service)
    return _anew(service, units, wait)


def set_clock(units: Units, wait: Wait = Deadline) -> str:
    """Restart the clock's keeper, which steps a clock that is far off when it starts; nothing else depends on it."""
    if not units.exists(CLOCK):
        raise RefusedError(f"this node has no {CLOCK}; nothing was done")
    return _anew(CLOCK, units, wait)


def _anew(service: str, units: Units, wait: Wait) -> str:
    units.restart(service, wait_s=PATIENCE_S)
    ended = wait(STEADY_S).until(lambda: _not_active(service, units), every_s=0.5)
    if ended is None:
        return f"{service} is active again"
    if service == "patroni" and units.exit_code(service) == str(REFUSED):
        raise HoldError(
            "the guard does not know this Patroni and does not start it; trying again does not help: a person installs"
            " a version that it knows (docs/patroni-guard.md)"
        )
    raise AgentError(f"{service} was restarted and is {ended}")


def _not_active(service: str, units: Units) -> str | None:
    state = units.state(service)
    return None if state == "active" else state


def _require_harmless(here: Here, others: Voters, service: str) -> None:
    if service not in {"patroni", ETCD}:
        return
    if service == ETCD and not Etcd(here.http).healthy():
        return  # it serves nobody as it is
    if here.node.role == "db":
        leads = here.look().leads
        if leads is not None:
            raise RefusedError(f"{leads}; a living leader is never restarted")
    if service == ETCD:
        refusal = may_lose(others.members() or [], others.healthy(), here.node.slot)
        if refusal is not None:
            raise RefusedError(f"{refusal}; etcd was not restarted")
