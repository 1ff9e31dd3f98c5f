"""Runs the demo: setup, faults one after another, the checks at the end, and the way down.

It knows nothing of how the lab is made; that comes in through `Stage`. Whatever happens, the load
is stopped, rules that were switched off are switched on again, and what was measured so far is
written down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from lab.demo.costs import Costs
from lab.demo.load import Load, database_names
from lab.demo.measure import Observed, record
from lab.demo.record import Mark, Run
from lab.demo.scenario import Step, limits
from lab.demo.timeline import Timeline
from lab.demo.watch import Watch
from lab.errors import LabError
from lab.faults.bench import Bench
from lab.faults.catalogue import fault_named
from lab.faults.targets import resolve
from lab.load.history import two_writable_s
from lab.operator import Operator
from lab.ports import REGIONS

FIRST_FILL_S: Final = 900.0
PATIENCE: Final = 4.0  # times the promised limit, before the run gives up on a fault
PATIENCE_MIN_S: Final = 240.0
BASELINE_S: Final = 3.0
AFTERMATH_S: Final = 5.0
LEADER_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupStep:
    """One long step before the cluster runs."""

    name: str
    title: str
    do: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything the runner works with."""

    api: Operator
    bench: Bench
    watch: Watch
    load: Load
    timeline: Timeline
    run: Run
    plan_is_clean: Callable[[], bool] | None
    costs: Callable[[], Costs] | None = None
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


def set_up(steps: Sequence[SetupStep], run: Run, timeline: Timeline) -> None:
    """Do the steps in order and note how long each took."""
    for step in steps:
        began = time.monotonic()
        with timeline.step(step.title):
            step.do()
        run.setup_s[step.name] = time.monotonic() - began


def perform(stage: Stage, steps: Sequence[Step]) -> None:
    """From the first look to the last check. Raises LabError when it cannot go on."""
    began = stage.clock()
    stage.timeline.heading("the healer fills every slot")
    if stage.watch.until_full(limit_s=FIRST_FILL_S) is None:
        raise LabError(
            f"the cluster was not at full strength {FIRST_FILL_S:.0f} s after the first look;"
            " the last line above says what was missing"
        )
    stage.run.setup_s["first_fill"] = stage.clock() - began
    if stage.costs is not None:
        with stage.timeline.step("measuring what pgmend itself costs on a quiet cluster"):
            costs = stage.costs()
        stage.run.costs = costs.as_json()
        stage.run.broken += costs.broken()
    with stage.timeline.step("starting the writer and the prober"):
        stage.load.start()
    for step in steps:
        if not _one_fault(stage, step):
            raise LabError(f"{step.name}: strength did not return; the run ends here")
    _check_one_writable(stage)
    _check_plan(stage)


def _check_one_writable(stage: Stage) -> None:
    """Over the whole run, also between the faults."""
    _, probes = stage.load.collect()
    names = database_names(stage.api.slots())
    direct = [probe for probe in probes if probe.target in names]
    double_s = two_writable_s(direct, stage.run.started_at, stage.clock())
    counted_s = sum(row.two_writable_s for row in stage.run.faults)
    if double_s > counted_s:
        stage.run.broken.append(f"two nodes were writable at once for {double_s:.2f} s in all")


def _one_fault(stage: Stage, step: Step) -> bool:
    stage.timeline.heading(step.name)
    patience = max(PATIENCE_MIN_S, PATIENCE * limits(step, stage.run.clock)[0])
    if stage.watch.until_full(limit_s=patience) is None:
        raise LabError(f"before '{step.name}' the cluster was not at full strength")
    stage.sleep(BASELINE_S)
    with _rules_off(stage, wanted=step.alarm_only):
        return _inject_and_measure(stage, step, patience)


