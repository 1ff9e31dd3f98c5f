"""The documents that steps are sent as, and their parameters. Names and parameters are the contract's."""

from __future__ import annotations

from typing import assert_never

from lambdas.core.actions import (
    Command,
    Configure,
    DropReplicationSlot,
    GrowFileSystem,
    JoinReplica,
    Reinit,
    ReleaseBallast,
    RepairEtcd,
    ReplaceEtcdMember,
    RestartService,
    Switchover,
)

DOCUMENTS = {
    "configure": "pgmend-configure-node",
    "restart-service": "pgmend-restart-service",
    "join-replica": "pgmend-join-replica",
    "reinit": "pgmend-reinit-replica",
    "switchover": "pgmend-switchover",
    "grow-file-system": "pgmend-grow-file-system",
    "release-ballast": "pgmend-release-ballast",
    "drop-replication-slot": "pgmend-drop-replication-slot",
    "repair-etcd": "pgmend-repair-etcd",
    "replace-etcd-member": "pgmend-replace-etcd-member",
}


def parameters(step: Command) -> dict[str, str]:
    """What the step's document is sent with."""
    return {"Slot": step.slot, **_more(step)}


def _more(step: Command) -> dict[str, str]:
    match step:
        case Configure():
            return {
                "VolumeId": step.volume_id or "none",
                "Birth": "yes" if step.birth else "no",
                "EtcdToken": step.etcd_token or "none",
            }
        case RestartService():
            return {"Service": step.service}
        case Switchover():
            return {"To": step.to}
        case DropReplicationSlot():
            return {"ReplicationSlot": step.replication_slot}
        case (
            JoinReplica()
            | Reinit()
            | GrowFileSystem()
            | ReleaseBallast()
            | RepairEtcd()
            | ReplaceEtcdMember()
        ):
            return {}
        case _:
            assert_never(step)
