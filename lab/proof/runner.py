"""One scenario on a lab that runs: the blows, what the healer does about them, the way back, and what it cost.

Whatever happens, the damage is undone as far as it can be by hand, and what was measured so far is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from lab.demo.load import database_names
from lab.demo.record import Mark
from lab.demo.runner import Stage
from lab.errors import LabError
from lab.faults.catalogue import Injected, fault_named
from lab.faults.targets import resolve
from lab.load.history import Outcome, longest_gap, two_writable_s
from lab.proof.account import (
    Account,
    Call,
    Step,
    back_at,
    calls_of,
    calls_with,
    first_opened,
    steps_of,
    still_open,
)
from lab.proof.scenario import Scenario
from lab.proof.verdict import all_done, mends_now, was_called

BASELINE_S: Final = 1.5
AFTERMATH_S: Final = 3.0
LOOK_EVERY_S: Final = 1.0
QUIET_S: Final = 20.0  # a blow that nobody notices for so long has come to nothing
CALM_S: Final = 45.0  # healed, and nothing that had to happen came for so long: it will not
PATIENCE_S: Final = 90.0  # beyond what is promised, so that a late recovery is seen as late
LEADER_S: Final = 60.0
BEFORE_S: Final = 120.0


@dataclass(slots=True, kw_only=True)
class Losses:
    """Acknowledged writes found missing so far, each counted for one scenario only."""

    known: set[int] = field(default_factory=set)

    def newly(self, stage: Stage) -> int:
        """Ids missing on the leader now that were not before. Raises LabError without a leader."""
        missing = set(stage.load.missing(_leaders_address(stage)))
        newly = missing - self.known
        self.known |= missing
        return len(newly)


@dataclass(slots=True, kw_only=True)
class Run:
    """One scenario while it runs."""

    stage: Stage
    scenario: Scenario
    targets: tuple[str, ...] = ()
    injected: list[Injected] = field(default_factory=list)
    begin: float = 0.0
    begin_wall: float = 0.0
    struck: float = 0.0
    struck_wall: float = 0.0
    mended: float | None = None
    calls: set[Call] = field(default_factory=set)
    steps: tuple[Step, ...] = ()
    weak: bool = False
    missing: tuple[str, ...] = ()
    opened_before: frozenset[str] = frozenset()  # names of incidents that were there already
    calm_since: float | None = None


def play(stage: Stage, scenario: Scenario, losses: Losses) -> Account:
    """The whole scenario. Raises LabError when it cannot be begun, or nobody can say what it cost."""
    run = Run(stage=stage, scenario=scenario)
    _ready(run)
    try:
        if scenario.before is not None:
            scenario.before(stage)
        _strike(run)
        if scenario.meanwhile is not None:
            scenario.meanwhile(stage, run.targets)
        settled = _watch(run)
    finally:
        _mend(run)
    stage.sleep(AFTERMATH_S)
    _look(run)
    return _account(run, settled, losses)


def _ready(run: Run) -> None:
    """Full strength and no incident, so that all that is seen belongs to this scenario."""
    stage = run.stage
    if stage.watch.until_full(limit_s=BEFORE_S) is None:
        raise LabError("the cluster was not at full strength before it")
    end = stage.clock() + BEFORE_S
    while found := still_open(stage.api.incidents()):
        if stage.clock() > end:
            raise LabError(f"incidents were open before it: {', '.join(found)}")
        stage.sleep(LOOK_EVERY_S)
    run.opened_before = frozenset(str(item["sk"]) for item in stage.api.incidents())
    stage.sleep(BASELINE_S)


def _strike(run: Run) -> None:
    stage = run.stage
    leader = stage.bench.leader()
    slots = stage.api.slots()
    aims = [
        (fault_named(b.fault), b.target, fault_named(b.fault).roles) for b in run.scenario.blows
    ]
    taken: list[str] = []
    run.begin, run.begin_wall = stage.clock(), stage.wall()
    for fault, word, roles in aims:
        free = [slot for slot in slots if slot.name not in taken]
        target = resolve(word, slots=free, leader=leader, roles=roles)
        taken += [target.slot.name] if target.slot is not None else []
        run.targets = (*run.targets, *_slots_of(run, target.slot, target.region))
        stage.timeline.say("fault", f"{target.name}: {fault.describe}")
        run.injected.append(fault.inject(stage.bench, target))
        stage.run.marks.append(
            Mark(at=stage.clock(), kind="fault", slot=target.name, text=fault.name)
        )
    run.struck, run.struck_wall = stage.clock(), stage.wall()


def _slots_of(run: Run, slot: Any, region: str | None) -> tuple[str, ...]:  # noqa: ANN401 - a Slot or None
    if slot is not None:
        return (str(slot.name),)
    active = [s for s in run.stage.api.slots() if s.active and s.region == region]
    return tuple(s.name for s in active)


def _watch(run: Run) -> bool:
    """Until it is over or there is no patience left; whether it came to its good end."""
    scenario, stage = run.scenario, run.stage
    limit_s = scenario.full_s + (scenario.stands_s or 0.0) + PATIENCE_S
    with stage.timeline.watching(scenario.name):
        while stage.clock() < run.struck + limit_s:
            full = _look(run)
            if _is_over(run, full=full):
                return True
            if _came_to_nothing(run, full=full):
                return False
            if _time_to_mend(run):
                _mend(run)
            stage.sleep(LOOK_EVERY_S)
    return False


def _look(run: Run) -> bool:
    """One look at the cluster and at what the healer wrote."""
    stage = run.stage
    strength = stage.watch.look()
    if strength is not None:
        run.weak = run.weak or not strength.full
        run.missing = strength.missing
    run.calls.update(calls_of(_new_incidents(run), run.begin_wall))
    run.steps = steps_of(stage.api.journal(after=_iso(run.begin_wall)), run.begin_wall)
    run.calls.update(calls_with(run.steps))
    return strength is not None and strength.full


def _new_incidents(run: Run) -> list[Any]:
    found = run.stage.api.incidents()
    return [item for item in found if str(item["sk"]) not in run.opened_before]


def _is_over(run: Run, *, full: bool) -> bool:
    scenario = run.scenario
    if not full or still_open(_new_incidents(run)):
        return False
    if scenario.stands_s is not None and run.mended is None:
        return False
    if scenario.called and not was_called(scenario, run.calls, run.targets):
        return False
    if not all_done(scenario, run.steps, run.targets):
        return False
    if scenario.until is not None and not scenario.until(run.stage):
        return False
    noticed = run.weak or bool(run.calls) or bool(scenario.must)
    return noticed or run.stage.clock() - run.struck > QUIET_S


def _came_to_nothing(run: Run, *, full: bool) -> bool:
    """Whether it was noticed and is healed for so long that what still has to happen never will."""
    stage, scenario = run.stage, run.scenario
    ours = scenario.until is not None or (scenario.stands_s is not None and run.mended is None)
    if not full or ours or not run.calls or still_open(_new_incidents(run)):
        run.calm_since = None
        return False
    if run.calm_since is None:
        run.calm_since = stage.clock()
    return stage.clock() - run.calm_since > CALM_S


def _time_to_mend(run: Run) -> bool:
    if run.scenario.stands_s is None or run.mended is not None:
        return False
    if mends_now(run.scenario, run.calls, run.steps):
        return True
    return run.stage.clock() - run.struck >= run.scenario.stands_s


def _mend(run: Run) -> None:
    """Undo everything, newest first; what cannot be undone now is told and tried again at the end."""
    stage, left, began = run.stage, [], run.stage.clock()
    for done in reversed(run.injected):
        try:
            fault_named(done.fault).heal(stage.bench, done)
        except LabError as error:
            stage.timeline.say("note", f"{done.fault} could not be undone: {error}")
            left.append(done)
    run.injected = left[::-1]
    if run.scenario.mend is not None and run.mended is None:
        run.scenario.mend(stage)
    if run.mended is None:
        run.mended = began  # the healer may answer to it before it is through
        stage.timeline.say("note", f"{run.scenario.name}: what is ours to undo is undone")


def _account(run: Run, settled: bool, losses: Losses) -> Account:  # noqa: FBT001 - one fact of many
    stage, end = run.stage, run.stage.clock()
    writes, probes = stage.load.collect()
    names = database_names(stage.api.slots())
    ours = run.mended if run.scenario.stands_s is not None else None
    back = back_at(stage.run.samples, run.begin)
    opened = first_opened(_new_incidents(run), run.begin_wall, run.targets)
    inside = [write for write in writes if run.begin <= write.at <= end]
    return Account(
        targets=run.targets,
        begin=run.begin,
        begin_wall=run.begin_wall,
        struck=run.struck,
        mended=ours,
        end=end,
        settled=settled,
        back=back,
        detected_s=None if opened is None else max(0.0, opened - run.struck_wall),
        calls=frozenset(run.calls),
        steps=run.steps,
        missing=run.missing,
        open_slots=still_open(_new_incidents(run)),
        outage_s=longest_gap(writes, run.begin, end).seconds,
        acked=sum(write.outcome is Outcome.ACKED for write in inside),
        lost=losses.newly(stage),
        two_writable_s=two_writable_s(
            (probe for probe in probes if probe.target in names), run.begin, end
        ),
        full_strength_s=None if back is None else max(0.0, back - (ours or run.begin)),
    )


def _leaders_address(stage: Stage) -> str:
    end = stage.clock() + LEADER_S
    while stage.clock() < end:
        leader = stage.bench.leader()
        for slot in stage.api.slots():
            if slot.name == leader:
                return slot.address
        stage.sleep(LOOK_EVERY_S)
    raise LabError(f"nobody led for {LEADER_S:.0f} s, so it is not known what was lost")


def _iso(wall: float) -> str:
    """A journal key that sorts before everything written since then."""
    return datetime.fromtimestamp(wall - 1.0, UTC).isoformat(timespec="milliseconds")
