"""`switchover`: hand the database leader's part from this node to a copy that is named, by Patroni's own road.

It must never run where this node is not known to lead, nor to a copy that is not known to follow closely.
"""

from __future__ import annotations

from argparse import Namespace

from node_agent.errors import RefusedError, UsageError
from node_agent.node import Node
from node_agent.probes.http import Http
from node_agent.standing import Here, Standing, failed
from node_agent.waiting import Deadline

PATIENCE_S = 90.0
ANSWER_S = 30.0  # Patroni answers once the candidate leads, or after ten looks of its own
DONE, ACCEPTED = 200, 202
FAILED = 503  # it was tried


def run(node: Node, args: Namespace) -> str:
    """Compose and do."""
    return hand_over(Here.configured(node), str(args.to), Http(ANSWER_S), Deadline(PATIENCE_S))


def hand_over(here: Here, to: str, patient: Http, deadline: Deadline) -> str:
    """Check, ask Patroni, wait until the other leads and this node follows.

    Raises UsageError, RefusedError, AgentError.
    """
    here.require_database()
    target = here.spec.slots.get(to)
    if target is None or target["role"] != "db" or to == here.node.slot:
        raise UsageError(f"{to} is no other database slot of this cluster")
    found = here.look()
    if _handed_over(found, to):
        return f"{to} leads already and {found.slot} follows"
    _require_leader(found)
    _require_close(here, found, to)
    body = {"leader": here.node.slot, "candidate": to}
    answer = patient.tell(f"{here.rest}/switchover", body)
    if answer is not None and answer[0] not in {DONE, ACCEPTED, FAILED}:
        raise RefusedError(f"Patroni refused the switchover (HTTP {answer[0]}): {answer[1]}")
    if not deadline.until(lambda: _handed_over(here.look(), to), every_s=0.5):
        words = "" if answer is None else f" (Patroni: {answer[1]})"
        raise failed(f"{to} does not lead with {here.node.slot} behind it{words}", here.look())
    return f"{to} leads and {here.node.slot} follows"


def _handed_over(found: Standing, to: str) -> bool:
    return found.etcd_answered and found.leader == to and found.leads is None and found.streaming


def _require_leader(found: Standing) -> None:
    if not found.etcd_answered:
        raise RefusedError("etcd has no majority, so who leads is not known; nothing was done")
    if found.patroni["role"] != "leader" or found.leader != found.slot:
        raise RefusedError(f"{found.slot} does not lead: {found.words}; nothing was done")
    if found.patroni["paused"]:
        raise RefusedError("Patroni is paused; nothing was done")


def _require_close(here: Here, found: Standing, to: str) -> None:
    """Raise RefusedError unless both Patroni and this PostgreSQL see the copy stream, on this timeline and close by."""
    lag_max = int(here.spec.patroni["maximum_lag_on_failover_bytes"])
    members = [m for m in found.patroni["members"] if m["name"] == to]
    senders = [row for row in here.postgres()["replication"] if row["name"] == to]
    seen = [m["state"] for m in (*members, *senders)]
    if not members or not senders or set(seen) != {"streaming"}:
        words = ", ".join(str(state) for state in seen) or "not there"
        raise RefusedError(f"{to} is no healthy copy here ({words}); nothing was done")
    if members[0]["timeline"] != found.patroni["timeline"]:
        raise RefusedError(f"{to} is on another timeline than its leader; nothing was done")
    lag = senders[0]["lag_bytes"]
    if lag is None or lag > lag_max:
        raise RefusedError(
            f"{to} is {lag} bytes behind and {lag_max} are allowed; nothing was done"
        )
