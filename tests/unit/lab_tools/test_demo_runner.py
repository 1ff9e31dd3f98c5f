"""The demo from its first look to its verdict, against a cluster on paper."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from lab.demo.evidence import new_directory, write_results
from lab.demo.record import Run, summary, table
from lab.demo.runner import SetupStep, Stage, _leaders_address, perform, set_up
from lab.demo.scenario import DEMO, SMOKE, steps_for
from lab.demo.timeline import Timeline
from lab.demo.watch import Watch
from lab.errors import LabError
from lab.faults.bench import Bench
from lab.load.history import WRITABLE
from lab.operator import Operator
from tests.unit.lab_tools.fakes import (
    FakeApi,
    FakeClock,
    FakeLoad,
    FakeMachines,
    HealingCluster,
    a_probe,
)


class Theatre:
    """A stage with everything faked."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = FakeApi()
        self.machines = FakeMachines()
        self.cluster = HealingCluster(self.clock, self.api, self.machines)
        self.load = FakeLoad(self.clock)
        self.output = io.StringIO()
        self.run = Run(
            started_wall=self.clock.wall(),
            started_at=self.clock.now,
            size="minimal",
            durability="region",
            clock="fast",
        )
        self.timeline = Timeline(Console(file=self.output, width=200), clock=self.clock.monotonic)
        self.plan_is_clean: Callable[[], bool] | None = lambda: True

    def stage(self) -> Stage:
        operator = cast("Operator", self.api)
        watch = Watch(
            looker=self.cluster,
            hub=operator,
            timeline=self.timeline,
            run=self.run,
            clock=self.clock.monotonic,
            wall=self.clock.wall,
            sleep=self.clock.sleep,
        )
        return Stage(
            api=operator,
            bench=Bench(machines=self.machines, api=operator, leader=lambda: self.cluster.leader),
            watch=watch,
            load=self.load,
            timeline=self.timeline,
            run=self.run,
            plan_is_clean=self.plan_is_clean,
            clock=self.clock.monotonic,
            wall=self.clock.wall,
            sleep=self.clock.sleep,
        )

    def play(self, steps: Any = SMOKE) -> Run:
        perform(self.stage(), steps)
        self.run.finished_at = self.clock.now
        return self.run


def test_a_replica_that_comes_back_in_time_keeps_every_promise() -> None:
    theatre = Theatre()

    run = theatre.play()

    assert run.ok
    (row,) = run.faults
    assert (row.fault, row.target, row.lost) == ("power-loss", "db-euw1-b", 0)
    assert row.full_strength_s == pytest.approx(30.0, abs=1.5)
    assert row.detected_s == pytest.approx(0.0, abs=1.5)
    assert row.write_outage_s < 1.0
    assert row.actions == ("evict db-euw1-b",)
    assert theatre.machines.calls == [("power_loss", "i-db-euw1-b")]


def test_the_timeline_tells_the_fault_the_healers_sentence_and_what_is_missing() -> None:
    theatre = Theatre()
    theatre.api.sentence = "full strength; nothing to do"

    theatre.play()

    told = theatre.output.getvalue()
    for words in (
        "db-euw1-b: the host loses power",
        "db-euw1-b is presumed dead: its instance is ended",
        "db-euw1-b does not answer",
        "full strength, db-euw1-a leads",
        "full strength; nothing to do",
    ):
        assert words in told


def test_the_whole_demo_hits_each_role_and_ends_with_a_clean_plan() -> None:
    theatre = Theatre()

    run = theatre.play(DEMO)

    assert run.ok
    assert [row.target for row in run.faults] == [
        "db-euw1-b",
        "db-euw1-a",
        "db-euw1-b",
        "haproxy-euw1-a",
        "witness-euc1-a",
        "app-euw1-a",
        "db-euw1-b",
    ]
    assert theatre.api.terminated == [("i-db-euw1-b", "eu-west-1")]
    assert len(table(run.faults)) == 8


def test_tick_and_agent_rules_are_off_only_for_the_alarm_fault_and_on_again_after() -> None:
    theatre = Theatre()

    theatre.play(DEMO[-1:])

    hub = "eu-central-1"
    assert theatre.api.switched == [
        ("pgmend-tick", hub, False),
        ("pgmend-agent", hub, False),
        ("pgmend-tick", hub, True),
        ("pgmend-agent", hub, True),
    ]


def test_rules_are_enabled_again_when_the_fault_cannot_be_injected() -> None:
    theatre = Theatre()
    theatre.api.gone.add("i-db-euw1-b")

    with pytest.raises(LabError, match="no running instance"):
        theatre.play(DEMO[-1:])

    assert [enabled for _, _, enabled in theatre.api.switched] == [False, False, True, True]


