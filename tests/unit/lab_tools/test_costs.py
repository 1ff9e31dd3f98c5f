"""What pgmend costs: read from the nodes, judged against what is promised."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.control import RunResult
from lab.demo.costs import AgentUse, Costs, agent_use, measure, percent
from lab.errors import LabError
from lab.operator import Occupant

CHEAP = Costs(agent_rss_mb=60.0, agent_cpu_percent=1.0, healer_warm_s=0.4)


class Nodes:
    """Machines whose agents use so much memory and time a second."""

    def __init__(self, *, kib: int = 51200, ticks_a_look: int = 20) -> None:
        self._kib, self._step, self._looks = kib, ticks_a_look, 0

    def run(self, instance_id: str, argv: Sequence[str], timeout_s: float = 60.0) -> RunResult:
        del instance_id, argv, timeout_s
        self._looks += 1
        ticks = self._looks * self._step
        text = f"VmRSS:\t{self._kib} kB\n{ticks} 0 0 0\n100\n{self._looks * 20}.00\n"
        return RunResult(returncode=0, stdout=text, stderr="")


class Hub:
    """One node, and a healer that answers what it is told to."""

    def __init__(self, *looks: int) -> None:
        self._looks = list(looks)
        self.asked = 0

    def occupants(self) -> Sequence[Occupant]:
        return [
            Occupant(instance_id="i-1", slot="db-euw1-a", state="running", checks="ok"),
            Occupant(instance_id="i-2", slot="db-euw1-b", state="pending", checks="unknown"),
        ]

    def look_and_wait(self) -> Mapping[str, Any]:
        self.asked += 1
        return {"looks": self._looks.pop(0) if self._looks else 1}


def clock_of(step_s: float) -> Any:
    ticks = iter(range(10_000))
    return lambda: next(ticks) * step_s


@pytest.fixture
def invocations(tmp_path: Path) -> Path:
    """The local AWS's record: the notifier came first, the healer was cold once."""
    entries = [("notifier", True, 0.3), ("healer", True, 0.7), ("healer", False, None)]
    lines = [
        json.dumps({"function": f"pgmend-{name}", "cold": cold, "init_s": init_s})
        for name, cold, init_s in entries
    ]
    file = tmp_path / "functions.jsonl"
    file.write_text("\n".join(lines))
    return file


def test_memory_and_time_are_the_agents_own(invocations: Path) -> None:
    clock = clock_of(0.3)
    found = measure(Nodes(), Hub(), invocations=invocations, sleep=lambda _: None, clock=clock)
    assert found.as_json() == {
        "agent_rss_mb": 50.0,
        "agent_cpu_percent": 1.0,
        "healer_warm_s": 0.3,
        "healer_init_s": 0.7,
    }


def test_a_look_that_another_runs_lease_kept_away_is_not_counted(invocations: Path) -> None:
    hub, clock = Hub(0, 0, 1, 2, 1), clock_of(0.1)
    measure(Nodes(), hub, invocations=invocations, sleep=lambda _: None, clock=clock)
    assert hub.asked == 5 + 3


def test_a_healer_that_is_never_alone_is_said_and_not_guessed(invocations: Path) -> None:
    with pytest.raises(LabError, match="never alone"):
        measure(Nodes(), Hub(*[0] * 100), invocations=invocations, sleep=lambda _: None)


def test_an_agent_that_cannot_be_looked_at_is_an_error() -> None:
    class Broken(Nodes):
        def run(self, *_: object, **__: object) -> RunResult:
            return RunResult(returncode=1, stdout="", stderr="no such unit")

    with pytest.raises(LabError, match="no such unit"):
        agent_use(Broken(), "i-1")


def test_the_share_of_a_core_is_of_the_time_between_two_looks() -> None:
    before = AgentUse(rss_mb=1, cpu_s=10.0, uptime_s=100.0)
    after = AgentUse(rss_mb=1, cpu_s=10.5, uptime_s=150.0)
    assert percent(before, after) == pytest.approx(1.0)


def test_costs_within_the_promise_break_nothing() -> None:
    assert CHEAP.broken() == ()
    assert CHEAP.as_json()["agent_rss_mb"] == 60.0


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        (Costs(agent_rss_mb=101, agent_cpu_percent=1, healer_warm_s=1), "an agent holds 101.0 MB"),
        (Costs(agent_rss_mb=1, agent_cpu_percent=2.5, healer_warm_s=1), "2.5 % of a core"),
        (Costs(agent_rss_mb=1, agent_cpu_percent=1, healer_warm_s=1.6), "warm look takes 1.6 s"),
    ],
    ids=["memory", "processor", "healer"],
)
def test_costs_above_the_promise_are_named(costs: Costs, said: str) -> None:
    (sentence,) = costs.broken()
    assert said in sentence
