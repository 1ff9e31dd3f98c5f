"""Rules that can only forbid. Each is named; its id appears in the hold it causes.

A rail sees the action, the finding it answers and the whole observation, and returns a sentence when it forbids.
It must never allow what another forbids, and never change an action into another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lambdas.core.actions import (
    BOUNDED,
    DISCARDS,
    DISTURBING,
    ETCD_CHANGES,
    REMOVALS,
    STOPS,
    GrowDisk,
    RestartService,
    Step,
    StopInstance,
    Terminate,
)
from lambdas.core.consent import PlannedKind, window_at
from lambdas.core.diagnose import Diagnosis, Finding
from lambdas.core.disturbance import comes_back, crowded, going, is_given_up
from lambdas.core.evidence import Evidence
from lambdas.core.ladder import climbed_to
from lambdas.core.majority import changing, does_without, majority, needed_copy, needed_now
from lambdas.core.model import (
    InstanceState,
    Mode,
    Observation,
    Phase,
    Report,
    Role,
    timeline_of,
)
from lambdas.core.stand_in import is_relieved

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
TRIES_MAX = 15  # steps of one incident since the slot was last emptied
REFILLS_MAX = 3  # of one incident; what they did not heal a fourth will not
BREAKERS = frozenset({"removal-budget", "launch-budget", "refills"})  # what they forbid opens it
NOT_UP = frozenset({"failed", "inactive", "activating"})  # systemd's words
SERVES_NO_MORE = frozenset(
    {Diagnosis.DISK_ABSENT, Diagnosis.DISK_READ_ONLY, Diagnosis.SERVICE_DOWN}
)
ETCD_ILL = frozenset({Diagnosis.ETCD_UNHEALTHY, Diagnosis.ETCD_LOST})
HARMLESS = frozenset({"pgmend-agent", "chrony"})  # units that serve no data


Check = Callable[[Step, Finding, Observation], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rail:
    """One named prohibition."""

    id: str
    why: str
    forbids: Check


# -- what people say


def _closed(_step: Step, _finding: Finding, o: Observation) -> str | None:
    return (
        "the cluster is closed for a destroy; if it is to live on, apply with a higher opening"
        if o.closed
        else None
    )


def _mode(step: Step, _finding: Finding, o: Observation) -> str | None:
    if o.mode is Mode.AUTO:
        return None
    return f"mode is {o.mode}: would have done {step.kind} on {step.slot}"


def _windows(step: Step, _finding: Finding, o: Observation) -> str | None:
    window = window_at(o.windows, o.now)
    if window is None:
        return None
    return f"a maintenance window is on ({window.why}): would have done {step.kind} on {step.slot}"


def _hands_off(step: Step, finding: Finding, _o: Observation) -> str | None:
    occupant = finding.evidence.occupant
    if occupant is not None and occupant.hands_off:
        return f"{step.slot} is tagged hands-off: would have done {step.kind}"
    return None


def _paused(step: Step, _finding: Finding, o: Observation) -> str | None:
    if o.paused and (step.kind in DISTURBING or step.kind == "switchover"):
        return f"Patroni is paused: would have done {step.kind} on {step.slot}"
    return None


def _breaker(step: Step, _finding: Finding, o: Observation) -> str | None:
    stopped = REMOVALS | STOPS | DISCARDS | {"launch", "replace-etcd-member"}
    if o.breaker is None or not o.breaker.open or step.kind not in stopped:
        return None
    return f"the breaker is open ({o.breaker.why}) until a person acknowledges it"


# -- what must not be lost


def only_starts(step: Step, e: Evidence) -> bool:
    """Whether it restarts a unit that serves no data, or one that is down, which stops nothing."""
    return isinstance(step, RestartService) and step.service in HARMLESS | {*e.services_down}


def _is_about_etcd(step: Step) -> bool:
    """Whether it stops the slot's etcd member and nothing else of it."""
    if isinstance(step, RestartService):
        return step.service == "etcd"
    return step.kind == "replace-etcd-member"


