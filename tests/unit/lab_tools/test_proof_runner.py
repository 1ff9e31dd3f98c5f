"""A scenario from full strength to full strength, on a cluster on paper."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from lab.control import ControlClient
from lab.demo.runner import Stage
from lab.errors import LabError, UsageError
from lab.faults.bench import Bench
from lab.proof import hub, main
from lab.proof.keeping import keep
from lab.proof.record import Line
from lab.proof.runner import Losses, play
from lab.proof.scenario import Scenario, blow
from lab.proof.verdict import broken
from lab.strength import Strength
from tests.unit.lab_tools.fakes import FakeApi, FakeClock, FakeLoad, FakeMachines
from tests.unit.lab_tools.stages import a_stage

TARGET = "db-euw1-b"
SILENT = Scenario(
    name="agent-silent",
    row="agent silent on a healthy node",
    blows=blow("stop-agent", "replica"),
    called=("agent-silent",),
    must=("restart-service:pgmend-agent",),
    full_s=60.0,
)
STANDS = replace(SILENT, name="stands", must=(), stands_s=30.0)


class Cluster:
    """Weak from the moment a machine is touched; after `finds_s` an incident, after `heals_s` strength."""

    def __init__(self) -> None:
        self.clock, self.api, self.machines = FakeClock(), FakeApi(), FakeMachines()
        self.load = FakeLoad(self.clock)
        self.output = io.StringIO()
        self.finds_s: float = 5.0
        self.heals_s: float | None = 20.0
        self.mended_by_us = False  # it heals when the last command is a start
        self.step = "asked i-db-euw1-b in db-euw1-b to restart pgmend-agent"
        self.leads: str | None = "db-euw1-a"
        self.load.start()
        self.stage = a_stage(
            clock=self.clock,
            api=self.api,
            machines=self.machines,
            leader=lambda: self.leads,
            looker=self,
            load=self.load,
            console=Console(file=self.output, width=200),
        )
        self.hit_at: float | None = None
        self.again: float | None = None

    def look(self) -> Strength:
        now = self.clock.now
        if self.hit_at is None and self.machines.calls:
            self.hit_at = now
        if self.hit_at is None:
            return Strength(missing=(), leader=self.leads)
        if self.mended_by_us and self.machines.calls[-1][-1] == "systemctl start pgmend-agent":
            self.again = self.again or now
        if self.heals_s is not None and not self.mended_by_us and now - self.hit_at >= self.heals_s:
            self.again = self.again or now
        if now - self.hit_at >= self.finds_s and not self.api.incident_items:
            self.find()
        if self.again is not None:
            for item in self.api.incident_items:
                item["state"] = "healed"
            return Strength(missing=(), leader=self.leads)
        return Strength(missing=("the report of db-euw1-b is not fresh",), leader=self.leads)

    def find(self) -> None:
        wall = self.clock.wall()
        stamp = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
        self.api.incident_items.append(
            {
                "sk": f"{stamp}-{TARGET}",
                "slot": TARGET,
                "diagnosis": "agent-silent",
                "opened_at": wall,
                "state": "open",
            }
        )
        if self.step:
            self.journal("restart-service", self.step, TARGET)

    def journal(self, kind: str, sentence: str, slot: str) -> None:
        stamp = datetime.fromtimestamp(self.clock.wall(), UTC).isoformat(timespec="milliseconds")
        action_id = f"x-{len(self.api.journal_items)}-{kind}"
        self.api.journal_items.append(
            {
                "sk": f"{stamp}#{action_id}",
                "action_id": action_id,
                "kind": kind,
                "slot": slot,
                "outcome": "success",
                "sentence": sentence,
            }
        )

    def play(self, scenario: Scenario = SILENT) -> list[str]:
        return broken(scenario, play(self.stage, scenario, Losses()))


def test_what_the_healer_mends_alone_is_measured_from_the_blow() -> None:
    cluster = Cluster()
    account = play(cluster.stage, SILENT, Losses())
    assert broken(SILENT, account) == []
    assert account.settled
    assert account.detected_s == pytest.approx(5.0, abs=1.5)
    assert account.full_strength_s == pytest.approx(20.0, abs=1.5)
    assert account.mended is None
    assert [step.word for step in account.steps] == ["restart-service:pgmend-agent"]


def test_the_way_back_is_always_gone() -> None:
    cluster = Cluster()
    cluster.heals_s = None
    assert any("strength did not return" in sentence for sentence in cluster.play())
    assert cluster.machines.calls[-1][-1] == "systemctl start pgmend-agent"


def test_an_interrupted_scenario_is_mended_too() -> None:
    cluster = Cluster()

    def interrupt(stage: Stage, targets: Sequence[str]) -> None:
        assert targets == (TARGET,)
        del stage
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(cluster.stage, replace(SILENT, meanwhile=interrupt), Losses())
    assert cluster.machines.calls[-1][-1] == "systemctl start pgmend-agent"


def test_damage_that_stands_is_mended_in_its_time_and_strength_counts_from_there() -> None:
    cluster = Cluster()
    cluster.mended_by_us, cluster.step = True, ""
    account = play(cluster.stage, STANDS, Losses())
    assert broken(STANDS, account) == []
    assert account.mended is not None
    assert account.mended - account.struck == pytest.approx(30.0, abs=1.5)
    assert account.full_strength_s == pytest.approx(1.0, abs=1.5)


def test_damage_that_stands_is_mended_sooner_when_it_was_found() -> None:
    cluster = Cluster()
    cluster.mended_by_us, cluster.step = True, ""
    account = play(cluster.stage, replace(STANDS, mended_on=("agent-silent",)), Losses())
    assert account.mended is not None
    assert account.mended - account.struck == pytest.approx(6.0, abs=1.5)


def test_a_step_nobody_allowed_is_told() -> None:
    cluster = Cluster()
    cluster.mended_by_us = True
    assert cluster.play(STANDS) == [
        "restart-service:pgmend-agent on db-euw1-b () was not to happen"
    ]


def test_a_blow_that_comes_to_nothing_is_over_soon() -> None:
    cluster = Cluster()
    quiet = replace(SILENT, blows=(), called=(), must=())
    began = cluster.clock.now
    assert cluster.play(quiet) == []
    assert cluster.clock.now - began < 40.0


def test_it_is_not_over_before_the_order_is_carried_out() -> None:
    cluster = Cluster()
    end = cluster.clock.now + 50.0
    slow = replace(SILENT, until=lambda _: cluster.clock.now > end)
    play(cluster.stage, slow, Losses())
    assert cluster.clock.now > end


def test_a_lost_write_counts_for_one_scenario_only() -> None:
    cluster, losses = Cluster(), Losses()
    cluster.load.lost = frozenset({7})
    assert losses.newly(cluster.stage) == 1
    assert losses.newly(cluster.stage) == 0


def test_nothing_begins_below_full_strength() -> None:
    cluster = Cluster()
    cluster.machines.calls.append(("power_loss", "i-somebody"))
    cluster.heals_s = None
    with pytest.raises(LabError, match="not at full strength before it"):
        play(cluster.stage, SILENT, Losses())


# -- the run over all of them


class FakeHub:
    """What people have set."""

    def __init__(self, items: Mapping[str, Mapping[str, str]]) -> None:
        self.items, self.ordered = items, list[tuple[str, ...]]()

    def attribute(self, _: Bench, sk: str, name: str) -> str | None:
        return self.items.get(sk, {}).get(name)

    def people(self, *words: str) -> str:
        self.ordered.append(words)
        return "done"

    def set_mode(self, mode: str) -> None:
        self.ordered.append(("mode", mode))


def test_what_the_last_scenario_left_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    found = FakeHub(
        {
            "mode": {"mode": "observe"},
            "breaker": {"state": "open"},
            "planned": {"state": "open", "kind": "roll"},
        }
    )
    for name in ("attribute", "people", "set_mode"):
        monkeypatch.setattr(hub, name, getattr(found, name))
    hub.as_found(Cluster().stage)
    assert found.ordered == [
        ("mode", "auto"),
        ("ack", "--why", "the next scenario begins"),
        ("roll", "--cancel"),
    ]


def test_a_scenario_that_cannot_be_seen_through_is_a_broken_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "as_found", lambda _: None)
    cluster = Cluster()
    cluster.machines.returncode = 1
    line = main.attempt(cluster.stage, SILENT, Losses())
    assert not line.ok
    assert "failed on i-db-euw1-b" in line.broken[0]


def test_a_check_of_its_own_adds_to_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "as_found", lambda _: None)
    checked = replace(SILENT, check=lambda *_: ["two occupants"])
    line = main.attempt(Cluster().stage, checked, Losses())
    assert line.broken == ("two occupants",)


def test_a_lab_below_strength_is_mended_before_it_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "as_found", lambda _: None)
    cluster = Cluster()
    assert main.recovered(cluster.stage)
    assert cluster.machines.calls == []
    cluster.machines.calls.append(("power_loss", "i-somebody"))
    cluster.heals_s = None
    assert not main.recovered(cluster.stage)
    assert ("allow-launches",) in cluster.machines.calls
    assert ("way-to-aws", "eu-west-3", "True") in cluster.machines.calls
    assert ("mend", "eu-west-1", "eu-west-3") in cluster.machines.calls


def test_a_writer_that_ended_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, told = Cluster(), list[str]()
    monkeypatch.setattr(cluster.load, "stop", lambda: told.append("stop"))
    monkeypatch.setattr(cluster.load, "start", lambda: told.append("start"))
    main.under_load(cluster.stage)
    assert told == []

    def died() -> Any:
        raise LabError("lab.load.writer ended by itself")

    monkeypatch.setattr(cluster.load, "collect", died)
    main.under_load(cluster.stage)
    assert told == ["stop", "start"]


def test_evidence_of_a_broken_scenario_has_every_nodes_journal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saved: list[str] = []

    class Control:
        def machines(self) -> list[Any]:
            return [argparse.Namespace(instance_id="i-db-euw1-b")]

        def journal(self, instance_id: str, into: str) -> None:
            assert into.endswith("nodes/db-euw1-b")
            saved.append(instance_id)

    monkeypatch.setattr(
        "lab.proof.keeping.ControlClient", cast("Callable[[], ControlClient]", Control)
    )
    cluster = Cluster()
    account = play(cluster.stage, SILENT, Losses())
    for sentences in ((), ("something",)):
        line = _line(sentences)
        keep(tmp_path, cluster.stage, line, begin=account.begin, begin_wall=account.begin_wall)
    assert saved == ["i-db-euw1-b"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"line.json", "journal.json", "incidents.json", "strength.jsonl", "writes.csv"}


def _line(sentences: tuple[str, ...]) -> Line:
    return Line(
        name="agent-silent",
        row="agent",
        targets=(TARGET,),
        called=(),
        detected_s=None,
        actions=(),
        outage_s=None,
        full_strength_s=None,
        acked=0,
        lost=0,
        two_writable_s=0.0,
        took_s=1.0,
        broken=sentences,
    )


def test_names_choose_scenarios_and_unknown_ones_are_refused() -> None:
    rows = (SILENT, STANDS)
    assert main.chosen(None, rows) == rows
    assert main.chosen("stands, agent_silent", rows) == rows
    assert main.chosen("stands", rows) == (STANDS,)
    with pytest.raises(UsageError, match="no scenario 'earthquake'"):
        main.chosen("stands,earthquake", rows)
