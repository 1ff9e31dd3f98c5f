"""One block on a lab that runs: clients, prober, faults, the way back, strength, the reading at the end, the verdict.

Whatever fails is a sentence of the block's record, which is made in any case. Times called `at` are monotonic seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from lab.chaos.commit import break_commit
from lab.chaos.kinds import ASYNC
from lab.chaos.nemesis import Deed, Nemesis
from lab.chaos.outages import acknowledged, gone, outages, without_thaws
from lab.chaos.promise import read as read_samples
from lab.chaos.promise import seconds, windows
from lab.chaos.record import Block
from lab.chaos.schedule import Plan, as_lines, draw
from lab.checker.final import FinalState
from lab.checker.history import HistoryError, Operation
from lab.checker.history import read as read_history
from lab.checker.judge import Verdict, judge
from lab.checker.session import Endpoint
from lab.checker.settings import Kind
from lab.checker.verdicts.finding import Anomaly, Finding
from lab.checker.verdicts.windows import ALWAYS, Window
from lab.demo.load import database_names
from lab.demo.runner import FIRST_FILL_S, Stage
from lab.errors import LabError
from lab.load.history import Probe, Write, two_writable_s
from lab.operator import Slot
from lab.proof import hub
from lab.strength import Strength

LOOK_EVERY_S: Final = 1.0
STRENGTH_S: Final = 900.0  # a lost region's slots go home only after it has been steady
SETTLE_S: Final = 5.0
HUB_BACK_S: Final = 60.0
HUB_AGAIN_S: Final = 5.0
# Without a promise: what a leader acknowledges that is cut off, and what copies may lag behind one that dies.
ASYNC_LOSS_S_MAX: Final = 30.0
POSTGRES: Final = 5432
CHECKER: Final = "checker"
PROMISE: Final = "promise.jsonl"


class Checks(Protocol):
    """The part of `lab.checker.run.Checker` a block uses."""

    def start(self) -> None:
        """Begin to ask."""

    def stop(self) -> None:
        """End."""

    def final(self, copies: Sequence[Endpoint]) -> FinalState:
        """What is there now."""


class Samples(Protocol):
    """The part of `lab.chaos.sampler.Sampler` a block uses."""

    def start(self) -> None:
        """Begin to ask."""

    def stop(self) -> None:
        """End."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a block makes for itself."""

    checker: Callable[[Sequence[Endpoint], Path], Checks]
    sampler: Callable[[Mapping[str, str], Path], Samples]  # by slot: its address
    break_commit: Callable[[Stage], None] = lambda stage: break_commit(stage.bench)
    widen_budget: Callable[[Stage], None] = lambda stage: hub.widen_budget(stage.bench)
    as_found: Callable[[Stage], None] = hub.as_found


@dataclass(slots=True, kw_only=True)
class Run:
    """A block while it runs."""

    stage: Stage
    plan: Plan
    directory: Path
    tools: Tools
    nemesis: Nemesis | None = None
    began: float = 0.0
    began_wall: float = 0.0
    ended: float = 0.0  # of the faults
    healed: float = 0.0
    full_at: float | None = None
    final: FinalState | None = None
    missing: frozenset[int] = frozenset()
    broken: list[str] = field(default_factory=list)


def play(stage: Stage, plan: Plan, directory: Path, tools: Tools, *, commit: str) -> Block:
    """The whole block. Raises LabError when it cannot be begun."""
    run = Run(stage=stage, plan=plan, directory=directory, tools=tools)
    if stage.watch.until_full(limit_s=FIRST_FILL_S) is None:
        raise LabError("the lab does not come to full strength")
    tools.widen_budget(stage)
    with stage.timeline.step("starting the writer and the prober"):
        stage.load.start()
    slots = stage.api.slots()
    checker = tools.checker(endpoints(slots), directory / CHECKER)
    sampler = tools.sampler(
        {slot.name: slot.address for slot in slots if slot.role == "db"}, directory / PROMISE
    )
    checker.start()
    try:
        sampler.start()
        try:
            _faults(run)
            _recover(run)
        finally:
            # What is still open is in the way of the reading at the end, whatever has happened.
            _attempt(run, sampler.stop)
    finally:
        _attempt(run, checker.stop)
    _attempt(run, lambda: _read_the_end(run, checker))
    return _judged(run, commit)