def _living_leader(step: Step, finding: Finding, _o: Observation) -> str | None:
    """A leader nobody has superseded is alive for us, whatever the silence says."""
    e = finding.evidence
    if step.kind not in DISTURBING or not e.last_led or e.superseded:
        return None
    if only_starts(step, e):
        return None  # the node itself refuses when what is down is no longer
    if _is_about_etcd(step):
        return (
            None  # Patroni asks whichever member answers; that the others do is the quorum rail's
        )
    if step.kind in STOPS and finding.diagnosis in SERVES_NO_MORE and e.serves_nothing:
        return None  # it leads nothing that a reboot could stop, and keeps what it has
    return f"{step.slot} last led and no other member leads on a newer timeline"


def _corroboration(step: Step, finding: Finding, o: Observation) -> str | None:
    """What ends, stops or reboots a machine is proven to be needed, or all less than it has been tried."""
    if step.kind not in REMOVALS | STOPS:
        return None
    d, e = finding.diagnosis, finding.evidence
    rolls = o.planned is not None and o.planned.kind is PlannedKind.ROLL
    if d is Diagnosis.OUTDATED and not rolls and not is_relieved(step.slot, o):
        return f"nobody ordered that {step.slot} is replaced"
    if isinstance(step, Terminate) and d in PROVEN:
        return None
    if isinstance(step, Terminate) and d is Diagnosis.STOPPED:
        refused = e.incident is not None and e.incident.failures_of("start") > 0
        return None if refused else f"{step.slot} is stopped and may simply be started"
    if climbed_to(step.kind, d, e) or _is_stopped_once_more(step, e):
        return None
    return f"{step.slot} is {d}, which is no proof of death, and less was not tried"


def _is_stopped_once_more(step: Step, e: Evidence) -> bool:
    """Whether it stops what hangs in a stop of ours: it is on its way down already."""
    stopping = e.occupant is not None and e.occupant.state is InstanceState.STOPPING
    return (
        isinstance(step, StopInstance)
        and stopping
        and e.incident is not None
        and e.incident.took("stop")
    )


PROVEN = frozenset(
    {
        Diagnosis.PRESUMED_DEAD,
        Diagnosis.BOOT_STUCK,
        Diagnosis.CONFIGURE_FAILED,
        Diagnosis.DISK_SET_ASIDE,
    }
)
SERVES_NOBODY = frozenset({Diagnosis.PRESUMED_DEAD, Diagnosis.BOOT_STUCK, Diagnosis.UNREACHABLE})


def _quorum(step: Step, finding: Finding, o: Observation) -> str | None:
    """Neither etcd's majority nor the leader's last streaming copy is taken away; etcd changes one at a time."""
    slot, d = finding.evidence.slot, finding.diagnosis
    if _stops_a_copy(step, finding) and d not in SERVES_NOBODY:
        alone = needed_copy(slot.name, o)
        if alone is not None:
            return alone
    if not slot.etcd_voter or step.kind not in DISTURBING | ETCD_CHANGES:
        return None
    if step.kind in ETCD_CHANGES:
        # A repair takes nothing from a majority that cannot write any more.
        takes_none = step.kind == "repair-etcd" or _is_done_without(finding, o)
        return changing(slot.name, o) or (None if takes_none else majority(slot.name, o))
    if step.kind in REMOVALS | STOPS and d in SERVES_NOBODY:
        has_disk = finding.evidence.volume is not None
        return needed_now(slot.name, o) if has_disk else majority(slot.name, o)
    return None if _leaves_etcd_alone(step, finding, o) else majority(slot.name, o)


def _stops_a_copy(step: Step, finding: Finding) -> bool:
    """Whether it stops the slot's PostgreSQL; a restart does where Patroni's unit is active."""
    if isinstance(step, RestartService):
        return step.service == "patroni" and "patroni" not in finding.evidence.services_down
    return step.kind in REMOVALS | STOPS | DISCARDS


def _leaves_etcd_alone(step: Step, finding: Finding, o: Observation) -> bool:
    """Starting what is down takes nothing from the majority, nor ending one whose member is down and keeps its disk.

    Nor does it without the disk, where etcd answers the others without it.
    """
    down = _member_is_down(step.slot, o)
    if isinstance(step, RestartService):
        return step.service != "etcd" or down or _is_done_without(finding, o)
    keeps_disk = finding.evidence.volume is not None and step.kind in REMOVALS | STOPS
    return down and (keeps_disk or does_without(step.slot, o))


