"""Every document run by hand on the running lab while the healer watches: a person and the healer do not fight.

Each ends as it says, or refuses with its reason; strength stays or returns, and the healer takes no step against it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from lab.faults.disks import current_volume
from lab.operator import make_client
from lab.proof.account import steps_of
from tests.lab.running import TheLab, eventually, the_running_lab

DOCUMENTS = Path(__file__).resolve().parents[2] / "ssm_documents"
pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
DONE, REFUSED = 0, 10
ENDED = frozenset({"Success", "Failed", "TimedOut", "Cancelled"})
PROXY, WITNESS, APP = "haproxy-euw1-a", "witness-euc1-a", "app-euw1-a"
HOSTILE = (
    "db-euw1-a; reboot",
    "$(reboot)",
    "`reboot`",
    "' || reboot '",
    "db-euw1-a\nreboot",
    "../../etc/passwd",
    "",
)
lab = the_running_lab


def the_leader(lab: TheLab) -> str:
    return lab.leader()


def a_copy(lab: TheLab) -> str:
    leader = lab.leader()
    return next(s.name for s in lab.api.slots() if s.role == "db" and s.active and s.name != leader)


def always(slot: str) -> Callable[[TheLab], str]:
    return lambda _: slot


@dataclass(frozen=True, kw_only=True)
class Case:
    """One document, on whom, with which parameters besides `Slot`, and how it may end."""

    document: str
    on: Callable[[TheLab], str]
    more: Callable[[TheLab], Mapping[str, str]] = field(default=lambda _: {})
    ends: tuple[int, ...] = (DONE,)
    label: str = ""

    def __str__(self) -> str:
        return f"{self.document}{'-' if self.label else ''}{self.label}"


def service(name: str) -> Callable[[TheLab], Mapping[str, str]]:
    return lambda _: {"Service": name}


def restarted(name: str, on: Callable[[TheLab], str], *ends: int, label: str = "") -> Case:
    return Case(
        document="pgmend-restart-service",
        on=on,
        more=service(name),
        ends=ends or (DONE,),
        label=label or name,
    )


def its_volume(lab: TheLab) -> Mapping[str, str]:
    slot = next(s for s in lab.api.slots() if s.name == a_copy(lab))
    return {"VolumeId": str(current_volume(lab.bench, slot)["VolumeId"])}


CASES = (
    Case(document="pgmend-collect-diagnostics", on=the_leader),
    Case(
        document="pgmend-configure-node",
        on=always(PROXY),
        more=lambda _: {"VolumeId": "none"},
        label="a-proxy-again",
    ),
    Case(document="pgmend-configure-node", on=a_copy, more=its_volume, label="a-copy-again"),
    Case(document="pgmend-join-replica", on=a_copy),
    Case(document="pgmend-join-replica", on=the_leader, ends=(REFUSED,), label="the-leader"),
    Case(document="pgmend-leave-cluster", on=the_leader, ends=(REFUSED,), label="the-leader"),
    restarted("haproxy", always(PROXY)),
    restarted("pgmend-app", always(APP)),
    restarted("pgmend-agent", a_copy),
    restarted("etcd", always(WITNESS)),
    restarted("patroni", a_copy),
    restarted("patroni", the_leader, REFUSED, label="patroni-on-the-leader"),
    restarted("chrony", a_copy, DONE, REFUSED),
    Case(document="pgmend-reinit-replica", on=a_copy, ends=(REFUSED,), label="a-copy-that-streams"),
    Case(document="pgmend-reinit-replica", on=the_leader, ends=(REFUSED,), label="the-leader"),
    Case(document="pgmend-release-ballast", on=a_copy),
    Case(document="pgmend-grow-file-system", on=a_copy),
    Case(
        document="pgmend-drop-replication-slot",
        on=the_leader,
        more=lambda _: {"ReplicationSlot": "lab_nobody"},
        label="that-is-not-there",
    ),
    Case(
        document="pgmend-drop-replication-slot",
        on=the_leader,
        more=lambda lab: {"ReplicationSlot": a_copy(lab).replace("-", "_")},
        ends=(REFUSED,),
        label="of-a-copy",
    ),
    Case(document="pgmend-repair-etcd", on=always(WITNESS), ends=(DONE, REFUSED)),
    Case(document="pgmend-replace-etcd-member", on=always(WITNESS), ends=(DONE, REFUSED)),
    Case(document="pgmend-switchover", on=the_leader, more=lambda lab: {"To": a_copy(lab)}),
)


def send(lab: TheLab, document: str, slot: str, parameters: Mapping[str, str]) -> Any:
    """The invocation once it has ended. Raises ClientError when SSM refuses the parameters."""
    region = next(s.region for s in lab.api.slots() if s.name == slot)
    ssm = make_client("ssm", region)
    instance_id = lab.bench.occupant_of(slot).instance_id
    sent = ssm.send_command(
        DocumentName=document,
        InstanceIds=[instance_id],
        Parameters={name: [value] for name, value in parameters.items()},
    )
    asked = {"CommandId": sent["Command"]["CommandId"], "InstanceId": instance_id}
    eventually(
        lambda: ssm.get_command_invocation(**asked)["Status"] in ENDED,
        f"{document} ends",
        within_s=150.0,
    )
    return ssm.get_command_invocation(**asked)


def test_every_document_has_a_case() -> None:
    assert {case.document for case in CASES} == {path.stem for path in DOCUMENTS.glob("*.yaml")}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_document_by_hand_and_the_healer_do_not_fight(lab: TheLab, case: Case) -> None:
    lab.heals()
    eventually(lambda: not lab.open_incidents(), "no incident is open")
    occupants = {o.instance_id for o in lab.api.occupants()}
    slot, more, began = case.on(lab), case.more(lab), time.time()

    found = send(lab, case.document, slot, {"Slot": slot, **more})

    said = json.loads(found["StandardOutputContent"].strip().splitlines()[-1])
    assert found["ResponseCode"] in case.ends, said
    assert said["ok"] is (found["ResponseCode"] == DONE)
    lab.api.look()
    lab.heals(within_s=60.0)
    eventually(lambda: not lab.open_incidents(), "no incident is open")
    assert {o.instance_id for o in lab.api.occupants()} == occupants
    ours = [step for step in steps_of(lab.api.journal(), began) if step.at >= began]
    assert [f"{step.word} {step.slot}" for step in ours] == []


def parameters_of(document: str) -> list[str]:
    content = yaml.safe_load((DOCUMENTS / f"{document}.yaml").read_text("utf-8"))
    return list(content["parameters"])


GOOD = {
    "Slot": PROXY,
    "VolumeId": "none",
    "Birth": "no",
    "EtcdToken": "none",
    "Service": "haproxy",
    "To": "db-euw3-a",
    "ReplicationSlot": "lab_nobody",
}


@pytest.mark.parametrize(
    ("document", "parameter"),
    [
        (path.stem, parameter)
        for path in sorted(DOCUMENTS.glob("*.yaml"))
        for parameter in parameters_of(path.stem)
    ],
)
def test_hostile_parameters_are_refused_before_anything_runs(
    lab: TheLab, document: str, parameter: str
) -> None:
    names = parameters_of(document)
    for value in HOSTILE:
        parameters = {**{name: GOOD[name] for name in names}, parameter: value}
        with pytest.raises(ClientError, match="arameter"):
            send(lab, document, PROXY, parameters)


@pytest.mark.parametrize("document", sorted(path.stem for path in DOCUMENTS.glob("*.yaml")))
def test_a_document_for_another_slot_does_nothing(lab: TheLab, document: str) -> None:
    parameters = {name: GOOD[name] for name in parameters_of(document)}
    for slot in ("haproxy-euw3-a", "haproxy-usw2-a"):
        found = send(lab, document, PROXY, {**parameters, "Slot": slot})
        assert found["ResponseCode"] == REFUSED
        assert "nothing was done" in found["StandardOutputContent"]
