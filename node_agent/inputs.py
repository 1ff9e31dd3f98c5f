"""What `configure` is told by AWS: the cluster spec, the passwords, the birth. Read by the node's own role, never kept
in a log; a call that fails is tried again for a while, because a new instance's role takes a moment to work everywhere.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from node_agent import aws
from node_agent.errors import AgentError, HoldError
from node_agent.node import Node
from node_agent.spec import Spec
from node_agent.waiting import Deadline

T = TypeVar("T")
ROLES = ("superuser", "replication", "rewind", "app", "monitor")
PATIENCE_S = 20.0
HUB_PATIENCE_S = 4.0
YOUNG_S = 600.0  # longer than AWS takes to boot the first hosts of a cluster
READS_SECRET = frozenset({"db"})  # the app reads its own at run time, the others need none
READS_BIRTH = frozenset({"db"})
log = logging.getLogger("pgmend.agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """The cluster's birth item. `state` is `pending` or `born`; `declared_at` is in epoch seconds."""

    state: str
    first_leader: str
    etcd_token: str
    declared_at: float | None = None
    etcd_cluster_id: str | None = None
    system_identifier: str | None = None

    @property
    def pending(self) -> bool:
        """Whether the cluster is still being born."""
        return self.state == "pending"

    def young(self, now: float) -> bool:
        """Whether it was declared minutes ago; a time that is missing or far ahead of this clock says old."""
        return (
            self.pending and self.declared_at is not None and abs(now - self.declared_at) < YOUNG_S
        )

    @classmethod
    def parse(cls, item: Mapping[str, Any]) -> Birth:
        """From the table's item. Raises HoldError for one that says nothing."""
        values = {name: value.get("S") for name, value in item.items() if isinstance(value, dict)}
        state, leader, token = (values.get(n) for n in ("state", "first_leader", "etcd_token"))
        if state not in {"pending", "born"} or not leader or not token:
            raise HoldError("the hub table's birth item is incomplete; a person should look at it")
        return cls(
            state=state,
            first_leader=leader,
            etcd_token=token,
            declared_at=_seconds(item.get("declared_at")),
            etcd_cluster_id=values.get("etcd_cluster_id"),
            system_identifier=values.get("system_identifier"),
        )


def _seconds(value: object) -> float | None:
    """A number attribute; None for anything else."""
    try:
        return float(value["N"]) if isinstance(value, dict) else None
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that was read. `birth` is None when the table has none or was not asked."""

    spec: Spec
    passwords: Mapping[str, str] = field(repr=False)
    birth: Birth | None


def fetch(node: Node, deadline: Deadline, *, birthing: bool) -> Inputs:
    """Read what this role needs. Raises AgentError naming what could not be read.

    The birth item is only a second opinion once the cluster is born, so joining does not depend on the hub's region.
    """

    def asked(what: str, ask: Callable[[], T]) -> T:
        return patiently(what, ask, aws.ERRORS, deadline)

    s3 = aws.client(node, "s3", node.region)
    spec = asked("the cluster spec", lambda: _spec(s3, node))
    passwords: Mapping[str, str] = {}
    if node.role in READS_SECRET:
        secrets = aws.client(node, "secretsmanager", node.region)
        name = str(spec.raw["secret"])
        passwords = asked(f"the secret {name}", lambda: _passwords(secrets, name))
    birth = None
    if node.role in READS_BIRTH:
        table = aws.client(node, "dynamodb", node.hub_region)
        try:
            birth = patiently(
                "the birth item",
                lambda: _birth(table, node.table),
                aws.ERRORS,
                deadline if birthing else deadline.within(HUB_PATIENCE_S),
            )
        except AgentError as error:
            if birthing:
                raise
            log.warning("joining without the hub's second opinion: %s", error)
    return Inputs(spec=spec, passwords=passwords, birth=birth)


def patiently(
    what: str, ask: Callable[[], T], errors: tuple[type[Exception], ...], deadline: Deadline
) -> T:
    """Ask until it answers or the patience ends."""
    words = ""

    def attempt() -> tuple[T] | None:
        nonlocal words
        try:
            return (ask(),)
        except errors as error:
            words = str(error)
            return None

    found = deadline.within(PATIENCE_S).until(attempt, every_s=0.5)
    if found is None:
        raise AgentError(f"{what} could not be read: {words}")
    return found[0]


def _spec(s3: Any, node: Node) -> Spec:  # noqa: ANN401 - a boto3 client
    spec = Spec.parse(s3.get_object(Bucket=node.bucket, Key="spec.json")["Body"].read())
    if spec.raw.get("cluster") != node.cluster:
        raise HoldError(
            f"the spec in {node.bucket} is of {spec.raw.get('cluster')}, not {node.cluster}"
        )
    if node.slot not in spec.slots:
        raise HoldError(f"the cluster spec has no slot {node.slot}")
    return spec


def _passwords(secrets: Any, name: str) -> Mapping[str, str]:  # noqa: ANN401 - a boto3 client
    raw = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
    missing = [role for role in ROLES if not isinstance(raw.get(role), str) or not raw[role]]
    if missing:
        raise AgentError(f"the secret {name} holds no password for {', '.join(missing)}")
    return {role: raw[role] for role in ROLES}


def _birth(table: Any, name: str) -> Birth | None:  # noqa: ANN401 - a boto3 client
    key = {"pk": {"S": "CLUSTER"}, "sk": {"S": "birth"}}
    item = table.get_item(TableName=name, Key=key, ConsistentRead=True).get("Item")
    return None if item is None else Birth.parse(item)
