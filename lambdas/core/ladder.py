"""The ladder: for each diagnosis the rungs to climb, the least first. Pure.

A rung is climbed only when the lower ones have been tried as often as they may be, or cannot apply. After the last one
comes a person. It must never say whether a step is safe now (rails.py does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lambdas.core.actions import COMMANDS, REMOVALS, STOPS
from lambdas.core.diagnosis import UNHURRIED, Diagnosis
from lambdas.core.evidence import Evidence
from lambdas.core.incident import Incident
from lambdas.core.majority import does_without, majority
from lambdas.core.spec import Role, Timings

Seconds = Callable[[Timings], float]
FRONT = frozenset({"restart-service:haproxy", "restart-service:pgmend-app"})
ETCD_REPAIRS_MAX = 2
ETCD_RESTARTS_MAX = 3  # what they do not bring back is lost


def _at_once(_: Timings) -> float:
    return 0.0


def _soon(timings: Timings) -> float:
    return timings.restart_wait_s / 2


def _wait(timings: Timings) -> float:
    return timings.restart_wait_s


def _long(timings: Timings) -> float:
    """EC2 takes minutes to enlarge a volume, and refuses another change for hours."""
    return 10 * timings.restart_wait_s


def _hour(timings: Timings) -> float:
    return 60 * timings.restart_wait_s


def machine_wait_s(timings: Timings) -> float:
    """How long a machine may take to come back, and to prove that it has."""
    return 5 * timings.restart_wait_s


def _always(_: Evidence) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One kind of step, how often it is tried, and how long (seconds) its effect is waited for after each try.

    `told`: it is tried now and then because it harms nobody, and a person is told meanwhile.
    """

    kind: str
    attempts: int
    wait_s: Seconds = _wait
    applies: Callable[[Evidence], bool] = _always
    told: bool = False


def _holds_a_copy(e: Evidence) -> bool:
    return e.slot.role is Role.DB and e.volume is not None


def _has_disk(e: Evidence) -> bool:
    return e.volume is not None


def _has_ballast(e: Evidence) -> bool:
    disk = None if e.report is None else e.report.disk
    return disk is not None and bool(disk.ballast_bytes)


