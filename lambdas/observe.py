"""The only reader: asks every region, SSM and the hub table, and returns one frozen observation.

It must never change anything but its own memory of which report sequence was first seen when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from lambdas.adapters.attributes import ID_MAX, NUMBER_MAX
from lambdas.adapters.ec2 import Ec2
from lambdas.adapters.ssm import CommandState, Ssm
from lambdas.adapters.table import CLOCKS_S, RawReport, State, Table
from lambdas.core.diagnosis import Diagnosis
from lambdas.core.model import (
    Instance,
    Lag,
    Observation,
    OpenAction,
    Phase,
    Report,
    SeenReport,
    Spec,
    Timings,
    Volume,
    is_leading,
)
from lambdas.core.parse import BadReportError, report_from_json
from lambdas.core.plan import after_a_pause
from lambdas.core.rules.databases import LAG_BYTES_MAX
from lambdas.documents import overdue_after_s
from lambdas.errors import RegionSilentError
from lambdas.observe_unread import Unread, remember_what_was_lost, set_aside
from lambdas.side_by_side import SideBySide

DAY_S = 24 * 3600.0
FUTURE_S = DAY_S  # a report that claims to be from later than this is set aside; hours are a clock that is off


@dataclass(frozen=True, kw_only=True)
class World:
    """The adapters, one of each a region where AWS has one a region."""

    spec: Spec
    ec2: Mapping[str, Ec2]
    ssm: Mapping[str, Ssm]
    table: Table
    iso: Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Look:
    """An observation, what came of commands that ended, and what was set aside: reports, items of the hub table."""

    observation: Observation
    finished: Mapping[str, CommandState]
    refused_reports: tuple[str, ...]
    unread: Unread = field(default_factory=Unread)

    @property
    def mute_ssm(self) -> tuple[str, ...]:
        """What is said of each region whose SSM gave no answer."""
        return tuple(
            f"whom SSM sees in {region} is not known: {why}"
            for region, why in self.observation.mute_ssm.items()
        )


@dataclass(frozen=True, kw_only=True)
class _Region:
    instances: tuple[Instance, ...] = ()
    volumes: tuple[Volume, ...] = ()
    online: frozenset[str] = frozenset()
    silent: str | None = None
    mute_ssm: str | None = None


def observe(
    world: World,
    *,
    now: float,
    pool: ThreadPoolExecutor,
    keep: Callable[[], None] = lambda: None,
    looked_for_s: float = 0.0,
) -> Look:
    """Look once, regions in parallel.

    `keep` is called now and then while answers are waited for. `looked_for_s`: how long this run's look before took.
    """
    calls = SideBySide(pool=pool, meanwhile=keep)
    regions = {name: calls.ask(_region, world, name) for name in world.spec.regions}
    removals = calls.ask(_history, world, now)
    state, unread = set_aside(world.table.state(), world.spec, now=now, iso=world.iso)
    commands = {
        slot: calls.ask(_command, world, slot, a, now) for slot, a in state.open_actions.items()
    }
    reports, freshness, refused = _reports(world.spec, state, now, looked_for_s)
    _remember_who_leads(freshness, reports, state, world.spec.timings.agent_silent_after_s)
    lags = _remember_lags(freshness, reports, state, now)
    mute = _remember_mute_patronis(freshness, reports, state)
    stalled = _remember_stalled_disks(freshness, reports, state)
    remember_what_was_lost(freshness, state.freshness)
    if freshness != state.freshness:
        world.table.save_freshness(freshness)
    seen = {name: answer() for name, answer in regions.items()}
    states = {slot: answer() for slot, answer in commands.items()}
    finished = {slot: s for slot, s in states.items() if s is not None and s.finished}
    history = removals()
    observation = Observation(
        now=now,
        spec=world.spec,
        reports=reports,
        instances=tuple(i for r in seen.values() for i in r.instances),
        volumes=tuple(v for r in seen.values() for v in r.volumes if not v.set_aside),
        set_aside=tuple(v for r in seen.values() for v in r.volumes if v.set_aside),
        online=frozenset().union(*(r.online for r in seen.values())),
        unknown_regions={name: r.silent for name, r in seen.items() if r.silent is not None},
        birth=state.birth,
        closed=state.closed,
        mode=state.mode_at(now),
        open_actions={s: _with_state(a, states.get(s)) for s, a in state.open_actions.items()},
        incidents=state.incidents,
        removals=history.removals,
        failed_launches=history.failed_launches,
        growths=history.growths,
        windows=state.windows,
        breaker=state.breaker,
        planned=state.planned,
        lags=lags,
        mute_patronis=mute,
        stalled_disks=stalled,
        refused_reports=frozenset(refused),
        mute_ssm={name: r.mute_ssm for name, r in seen.items() if r.mute_ssm is not None},
        last_led=frozenset(m["instance_id"] for m in freshness.values() if m.get("led_at")),
    )
    sentences = [f"{slot}: {why}" for slot, why in refused.items()]
    sentences += [f"{slot}: {STRANGERS}" for slot in _by_strangers(observation)]
    return Look(
        observation=observation,
        finished=finished,
        refused_reports=tuple(sentences),
        unread=replace(unread, sentences=unread.sentences + history.unread),
    )


STRANGERS = "it is young, and not by the instance that occupies the slot"


def _by_strangers(o: Observation) -> tuple[str, ...]:
    """Slots in whose name another instance than the occupant still reports."""
    found = []
    for slot, seen in o.reports.items():
        occupant = o.occupant(slot)
        young = seen.age_s <= o.spec.timings.agent_silent_after_s
        if occupant is not None and young and occupant.instance_id != seen.report.instance_id:
            found.append(slot)
    return tuple(found)


def _region(world: World, name: str) -> _Region:
    try:
        found = _Region(instances=world.ec2[name].instances(), volumes=world.ec2[name].volumes())
    except RegionSilentError as error:
        return _Region(silent=str(error))
    return _with_online(found, world.ssm[name])


def _with_online(found: _Region, ssm: Ssm) -> _Region:
    """With nobody, and why, while SSM does not answer: documents wait, all else goes on."""
    try:
        return replace(found, online=ssm.online())
    except RegionSilentError as error:
        return replace(found, mute_ssm=str(error))


def _command(world: World, slot: str, action: OpenAction, now: float) -> CommandState | None:
    """How the action's document stands. One that SSM cannot or will not speak of is over when its time is."""
    if action.command_id is None or action.instance_id is None:
        return None
    state, limit_s = _asked(world, slot, action), overdue_after_s(world.spec.timings)
    if (state is None or not state.finished) and now - action.started_at > limit_s:
        said = f"SSM does not say how it ended, {limit_s:.0f} s after it was sent"
        return CommandState(status="TimedOut", exit_code=-1, output=said)
    return state


