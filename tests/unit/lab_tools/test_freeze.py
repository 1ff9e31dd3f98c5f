"""Freeze and thaw on paper: what is done in which order, what is counted, and that everything is put back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from lab.control import MachineFault, RegionLink, RunResult
from lab.errors import LabError
from lab.faults.bench import Machines
from lab.freeze.etcd import LeaderKey
from lab.freeze.nodes import Nodes
from lab.freeze.plan import Guard, Mover, Plan, Variant
from lab.freeze.record import Trial
from lab.freeze.trial import Stand, perform
from lab.load.history import WRITABLE
from lab.strength import Strength
from tests.unit.lab_tools.fakes import FakeApi, FakeClock, FakeLoad, a_probe
from tests.unit.lab_tools.stages import a_stage

LEADER, SUCCESSOR, THIRD = "db-euw1-a", "db-euw1-b", "db-euw3-a"
TTL_S = 21.0
PLAN = Plan(trials=1, variants=(Variant.FORCED,), guard=Guard.ON, mover=Mover.OFF)


class World:
    """Three databases, an etcd, and a log of everything that was done, in order."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = FakeApi()
        self.load = FreezeLoad(self.clock)
        self.log: list[str] = []
        self.guards: dict[str, str | None] = dict.fromkeys((LEADER, SUCCESSOR, THIRD), "on")
        self.dropped_in: set[str] = set()
        self.lead, self.etcd_lead = LEADER, THIRD
        self.voters = frozenset((LEADER, SUCCESSOR, THIRD))
        self.frozen_at: float | None = None
        self.thawed_host_wins = False
        self.nobody_takes_over = False
        self.key = SUCCESSOR
        self.said = "pgmend guard: the leader key is absent: the lock is lost and is not taken back"
        self.order_s = 0.1
        self.fails: str | None = None

    # machines

    def machine_fault(self, fault: MachineFault, instance_id: str) -> None:
        self.note(f"{fault.value} {instance_id.removeprefix('i-')}")
        if fault is MachineFault.FREEZE:
            self.frozen_at = self.clock.now
        elif fault is MachineFault.THAW:
            leads = self.leader()
            self.frozen_at = None
            self.lead = self.lead if self.thawed_host_wins else leads or self.lead

    def region_link(self, link: RegionLink, first: str, second: str) -> None:
        raise AssertionError((link, first, second))

    def run(self, instance_id: str, argv: Sequence[str], timeout_s: float = 60.0) -> RunResult:
        del timeout_s
        self.clock.sleep(self.order_s)
        slot, script = instance_id.removeprefix("i-"), argv[-1]
        if self.fails is not None and self.fails in script:
            return RunResult(returncode=1, stdout="", stderr="Job failed.")
        return RunResult(returncode=0, stdout=self._answer(slot, script), stderr="")

    def _answer(self, slot: str, script: str) -> str:
        if "cmdline" in script:
            guard = self.guards[slot]
            command = "python3 -m node_agent.guard x" if guard else "python3 /usr/bin/patroni x"
            return f"{command} \n" + ("PGMEND_PATRONI_GUARD=off\n" if guard == "off" else "")
        if "journalctl" in script:
            return f"{self.said}\n" if slot == LEADER else ""
        if "restart patroni" in script:
            self.guards[slot] = "off" if "printf" in script else "on"
            self.note(f"restart {slot} {self.guards[slot]}")
        elif "patronictl" in script:
            self.note(f"{slot} hands over to {script.split()[7]}")
            self.lead = script.split()[7]
        elif "signal=STOP" in script:
            self.note(f"stop {slot}")
        elif "signal=CONT" in script:
            self.note(f"go on {slot}")
        else:
            self.note(f"{script.split()[1]} agent {slot}")
        return ""

    def note(self, what: str) -> None:
        self.log.append(what)

    def leader(self) -> str | None:
        if self.frozen_at is None:
            return self.lead
        over = self.clock.now - self.frozen_at >= TTL_S and not self.nobody_takes_over
        return SUCCESSOR if over else None

    # etcd and healer

    def etcd_leader(self) -> str:
        return self.etcd_lead

    @contextmanager
    def observing(self) -> Iterator[None]:
        self.note("healer observes")
        try:
            yield
        finally:
            self.note("healer acts")

    # the whole

    def look(self) -> Strength:
        return Strength(missing=(), leader=self.leader())

    def stand(self) -> Stand:
        stage = a_stage(
            clock=self.clock,
            api=self.api,
            machines=cast("Machines", self),
            leader=self.leader,
            looker=self,
            load=self.load,
        )
        self.load.start()
        return Stand(
            stage=stage,
            etcd=PaperEtcd(self),
            nodes=Nodes(stage.bench, clock=self.clock.monotonic),
            healer=self,
        )

    def play(self, plan: Plan = PLAN) -> list[Trial]:
        trials: list[Trial] = []
        perform(self.stand(), plan, trials.append)
        return trials


