"""Everything the healer can do: a closed set. Doing nothing is an action too, with its reason.

Each action names its slot. It must never carry a client or a callable.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do now: something is under way, or the evidence is not complete."""

    slot: str
    because: str
    kind: str = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Deliberate inaction that a person should know of. `rail` names the rule that forbids."""

    slot: str
    rail: str
    because: str
    kind: str = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareBirth:
    """Write the birth item, once in the cluster's life."""

    slot: str  # the first leader
    kind: str = "declare-birth"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareBorn:
    """Close the birth: from now on nodes only join."""

    slot: str
    etcd_cluster_id: str
    system_identifier: str
    kind: str = "declare-born"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Start an instance in an empty slot, with the slot's interface as its primary one."""

    slot: str
    kind: str = "launch"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartInstance:
    """Start a stopped occupant."""

    slot: str
    instance_id: str
    kind: str = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDisk:
    """Make the slot's volume; only when it has none tagged `current`."""

    slot: str
    kind: str = "create-disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachDisk:
    """Give the slot's volume to its occupant."""

    slot: str
    instance_id: str
    volume_id: str
    kind: str = "attach-disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """Send `pgmend-configure-node` to an idle node."""

    slot: str
    instance_id: str
    volume_id: str | None
    birth: bool
    etcd_token: str | None
    kind: str = "configure"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartService:
    """Send `pgmend-restart-service`."""

    slot: str
    instance_id: str
    service: str
    kind: str = "restart-service"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReplica:
    """Send `pgmend-join-replica` to a configured node whose copy does not follow."""

    slot: str
    instance_id: str
    kind: str = "join-replica"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate:
    """End an occupant that is proven dead, or that never came up."""

    slot: str
    instance_id: str
    kind: str = "terminate"


Step = (
    DeclareBirth
    | DeclareBorn
    | Launch
    | StartInstance
    | CreateDisk
    | AttachDisk
    | Configure
    | RestartService
    | JoinReplica
    | Terminate
)
Action = Step | Wait | Hold

REMOVALS = frozenset({"terminate"})
DISTURBING = frozenset({"terminate", "restart-service", "join-replica"})
DIRECT = frozenset({"launch", "start", "create-disk", "attach-disk"})  # AWS answers at once
BOUNDED = (DISTURBING | DIRECT) - REMOVALS
COMMANDS = frozenset({"configure", "restart-service", "join-replica"})
