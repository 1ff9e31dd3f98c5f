"""What an operator would say of a step that was taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from lambdas.core.actions import (
    AttachDisk,
    Command,
    Configure,
    CreateDisk,
    DeclareBirth,
    DeclareBorn,
    DropReplicationSlot,
    GrowDisk,
    GrowFileSystem,
    JoinReplica,
    Launch,
    Reboot,
    Reinit,
    ReleaseBallast,
    RepairEtcd,
    ReplaceEtcdMember,
    RestartService,
    SetDiskAside,
    StartInstance,
    Step,
    StopInstance,
    Switchover,
    Terminate,
)


def sentence(step: Step, result: Mapping[str, str]) -> str:  # noqa: C901, PLR0911 - one switch
    """The step in words; `result` has the ids that came of it."""
    where = step.slot
    match step:
        case DeclareBirth():
            return f"the cluster is being born; {where} will be the first leader"
        case DeclareBorn():
            return f"the cluster is born; {where} leads system {step.system_identifier}"
        case Launch():
            kind = "" if step.instance_type is None else f" ({step.instance_type})"
            return f"launched {result['instance_id']}{kind} into {where}"
        case StartInstance():
            return f"started {step.instance_id} in {where} again"
        case CreateDisk():
            size = "" if step.size_gib is None else f" of {step.size_gib} GiB"
            return f"made a disk{size} for {where}"
        case AttachDisk():
            return f"gave {step.volume_id} to {step.instance_id} in {where}"
        case Reboot():
            return f"rebooted {step.instance_id} in {where}"
        case StopInstance():
            return f"stopped {step.instance_id} in {where}, to start it on another host"
        case Terminate():
            return f"ended {step.instance_id} in {where}"
        case SetDiskAside():
            return f"set {step.volume_id} of {where} aside; it is kept"
        case GrowDisk():
            return f"asked for {step.size_gib} GiB for {step.volume_id} of {where}"
        case _:
            return f"asked {step.instance_id} in {where} to {_asked(step)}"


def _asked(step: Command) -> str:  # noqa: C901, PLR0911 - one switch
    match step:
        case Configure():
            return f"become {step.slot}"
        case RestartService():
            return f"restart {step.service}"
        case JoinReplica():
            return "follow the leader again"
        case Reinit():
            return "make its copy anew from the leader"
        case Switchover():
            return f"hand the lead to {step.to}"
        case GrowFileSystem():
            return "take all of its disk for its file system"
        case ReleaseBallast():
            return "give up the room it kept"
        case DropReplicationSlot():
            return f"drop the replication slot {step.replication_slot}"
        case RepairEtcd():
            return "compact and defragment etcd"
        case ReplaceEtcdMember():
            return "replace its etcd member"
        case _:
            assert_never(step)
