"""From what was seen to what is wrong: one ordered table of rules, the first that fits names the diagnosis.

Pure. It must never decide what to do about it (plan.py does) nor forbid anything (rails.py does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lambdas.core.evidence import Evidence, gather
from lambdas.core.model import InstanceState, Observation, Phase, Role, timeline_of


class Diagnosis(StrEnum):
    """What can be wrong with a slot, and the two ways in which nothing is."""

    HEALTHY = "healthy"
    SPARE = "spare"
    REGION_UNKNOWN = "region-unknown"
    TWO_OCCUPANTS = "two-occupants"
    TWO_LEADERS = "two-leaders"
    SLOT_EMPTY = "slot-empty"
    TERMINATING = "terminating"
    STOPPED = "stopped"
    BOOTING = "booting"
    PRESUMED_DEAD = "presumed-dead"
    SUSPECTED = "suspected"
    REPORT_REFUSED = "report-refused"
    BOOT_STUCK = "boot-stuck"
    TWO_DISKS = "two-disks"
    DISK_MISSING = "disk-missing"
    DISK_BUSY = "disk-busy"
    DISK_DETACHED = "disk-detached"
    NEEDS_PERSON = "needs-person"
    CONFIGURING = "configuring"
    CONFIGURE_FAILED = "configure-failed"
    NOT_CONFIGURED = "not-configured"
    AGENT_SILENT = "agent-silent"
    LEFT = "left"
    SERVICE_DOWN = "service-down"
    ETCD_UNHEALTHY = "etcd-unhealthy"
    WAITS_FOR_LEADER = "waits-for-leader"
    REPLICA_NOT_STREAMING = "replica-not-streaming"
    HAPROXY_BLIND = "haproxy-blind"
    APP_NOT_READY = "app-not-ready"


CONFIGURE_ATTEMPTS_MAX = 3
LAG_BYTES_MAX = 1024 * 1024
EXIT_REFUSED, EXIT_HOLD = 10, 11
ASK_AGAIN_AFTER_S = (
    300.0  # a node that asked for a person is asked again: the cause may have passed
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row: its number, when it fits, what it means and why, in an operator's words."""

    number: int
    diagnosis: Diagnosis
    when: Callable[[Evidence], bool]
    why: str


def _attached(e: Evidence) -> bool:
    v, o = e.volume, e.occupant
    return v is not None and o is not None and v.attached_to == o.instance_id


def _silent(e: Evidence) -> bool:
    limit = e.observation.spec.timings.agent_silent_after_s
    return e.report is not None and e.report_age_s is not None and e.report_age_s > limit


def _presumed_dead(e: Evidence) -> bool:
    """Agent silent, two peers or more get no answer and none does, EC2 says impaired; a leader also superseded."""
    dead = _silent(e) and len(e.peers_silent) >= 2 and not e.peers_answered and e.impaired is True
    return dead and not e.heard and (not e.last_led or e.superseded)


def _suspected(e: Evidence) -> bool:
    late = (
        e.report_age_s is not None
        and e.report_age_s > 2 * e.observation.spec.timings.report_interval_s + 1
    )
    return late and (e.impaired is True or (bool(e.peers_silent) and not e.peers_answered))


def _boot_stuck(e: Evidence) -> bool:
    """It never spoke, and a peer that is heard has no answer of its agent's. Whoever follows, or led last, lives."""
    never_spoke = e.report is None and e.age_s > e.observation.spec.timings.boot_grace_s
    witnessed = bool(e.peers_silent or e.peers_answered)
    lives = e.alive or e.heard or e.last_led
    return never_spoke and witnessed and not lives


def _mute(e: Evidence) -> bool:
    return e.report is None and e.age_s > e.observation.spec.timings.boot_grace_s


def _service_down(e: Evidence) -> bool:
    return bool(e.services_down)


def _etcd_unhealthy(e: Evidence) -> bool:
    if not e.slot.etcd_voter or e.report is None:
        return False
    return e.report.etcd is None or e.report.etcd.healthy is not True or bool(e.report.etcd.alarms)


def _not_streaming(e: Evidence) -> bool:
    if e.slot.role is not Role.DB or e.slot.name == e.observation.leader:
        return False
    if _says_it_does_not_follow(e):
        return True
    row = e.standby
    streaming = row is not None and row.state == "streaming"
    return not (streaming and row is not None and _small(row.lag_bytes))


def _says_it_does_not_follow(e: Evidence) -> bool:
    """A lost standby looks alive to its leader until wal_sender_timeout; its own word is sooner."""
    leader = e.observation.fresh(e.observation.leader) if e.observation.leader else None
    own = None if e.report is None else e.report.postgres
    if e.report is None:
        return False
    if own is None:
        return True
    mine, theirs = timeline_of(e.report), None if leader is None else timeline_of(leader)
    strayed = mine is not None and theirs is not None and mine != theirs
    return own.up is False or own.receiver_up is False or strayed