def _asked(world: World, slot: str, action: OpenAction) -> CommandState | None:
    region = world.spec.by_name[slot].region
    try:
        return world.ssm[region].state(
            command_id=action.command_id or "", instance_id=action.instance_id or ""
        )
    except RegionSilentError:
        return None  # the region itself is marked unknown by _region; the command stays open


def _with_state(action: OpenAction, state: CommandState | None) -> OpenAction:
    if state is None:
        return action
    return replace(action, command_state=state.status, exit_code=state.exit_code)


@dataclass(frozen=True, kw_only=True)
class _History:
    """What the journal says of a day: when occupants were removed, launches failed, and which slot's disk grew."""

    removals: tuple[float, ...]
    failed_launches: tuple[float, ...]
    growths: Mapping[str, tuple[float, ...]]
    unread: tuple[str, ...] = ()  # what is said of lines that cannot be read


def _history(world: World, now: float) -> _History:
    removed: dict[str, float] = {}  # by action: one that was asked for twice is one removal
    failed: list[float] = []
    growths: dict[str, dict[str, float]] = {}
    unread: list[str] = []  # keys
    for entry in world.table.journal_since(world.iso(now - DAY_S)):
        written = _written_at(entry, now)
        if written is None:
            unread.append(entry.get("sk", ""))
            removed[f"unread {unread[-1]}"] = _by_its_key(unread[-1], now)
            continue
        at, kind, outcome = written, entry.get("kind"), entry.get("outcome")
        ordered = entry.get("diagnosis") == Diagnosis.OUTDATED  # a person's order is no failure
        if kind == "terminate" and outcome != "failed" and not ordered:
            removed[entry.get("action_id", str(at))] = at
        if kind == "launch" and outcome == "failed":
            failed.append(at)
        if kind == "grow-disk":
            grown = growths.setdefault(entry.get("slot", ""), {})
            grown[entry.get("action_id", str(at))] = at
            if outcome == "failed":
                del grown[entry.get("action_id", str(at))]
    return _History(
        removals=tuple(removed.values()),
        failed_launches=tuple(failed),
        growths={slot: tuple(grown.values()) for slot, grown in growths.items()},
        unread=_lines_unread(unread),
    )


def _lines_unread(keys: Sequence[str]) -> tuple[str, ...]:
    """One sentence for all lines of the journal that do not say what was done, or when."""
    if not keys:
        return ()
    which = f"{len(keys)} items of the journal, the first JOURNAL/{keys[0][:ID_MAX]},"
    return (f"{which} cannot be read in the hub table: each counts as an instance that was ended",)