def endpoints(slots: Sequence[Slot]) -> tuple[Endpoint, ...]:
    """Each HAProxy, and all databases directly, the leader wherever it is."""
    proxies = [slot for slot in slots if slot.role == "haproxy" and slot.active]
    nodes = sorted((slot for slot in slots if slot.role == "db"), key=lambda it: not it.active)
    direct = Endpoint(
        name="direct",
        hosts=tuple(slot.address for slot in nodes),
        port=POSTGRES,
        read_write=True,
    )
    through = [Endpoint(name=it.name, hosts=(it.address,), port=POSTGRES) for it in proxies]
    return (*through, direct)


def _faults(run: Run) -> None:
    stage = run.stage
    schedule = draw(run.plan)
    (run.directory / "schedule.jsonl").write_text(as_lines(schedule), "utf-8")
    if run.plan.broken:
        run.tools.break_commit(stage)
        stage.timeline.say("fault", "the promise is taken away by hand; the checker is not told")
    run.began, run.began_wall = stage.clock(), stage.wall()
    nemesis = run.nemesis = Nemesis(
        bench=stage.bench,
        schedule=schedule,
        timeline=stage.timeline,
        path=run.directory / "chaos.jsonl",
        clock=stage.clock,
        wall=stage.wall,
        sleep=stage.sleep,
        began=run.began,
    )
    while stage.clock() < run.began + run.plan.length_s:
        nemesis.due()
        strength = _look(stage)
        nemesis.seen(full=strength is not None and strength.full)
        stage.sleep(LOOK_EVERY_S)
    run.ended = stage.clock()
    for words in nemesis.heal_all():
        _broken(run, f"{words} could not be taken back")
    run.healed = stage.clock()


def _look(stage: Stage) -> Strength | None:
    """One look; None when it failed. However many fail: what is looked at is being broken."""
    try:
        return stage.watch.look()
    except LabError as error:
        stage.timeline.still(str(error))
        return None


def _recover(run: Run) -> None:
    """Full strength, after what people have set, or would set, is as it was found."""
    stage = run.stage
    _attempt(run, lambda: _as_found(run))
    end = stage.clock() + STRENGTH_S
    while run.full_at is None and stage.clock() < end:
        strength = _look(stage)
        if strength is not None and strength.full:
            run.full_at = stage.run.samples[-1].at
        else:
            stage.sleep(LOOK_EVERY_S)
    if run.full_at is None:
        samples = stage.run.samples
        missing = samples[-1].missing if samples else ()
        _broken(
            run,
            f"strength did not return within {STRENGTH_S:.0f} s:"
            f" {'; '.join(missing) or 'nobody could look'}",
        )
    stage.sleep(SETTLE_S)


def _as_found(run: Run) -> None:
    """As people would leave it. The hub may have come back a moment ago; raises LabError when it stays away."""
    stage = run.stage
    end = stage.clock() + HUB_BACK_S
    while True:
        try:
            run.tools.as_found(stage)
        except LabError:
            if stage.clock() > end:
                raise
            stage.sleep(HUB_AGAIN_S)
        else:
            return


def _read_the_end(run: Run, checker: Checks) -> None:
    """What the leader and every copy hold. Raises LabError when nobody can be asked."""
    stage = run.stage
    leader = stage.bench.leading()
    slots = {slot.name: slot for slot in stage.api.slots() if slot.role == "db"}
    there = {it.slot for it in stage.api.occupants() if it.state == "running"}
    copies = [
        Endpoint(name=name, hosts=(slot.address,), port=POSTGRES)
        for name, slot in slots.items()
        if name in there and name != leader
    ]
    run.final = checker.final(copies)
    run.missing = stage.load.missing(slots[leader].address)


