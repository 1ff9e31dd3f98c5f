"""What every part of `configure` works with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from node_agent.inputs import Birth
from node_agent.membership import Voters, peer_url
from node_agent.node import Node
from node_agent.render.patroni import initialize_key
from node_agent.shell import Run
from node_agent.spec import Spec
from node_agent.units import Units
from node_agent.waiting import Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One run of `configure`. `birthing` is False as soon as the hub says that the cluster is born."""

    node: Node
    spec: Spec
    passwords: Mapping[str, str] = field(repr=False)
    birth: Birth | None
    birthing: bool
    etcd_token: str | None
    others: Voters  # every voter but this node
    everyone: Voters
    units: Units
    run: Run
    deadline: Deadline
    now: Callable[[], float] = time.time

    @property
    def me(self) -> Mapping[str, Any]:
        """This node's slot in the spec."""
        return self.spec.slots[self.node.slot]

    @property
    def peer_url(self) -> str:
        """Where this node's etcd is found by its peers."""
        return peer_url(self.me)

    @property
    def first_leader(self) -> bool:
        """Whether this node alone may make the database."""
        return (
            self.birthing and self.birth is not None and self.birth.first_leader == self.node.slot
        )

    def ask_system(self) -> tuple[str | None] | None:
        """Patroni's `initialize` key, in a tuple: None without a key, empty while a birth is under way.

        None instead of the tuple when no majority answers.
        """
        answered, value = self.everyone.value(initialize_key(self.spec))
        return (value,) if answered else None
