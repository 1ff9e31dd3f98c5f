"""The only reader: asks every region, SSM and the hub table, and returns one frozen observation.

It must never change anything but its own memory of which report sequence was first seen when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from lambdas.adapters.ec2 import Ec2
from lambdas.adapters.ssm import CommandState, Ssm
from lambdas.adapters.table import RawReport, State, Table
from lambdas.core.model import (
    Instance,
    Observation,
    OpenAction,
    SeenReport,
    Spec,
    Volume,
    is_leading,
)
from lambdas.core.parse import BadReportError, report_from_json
from lambdas.errors import RegionSilentError

DAY_S = 24 * 3600.0


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
    """An observation, what came of commands that ended, and reports that were set aside."""

    observation: Observation
    finished: Mapping[str, CommandState]
    refused_reports: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Region:
    instances: tuple[Instance, ...] = ()
    volumes: tuple[Volume, ...] = ()
    online: frozenset[str] = frozenset()
    silent: str | None = None


def observe(world: World, *, now: float, pool: ThreadPoolExecutor) -> Look:
    """Look once, regions in parallel."""
    regions = {name: pool.submit(_region, world, name) for name in world.spec.regions}
    removals = pool.submit(_history, world, now)
    state = world.table.state()
    commands = {
        slot: pool.submit(_command, world, slot, a) for slot, a in state.open_actions.items()
    }
    reports, freshness, refused = _reports(world.spec, state, now)
    _remember_who_leads(freshness, reports, state, world.spec.timings.agent_silent_after_s)
    if freshness != state.freshness:
        world.table.save_freshness(freshness)
    seen = {name: future.result() for name, future in regions.items()}
    states = {slot: future.result() for slot, future in commands.items()}
    finished = {slot: s for slot, s in states.items() if s is not None and s.finished}
    removed_at, failed_at = removals.result()
    observation = Observation(
        now=now,
        spec=world.spec,
        reports=reports,
        instances=tuple(i for r in seen.values() for i in r.instances),
        volumes=tuple(v for r in seen.values() for v in r.volumes),
        online=frozenset().union(*(r.online for r in seen.values())),
        unknown_regions={name: r.silent for name, r in seen.items() if r.silent is not None},
        birth=state.birth,
        closed=state.closed,
        mode=state.mode,
        open_actions={s: _with_state(a, states.get(s)) for s, a in state.open_actions.items()},
        incidents=state.incidents,
        removals=removed_at,
        failed_launches=failed_at,
        refused_reports=frozenset(refused),
        last_led=frozenset(m["instance_id"] for m in freshness.values() if m.get("led_at")),
    )
    sentences = tuple(f"{slot}: {why}" for slot, why in refused.items())
    return Look(observation=observation, finished=finished, refused_reports=sentences)


def _region(world: World, name: str) -> _Region:
    try:
        return _Region(
            instances=world.ec2[name].instances(),
            volumes=world.ec2[name].volumes(),
            online=_online(world, name),
        )
    except RegionSilentError as error:
        return _Region(silent=str(error))


def _online(world: World, name: str) -> frozenset[str]:
    """Nobody while SSM does not answer: documents wait, all else goes on."""
    try:
        return world.ssm[name].online()
    except RegionSilentError:
        return frozenset()


def _command(world: World, slot: str, action: OpenAction) -> CommandState | None:
    if action.command_id is None or action.instance_id is None:
        return None
    region = world.spec.by_name[slot].region
    try:
        return world.ssm[region].state(command_id=action.command_id, instance_id=action.instance_id)
    except RegionSilentError:
        return None  # the region itself is marked unknown by _region; the command stays open


def _with_state(action: OpenAction, state: CommandState | None) -> OpenAction:
    if state is None:
        return action
    return replace(action, command_state=state.status, exit_code=state.exit_code)


def _history(world: World, now: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """When occupants were removed, or may have been, and when launches failed, within a day."""
    removed: dict[str, float] = {}  # by action: one that was asked for twice is one removal
    failed = []
    for entry in world.table.journal_since(world.iso(now - DAY_S)):
        at, kind, outcome = float(entry["at"]), entry.get("kind"), entry.get("outcome")
        if kind == "terminate" and outcome != "failed":
            removed[entry.get("action_id", str(at))] = at
        if kind == "launch" and outcome == "failed":
            failed.append(at)
    return tuple(removed.values()), tuple(failed)


def _reports(
    spec: Spec, state: State, now: float
) -> tuple[dict[str, SeenReport], dict[str, Any], dict[str, str]]:
    """Trusted reports with their age by our clock, the new memory, and why which slot's was refused."""
    reports: dict[str, SeenReport] = {}
    memory: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for raw in state.reports:
        if raw.slot not in spec.by_name:
            refused[raw.slot] = "not a slot of this cluster"
            continue
        try:
            report = report_from_json(raw.body, cluster=spec.cluster, slot=raw.slot)
        except BadReportError as error:
            refused[raw.slot] = str(error)
            if raw.slot in state.freshness:
                memory[raw.slot] = dict(state.freshness[raw.slot])
            continue
        first_seen = _first_seen(raw, report.instance_id, report.sequence, state.freshness, now)
        memory[raw.slot] = {
            "instance_id": report.instance_id,
            "sequence": report.sequence,
            "at": first_seen,
        }
        reports[raw.slot] = SeenReport(report=report, age_s=max(0.0, now - first_seen))
    return reports, memory, refused


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


def _first_seen(
    raw: RawReport, instance_id: str, sequence: int, memory: Mapping[str, Any], now: float
) -> float:
    """When this sequence was first seen. One that went back within an instance's life is not newer."""
    known = memory.get(raw.slot)
    if known is None or known.get("instance_id") != instance_id:
        return now
    return now if sequence > int(known["sequence"]) else float(known["at"])