def _is_done_without(finding: Finding, o: Observation) -> bool:
    """Whether its etcd member has got no answer for a while, and another's does."""
    return finding.diagnosis in ETCD_ILL and does_without(finding.slot, o)


def _member_is_down(slot: str, o: Observation) -> bool:
    """By its node's own young word its etcd does not run. A node that is being set up may already serve."""
    own = o.fresh(slot)
    if own is None:
        return False
    unit = own.services.get("etcd")
    return unit in NOT_UP or (unit is None and own.phase is Phase.IDLE)


def _last_copy(step: Step, finding: Finding, o: Observation) -> str | None:
    """A copy is given up only while a leader is known that has all that it has."""
    e = finding.evidence
    empties = isinstance(step, Terminate) and finding.diagnosis is Diagnosis.DISK_SET_ASIDE
    if e.slot.role is not Role.DB or not (step.kind in DISCARDS or empties):
        return None
    leader = None if e.leads else o.leaders_report
    if leader is None:
        return f"no other copy is known to lead, so {step.slot} may hold the newest data"
    if e.report is None:
        return None  # what it held last is not known, and the leader was elected without it
    return _ahead(e, e.report, leader)


def _ahead(e: Evidence, mine: Report, leader: Report) -> str | None:
    """Why the copy may have what the leader has not."""
    own, theirs = timeline_of(mine), timeline_of(leader)
    if own is None:
        return None
    if theirs is None or theirs < own:
        return f"{e.slot.name} is on timeline {own}, and the leader is not known to be as far"
    if theirs > own or (e.standby is not None and e.standby.lag_bytes is not None):
        return None
    at = None if mine.postgres is None else mine.postgres.lsn_bytes
    leader_at = None if leader.postgres is None else leader.postgres.lsn_bytes
    if at is not None and (leader_at is None or leader_at < at):
        return f"{e.slot.name} is at {at}, and the leader is not known to be as far"
    return None


# -- how much, how often, how many at once


def _region_silent(step: Step, finding: Finding, _o: Observation) -> str | None:
    e = finding.evidence
    if step.kind not in DISTURBING or not e.region_silent or e.impaired is True:
        return None
    return (
        f"nobody in {e.slot.region} is heard: its way to AWS is lost, and nobody there is disturbed"
    )


def _attempts(step: Step, finding: Finding, _o: Observation) -> str | None:
    """What many steps did not heal, one more of the same will not. Emptying the slot is another rung, with a budget."""
    incident = finding.evidence.incident
    if step.kind not in BOUNDED or incident is None or incident.tries < TRIES_MAX:
        return None
    started = incident.rung("start") - incident.failures_of("start")
    if step.kind == "start" and started < incident.rung("stop"):
        return None  # what we stopped is not left so: its start is the same step's other half
    return f"{incident.tries} steps did not heal {step.slot}; a person should look"


def _since(times: tuple[float, ...], o: Observation, within_s: float) -> int:
    """How many within the time, and after a person last looked."""
    looked_at = 0.0 if o.breaker is None else o.breaker.acknowledged_at
    return sum(1 for at in times if o.now - at < within_s and at > looked_at)


def _removal_budget(step: Step, finding: Finding, o: Observation) -> str | None:
    if step.kind not in REMOVALS or finding.diagnosis is Diagnosis.OUTDATED:
        return None
    hour, day = _since(o.removals, o, HOUR_S), _since(o.removals, o, DAY_S)
    budget = o.spec.budget
    if hour >= budget.replacements_per_hour or day >= budget.replacements_per_day:
        return f"{hour} replacements this hour and {day} today: the budget is spent, a person should look"
    return None


def launches_left(o: Observation) -> int:
    """How many launches may still fail within the hour; less than 1 when a person should look first."""
    return o.spec.budget.failed_launches_per_hour - _since(o.failed_launches, o, HOUR_S)