def _inject_and_measure(stage: Stage, step: Step, patience_s: float) -> bool:
    slots = stage.api.slots()
    leader_before = stage.bench.leader()
    fault = fault_named(step.fault)
    target = resolve(step.target, slots=slots, leader=leader_before, roles=fault.roles)
    begin, begin_wall = stage.clock(), stage.wall()
    done = fault.inject(stage.bench, target)
    stage.run.marks.append(Mark(at=begin, kind="fault", slot=target.name, text=step.name))
    stage.timeline.say("fault", f"{target.name}: {fault.describe}")
    try:
        full_at = stage.watch.until_full(limit_s=patience_s, weak_first=True)
    finally:
        fault.heal(stage.bench, done)
    # The way back belongs to the fault: a thawed or plugged host, and all that comes after full strength.
    stage.sleep(AFTERMATH_S)
    end = stage.clock()
    writes, probes = stage.load.collect()
    names = database_names(slots)
    row = record(
        Observed(
            step=step,
            clock=stage.run.clock,
            durability=stage.run.durability,
            target=target.name,
            begin=begin,
            begin_wall=begin_wall,
            end=end,
            full_at=full_at,
            writes=writes,
            probes=[probe for probe in probes if probe.target in names],
            incidents=stage.api.incidents(),
            journal=stage.api.journal(),
            lost=_newly_lost(stage),
            leader_before=leader_before,
            leader_after=stage.bench.leader(),
        )
    )
    stage.run.faults.append(row)
    stage.timeline.say(
        "healed" if not row.broken else "broken",
        f"{step.name}: write outage {row.write_outage_s:.1f} s,"
        f" full strength after {row.full_strength_s or 0:.1f} s, lost {row.lost}"
        if row.full_strength_s is not None
        else f"{step.name}: not healed",
    )
    for sentence in row.broken:
        stage.timeline.say("broken", sentence)
    return full_at is not None


def _newly_lost(stage: Stage) -> int:
    """Acknowledged ids missing now, less those already counted for an earlier fault."""
    address = _leaders_address(stage)
    return max(0, len(stage.load.missing(address)) - sum(row.lost for row in stage.run.faults))


def _leaders_address(stage: Stage) -> str:
    """Raises LabError when nobody leads for long: then what was lost cannot be told."""
    deadline = stage.clock() + LEADER_S
    while stage.clock() < deadline:
        leader = stage.bench.leader()
        for slot in stage.api.slots():
            if slot.name == leader:
                return slot.address
        stage.sleep(1.0)
    raise LabError(f"nobody led for {LEADER_S:.0f} s, so it is not known what was lost")


def _check_plan(stage: Stage) -> None:
    if stage.plan_is_clean is None:
        return
    with stage.timeline.step("planning once more: healing must not show up as drift"):
        if not stage.plan_is_clean():
            stage.run.broken.append("the plan after healing shows changes")


@contextmanager
def _rules_off(stage: Stage, *, wanted: bool) -> Iterator[None]:
    """The tick and the rules of the agents' events, off through the AWS API and on again."""
    switched: list[tuple[str, str, str]] = []
    try:
        if wanted:
            for region in REGIONS:
                for name, rule in stage.api.rules(region.name).items():
                    if _tick_or_agent(rule) and rule.get("State") == "ENABLED":
                        bus = str(rule["EventBusName"])
                        stage.api.switch_rule(name, region.name, bus, enabled=False)
                        switched.append((name, region.name, bus))
            names = ", ".join(sorted({name for name, _, _ in switched})) or "none found"
            stage.timeline.say("note", f"rules disabled: {names}")
        yield
    finally:
        for name, region_name, bus in switched:
            stage.api.switch_rule(name, region_name, bus, enabled=True)
        if switched:
            stage.timeline.say("note", "rules enabled again")


def _tick_or_agent(rule: object) -> bool:
    if not isinstance(rule, dict):
        return False
    return bool(rule.get("ScheduleExpression")) or "pgmend.agent" in str(rule.get("EventPattern"))
