"""The documents that steps are sent as, and their parameters, which are the contract's; and when one is over."""

from __future__ import annotations

from typing import Final, assert_never

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
from lambdas.core.spec import Timings

LONGEST_S: Final = 600.0  # no document may run for longer, by its own file
SAID_LATE_S: Final = 60.0  # what SSM may take to say that a document's time is over

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


def overdue_after_s(timings: Timings) -> float:
    """When a document is over whatever SSM says: it was to be delivered, and to run, within a time."""
    return timings.configure_timeout_s + LONGEST_S + SAID_LATE_S


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