def test_healing_woken_by_a_tick_breaks_the_alarm_promise() -> None:
    theatre = Theatre()
    theatre.cluster.wake = "tick"

    run = theatre.play(DEMO[-1:])

    assert not run.ok
    assert "not by an alarm" in run.promises_broken[0]


def test_strength_that_returns_late_breaks_a_promise_by_name() -> None:
    theatre = Theatre()
    theatre.cluster.heals_after_s = 60.0

    run = theatre.play()

    assert not run.ok
    assert "strength returned after" in run.promises_broken[0]


def test_strength_that_never_returns_ends_the_run_and_is_written_down() -> None:
    theatre = Theatre()
    theatre.cluster.heals_after_s = 1e9

    with pytest.raises(LabError, match="strength did not return"):
        theatre.play()

    assert theatre.run.faults[0].full_strength_s is None
    assert "strength did not return" in theatre.run.promises_broken[0]


def test_a_lost_write_breaks_a_promise_by_name_and_counts_once() -> None:
    theatre = Theatre()
    theatre.load.lost = frozenset({3, 4})

    run = theatre.play((*SMOKE, *SMOKE))

    assert [row.lost for row in run.faults] == [2, 0]
    assert "2 acknowledged writes are missing" in run.promises_broken[0]


def test_under_async_a_lost_write_is_told_but_nobody_promised_otherwise() -> None:
    theatre = Theatre()
    theatre.run.durability = "async"
    theatre.load.lost = frozenset({3})

    run = theatre.play()

    assert run.ok
    assert run.faults[0].lost == 1


def test_two_writable_nodes_break_a_promise_by_name() -> None:
    theatre = Theatre()
    theatre.load.twice = True

    run = theatre.play()

    assert "two nodes were writable at once" in run.promises_broken[0]


def test_two_writable_nodes_between_the_faults_break_a_promise_too() -> None:
    theatre = Theatre()
    began = theatre.clock.now
    collect = theatre.load.collect

    def with_an_overlap_before_the_fault() -> Any:
        writes, probes = collect()
        both = [a_probe(name, began + 0.1, WRITABLE) for name in ("db-euw1-a", "db-euw1-b")]
        return writes, [*both, *probes]

    theatre.load.collect = with_an_overlap_before_the_fault  # type: ignore[method-assign]
    broken = theatre.play().promises_broken
    assert any("in all" in sentence for sentence in broken), broken


def test_what_was_lost_is_not_told_while_nobody_leads() -> None:
    theatre = Theatre()
    stage = replace(
        theatre.stage(),
        bench=Bench(
            machines=theatre.machines, api=cast("Operator", theatre.api), leader=lambda: None
        ),
    )
    with pytest.raises(LabError, match="not known what was lost"):
        _leaders_address(stage)


def test_a_plan_with_changes_breaks_a_promise() -> None:
    theatre = Theatre()
    theatre.plan_is_clean = lambda: False

    assert theatre.play().promises_broken == ("the plan after healing shows changes",)


def test_under_the_aws_clock_only_replica_and_leader_are_hit() -> None:
    assert [step.target for step in steps_for("aws")] == ["replica", "leader"]
    assert len(steps_for("fast")) == 7


def test_setup_steps_are_timed_in_order() -> None:
    theatre = Theatre()
    done: list[str] = []
    steps = [
        SetupStep(name=name, title=name, do=lambda name=name: done.append(name))  # type: ignore[misc]
        for name in ("lab", "apply")
    ]

    set_up(steps, theatre.run, theatre.timeline)

    assert done == ["lab", "apply"]
    assert list(theatre.run.setup_s) == ["lab", "apply"]


def test_the_run_is_written_as_summary_and_one_page_without_outside_resources(
    tmp_path: Path,
) -> None:
    theatre = Theatre()
    run = theatre.play(DEMO)
    writes, probes = theatre.load.collect()

    directory = new_directory(tmp_path)
    write_results(directory, run, writes, probes)

    assert (tmp_path / "latest").resolve() == directory
    written = json.loads((directory / "summary.json").read_text("utf-8"))
    assert written["ok"] is True
    assert written["durability"] == "region"
    keys = {"fault", "target", "write_outage_s", "detected_s", "full_strength_s", "acked", "lost"}
    assert keys | {"two_writable_s", "actions"} <= set(written["faults"][0])
    page = (directory / "report.html").read_text("utf-8")
    assert "<svg" in page
    assert "db-euw1-b" in page
    assert "http://" not in page
    assert "https://" not in page


def test_a_run_that_ended_early_is_not_ok_and_still_has_a_page(tmp_path: Path) -> None:
    run = replace(Theatre().run)

    write_results(tmp_path, run, (), ())

    assert summary(run)["ok"] is False
    assert "did not end by itself" in (tmp_path / "report.html").read_text("utf-8")
