"""The running lab as its operator has it, for the tests that run on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.control import ControlClient
from lab.faults.bench import Bench
from lab.operator import CLUSTER, HUB_REGION, Occupant, Operator, make_client
from lab.strength_probe import StrengthProbe


class TheLab:
    """The running lab as its operator has it."""

    def __init__(self) -> None:
        self.api, self.control = Operator(), ControlClient()
        self.probe = StrengthProbe(self.api)
        self.bench = Bench(machines=self.control, api=self.api, leader=self.probe.leader)
        self.table = make_client("dynamodb", HUB_REGION)

    def heals(self, *, within_s: float = 120.0) -> None:
        eventually(lambda: self.probe.look().full, "full strength", within_s=within_s)

    def leader(self) -> str:
        found = self.probe.leader()
        assert found is not None
        return found

    def address(self, slot: str) -> str:
        return next(s.address for s in self.api.slots() if s.name == slot)

    def in_slot(self, slot: str) -> list[Occupant]:
        return [o for o in self.api.occupants() if o.slot == slot]

    def mode(self, mode: str) -> None:
        key = {"pk": {"S": "CLUSTER"}, "sk": {"S": "mode"}}
        self.table.put_item(TableName=CLUSTER, Item={**key, "mode": {"S": mode}})

    def shell(self, slot: str, script: str) -> str:
        done = self.control.run(self.bench.occupant_of(slot).instance_id, ("/bin/sh", "-c", script))
        return done.stdout.strip()

    def journal(self, kind: str, slot: str) -> list[Any]:
        return [e for e in self.api.journal() if (e["kind"], e["slot"]) == (kind, slot)]

    def open_incidents(self) -> list[Any]:
        return [i for i in self.api.incidents() if i["state"] == "open"]


@pytest.fixture(scope="module")
def the_running_lab() -> Iterator[TheLab]:
    """A file that runs on it says `lab = the_running_lab`; the folder's own `lab` is a machine host of its own."""
    if not ControlClient(timeout_s=5.0).alive():
        pytest.skip("no lab is running: 'make smoke' starts one and runs these tests on it")
    found = TheLab()
    yield found
    found.probe.close()


def eventually(true: Callable[[], bool], what: str, *, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.3)