class PaperEtcd:
    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def voters(self) -> frozenset[str]:
        return self._world.voters

    def leader(self) -> str | None:
        return self._world.etcd_lead

    def move_leader(self, slot: str) -> None:
        self._world.etcd_lead = slot
        self._world.note(f"etcd to {slot}")

    def leader_key(self, *, without: str) -> LeaderKey | None:
        assert without == LEADER
        return LeaderKey(name=self._world.key, lease="77")

    def revoke(self, lease: str, *, without: str) -> None:
        assert without == LEADER
        self._world.note(f"revoke {lease}")


class FreezeLoad(FakeLoad):
    """Whoever leads is asked; each address has lost something of its own."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.lost_at: dict[str, frozenset[int]] = {}

    def missing(self, leader_address: str) -> frozenset[int]:
        return self.lost_at.get(leader_address, frozenset())


# -- a trial


def test_a_leader_that_has_no_vote_in_etcd_hands_over_first() -> None:
    world = World()
    world.lead, world.voters = SUCCESSOR, frozenset((LEADER, THIRD))

    (trial,) = world.play()

    assert world.log[0] == f"{SUCCESSOR} hands over to {LEADER}"
    assert (trial.frozen, trial.etcd_leader) == (LEADER, LEADER)


def test_a_database_that_does_not_take_over_ends_the_trials() -> None:
    world = World()
    world.lead, world.voters, world.fails = SUCCESSOR, frozenset((LEADER, THIRD)), "patronictl"

    with pytest.raises(LabError, match="Job failed"):
        world.play()


def test_without_a_voting_database_there_is_no_trial() -> None:
    world = World()
    world.voters = frozenset()

    with pytest.raises(LabError, match="no database slot votes"):
        world.play()


def test_a_forced_trial_revokes_the_successors_lease_while_its_patroni_stands_still() -> None:
    world = World()

    (trial,) = world.play()

    assert world.log == [
        "healer observes",
        f"stop agent {LEADER}",
        f"etcd to {LEADER}",
        f"freeze {LEADER}",
        f"stop {SUCCESSOR}",
        "revoke 77",
        f"thaw {LEADER}",
        f"go on {SUCCESSOR}",
        f"start agent {LEADER}",
        "healer acts",
    ]
    assert (trial.frozen, trial.etcd_leader, trial.successor) == (LEADER, LEADER, SUCCESSOR)
    assert 40.0 <= trial.thawed_s <= 41.0
    assert trial.patroni_stopped_s == pytest.approx(0.7)
    assert trial.denied == 1
    assert trial.said[0].startswith(f"{LEADER}: pgmend guard: ")


def test_a_natural_trial_only_freezes_and_thaws() -> None:
    world = World()

    (trial,) = world.play(replace(PLAN, variants=(Variant.NATURAL,)))

    assert world.log[3:5] == [f"freeze {LEADER}", f"thaw {LEADER}"]
    assert trial.patroni_stopped_s is None
    assert trial.leader_after == SUCCESSOR
    assert not trial.retaken


def test_the_agent_keeps_its_habit_when_asked_to() -> None:
    world = World()

    world.play(replace(PLAN, mover=Mover.ON))

    assert not [line for line in world.log if "agent" in line]


def test_a_freeze_lasts_until_somebody_else_leads() -> None:
    world = World()

    (trial,) = world.play(replace(PLAN, freeze_s=1.0))

    assert TTL_S <= trial.thawed_s <= TTL_S + 2


def test_what_a_thawed_leader_discards_is_counted_once() -> None:
    world = World()
    world.thawed_host_wins = True
    world.load.lost_at = {"10.10.10.11": frozenset({1, 2, 3})}

    first, second = world.play(replace(PLAN, trials=2, guard=Guard.OFF))

    assert (first.lost, second.lost) == (3, 0)
    assert first.retaken


def test_two_writable_nodes_and_outages_are_measured_on_both_sides_of_the_thaw() -> None:
    world = World()
    world.load.twice = True

    (trial,) = world.play()

    assert trial.two_writable_s > 0
    assert trial.outage_frozen_s < 1
    assert trial.outage_thawed_s < 1
    assert trial.acked > 0


def test_probes_of_proxies_are_no_second_writable_node() -> None:
    world = World()
    probes = [a_probe("haproxy-euw1-a", 1000 + n / 4, WRITABLE) for n in range(400)]
    collect = world.load.collect
    world.load.collect = lambda: (collect()[0], [*collect()[1], *probes])  # type: ignore[method-assign]

    (trial,) = world.play()

    assert trial.two_writable_s == 0


# -- whatever happens


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nobody_takes_over": True}, "nobody took over"),
        ({"key": THIRD}, "but the leader key is"),
        ({"fails": "signal=STOP"}, "Job failed"),
    ],
)
def test_a_trial_that_fails_leaves_nothing_frozen_or_stopped(
    change: dict[str, Any], words: str
) -> None:
    world = World()
    vars(world).update(change)

    with pytest.raises(LabError, match=words):
        world.play()
    assert world.frozen_at is None
    assert world.log[-3:] == [f"thaw {LEADER}", f"start agent {LEADER}", "healer acts"]
    assert world.log.count(f"stop {SUCCESSOR}") == world.log.count(f"go on {SUCCESSOR}")


def test_the_guard_is_switched_off_leader_last_and_is_on_again_in_the_end() -> None:
    world = World()

    (trial,) = world.play(replace(PLAN, guard=Guard.OFF))

    restarts = [line for line in world.log if line.startswith("restart")]
    assert restarts[:3] == [
        f"restart {SUCCESSOR} off",
        f"restart {THIRD} off",
        f"restart {LEADER} off",
    ]
    assert {line.rpartition(" ")[2] for line in restarts[3:]} == {"on"}
    assert set(world.guards.values()) == {"on"}
    assert trial.guard is Guard.OFF


def test_the_guard_is_on_again_after_a_trial_that_failed() -> None:
    world = World()
    world.nobody_takes_over = True

    with pytest.raises(LabError):
        world.play(replace(PLAN, guard=Guard.OFF))
    assert set(world.guards.values()) == {"on"}


def test_nodes_as_wanted_are_not_restarted() -> None:
    world = World()

    world.play()

    assert not [line for line in world.log if line.startswith("restart")]


def test_a_patroni_without_the_launcher_cannot_be_guarded_but_can_be_tried_without() -> None:
    world = World()
    world.guards[THIRD] = None

    with pytest.raises(LabError, match=f"{THIRD} does not run through the guard's launcher"):
        world.play()

    world.guards = dict.fromkeys(world.guards)
    (trial,) = world.play(replace(PLAN, guard=Guard.OFF))
    assert trial.guard is Guard.OFF
    assert not [line for line in world.log if line.startswith("restart")]