def _small(lag_bytes: int | None) -> bool:
    return lag_bytes is not None and lag_bytes <= LAG_BYTES_MAX


def _haproxy_blind(e: Evidence) -> bool:
    if e.slot.role is not Role.HAPROXY or e.report is None:
        return False
    proxy = e.report.haproxy
    return proxy is None or proxy.write_backends_up is None or len(proxy.write_backends_up) != 1


def _app_not_ready(e: Evidence) -> bool:
    if e.slot.role is not Role.APP or e.report is None:
        return False
    return e.report.app is None or e.report.app.ready is not True


def _waits_for_leader(e: Evidence) -> bool:
    """What follows from there being no leader is Patroni's to end, and no fault of the slot's own."""
    return e.observation.leader is None and (
        _not_streaming(e) or _haproxy_blind(e) or _app_not_ready(e)
    )


def _state(*states: InstanceState) -> Callable[[Evidence], bool]:
    return lambda e: e.occupant is not None and e.occupant.state in states


def _phase(phase: Phase) -> Callable[[Evidence], bool]:
    return lambda e: e.report is not None and e.report.phase is phase


RULES: tuple[Rule, ...] = (
    Rule(
        number=10,
        diagnosis=Diagnosis.REGION_UNKNOWN,
        when=lambda e: e.slot.region in e.observation.unknown_regions,
        why="EC2's API of the slot's region did not answer, so what occupies the slot is not known",
    ),
    Rule(
        number=20,
        diagnosis=Diagnosis.TWO_OCCUPANTS,
        when=lambda e: len(e.occupants) > 1,
        why="two instances claim one slot; that cannot happen by our own doing",
    ),
    Rule(
        number=30,
        diagnosis=Diagnosis.TWO_LEADERS,
        when=lambda e: len(e.observation.leaders) > 1 and e.slot.name in e.observation.leaders,
        why="more than one fresh report says that it leads a writable PostgreSQL",
    ),
    Rule(
        number=40,
        diagnosis=Diagnosis.SPARE,
        when=lambda e: not e.slot.active and not e.occupants,
        why="a spare slot is closed until its region has to carry more",
    ),
    Rule(
        number=50,
        diagnosis=Diagnosis.SLOT_EMPTY,
        when=lambda e: not e.occupants,
        why="an active slot has no instance that is not terminated",
    ),
    Rule(
        number=60,
        diagnosis=Diagnosis.TERMINATING,
        when=_state(InstanceState.SHUTTING_DOWN, InstanceState.STOPPING),
        why="the occupant is on its way out; its interface and disk are not free before EC2 says so",
    ),
    Rule(
        number=70,
        diagnosis=Diagnosis.STOPPED,
        when=_state(InstanceState.STOPPED),
        why="the occupant is stopped; starting it is the least that helps",
    ),
    Rule(
        number=80,
        diagnosis=Diagnosis.BOOTING,
        when=_state(InstanceState.PENDING),
        why="EC2 is starting the occupant",
    ),
    Rule(
        number=90,
        diagnosis=Diagnosis.PRESUMED_DEAD,
        when=_presumed_dead,
        why="agent silent, peers get no answer, EC2 status impaired; a former leader also superseded",
    ),
    Rule(
        number=100,
        diagnosis=Diagnosis.SUSPECTED,
        when=_suspected,
        why="some evidence of death, not all of it",
    ),
    Rule(
        number=105,
        diagnosis=Diagnosis.REPORT_REFUSED,
        when=lambda e: e.report is None and e.slot.name in e.observation.refused_reports,
        why="the slot's report is there and cannot be read, so nothing is known of the occupant",
    ),
    Rule(
        number=110,
        diagnosis=Diagnosis.BOOT_STUCK,
        when=_boot_stuck,
        why="the occupant has been running for longer than the grace and its agent has never spoken",
    ),
    Rule(
        number=115,
        diagnosis=Diagnosis.TWO_DISKS,
        when=lambda e: len(e.volumes) > 1,
        why="two volumes are tagged as the slot's current one, and only one can hold the newest data",
    ),
    Rule(
        number=120,
        diagnosis=Diagnosis.DISK_MISSING,
        when=lambda e: e.slot.disk is not None and e.volume is None,
        why="the slot has no volume tagged current",
    ),
    Rule(
        number=130,
        diagnosis=Diagnosis.DISK_BUSY,
        when=lambda e: (
            e.slot.disk is not None
            and e.volume is not None
            and (
                (e.volume.attached_to is not None and not _attached(e))
                or e.volume.attachment_state in ("attaching", "detaching")
                or e.volume.state == "creating"
            )
        ),
        why="the slot's volume is being made, moved, or still belongs to another instance",
    ),
    Rule(
        number=140,
        diagnosis=Diagnosis.DISK_DETACHED,
        when=lambda e: e.slot.disk is not None and not _attached(e),
        why="the slot's volume is free and the occupant runs without it",
    ),
    Rule(
        number=150,
        diagnosis=Diagnosis.BOOTING,
        when=lambda e: e.report is None and not _mute(e),
        why="the occupant runs and its agent has not spoken yet, within the grace",
    ),
    Rule(
        number=160,
        diagnosis=Diagnosis.AGENT_SILENT,
        when=lambda e: _silent(e) or _mute(e),
        why="the agent is silent while peers or EC2 see the host well",
    ),
    Rule(
        number=170,
        diagnosis=Diagnosis.NEEDS_PERSON,
        when=lambda e: (
            e.report is not None
            and e.report.phase is Phase.IDLE
            and e.incident is not None
            and e.incident.last_exit_code == EXIT_HOLD
            and e.observation.now - (e.incident.last_acted_at or 0.0) < ASK_AGAIN_AFTER_S
        ),
        why="configuring said that a person is needed: no etcd majority, an empty key, or another database",
    ),
    Rule(
        number=180,
        diagnosis=Diagnosis.CONFIGURING,
        when=lambda e: (
            _phase(Phase.IDLE)(e)
            and e.open_action is not None
            and e.open_action.kind == "configure"
            and e.open_action.instance_id == (e.occupant.instance_id if e.occupant else None)
        ),
        why="the node is being configured",
    ),
    Rule(
        number=190,
        diagnosis=Diagnosis.CONFIGURE_FAILED,
        when=lambda e: (
            _phase(Phase.IDLE)(e)
            and e.incident is not None
            and e.incident.failures_of("configure") >= CONFIGURE_ATTEMPTS_MAX
        ),
        why="configuring the node failed as often as it may",
    ),
    Rule(
        number=200,
        diagnosis=Diagnosis.NOT_CONFIGURED,
        when=_phase(Phase.IDLE),
        why="the agent is up and no document has configured the node",
    ),
    Rule(
        number=210,
        diagnosis=Diagnosis.LEFT,
        when=_phase(Phase.LEFT),
        why="the node was asked to leave the cluster",
    ),
    Rule(
        number=220,
        diagnosis=Diagnosis.SERVICE_DOWN,
        when=_service_down,
        why="a unit that this role runs has failed or is stopped",
    ),
    Rule(
        number=230,
        diagnosis=Diagnosis.ETCD_UNHEALTHY,
        when=_etcd_unhealthy,
        why="the etcd member does not answer healthily or has an alarm",
    ),
    Rule(
        number=235,
        diagnosis=Diagnosis.WAITS_FOR_LEADER,
        when=_waits_for_leader,
        why="nobody leads, so a copy has nobody to follow and a proxy nobody to show",
    ),
    Rule(
        number=240,
        diagnosis=Diagnosis.REPLICA_NOT_STREAMING,
        when=_not_streaming,
        why="the leader does not see this copy streaming within 1 MiB",
    ),
    Rule(
        number=250,
        diagnosis=Diagnosis.HAPROXY_BLIND,
        when=_haproxy_blind,
        why="HAProxy does not see exactly one server to write to",
    ),
    Rule(
        number=260,
        diagnosis=Diagnosis.APP_NOT_READY,
        when=_app_not_ready,
        why="the app is down or cannot reach the primary",
    ),
    Rule(
        number=900,
        diagnosis=Diagnosis.HEALTHY,
        when=lambda _: True,
        why="nothing above applies",
    ),
)

QUIET = frozenset({Diagnosis.HEALTHY, Diagnosis.SPARE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The diagnosis of one slot, the rule that gave it and the evidence it stands on."""

    evidence: Evidence
    rule: Rule

    @property
    def diagnosis(self) -> Diagnosis:
        """What is wrong."""
        return self.rule.diagnosis

    @property
    def slot(self) -> str:
        """Where."""
        return self.evidence.slot.name


def diagnose(observation: Observation) -> Mapping[str, Finding]:
    """A finding for every slot of the spec, spare ones too."""
    findings = {}
    for slot in observation.spec.slots:
        evidence = gather(observation, slot)
        rule = next(rule for rule in RULES if rule.when(evidence))
        findings[slot.name] = Finding(evidence=evidence, rule=rule)
    return findings


def rule_table() -> str:
    """The rules as text, one a line: the golden file that makes a changed rule a reviewable diff."""
    return "".join(f"{r.number:>4}  {r.diagnosis:<22}  {r.why}\n" for r in RULES)