def _written_at(entry: Mapping[str, str], now: float) -> float | None:
    """When a line of the journal was written; None where it does not say so, or not what was done."""
    try:
        at = float(entry["at"])
    except (KeyError, ValueError):
        return None
    told = entry.get("kind") and entry.get("outcome")
    return at if told and 0.0 <= at < NUMBER_MAX and at <= now + CLOCKS_S else None


def _by_its_key(sk: str, now: float) -> float:
    """When a line was written by its key, which begins with the time; now where that cannot be read either."""
    try:
        at = datetime.fromisoformat(sk.partition("#")[0]).timestamp()
    except (ValueError, OverflowError):
        return now
    return min(at, now)


def _reports(
    spec: Spec, state: State, now: float, looked_for_s: float = 0.0
) -> tuple[dict[str, SeenReport], dict[str, Any], dict[str, str]]:
    """Trusted reports with their age by our clock, the new memory, and why which slot's was refused."""
    reports: dict[str, SeenReport] = {}
    memory: dict[str, Any] = {}
    refused: dict[str, str] = {}

    def set_apart(slot: str, why: str) -> None:
        refused[slot] = why
        if slot in state.freshness:
            memory[slot] = dict(state.freshness[slot])

    for raw in state.reports:
        if raw.slot not in spec.by_name:
            refused[raw.slot] = "not a slot of this cluster"
            continue
        try:
            report = report_from_json(raw.body, cluster=spec.cluster, slot=raw.slot)
        except BadReportError as error:
            set_apart(raw.slot, str(error))
            continue
        if len(report.instance_id) > ID_MAX or abs(report.sequence) >= NUMBER_MAX:
            set_apart(raw.slot, "its instance id or its sequence number is no such thing")
            continue
        first_seen = _first_seen(raw, report.instance_id, report.sequence, state.freshness, now)
        off_s = None if report.observed_at is None else report.observed_at - first_seen
        if off_s is not None and off_s > FUTURE_S:
            set_apart(raw.slot, f"it claims to be from {off_s / DAY_S:.0f} days after now")
            continue
        late_s = _late_s(raw.slot, first_seen, state.freshness, now)
        before = state.freshness.get(raw.slot, {})
        seen = SeenReport(
            report=report,
            age_s=max(0.0, now - first_seen),
            clock_off_s=off_s,
            late_s=late_s,
            overtaken=_is_overtaken(report, before),
        )
        seen = _with_pause(seen, before, spec.timings, now, looked_for_s)
        memory[raw.slot] = _memory(seen, first_seen, before)
        reports[raw.slot] = seen
    return reports, memory, refused


def _memory(seen: SeenReport, first_seen: float, before: Mapping[str, Any]) -> dict[str, Any]:
    """What is remembered of a report until the next look: of one that was overtaken, the sequence that came before."""
    sequence = int(before["sequence"]) if seen.overtaken else seen.report.sequence
    entry: dict[str, Any] = {
        "instance_id": seen.report.instance_id,
        "sequence": sequence,
        "at": first_seen,
        "late_s": seen.late_s,
    }
    if seen.looked_for_s:
        entry["looked_for_s"] = seen.looked_for_s
    if seen.late_since is not None:
        entry["late_since"] = seen.late_since
    return entry


def _is_overtaken(report: Report, before: Mapping[str, Any]) -> bool:
    """Whether its sequence is behind the highest that has come of the instance."""
    if before.get("instance_id") != report.instance_id:
        return False
    return report.sequence < int(before["sequence"])


def _with_pause(
    seen: SeenReport, before: Mapping[str, Any], timings: Timings, now: float, looked_for_s: float
) -> SeenReport:
    """With how much of `late_s` the look before took, and since when each new word came after a pause."""
    since = before.get("late_since")
    if seen.age_s > 0:  # no new word: as when this one was first seen
        looked_for_s = float(before.get("looked_for_s", 0.0))
        return replace(seen, looked_for_s=looked_for_s, late_since=since)
    seen = replace(seen, looked_for_s=min(looked_for_s, seen.late_s))
    if not after_a_pause(seen, timings):
        return seen
    return replace(seen, late_since=now if since is None else float(since))


def _late_s(slot: str, first_seen: float, memory: Mapping[str, Any], now: float) -> float:
    """For how long nobody had looked when the slot's report was first seen, by when any report was."""
    if first_seen < now:
        return float(memory.get(slot, {}).get("late_s") or 0.0)
    looked_at = max((float(entry["at"]) for entry in memory.values()), default=now)
    return max(0.0, now - looked_at)


