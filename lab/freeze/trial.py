"""One freeze and thaw, from full strength to full strength, and what it cost.

It knows nothing of how the lab is made; that comes in through `Stand`. Whatever happens, the host is thawed, Patroni
and the agent go on, and the healer may act again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from lab.control import MachineFault
from lab.demo.load import database_names
from lab.demo.runner import Stage
from lab.errors import LabError
from lab.freeze.etcd import Etcd
from lab.freeze.nodes import Nodes
from lab.freeze.plan import (
    AFTERMATH_S,
    BASELINE_S,
    FULL_S,
    LEADER_WAIT_S,
    PATRONI_STOPPED_S,
    Guard,
    Plan,
    Variant,
)
from lab.freeze.record import Trial
from lab.load.history import Outcome, longest_gap, two_writable_s

LOOK_EVERY_S: Final = 0.5
SETTLE_S: Final = 2.0


class Healer(Protocol):
    """`lab.freeze.healer.HealerMode`."""

    def observing(self) -> AbstractContextManager[None]:
        """The healer only watches, inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Everything the trials work with. `lost` are ids counted for an earlier trial."""

    stage: Stage
    etcd: Etcd
    nodes: Nodes
    healer: Healer
    lost: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What happened when, by the stage's clock."""

    frozen: str
    etcd_leader: str
    begin: float
    begin_wall: float
    thawed: float
    successor: str | None
    patroni_stopped_s: float | None


def perform(stand: Stand, plan: Plan, keep: Callable[[Trial], None]) -> None:
    """All trials. Raises LabError when it cannot go on; the guard is on again in the end."""
    stage = stand.stage
    slots = stage.api.slots()
    try:
        for number, variant in enumerate(plan.order(), start=1):
            stage.timeline.heading(
                f"trial {number} of {len(plan.order())}: {variant}, guard {plan.guard}"
            )
            _full(stage, "before the trial")
            for slot in stand.nodes.switch(plan.guard, slots, stage.watch.until_full):
                stage.timeline.say("note", f"{slot}: Patroni runs with its guard {plan.guard} now")
            _both_leaders_on_one_host(stand)
            trial = one_trial(stand, plan, variant)
            keep(trial)
            stage.timeline.say(
                "broken" if trial.lost else "healed",
                f"{trial.frozen} was frozen for {trial.thawed_s:.0f} s, {trial.leader_after} leads:"
                f" {trial.lost} of {trial.acked} acknowledged writes are gone",
            )
    finally:
        if plan.guard is Guard.OFF:
            stand.nodes.restore(slots, stage.watch.until_full)


def _both_leaders_on_one_host(stand: Stand) -> None:
    """Only a voter can lead etcd, too: where another database leads, it hands over to one."""
    stage, leader = stand.stage, stand.stage.bench.leader()
    if leader is None or leader in stand.etcd.voters:
        return
    able = [s.name for s in stage.api.slots() if s.role == "db" and s.name in stand.etcd.voters]
    if not able:
        raise LabError("no database slot votes in etcd, so none can lead both")
    stand.nodes.switch_over(leader, able[0], stage.watch.until_full)
    stage.timeline.say("leader", f"{leader}, which has no vote in etcd, handed over to {able[0]}")


def one_trial(stand: Stand, plan: Plan, variant: Variant) -> Trial:
    """Freeze, thaw, wait, count. Raises LabError when strength does not return."""
    stage = stand.stage
    stage.sleep(BASELINE_S)
    frozen = stage.bench.leader()
    if frozen is None:
        raise LabError("no database leads, so there is no leader's host to freeze")
    with stand.healer.observing():
        with stand.nodes.mover_stopped(frozen, plan.mover):
            moments = _freeze_and_thaw(stand, plan, variant, frozen)
        stage.sleep(AFTERMATH_S)
    full_at = _full(stage, f"after {frozen} was thawed")
    stage.sleep(SETTLE_S)
    return _judge(stand, plan, variant, moments, full_at)


