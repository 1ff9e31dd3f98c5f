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
    """Start an instance in an empty slot, with the slot's interface as its primary one.

    `instance_type` is None for the launch template's own.
    """

    slot: str
    instance_type: str | None = None
    kind: str = "launch"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartInstance:
    """Start a stopped occupant."""

    slot: str
    instance_id: str
    kind: str = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDisk:
    """Make the slot's volume; only when it has none tagged `current`. `size_gib` is None for the spec's own size."""

    slot: str
    size_gib: int | None = None
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
    """End an occupant that is proven dead, that never came up, or that nothing less has helped."""

    slot: str
    instance_id: str
    kind: str = "terminate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reboot:
    """Reboot an occupant in place."""

    slot: str
    instance_id: str
    kind: str = "reboot"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopInstance:
    """Stop an occupant; it is started again once it is stopped, on another host. `force` for one that is dead."""

    slot: str
    instance_id: str
    force: bool = False
    kind: str = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinit:
    """Send `pgmend-reinit-replica`: the copy is discarded and made anew from the leader."""

    slot: str
    instance_id: str
    kind: str = "reinit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switchover:
    """Send `pgmend-switchover` to the leader's node: the copy in slot `to` leads next."""

    slot: str
    instance_id: str
    to: str
    kind: str = "switchover"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDiskAside:
    """Take the slot's disk out of use, for good and without deleting it; a fresh one follows."""

    slot: str
    instance_id: str
    volume_id: str
    kind: str = "set-disk-aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowDisk:
    """Let EC2 enlarge the slot's volume to `size_gib`, online."""

    slot: str
    volume_id: str
    size_gib: int
    kind: str = "grow-disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowFileSystem:
    """Send `pgmend-grow-file-system`: the file system takes all of its device, online."""

    slot: str
    instance_id: str
    kind: str = "grow-file-system"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBallast:
    """Send `pgmend-release-ballast`: room that was kept for a full disk."""

    slot: str
    instance_id: str
    kind: str = "release-ballast"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropReplicationSlot:
    """Send `pgmend-drop-replication-slot`: nobody reads what it keeps."""

    slot: str
    instance_id: str
    replication_slot: str
    kind: str = "drop-replication-slot"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairEtcd:
    """Send `pgmend-repair-etcd`: compact, defragment, take the alarm back."""

    slot: str
    instance_id: str
    kind: str = "repair-etcd"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceEtcdMember:
    """Send `pgmend-replace-etcd-member`: out through the others, in again as a learner with nothing."""

    slot: str
    instance_id: str
    kind: str = "replace-etcd-member"


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
    | Reinit
    | Switchover
    | Reboot
    | StopInstance
    | Terminate
    | SetDiskAside
    | GrowDisk
    | GrowFileSystem
    | ReleaseBallast
    | DropReplicationSlot
    | RepairEtcd
    | ReplaceEtcdMember
)
Command = (
    Configure
    | RestartService
    | JoinReplica
    | Reinit
    | Switchover
    | GrowFileSystem
    | ReleaseBallast
    | DropReplicationSlot
    | RepairEtcd
    | ReplaceEtcdMember
)
Action = Step | Wait | Hold

REMOVALS = frozenset({"terminate"})
STOPS = frozenset({"reboot", "stop"})  # the occupant comes back
ETCD_CHANGES = frozenset({"repair-etcd", "replace-etcd-member"})
DISCARDS = frozenset({"reinit", "set-disk-aside"})  # a copy is given up
SERVICES = frozenset({"restart-service", "join-replica", "reinit", "replace-etcd-member"})
DISTURBING = REMOVALS | STOPS | SERVICES | {"set-disk-aside"}
DIRECT = frozenset({"launch", "start", "create-disk", "attach-disk"})  # AWS answers at once
COMMANDS = frozenset(
    {
        "configure",
        "restart-service",
        "join-replica",
        "reinit",
        "switchover",
        "grow-file-system",
        "release-ballast",
        "drop-replication-slot",
        "repair-etcd",
        "replace-etcd-member",
    }
)
BOUNDED = (DISTURBING | DIRECT | COMMANDS | {"grow-disk"}) - REMOVALS - {"configure"}


def rung_of(step: Step) -> str:
    """The rung of the ladder that a step is an attempt at: its kind, and which service."""
    return f"{step.kind}:{step.service}" if isinstance(step, RestartService) else step.kind