def _judged(run: Run, commit: str) -> Block:
    stage, plan = run.stage, run.plan
    asynchronous = plan.durability == ASYNC
    suspended = _suspended(run)
    writes, probes = _measured(run)
    verdict = _verdict(run, suspended, probes)
    promised, unpromised = gone(writes, run.missing, (ALWAYS,) if asynchronous else suspended)
    if promised:
        _broken(run, f"{promised} acknowledged writes of the writer are gone")
    nemesis, end = run.nemesis, run.full_at or stage.clock()
    lost = 0 if verdict is None else _lost(verdict.broken)
    excused = 0 if verdict is None else _lost(verdict.excused)
    doubts = ("nothing was read at the end",) if verdict is None else verdict.doubts
    if nemesis is None or not any(Deed.STRUCK in by for by in nemesis.counts.values()):
        doubts = (*doubts, "no fault was struck: nothing is shown by what was kept")
    return Block(
        seed=plan.seed,
        size=stage.run.size,
        durability=plan.durability,
        broken_on_purpose="commit" if plan.broken else "",
        without=plan.without,
        commit=commit,
        began_wall=run.began_wall,
        minutes=round((run.ended - run.began) / 60, 2),
        faults={}
        if nemesis is None
        else {
            kind: {deed.value: number for deed, number in by.items()}
            for kind, by in nemesis.counts.items()
        },
        operations={}
        if verdict is None
        else {
            kind.value: {outcome.value: number for outcome, number in by.items()}
            for kind, by in verdict.counts.items()
        },
        outages_s=outages(acknowledged(writes, _appends(run)), run.began, end),
        lost=lost + promised,
        excused=excused + unpromised,
        lost_s=0.0 if verdict is None else round(verdict.lost_s, 3),
        anomalies={} if verdict is None else _anomalies(verdict),
        suspended_s=0.0 if asynchronous else round(seconds(suspended), 1),
        two_writable_s=round(two_writable_s(probes, run.began, stage.clock()), 3),
        full_strength_s=None if run.full_at is None else round(run.full_at - run.healed, 1),
        broken=(*run.broken, *(() if verdict is None else verdict.sentences)),
        doubts=doubts,
    )


def _suspended(run: Run) -> tuple[Window, ...]:
    """The announced windows; none from anybody when the promise was taken away behind the checker's back."""
    if run.plan.broken or run.plan.durability == ASYNC:
        return ()
    regions = {it.name: it.region for it in run.stage.api.slots() if it.role == "db"}
    samples = read_samples(run.directory / PROMISE)
    return windows(samples, durability=run.plan.durability, regions=regions)


def _measured(run: Run) -> tuple[Sequence[Write], Sequence[Probe]]:
    """All writes, and the direct answers of databases. What could not be had is told."""
    try:
        writes, probes = run.stage.load.collect()
    except LabError as error:
        _broken(run, str(error))
        return (), ()
    names = database_names(run.stage.api.slots())
    return writes, [probe for probe in probes if probe.target in names]


def _verdict(run: Run, suspended: Sequence[Window], probes: Sequence[Probe]) -> Verdict | None:
    if run.final is None:
        return None
    thaws = () if run.nemesis is None else tuple(run.nemesis.thaws)
    asynchronous = run.plan.durability == ASYNC
    try:
        return judge(
            run.directory / CHECKER,
            run.final,
            without_thaws(probes, thaws),
            suspended,
            asynchronous=asynchronous,
            loss_s_max=ASYNC_LOSS_S_MAX if asynchronous else None,
        )
    except HistoryError as error:
        _broken(run, str(error))
        return None


def _appends(run: Run) -> Sequence[Operation]:
    path = Kind.APPEND.history(run.directory / CHECKER)
    return read_history(path).operations if path.exists() else ()


def _lost(findings: Sequence[Finding]) -> int:
    return sum(len(it.operations) for it in findings if it.anomaly is Anomaly.LOST)


def _anomalies(verdict: Verdict) -> Mapping[str, int]:
    return dict(Counter(finding.anomaly.value for finding in verdict.broken))


def _attempt(run: Run, step: Callable[[], None]) -> None:
    try:
        step()
    except LabError as error:
        _broken(run, str(error))


def _broken(run: Run, sentence: str) -> None:
    run.broken.append(sentence)
    run.stage.timeline.say("broken", sentence)