def _launch_budget(step: Step, _finding: Finding, o: Observation) -> str | None:
    failed = _since(o.failed_launches, o, HOUR_S)
    if step.kind == "launch" and launches_left(o) < 1:
        return f"{failed} launches failed within the hour: a person should look"
    return None


def _refills(step: Step, finding: Finding, _o: Observation) -> str | None:
    incident = finding.evidence.incident
    if step.kind not in REMOVALS | {"launch"} or incident is None:
        return None
    if incident.rung("launch") < REFILLS_MAX:
        return None
    return f"{incident.rung('launch')} new instances did not heal {step.slot}: a person should look"


def _growth_budget(step: Step, finding: Finding, o: Observation) -> str | None:
    if not isinstance(step, GrowDisk):
        return None
    grown = sum(1 for at in o.growths.get(step.slot, ()) if o.now - at < DAY_S)
    if grown >= o.spec.budget.disk_growths_per_day:
        return f"{step.slot}'s disk has grown {grown} times within a day: a person should look"
    disk = finding.evidence.slot.disk
    if disk is None or step.size_gib > disk.limit_gib:
        return f"{step.slot}'s disk would be larger than the spec allows"
    return None


def _one_removal(step: Step, finding: Finding, o: Observation) -> str | None:
    """One removal at a time; a second only in another region."""
    if step.kind not in REMOVALS:
        return None
    return crowded(going(step, o, REMOVALS), finding, o, "removed")


def _one_disturbance(step: Step, finding: Finding, o: Observation) -> str | None:
    """What stops, reboots or gives up something: one at a time, like removals; who comes back is waited for."""
    if step.kind not in STOPS | DISCARDS:
        return None
    given_up = [s.name for s in o.spec.slots if s.name != step.slot and is_given_up(s.name, o)]
    if step.kind in DISCARDS and given_up:
        return f"the copy in {given_up[0]} is being made anew; one copy at a time"
    kinds = REMOVALS | STOPS | DISCARDS | {"switchover"}
    leaving = going(step, o, kinds)
    known = {i.instance_id for i in leaving}
    back = [i for i in o.instances if comes_back(i, step, o) and i.instance_id not in known]
    return crowded(leaving + back, finding, o, "stopped, removed or made anew")


RAILS: tuple[Rail, ...] = (
    Rail(id="closed", why="a cluster that is being emptied is not refilled", forbids=_closed),
    Rail(id="mode", why="observe and off plan and say, and do nothing", forbids=_mode),
    Rail(id="windows", why="a maintenance window is people's", forbids=_windows),
    Rail(id="hands-off", why="a tagged slot is a person's", forbids=_hands_off),
    Rail(id="paused", why="Patroni's pause means a person is at work", forbids=_paused),
    Rail(id="breaker", why="what did not help is not done again unseen", forbids=_breaker),
    Rail(id="living-leader", why="a living leader is never stopped", forbids=_living_leader),
    Rail(id="corroboration", why="death needs proof", forbids=_corroboration),
    Rail(id="region-silent", why="a region cut off is not disturbed", forbids=_region_silent),
    Rail(id="quorum", why="no step leaves etcd or commits without majority", forbids=_quorum),
    Rail(id="last-copy", why="the newest data is never given up", forbids=_last_copy),
    Rail(id="attempts", why="a slot is not disturbed for ever", forbids=_attempts),
    Rail(id="removal-budget", why="replacements are bounded", forbids=_removal_budget),
    Rail(id="launch-budget", why="failing launches are bounded", forbids=_launch_budget),
    Rail(id="refills", why="new instances that never join are no cure", forbids=_refills),
    Rail(id="growth-budget", why="disks grow within bounds", forbids=_growth_budget),
    Rail(id="one-removal", why="one removal at a time", forbids=_one_removal),
    Rail(id="one-disturbance", why="one stop or rebuild at a time", forbids=_one_disturbance),
)


def forbidden(step: Step, finding: Finding, observation: Observation) -> tuple[Rail, str] | None:
    """The first rail that forbids the step, with its sentence."""
    for rail in RAILS:
        because = rail.forbids(step, finding, observation)
        if because is not None:
            return rail, because
    return None