def size_gib_next(e: Evidence) -> int | None:
    """How large the volume is to become: half as much again, up to its limit. None where it cannot grow."""
    if e.volume is None or e.volume.size_gib is None or e.slot.disk is None:
        return None
    wanted = min(-(-e.volume.size_gib * 3 // 2), e.slot.disk.limit_gib)
    return wanted if wanted > e.volume.size_gib else None


def _may_grow(e: Evidence) -> bool:
    return size_gib_next(e) is not None


def _others_serve(e: Evidence) -> bool:
    """Whether there is a majority without this etcd voter: only through one is a member replaced."""
    slot, o = e.slot.name, e.observation
    return majority(slot, o) is None or does_without(slot, o)


def _restarts(attempts: int) -> tuple[Rung, ...]:
    return (Rung(kind="restart-service", attempts=attempts),)


_REBOOT = Rung(kind="reboot", attempts=1, wait_s=machine_wait_s)
_STOP = Rung(kind="stop", attempts=1, wait_s=machine_wait_s)
_REFILL = Rung(kind="terminate", attempts=1, wait_s=machine_wait_s)
_FRESH_DISK = Rung(kind="set-disk-aside", attempts=1, wait_s=machine_wait_s, applies=_holds_a_copy)
_ANY_FRESH_DISK = Rung(kind="set-disk-aside", attempts=1, wait_s=machine_wait_s, applies=_has_disk)
_MACHINE = (_REBOOT, _STOP, _REFILL)
_BALLAST = Rung(kind="release-ballast", attempts=2, wait_s=_at_once, applies=_has_ballast)
_WIDEN = Rung(kind="grow-file-system", attempts=3, wait_s=_soon, applies=lambda e: e.disk_widened)
_GROW = (
    Rung(kind="grow-disk", attempts=2, wait_s=_long, applies=_may_grow),
    Rung(kind="grow-disk", attempts=8, wait_s=_hour, applies=_may_grow, told=True),
)
# Whoever led last and has no successor is never ended: started again, for the cause may pass (etcd without a majority).
_WHERE_ALL_ELSE_IS_FORBIDDEN = Rung(
    kind="restart-service",
    attempts=99,
    wait_s=machine_wait_s,
    applies=lambda e: e.last_led and not e.superseded,
    told=True,
)


def _is_down(e: Evidence) -> bool:
    return bool(e.services_down)


def _serves_no_more(e: Evidence) -> bool:
    return not e.last_led or e.superseded or e.serves_nothing


_NOW_AND_THEN = Rung(kind="restart-service", attempts=12, wait_s=_long, told=True)
_REPLACE_MEMBER = (Rung(kind="replace-etcd-member", attempts=1),)


LADDERS: Mapping[Diagnosis, tuple[Rung, ...]] = {
    # hosts
    Diagnosis.AGENT_SILENT: (*_restarts(3), _NOW_AND_THEN),
    Diagnosis.AGENT_CUT_OFF: (*_restarts(3), _NOW_AND_THEN),
    Diagnosis.CLOCK_OFF: _restarts(1),
    Diagnosis.UNREACHABLE: _MACHINE,
    Diagnosis.IMPAIRED: _MACHINE,
    Diagnosis.RETIRING: (
        Rung(kind="stop", attempts=2, wait_s=machine_wait_s, applies=lambda e: not e.only_reboots),
        Rung(kind="reboot", attempts=2, wait_s=machine_wait_s, applies=lambda e: e.only_reboots),
    ),
    # disks
    Diagnosis.DISK_ABSENT: (_REBOOT, _STOP, _ANY_FRESH_DISK),
    Diagnosis.DISK_READ_ONLY: (_REBOOT, _STOP, _ANY_FRESH_DISK),
    Diagnosis.DISK_FULL: (_BALLAST, _WIDEN, *_GROW),
    Diagnosis.DISK_SMALL: (_WIDEN,),
    Diagnosis.DISK_FILLING: _GROW,
    Diagnosis.CHECKSUM_FAILURES: (_FRESH_DISK,),
    # services
    Diagnosis.CONFIGURE_FAILED: (Rung(kind="terminate", attempts=2, wait_s=_at_once),),
    Diagnosis.SERVICE_DOWN: (
        Rung(kind="restart-service", attempts=5, wait_s=_soon, applies=_is_down),
        Rung(kind="restart-service", attempts=2, applies=lambda e: not _is_down(e)),  # it hangs
        replace(_REBOOT, applies=_serves_no_more),
        replace(_STOP, applies=_serves_no_more),
        _WHERE_ALL_ELSE_IS_FORBIDDEN,
        _REFILL,
        _FRESH_DISK,
    ),
    Diagnosis.ETCD_UNHEALTHY: _restarts(ETCD_RESTARTS_MAX),
    Diagnosis.ETCD_FULL: (Rung(kind="repair-etcd", attempts=ETCD_REPAIRS_MAX),),
    Diagnosis.ETCD_CORRUPT: _REPLACE_MEMBER,
    Diagnosis.ETCD_LOST: (
        Rung(kind="replace-etcd-member", attempts=1, applies=_others_serve),
        Rung(
            kind="restart-service",
            attempts=99,
            wait_s=machine_wait_s,
            applies=lambda e: not _others_serve(e),
            told=True,
        ),
    ),
    Diagnosis.HAPROXY_BLIND: (*_restarts(3), *_MACHINE),
    Diagnosis.APP_NOT_READY: (*_restarts(3), *_MACHINE),
    # copies
    Diagnosis.REPLICA_WAL_GONE: (Rung(kind="reinit", attempts=2), _FRESH_DISK),
    Diagnosis.REINIT_LOOP: (_FRESH_DISK,),
    Diagnosis.REPLICA_STUCK: (
        Rung(kind="join-replica", attempts=1),
        _REBOOT,
        Rung(kind="reinit", attempts=1),
        _FRESH_DISK,
    ),
    Diagnosis.REPLICA_DIVERGED: (
        Rung(kind="join-replica", attempts=1),
        Rung(kind="reinit", attempts=1),
        _FRESH_DISK,
    ),
    Diagnosis.REPLICA_BROKEN: (
        Rung(kind="join-replica", attempts=2),
        Rung(kind="reinit", attempts=1),
        _REBOOT,
        _REFILL,
        _FRESH_DISK,
    ),
    Diagnosis.WAL_HOARDED: (
        Rung(kind="drop-replication-slot", attempts=3, applies=lambda e: e.droppable is not None),
    ),
    # what people ordered
    Diagnosis.TO_SWITCH_OVER: (Rung(kind="switchover", attempts=3),),
    Diagnosis.OUTDATED: (Rung(kind="terminate", attempts=2, wait_s=machine_wait_s),),
}

SERVICES: Mapping[Diagnosis, str] = {
    Diagnosis.AGENT_SILENT: "pgmend-agent",
    Diagnosis.AGENT_CUT_OFF: "pgmend-agent",
    Diagnosis.CLOCK_OFF: "chrony",
    Diagnosis.ETCD_UNHEALTHY: "etcd",
    Diagnosis.ETCD_LOST: "etcd",
    Diagnosis.HAPROXY_BLIND: "haproxy",
    Diagnosis.APP_NOT_READY: "pgmend-app",
}
SWITCHOVERS_MAX = 3  # what leads and cannot be handed on after these is left to a person


def service(diagnosis: Diagnosis, e: Evidence) -> str:
    """The unit that a restart is about."""
    if diagnosis is not Diagnosis.SERVICE_DOWN:
        return SERVICES[diagnosis]
    return e.services_down[0] if e.services_down else "patroni"  # it hangs, or never comes up


def key_of(rung: Rung, diagnosis: Diagnosis, e: Evidence) -> str:
    """Under which name the attempts at a rung are counted."""
    return f"{rung.kind}:{service(diagnosis, e)}" if rung.kind == "restart-service" else rung.kind


def tried(e: Evidence, key: str) -> int:
    """How often the slot's incident has tried a rung."""
    return 0 if e.incident is None else e.incident.rung(key)


def was_stopped(incident: Incident | None) -> bool:
    """Whether this incident has stopped, rebooted or started the machine: then it may be silent by our own doing."""
    return incident is not None and any(incident.took(kind) for kind in STOPS | {"start"})


def rung_now(diagnosis: Diagnosis, e: Evidence) -> Rung | None:
    """The lowest rung that may still be tried; None when a person is next."""
    beyond_ssm = ssm_is_blind(e) and e.ssm_speaks
    for rung in LADDERS[diagnosis]:
        if rung.kind in COMMANDS and beyond_ssm:
            continue
        if tried(e, key_of(rung, diagnosis, e)) < rung.attempts and rung.applies(e):
            return rung
    return None


def ssm_is_blind(e: Evidence) -> bool:
    """Whether SSM has not seen the occupant for so long that no document will reach it."""
    waited_s = e.observation.now - e.touched_at
    return not e.online and waited_s > machine_wait_s(e.observation.spec.timings)


def wait_s(diagnosis: Diagnosis, rung: Rung | None, e: Evidence) -> float | None:
    """How long to wait after the last attempt before this rung, seconds; None when nothing was tried yet."""
    waited: float | None = None
    for step in LADDERS[diagnosis]:
        if step.applies(e) and tried(e, key_of(step, diagnosis, e)):
            waited = step.wait_s(e.observation.spec.timings)
        if step is rung:
            break
    return waited


def still_counts(diagnosis: Diagnosis) -> Callable[[str], bool]:
    """Which attempts still count once this is found, by their names.

    Where a slot is well but for what was ordered or announced, what was tried against an illness has worked; where all
    that is wrong is that nobody leads, so have reboots, stops and restarts of the front's units.
    """
    if diagnosis is Diagnosis.WAITS_FOR_LEADER:
        return lambda key: key not in STOPS | FRONT
    if diagnosis not in UNHURRIED:
        return lambda _key: True
    own = {rung.kind for rung in LADDERS[diagnosis]} | {"start", "switchover"}
    # Whoever is outdated now is another than those that were ended for an illness before.
    return lambda key: key in own - REMOVALS


def climbed_to(kind: str, diagnosis: Diagnosis, e: Evidence) -> bool:
    """Whether every lower rung was tried as often as it may be, or cannot apply."""
    if diagnosis not in LADDERS:
        return False
    now = rung_now(diagnosis, e)
    return now is not None and now.kind == kind
