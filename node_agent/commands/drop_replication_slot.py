"""`drop-replication-slot`: let go of the WAL that is kept for a replication slot which nobody uses any more.

It must never drop a slot that a copy of this cluster streams or will stream from, nor a logical one: somebody's
subscription hangs on it.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from node_agent import replication_slots, shell
from node_agent.errors import AgentError, RefusedError
from node_agent.node import Node
from node_agent.shell import Run
from node_agent.standing import Here, Standing


def run(node: Node, args: Namespace) -> str:
    """Compose and do."""
    return drop(Here.configured(node), str(args.replication_slot), shell.run)


def drop(here: Here, name: str, run: Run) -> str:
    """Check and drop; nothing to do where it is gone. Raises RefusedError, AgentError."""
    here.require_database()
    found = _listed(here)
    if not any(row["name"] == name for row in found):
        return f"there is no replication slot {name} on {here.node.slot}"
    (row,) = (row for row in found if row["name"] == name)
    _require_nobodys(here, here.look(), row)
    # The conditions once more, where they are decided: a slot that is in use by now is left alone.
    replication_slots.drop(name, run)
    if any(row["name"] == name for row in _listed(here)):
        raise AgentError(f"the replication slot {name} is still there; somebody may use it again")
    kept = row["retained_bytes"]
    return f"the replication slot {name} is dropped; it kept {'?' if kept is None else kept} bytes of WAL"


def _listed(here: Here) -> list[dict[str, Any]]:
    """Raises RefusedError while PostgreSQL does not say which slots it has."""
    found = here.postgres()
    if not found["up"]:
        raise RefusedError(f"PostgreSQL on {here.node.slot} does not answer; nothing was done")
    listed: list[dict[str, Any]] = found["replication_slots"]
    return listed


def _require_nobodys(here: Here, now: Standing, row: dict[str, Any]) -> None:
    name = row["name"]
    slots = [slot["name"] for slot in here.spec.of_role("db") if slot["active"]]
    members = [member["name"] for member in now.patroni["members"] if member["name"]]
    for owner in (*slots, *members):
        if name in {owner, replication_slots.name_of(owner)}:
            raise RefusedError(f"the replication slot {name} is {owner}'s; nothing was done")
    if not now.patroni["members"]:
        raise RefusedError("Patroni does not say who is a member; nothing was done")
    if row["physical"] is not True:
        raise RefusedError(f"the replication slot {name} is not physical; nothing was done")
    if row["active"] is not False:
        raise RefusedError(f"the replication slot {name} is in use; nothing was done")