def _remember_who_leads(
    memory: dict[str, Any], reports: Mapping[str, SeenReport], state: State, limit_s: float
) -> None:
    """Mark whoever a young word, its own or another's, says leads, with the word's age; a younger leader unmarks it.

    A leader may fall silent together with all who could name it. It is still the one who led last.
    """
    named: dict[str, float] = {}  # slot → when the youngest word that says it leads was first seen
    unmarked_before = 0.0
    for slot, seen in reports.items():
        if seen.age_s > limit_s:
            continue
        at = float(memory[slot]["at"])
        leader = seen.report.patroni.leader if seen.report.patroni is not None else None
        if is_leading(seen.report):
            leader, unmarked_before = slot, max(unmarked_before, at)
        if leader is not None:
            named[leader] = max(at, named.get(leader, 0.0))
    for slot, entry in memory.items():
        before = state.freshness.get(slot, {})
        same = before.get("instance_id") == entry["instance_id"]
        led_at = max(named.get(slot, 0.0), float(before.get("led_at") or 0.0) if same else 0.0)
        if led_at and led_at >= unmarked_before:
            entry["led_at"] = led_at
        else:
            entry.pop("led_at", None)


def _remember_lags(
    memory: dict[str, Any], reports: Mapping[str, SeenReport], state: State, now: float
) -> dict[str, Lag]:
    """How little each copy that streams has been behind since it fell behind, and when: a lag that grows shows."""
    lags: dict[str, Lag] = {}
    for seen in reports.values():
        if not is_leading(seen.report) or seen.report.postgres is None:
            continue
        for row in seen.report.postgres.replication:
            if row.name in memory and row.lag_bytes is not None and row.lag_bytes > LAG_BYTES_MAX:
                lags[row.name] = _least(state.freshness.get(row.name, {}), row.lag_bytes, now)
    for slot, entry in memory.items():
        entry.pop("lag", None)
        entry.pop("lag_since", None)
        if slot in lags:
            entry["lag"] = [lags[slot].least_bytes, lags[slot].at]
            entry["lag_since"] = lags[slot].since
    return lags


def _remember_mute_patronis(
    memory: dict[str, Any], reports: Mapping[str, SeenReport], state: State
) -> dict[str, float]:
    """Since when each Patroni whose unit runs, or starts, does not answer its agent, by the reports' first seeing.

    A unit that ends and is started again and again is activating whenever somebody looks.
    """
    return _remember_since("mute_since", _is_mute, memory, reports, state)


def _is_mute(own: Report) -> bool:
    runs = own.services.get("patroni") in ("active", "activating")
    return runs and own.patroni is not None and own.patroni.up is False


def _remember_stalled_disks(
    memory: dict[str, Any], reports: Mapping[str, SeenReport], state: State
) -> dict[str, float]:
    """Since when each node that is set up cannot say whether its data disk takes writes."""
    return _remember_since("stalled_since", _is_stalled, memory, reports, state)


def _is_stalled(own: Report) -> bool:
    disk = own.disk if own.phase is Phase.CONFIGURED else None
    return disk is not None and disk.mounted is not False and disk.writable is None


def _remember_since(
    key: str,
    is_so: Callable[[Report], bool],
    memory: dict[str, Any],
    reports: Mapping[str, SeenReport],
    state: State,
) -> dict[str, float]:
    """Slot → since when its occupant's reports, by their first seeing, have been so."""
    found: dict[str, float] = {}
    for slot, seen in reports.items():
        if not is_so(seen.report):
            continue
        entry, before = memory[slot], state.freshness.get(slot, {})
        same = before.get("instance_id") == entry["instance_id"]
        known = before.get(key) if same else None
        found[slot] = float(known if known is not None else entry["at"])
    for slot, entry in memory.items():
        entry.pop(key, None)
        if slot in found:
            entry[key] = found[slot]
    return found


def _least(before: Mapping[str, Any], lag_bytes: int, now: float) -> Lag:
    known = before.get("lag")
    if known is None:
        return Lag(least_bytes=lag_bytes, at=now, since=now)
    since = float(before.get("lag_since", known[1]))
    if lag_bytes <= int(known[0]):
        return Lag(least_bytes=lag_bytes, at=now, since=since)
    return Lag(least_bytes=int(known[0]), at=float(known[1]), since=since)


def _first_seen(
    raw: RawReport, instance_id: str, sequence: int, memory: Mapping[str, Any], now: float
) -> float:
    """When this sequence was first seen. One that went back within an instance's life is not newer."""
    known = memory.get(raw.slot)
    if known is None or known.get("instance_id") != instance_id:
        return now
    return now if sequence > int(known["sequence"]) else float(known["at"])
