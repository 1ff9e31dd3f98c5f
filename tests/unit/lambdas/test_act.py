"""Every step as AWS hears it, and what its incident and the journal then say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from lambdas.act import Actor, Done
from lambdas.adapters.ec2 import Ec2
from lambdas.adapters.notices import Bus, Teller
from lambdas.adapters.ssm import Ssm
from lambdas.adapters.table import Table
from lambdas.core.actions import (
    AttachDisk,
    Command,
    Configure,
    CreateDisk,
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
from lambdas.core.diagnose import Diagnosis
from lambdas.core.model import Incident
from lambdas.documents import DOCUMENTS, parameters
from lambdas.observe import World
from tests.unit.lambdas.builders import NOW, the_spec

SLOT, WHO, DISK = "db-euw3-a", "i-1", "vol-1"
INCIDENT = Incident(incident_id="inc", slot=SLOT, diagnosis="x", opened_at=NOW - 60, wake="tick")


@dataclass
class Ports:
    """EC2, SSM and the table: they note what they are asked, and refuse what they are told to."""

    asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    entries: list[Mapping[str, str]] = field(default_factory=list)
    refuses: str | None = None

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "journal":
                self.entries.append(kwargs["entry"])
                return None
            if name not in ("save_action", "save_incident", "clear_action", "find", "say"):
                self.asked.append((name, args, kwargs))
                if self.refuses is not None:
                    raise _error(self.refuses)
            return {"launch": "i-new", "send": "c-1"}.get(name)

        return call


def _error(code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(answer, "RunInstances")


def act(
    step: Step,
    ports: Ports | None = None,
    *,
    incident: Incident = INCIDENT,
    found: Diagnosis | None = None,
) -> tuple[Done, Ports]:
    ports = ports or Ports()
    spec = the_spec()
    world = World(
        spec=spec,
        ec2=dict.fromkeys(spec.regions, cast("Ec2", ports)),
        ssm=dict.fromkeys(spec.regions, cast("Ssm", ports)),
        table=cast("Table", ports),
        iso=str,
    )
    actor = Actor(world, Teller(cast("Bus", ports), lambda *_: None), token=1)
    done = actor.act(step, incident, now=NOW, found=found)
    return done, ports


HERE: Any = {"slot": SLOT, "instance_id": WHO}
CALLS: tuple[tuple[Step, str, tuple[Any, ...], dict[str, Any]], ...] = (
    (StartInstance(**HERE), "start", (WHO,), {}),
    (Reboot(**HERE), "reboot", (WHO,), {}),
    (StopInstance(**HERE), "stop", (WHO,), {"force": False}),
    (StopInstance(**HERE, force=True), "stop", (WHO,), {"force": True}),
    (Terminate(**HERE), "terminate", (WHO,), {}),
    (AttachDisk(**HERE, volume_id=DISK), "attach", (), {"volume_id": DISK, "instance_id": WHO}),
    (SetDiskAside(**HERE, volume_id=DISK), "set_aside", (DISK,), {}),
    (GrowDisk(slot=SLOT, volume_id=DISK, size_gib=30), "grow", (DISK,), {"size_gib": 30}),
)


@pytest.mark.parametrize(
    ("step", "call", "args", "kwargs"), CALLS, ids=lambda v: getattr(v, "kind", "")
)
def test_a_step_is_one_call_of_ec2s(
    step: Step, call: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    done, ports = act(step)
    assert ports.asked == [(call, args, kwargs)]
    assert done.outcome == "done"
    assert SLOT in done.sentence


@pytest.mark.parametrize("kind", [None, "m6i.large"])
def test_a_launch_names_its_type_only_where_it_is_not_the_templates_own(kind: str | None) -> None:
    _, ports = act(Launch(slot=SLOT, instance_type=kind))
    ((name, (slot,), asked),) = ports.asked
    assert name == "launch"
    assert slot.name == SLOT
    named = {} if kind is None else {"instance_type": kind}
    assert asked == {"action_id": "inc-1-launch", "incident": "inc", **named}


def test_a_disk_is_made_under_the_steps_own_id() -> None:
    _, ports = act(CreateDisk(slot=SLOT))
    assert [(name, asked) for name, _, asked in ports.asked] == [
        ("create_volume", {"action_id": "inc-1-create-disk"})
    ]


COMMANDS: tuple[tuple[Command, str, dict[str, str]], ...] = (
    (
        Configure(**HERE, volume_id=DISK, birth=True, etcd_token="t"),
        "pgmend-configure-node",
        {"VolumeId": DISK, "Birth": "yes", "EtcdToken": "t"},
    ),
    (
        Configure(**HERE, volume_id=None, birth=False, etcd_token=None),
        "pgmend-configure-node",
        {"VolumeId": "none", "Birth": "no", "EtcdToken": "none"},
    ),
    (RestartService(**HERE, service="chrony"), "pgmend-restart-service", {"Service": "chrony"}),
    (JoinReplica(**HERE), "pgmend-join-replica", {}),
    (Reinit(**HERE), "pgmend-reinit-replica", {}),
    (Switchover(**HERE, to="db-euw1-b"), "pgmend-switchover", {"To": "db-euw1-b"}),
    (GrowFileSystem(**HERE), "pgmend-grow-file-system", {}),
    (ReleaseBallast(**HERE), "pgmend-release-ballast", {}),
    (
        DropReplicationSlot(**HERE, replication_slot="old"),
        "pgmend-drop-replication-slot",
        {"ReplicationSlot": "old"},
    ),
    (RepairEtcd(**HERE), "pgmend-repair-etcd", {}),
    (ReplaceEtcdMember(**HERE), "pgmend-replace-etcd-member", {}),
)


@pytest.mark.parametrize(
    ("step", "document", "more"), COMMANDS, ids=lambda v: getattr(v, "kind", "")
)
def test_a_step_is_one_document(step: Command, document: str, more: dict[str, str]) -> None:
    done, ports = act(step)
    ((name, _, asked),) = ports.asked
    assert name == "send"
    assert asked["document"] == document
    assert asked["parameters"] == {"Slot": SLOT, **more} == parameters(step)
    assert asked["comment"] == done.action_id
    assert done.outcome == "sent"


def test_every_document_is_sent_by_some_step() -> None:
    assert {step.kind for step, _, _ in COMMANDS} == set(DOCUMENTS)


# -- what is counted


def test_a_try_is_counted_at_its_rung() -> None:
    done, _ = act(RestartService(**HERE, service="etcd"))
    done, _ = act(RestartService(**HERE, service="etcd"), incident=done.incident)
    done, _ = act(Reboot(**HERE), incident=done.incident)
    assert dict(done.incident.rungs) == {"restart-service:etcd": 2, "reboot": 1}


def test_a_refused_try_counts_too_and_one_without_an_answer_does_not() -> None:
    done, _ = act(Reboot(**HERE), Ports(refuses="IncorrectInstanceState"))
    assert done.outcome == "failed"
    assert done.incident.rung("reboot") == 1
    done, _ = act(Reboot(**HERE), Ports(refuses="ThrottlingException"))
    assert done.outcome == "unknown"
    assert done.incident.rung("reboot") == 0


@pytest.mark.parametrize(
    "code",
    ["InsufficientInstanceCapacity", "InstanceLimitExceeded", "VcpuLimitExceeded", "Unsupported"],
)
@pytest.mark.parametrize("kind", [None, "m6i.large"])
def test_a_launch_that_finds_no_room_counts_against_its_type_only(
    code: str, kind: str | None
) -> None:
    done, ports = act(Launch(slot=SLOT, instance_type=kind), Ports(refuses=code))
    first = the_spec().by_name[SLOT].instance_types[0]
    assert done.outcome == "no-capacity"
    assert dict(done.incident.rungs) == {f"no-capacity:{kind or first}": 1}
    assert [entry["outcome"] for entry in ports.entries] == ["no-capacity"]


def test_a_launch_that_is_refused_for_another_reason_is_a_failed_one() -> None:
    done, ports = act(Launch(slot=SLOT), Ports(refuses="UnauthorizedOperation"))
    assert done.outcome == "failed"
    assert done.incident.rungs == {}
    assert [entry["outcome"] for entry in ports.entries] == ["failed"]


def test_after_a_launch_all_types_may_be_asked_for_again() -> None:
    before = replace(INCIDENT, rungs={"no-capacity:a": 2, "attach-disk": 1})
    done, _ = act(Launch(slot=SLOT), incident=before)
    assert dict(done.incident.rungs) == {"attach-disk": 1, "launch": 1}


@pytest.mark.parametrize("ended_by_us", [True, False])
def test_what_was_done_to_a_machine_is_tried_on_its_successor_unless_we_ended_it(
    ended_by_us: bool,
) -> None:
    tried = {"reboot": 1, "stop": 1, "start": 1} | ({"terminate": 1} if ended_by_us else {})
    done, _ = act(Launch(slot=SLOT), incident=replace(INCIDENT, rungs=tried))
    assert done.incident.rung("reboot") == done.incident.rung("stop") == int(ended_by_us)


def test_a_disk_that_is_set_aside_takes_with_it_that_it_was_given() -> None:
    """The next disk is made at once, and waited for where EC2 does not list it yet."""
    tried = {"create-disk": 1, "attach-disk": 2, "before:attach-disk": 1, "reinit": 1}
    before = replace(INCIDENT, rungs=tried)
    done, _ = act(SetDiskAside(**HERE, volume_id="vol-1"), incident=before)
    assert dict(done.incident.rungs) == {"reinit": 1, "set-disk-aside": 1}
    done, _ = act(CreateDisk(slot=SLOT), incident=done.incident)
    assert done.incident.took("create-disk")


def test_the_failures_of_a_restart_do_not_end_the_count_of_those_that_give_a_node_up() -> None:
    incident = replace(INCIDENT, failing="configure", failures=2)
    assert incident.failed("restart-service").failures_of("configure") == 2
    assert incident.failed("configure").failures_of("configure") == 3
    assert incident.failed("start").failures_of("configure") == 0


def test_the_journal_says_what_was_found_at_the_step() -> None:
    _, ports = act(Terminate(**HERE), found=Diagnosis.OUTDATED)
    assert [entry["diagnosis"] for entry in ports.entries] == ["outdated", "outdated"]
    assert [entry["outcome"] for entry in ports.entries] == ["asked", "done"]
