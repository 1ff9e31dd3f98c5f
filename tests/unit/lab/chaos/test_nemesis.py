"""Blows fall when they are due, are taken back when their time is over, and what really happened is written down."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from lab.chaos.aim import aim
from lab.chaos.nemesis import HEAL_WITHIN_S, TRY_AGAIN_S, Deed, Nemesis, Thaw
from lab.chaos.schedule import Blow
from lab.control import RegionService
from lab.demo.timeline import Timeline
from lab.errors import LabError, UsageError
from lab.faults.bench import Bench
from lab.faults.catalogue import fault_named
from lab.operator import Operator
from tests.unit.lab_tools.fakes import FakeApi, FakeClock, FakeMachines, slots

LEADER = "db-euw1-a"


class Stubborn(FakeMachines):
    """Starts no service again until it has been asked so often."""

    def __init__(self, until: int) -> None:
        super().__init__()
        self.until = until
        self.asked = 0

    def region_service(self, region: str, service: RegionService, *, running: bool) -> None:
        if running:
            self.asked += 1
            if self.asked < self.until:
                raise LabError("the lab does not answer")
        super().region_service(region, service, running=running)


class World:
    """A nemesis on a cluster on paper."""

    def __init__(
        self, path: Path, schedule: Sequence[Blow], machines: FakeMachines | None = None
    ) -> None:
        self.clock, self.api = FakeClock(), FakeApi()
        self.machines = machines or FakeMachines()
        self.leads: str | None = LEADER
        self.path = path / "chaos.jsonl"
        self.nemesis = Nemesis(
            bench=Bench(
                machines=self.machines,
                api=cast("Operator", self.api),
                leader=lambda: self.leads,
                clock=self.clock.monotonic,
                sleep=self.clock.sleep,
            ),
            schedule=schedule,
            timeline=Timeline(Console(file=io.StringIO()), clock=self.clock.monotonic),
            path=self.path,
            clock=self.clock.monotonic,
            wall=self.clock.wall,
            sleep=self.clock.sleep,
            began=self.clock.now,
        )

    def at(self, seconds: float) -> None:
        self.clock.now = self.nemesis.began + seconds
        self.nemesis.due()

    def deeds(self) -> list[tuple[str, str, str]]:
        lines: list[dict[str, Any]] = [
            json.loads(it) for it in self.path.read_text("utf-8").splitlines()
        ]
        return [(line["deed"], line["kind"], line["target"]) for line in lines]


def a_blow(
    kind: str,
    begin_s: float = 10.0,
    length_s: float = 20.0,
    target: str = "leader",
    *,
    pick: float = 0.0,
) -> Blow:
    return Blow(number=1, kind=kind, begin_s=begin_s, length_s=length_s, target=target, pick=pick)


def test_a_blow_falls_when_it_is_due_and_is_taken_back_when_its_time_is_over(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, [a_blow("freeze")])
    world.at(9.0)
    assert world.machines.calls == []
    world.at(10.0)
    assert world.machines.calls == [("freeze", "i-db-euw1-a")]
    world.at(29.0)
    assert world.nemesis.open_names == ("freeze on db-euw1-a",)
    world.at(30.5)
    assert world.machines.calls[1:] == [("thaw", "i-db-euw1-a")]
    assert world.nemesis.thaws == [Thaw(slot=LEADER, begin=1030.5, end=1030.5)]
    assert world.deeds() == [("struck", "freeze", LEADER), ("taken back", "freeze", LEADER)]
    assert world.nemesis.counts == {"freeze": {Deed.STRUCK: 1, Deed.TAKEN_BACK: 1}}


def test_late_blows_and_ways_back_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    schedule = [
        a_blow("unplug", 10.0, 5.0, "replica"),
        a_blow("freeze", 12.0, 20.0, "haproxy"),
        a_blow("hang", 16.0, 20.0, "app"),
    ]
    world = World(tmp_path, schedule)
    world.at(20.0)
    assert [kind for kind, *_ in world.machines.calls] == ["unplug", "freeze", "plug", "hang"]


def test_only_what_stands_still_and_goes_on_is_a_thaw(tmp_path: Path) -> None:
    world = World(tmp_path, [a_blow("unplug"), a_blow("reboot", 11.0, 1.0, "replica")])
    world.at(10.0)
    world.nemesis.heal_all()
    assert world.nemesis.thaws == []


def test_a_blow_without_anybody_to_hit_is_passed_over_and_the_next_one_falls(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, [a_blow("freeze"), a_blow("freeze", 11.0, target="witness")])
    world.leads = None
    world.at(12.0)
    assert [deed for deed, *_ in world.deeds()] == ["passed over", "struck"]


def test_damage_that_cannot_be_done_is_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path, [a_blow("postgres-kill")])
    world.machines.returncode = 1
    world.at(10.0)
    assert world.deeds() == [("passed over", "postgres-kill", "leader")]
    assert world.nemesis.open_names == ()


def test_data_goes_once_until_strength_was_full_again(tmp_path: Path) -> None:
    schedule = [a_blow("disk-errors", at, 5.0, "replica") for at in (10.0, 20.0, 30.0)]
    world = World(tmp_path, schedule)
    world.at(10.0)
    world.nemesis.seen(full=False)
    world.at(20.0)
    world.nemesis.seen(full=True)
    world.nemesis.seen(full=False)
    world.at(30.0)
    deeds = [deed for deed, *_ in world.deeds()]
    assert deeds == ["struck", "taken back", "passed over", "struck"]


def test_data_whose_taking_failed_half_way_may_be_gone(tmp_path: Path) -> None:
    schedule = [a_blow("etcd-data-lost", 10.0, target="witness"), a_blow("disk-errors", 40.0)]
    world = World(tmp_path, schedule)
    world.machines.returncode = 1
    world.at(10.0)
    world.machines.returncode = 0
    world.at(40.0)
    assert [deed for deed, *_ in world.deeds()] == ["passed over", "passed over"]


def test_what_stays_is_told_once_and_tried_again_in_the_end(tmp_path: Path) -> None:
    machines = Stubborn(until=4)
    world = World(tmp_path, [a_blow("lambda-down", target="region:euc1")], machines)
    world.at(10.0)
    world.at(31.0)
    world.at(32.0)
    assert machines.asked == 1
    assert world.nemesis.heal_all() == ()
    assert machines.asked == 4
    assert [deed for deed, *_ in world.deeds()] == ["struck", "stays", "taken back"]


def test_what_cannot_be_taken_back_at_all_is_named_after_a_bound(tmp_path: Path) -> None:
    schedule = [a_blow("lambda-down", target="region:euc1"), a_blow("freeze", 11.0)]
    world = World(tmp_path, schedule, Stubborn(until=10**9))
    world.at(11.0)
    began = world.clock.now
    assert world.nemesis.heal_all() == ("lambda-down on region:euc1",)
    assert HEAL_WITHIN_S < world.clock.now - began < HEAL_WITHIN_S + 2 * TRY_AGAIN_S
    assert ("taken back", "freeze", LEADER) in world.deeds()


def test_in_the_end_the_newest_is_taken_back_first(tmp_path: Path) -> None:
    world = World(tmp_path, [a_blow("unplug"), a_blow("freeze", 11.0, target="haproxy")])
    world.at(11.0)
    assert world.nemesis.heal_all() == ()
    assert [kind for kind, *_ in world.machines.calls[2:]] == ["thaw", "plug"]


def hit(
    word: str,
    *,
    pick: float = 0.0,
    taken: Sequence[str] = (),
    leader: Callable[[], str | None] = lambda: LEADER,
    kind: str = "freeze",
) -> str:
    blow = a_blow(kind, target=word, pick=pick)
    return aim(blow, fault_named(kind), slots=slots(), leader=leader, taken=taken).name


def test_a_word_means_another_by_its_pick_and_never_the_same_twice() -> None:
    copies = {hit("replica", pick=pick / 10) for pick in range(10)}
    active = {slot.name for slot in slots() if slot.role == "db" and slot.active}
    assert copies == active - {LEADER}
    first = hit("replica")
    assert hit("replica", taken=[first]) != first
    assert {hit("haproxy", pick=0.0), hit("haproxy", pick=0.99)} == {
        slot.name for slot in slots() if slot.role == "haproxy" and slot.active
    }


def test_the_leaders_region_is_where_the_leader_is() -> None:
    assert hit("region:leader", kind="cut-region") == "region:euw1"


def test_words_that_need_no_leader_do_not_ask_for_one() -> None:
    def nobody() -> str | None:
        raise AssertionError("nobody has to be asked")

    assert hit("region:euw3", kind="cut-region", leader=nobody) == "region:euw3"
    assert hit("zone:euw1a", kind="zone-lost", leader=nobody) == "zone:euw1a"
    assert hit("witness", leader=nobody).startswith("witness")


@pytest.mark.parametrize(
    ("word", "taken"), [("leader", [LEADER]), ("region:euw3", ["region:euw3"])]
)
def test_nobody_is_hit_twice_at_once(word: str, taken: list[str]) -> None:
    kind = "cut-region" if word.startswith("region") else "freeze"
    with pytest.raises(LabError, match="hit already"):
        hit(word, taken=taken, kind=kind)


@pytest.mark.parametrize("word", ["leader", "replica", "region:leader"])
def test_without_a_leader_its_words_mean_nobody(word: str) -> None:
    kind = "cut-region" if word.startswith("region") else "freeze"
    with pytest.raises(LabError, match="no database leads"):
        hit(word, leader=lambda: None, kind=kind)


def test_a_fault_on_whom_it_cannot_hit_is_a_mistake_in_the_table() -> None:
    with pytest.raises(UsageError, match="hits only db"):
        hit("app", kind="postgres-kill")