def _freeze_and_thaw(stand: Stand, plan: Plan, variant: Variant, frozen: str) -> Moments:
    stage = stand.stage
    instance_id = stage.bench.occupant_of(frozen).instance_id
    stand.etcd.move_leader(frozen)
    etcd_leader = stand.etcd.leader() or "unknown"
    begin, begin_wall = stage.clock(), stage.wall()
    stage.bench.machines.machine_fault(MachineFault.FREEZE, instance_id)
    stage.timeline.say("fault", f"{frozen} stands still; etcd's leader is {etcd_leader}")
    thawed = stopped_s = None
    try:
        successor = _successor(stage, plan, frozen, begin)
        stage.timeline.say("leader", f"{successor or 'nobody'} leads, {frozen} is thawed")
        if variant is Variant.FORCED:
            if successor is None:
                raise LabError(f"nobody took over from {frozen}, so nobody's lease can be revoked")
            thawed, stopped_s = _force(stand, successor, frozen, instance_id)
    finally:
        if thawed is None:
            stage.bench.machines.machine_fault(MachineFault.THAW, instance_id)
    return Moments(
        frozen=frozen,
        etcd_leader=etcd_leader,
        begin=begin,
        begin_wall=begin_wall,
        thawed=stage.clock() if thawed is None else thawed,
        successor=successor,
        patroni_stopped_s=stopped_s,
    )


def _successor(stage: Stage, plan: Plan, frozen: str, begin: float) -> str | None:
    """Who leads when the freeze is over; a freeze lasts longer when nobody does yet."""
    successor = None
    while (passed := stage.clock() - begin) < plan.freeze_s + LEADER_WAIT_S:
        found = stage.bench.leader()
        successor = found if found not in {None, frozen} else None
        if passed >= plan.freeze_s and successor is not None:
            return successor
        stage.sleep(LOOK_EVERY_S)
    return successor


def _force(stand: Stand, successor: str, frozen: str, instance_id: str) -> tuple[float, float]:
    """Revoke the successor's lease as the host thaws, while its Patroni stands still: when, and for how long it did."""
    stage = stand.stage
    with stand.nodes.patroni_stopped(successor) as stopped:
        key = stand.etcd.leader_key(without=frozen)
        if key is None or key.name != successor:
            raise LabError(f"{successor} leads, but the leader key is {key}")
        stand.etcd.revoke(key.lease, without=frozen)
        stage.bench.machines.machine_fault(MachineFault.THAW, instance_id)
        thawed = stage.clock()
        stage.sleep(stopped.rest_of(PATRONI_STOPPED_S))
    return thawed, stopped.seconds


def _judge(stand: Stand, plan: Plan, variant: Variant, m: Moments, full_at: float) -> Trial:
    stage = stand.stage
    slots = stage.api.slots()
    leader_after = stage.bench.leader()
    lost = _newly_lost(stand, leader_after)
    writes, probes = stage.load.collect()
    names = database_names(slots)
    inside = [write for write in writes if m.begin <= write.at <= full_at]
    return Trial(
        variant=variant,
        guard=plan.guard,
        frozen=m.frozen,
        etcd_leader=m.etcd_leader,
        successor=m.successor,
        leader_after=leader_after,
        thawed_s=m.thawed - m.begin,
        full_s=full_at - m.thawed,
        acked=sum(write.outcome is Outcome.ACKED for write in inside),
        unknown=sum(write.outcome is Outcome.UNKNOWN for write in inside),
        lost=lost,
        outage_frozen_s=longest_gap(writes, m.begin, m.thawed).seconds,
        outage_thawed_s=longest_gap(writes, m.thawed, full_at).seconds,
        two_writable_s=two_writable_s(
            (probe for probe in probes if probe.target in names), m.begin, full_at
        ),
        patroni_stopped_s=m.patroni_stopped_s,
        said=stand.nodes.said(slots, since_wall=m.begin_wall),
    )


def _newly_lost(stand: Stand, leader: str | None) -> int:
    """Acknowledged ids the leader does not have, less those counted before. Raises LabError without a leader."""
    slots = stand.stage.api.slots()
    address = next((slot.address for slot in slots if slot.name == leader), None)
    if address is None:
        raise LabError("nobody leads after the trial, so nobody can be asked what was kept")
    missing = set(stand.stage.load.missing(address))
    newly = missing - stand.lost
    stand.lost.update(missing)
    return len(newly)


def _full(stage: Stage, when: str) -> float:
    full_at = stage.watch.until_full(limit_s=FULL_S)
    if full_at is None:
        raise LabError(f"{when} the cluster was not at full strength within {FULL_S:.0f} s")
    return full_at
