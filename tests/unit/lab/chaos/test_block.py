"""A block from full strength to its verdict, on a cluster on paper: whatever is broken is found, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lab.chaos import block
from lab.chaos.block import STRENGTH_S, Tools, endpoints, play
from lab.chaos.promise import Sample
from lab.chaos.record import Block
from lab.chaos.schedule import Plan
from lab.checker.final import CopyDigest, FinalState
from lab.checker.history import Operation, write
from lab.checker.session import Endpoint
from lab.checker.settings import Kind, Settings
from lab.demo.runner import Stage
from lab.errors import LabError
from lab.load.history import WRITABLE, Outcome, Probe, Write
from tests.unit.lab.checker.builders import an_append
from tests.unit.lab_tools.fakes import (
    FakeApi,
    FakeClock,
    FakeLoad,
    FakeMachines,
    HealingCluster,
    a_probe,
    slots,
)
from tests.unit.lab_tools.stages import a_stage

LENGTH_S = 120.0
KEPT = 'ANY 2 ("db-euw1-b","db-euw3-a")'
NEAR = 'ANY 1 ("db-euw1-b")'
PLAN = Plan(seed=3, length_s=LENGTH_S, durability="region", kinds=("freeze", "unplug", "hang"))


@dataclass
class FakeChecker:
    """Appends once a second and is told what became of them; reads what `gone` has left of them."""

    clock: FakeClock
    directory: Path
    gone: set[int] = field(default_factory=set)
    copies_differ: bool = False
    doubts: tuple[str, ...] = ()
    unreadable: str = ""
    began: float = 0.0
    stopped: bool = False
    copies: tuple[str, ...] = ()

    def start(self) -> None:
        self.began = self.clock.now

    def operations(self) -> list[Operation]:
        count = int(self.clock.now - self.began)
        return [an_append(n, self.began + n, client=0, number=n) for n in range(1, count)]

    def stop(self) -> None:
        assert not self.stopped
        self.stopped = True
        self.directory.mkdir(parents=True)
        Settings().save(self.directory)
        self.asked = self.operations()
        write(Kind.APPEND.history(self.directory), self.asked)

    def final(self, copies: Sequence[Endpoint]) -> FinalState:
        assert self.stopped
        if self.unreadable:
            raise LabError(self.unreadable)
        self.copies = tuple(copy.name for copy in copies)
        there = [it.number for it in self.asked if it.number not in self.gone]
        same = CopyDigest(copy="primary", table="t", lsn="0/1", rows=len(there), digest="1")
        other = replace(same, copy="db-euw3-a", digest="2" if self.copies_differ else "1")
        return FinalState(
            at=self.clock.now, appended=tuple(there), copies=(same, other), doubts=self.doubts
        )


@dataclass
class FakeSampler:
    """The leader says the same all the time, unless it is suspended from one moment to another."""

    clock: FakeClock
    path: Path
    suspended: tuple[float, float] = (0.0, 0.0)  # since the start
    began: float = 0.0
    stopped: bool = False

    def start(self) -> None:
        self.began = self.clock.now

    def stop(self) -> None:
        self.stopped = True
        first, last = self.suspended
        lines = []
        for half in range(int(2 * (self.clock.now - self.began))):
            at_s = half / 2
            lines.append(
                Sample(
                    slot="db-euw1-a",
                    at=self.began + at_s,
                    until=self.began + at_s + 0.01,
                    primary=True,
                    names=NEAR if first <= at_s < last else KEPT,
                ).line()
            )
        self.path.write_text("".join(lines), "utf-8")


class World:
    """Everything a block works with."""

    def __init__(self, path: Path) -> None:
        self.clock, self.api, self.machines = FakeClock(), FakeApi(), FakeMachines()
        self.path = path
        self.load = FakeLoad(self.clock)
        self.checker = FakeChecker(self.clock, path / "checker")
        self.sampler = FakeSampler(self.clock, path / "promise.jsonl")
        self.cluster = HealingCluster(self.clock, self.api, self.machines)
        self.done: list[str] = []
        self.hub_back_after = 0
        self.leads: str | None = "db-euw1-a"
        self.endpoints: tuple[str, ...] = ()
        self.asked: Mapping[str, str] = {}
        self.stage = a_stage(
            clock=self.clock,
            api=self.api,
            machines=self.machines,
            leader=lambda: self.leads,
            looker=self.cluster,
            load=self.load,
        )

    def as_found(self, _: Stage) -> None:
        if self.hub_back_after:
            self.hub_back_after -= 1
            raise LabError("the hub does not answer")
        self.done.append("as found")

    def play(self, plan: Plan = PLAN) -> Block:
        def checker(ways: Sequence[Endpoint], directory: Path) -> FakeChecker:
            assert directory == self.checker.directory
            self.endpoints = tuple(way.name for way in ways)
            return self.checker

        def sampler(addresses: Mapping[str, str], path: Path) -> FakeSampler:
            assert path == self.sampler.path
            self.asked = addresses
            return self.sampler

        tools = Tools(
            checker=checker,
            sampler=sampler,
            break_commit=lambda _: self.done.append("break"),
            widen_budget=lambda _: self.done.append("widen"),
            as_found=self.as_found,
        )
        return play(self.stage, plan, self.path, tools, commit="abc1234")


def test_a_cluster_that_keeps_its_promises_is_well(tmp_path: Path) -> None:
    world = World(tmp_path)
    found = world.play(replace(PLAN, without=("zone-lost",)))
    assert found.broken == ()
    assert found.without == ("zone-lost",)
    assert found.doubts == ()
    assert found.ok
    assert found.minutes == pytest.approx(LENGTH_S / 60, abs=0.05)
    assert (found.seed, found.size, found.commit) == (3, "minimal", "abc1234")
    struck = sum(by.get("struck", 0) for by in found.faults.values())
    assert struck == sum(by.get("taken back", 0) for by in found.faults.values()) > 0
    assert found.operations["append"]["acked"] > LENGTH_S
    assert (found.lost, found.excused, found.suspended_s) == (0, 0, 0.0)
    assert found.full_strength_s is not None
    assert world.done == ["widen", "as found"]
    assert (tmp_path / "schedule.jsonl").exists()
    assert (tmp_path / "chaos.jsonl").exists()


def test_it_goes_through_each_proxy_and_directly_and_compares_every_other_copy(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.play()
    proxies = [slot.name for slot in slots() if slot.role == "haproxy" and slot.active]
    nodes = [slot for slot in slots() if slot.role == "db"]
    assert world.endpoints == (*proxies, "direct")
    assert set(world.asked) == {slot.name for slot in nodes}
    assert set(world.checker.copies) == {it.name for it in nodes if it.active} - {world.leads}


def test_the_direct_way_tries_active_nodes_first_and_takes_only_a_leader() -> None:
    direct = endpoints(slots())[-1]
    nodes = {slot.address: slot.active for slot in slots() if slot.role == "db"}
    assert set(direct.hosts) == set(nodes)
    assert [nodes[host] for host in direct.hosts] == sorted(nodes.values(), reverse=True)
    assert direct.read_write


def test_an_acknowledged_append_that_is_gone_is_broken(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.checker.gone = {40, 41}
    found = world.play()
    assert not found.ok
    assert (found.lost, found.excused) == (2, 0)
    assert found.anomalies == {"lost": 1}
    assert "2 acknowledged appends are gone" in found.broken[0]


def test_one_that_was_acknowledged_while_the_promise_was_suspended_is_excused(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.checker.gone = {40, 41}
    world.sampler.suspended = (38.0, 44.0)
    found = world.play()
    assert found.ok
    assert (found.lost, found.excused) == (0, 2)
    assert found.suspended_s == pytest.approx(6.5, abs=0.2)


def test_in_zone_the_same_setting_is_no_suspension(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.checker.gone = {40, 41}
    world.sampler.suspended = (38.0, 44.0)
    assert world.play(replace(PLAN, durability="zone")).lost == 2


def test_with_a_guard_off_the_windows_are_taken_from_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.checker.gone = {40, 41}
    world.sampler.suspended = (0.0, LENGTH_S)
    found = world.play(replace(PLAN, broken=True))
    assert world.done[:2] == ["widen", "break"]
    assert found.broken_on_purpose == "commit"
    assert (found.ok, found.lost, found.suspended_s) == (False, 2, 0.0)


@pytest.mark.parametrize(("missing", "ok"), [(range(40, 45), True), (range(40, 80), False)])
def test_without_a_promise_loss_is_counted_and_bounded(
    tmp_path: Path, missing: range, ok: bool
) -> None:
    world = World(tmp_path)
    world.checker.gone = set(missing)
    found = world.play(replace(PLAN, durability="async"))
    assert (found.ok, found.lost, found.excused) == (ok, 0, len(missing))
    assert found.lost_s >= len(missing) - 1


def test_what_the_writer_was_promised_counts_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.load.lost = frozenset({400, 401})
    found = world.play()
    assert found.lost == 2
    assert found.broken == ("2 acknowledged writes of the writer are gone",)


def test_a_loss_of_the_writer_is_excused_like_any_other(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.load.lost = frozenset({400})
    world.sampler.suspended = (38.0, 44.0)
    found = world.play()
    assert (found.ok, found.lost, found.excused) == (True, 0, 1)


def test_without_a_promise_the_writer_may_lose_something(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.load.lost = frozenset({400})
    found = world.play(replace(PLAN, durability="async"))
    assert (found.ok, found.lost, found.excused) == (True, 0, 1)


@pytest.mark.parametrize(("for_s", "ok"), [(1.0, True), (4.0, False)])
def test_a_thawed_copy_may_answer_as_a_primary_for_a_moment_which_is_told(
    tmp_path: Path, for_s: float, ok: bool
) -> None:
    world = World(tmp_path)
    collect = world.load.collect

    def with_thaws() -> tuple[Sequence[Write], Sequence[Probe]]:
        writes, probes = collect()
        lines = (tmp_path / "chaos.jsonl").read_text("utf-8").splitlines()
        thaws = [it for it in map(json.loads, lines) if it["deed"] == "taken back"]
        assert {it["target"] for it in thaws} > {world.leads}
        answers = [
            a_probe(it["target"], it["at"] + n / 4, WRITABLE)
            for it in thaws
            for n in range(int(4 * for_s))
            if it["target"] != world.leads
        ]
        return writes, [*probes, *answers]

    world.load.collect = with_thaws  # type: ignore[method-assign]
    found = world.play(replace(PLAN, seed=1, kinds=("freeze",), length_s=300.0))
    assert found.two_writable_s > 0.5
    assert found.ok is ok


def test_two_leaders_are_broken_in_every_mode(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.load.twice = True
    found = world.play(replace(PLAN, durability="async"))
    assert found.anomalies == {"two writable": 1}
    assert found.two_writable_s > LENGTH_S / 2


def test_copies_that_differ_are_broken(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.checker.copies_differ = True
    assert world.play().anomalies == {"copies differ": 1}


def test_what_could_not_be_compared_is_not_well(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.checker.doubts = ("db-euw3-a could not be compared",)
    found = world.play()
    assert (found.broken, found.doubts, found.ok) == ((), world.checker.doubts, False)


def test_a_block_in_which_nothing_broke_shows_nothing(tmp_path: Path) -> None:
    found = World(tmp_path).play(replace(PLAN, length_s=15.0))
    assert (found.faults, found.broken, found.ok) == ({}, (), False)
    assert found.doubts == ("no fault was struck: nothing is shown by what was kept",)


def test_an_end_that_nobody_could_read_is_not_well_and_has_a_record(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.checker.unreadable = "the primary could not be read at the end"
    found = world.play()
    assert found.broken == (world.checker.unreadable,)
    assert found.doubts == ("nothing was read at the end",)
    assert found.operations == {}


def test_an_end_without_a_leader_is_not_well(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.leads = None
    assert world.play().broken == ("no database leads now",)


def test_strength_that_does_not_return_is_broken_after_a_bound(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cluster.heals_after_s = 10.0**6
    found = world.play()
    assert found.full_strength_s is None
    assert "strength did not return within" in found.broken[0]
    assert "db-euw1-b does not answer" in found.broken[0]
    assert world.clock.now < 1000.0 + LENGTH_S + STRENGTH_S + 30.0


def test_a_lab_that_never_was_at_full_strength_cannot_be_judged(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cluster.heals_after_s = 10.0**6
    world.machines.calls.append(("before",))
    with pytest.raises(LabError, match="does not come to full strength"):
        world.play()
    assert not world.load.started


def failing(words: str) -> Callable[..., None]:
    def fails(*_: object, **__: object) -> None:
        raise LabError(words)

    return fails


def test_a_prober_that_died_is_told_and_all_else_is_judged(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.load.collect = failing("prober ended by itself")  # type: ignore[method-assign,assignment]
    found = world.play()
    assert found.broken == ("prober ended by itself",)
    assert found.operations["append"]["acked"] > LENGTH_S


def test_however_many_looks_fail_the_faults_go_on_and_strength_is_waited_for(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    look, since = world.cluster.look, world.clock.now

    def sometimes() -> object:
        if 60.0 < world.clock.now - since < LENGTH_S + 40.0:
            raise LabError("the local AWS does not answer")
        return look()

    world.cluster.look = sometimes  # type: ignore[assignment, method-assign]
    found = world.play()
    assert found.ok
    assert found.minutes >= LENGTH_S / 60
    assert found.full_strength_s is not None
    assert found.full_strength_s > 30.0


@pytest.mark.parametrize(("failures", "broken"), [(3, ()), (10**6, ("the hub does not answer",))])
def test_a_hub_that_comes_back_late_is_waited_for(
    tmp_path: Path, failures: int, broken: tuple[str, ...]
) -> None:
    world = World(tmp_path)
    world.hub_back_after = failures
    assert world.play().broken == broken


def test_a_checker_that_cannot_start_leaves_no_question_open(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.checker.start = failing("no tables")  # type: ignore[method-assign]
    with pytest.raises(LabError, match="no tables"):
        world.play()
    assert world.sampler.began == 0.0


def test_an_interrupt_ends_clients_and_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(block, "_faults", interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.play()
    assert world.checker.stopped
    assert world.sampler.stopped


def test_outages_are_those_of_all_clients_together(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.play().outages_s == ()
    assert Outcome.ACKED in {it.outcome for it in world.checker.asked}
