"""The promise is taken away through Patroni, and it is waited for until it is gone."""

from __future__ import annotations

from typing import cast

import pytest

from lab.chaos.commit import break_commit
from lab.errors import LabError
from lab.faults.bench import Bench
from lab.operator import Operator
from tests.unit.lab_tools.fakes import FakeApi, FakeClock, FakeMachines


def a_bench(machines: FakeMachines, clock: FakeClock) -> Bench:
    return Bench(
        machines=machines,
        api=cast("Operator", FakeApi()),
        leader=lambda: "db-euw1-a",
        clock=clock.monotonic,
        sleep=clock.sleep,
    )


def test_patroni_is_told_on_the_leader() -> None:
    machines = FakeMachines()
    break_commit(a_bench(machines, FakeClock()))
    first, *rest = machines.calls
    assert first[:2] == ("i-db-euw1-a", "patronictl")
    assert first[-2:] == ("--set", "synchronous_mode=off")
    assert "SHOW synchronous_standby_names" in rest[0]


def test_a_leader_that_goes_on_waiting_for_copies_is_told() -> None:
    machines = FakeMachines()
    machines.says["SHOW"] = 'ANY 2 ("db-euw1-b","db-euw3-a")'
    with pytest.raises(LabError, match="the leader waits for nobody"):
        break_commit(a_bench(machines, FakeClock()))
