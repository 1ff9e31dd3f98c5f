"""From diagnoses to at most one safe step a slot. Pure; the rails have the last word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from lambdas.core.actions import (
    COMMANDS,
    REMOVALS,
    Action,
    AttachDisk,
    Configure,
    CreateDisk,
    DeclareBirth,
    DeclareBorn,
    Hold,
    JoinReplica,
    Launch,
    RestartService,
    StartInstance,
    Step,
    Terminate,
    Wait,
)
from lambdas.core.diagnose import QUIET, Diagnosis, Finding
from lambdas.core.model import InstanceState, Observation, Role
from lambdas.core.rails import forbidden

BACK_OFF_S, BACK_OFF_S_MAX = 5.0, 300.0  # between launches that AWS refuses
SETTLE_S = 15.0  # how long EC2 may take to show what it was asked to do


def plan(observation: Observation, findings: Mapping[str, Finding]) -> tuple[Action, ...]:
    """What to do now, in order; Wait and Hold say why nothing is done."""
    birth = _birth(observation, findings)
    actions: list[Action] = [] if birth is None else [birth]
    removing, launching = False, _launching(observation)
    for name, finding in findings.items():
        if finding.diagnosis in QUIET:
            continue
        action = _safe(_wanted(finding), finding, observation)
        if action.kind in REMOVALS:
            action = Wait(slot=name, because="another removal goes first") if removing else action
            removing = True
        if action.kind == "launch":
            launching += 1
            if launching > observation.spec.budget.launches_in_parallel:
                action = Wait(slot=name, because="enough launches are under way")
        actions.append(action)
    return tuple(actions)


def _launching(observation: Observation) -> int:
    return sum(1 for i in observation.instances if i.state is InstanceState.PENDING)


def _safe(wanted: Action, finding: Finding, observation: Observation) -> Action:
    if isinstance(wanted, Wait | Hold):
        return wanted
    busy = _under_way(wanted, finding, observation)
    if busy is not None:
        return Wait(slot=wanted.slot, because=busy)
    stopped = forbidden(wanted, finding, observation)
    if stopped is None:
        return wanted
    rail, because = stopped
    return Hold(slot=wanted.slot, rail=rail.id, because=because)


def _under_way(wanted: Step, finding: Finding, observation: Observation) -> str | None:
    """Why the slot is still busy with its last action, or None."""
    e = finding.evidence
    open_action = e.open_action
    if open_action is None:
        return None
    if open_action.kind in COMMANDS and open_action.command_id is not None:
        to_another = e.occupant is None or e.occupant.instance_id != open_action.instance_id
        if to_another or isinstance(wanted, Terminate):
            return None  # nobody waits for what a machine that is gone or dead was asked
        return f"{open_action.kind} is {open_action.command_state or 'not answered yet'}"
    if open_action.kind != wanted.kind:
        return None  # the diagnosis has moved on, so its effect is seen
    if e.incident is not None and open_action.action_id == e.incident.next_action_id(wanted.kind):
        return None  # a run crashed before this step was counted; the same id makes it the same act
    age_s = observation.now - open_action.started_at
    return f"{open_action.kind} was asked {age_s:.0f} s ago" if age_s < SETTLE_S else None


def _birth(observation: Observation, findings: Mapping[str, Finding]) -> Action | None:
    """Open the cluster's one birth, or close it once there is a leader and a healthy etcd."""
    birth = observation.birth
    if birth is None:
        first = next(s for s in observation.spec.slots if s.role is Role.DB and s.active)
        return _safe(DeclareBirth(slot=first.name), findings[first.name], observation)
    if birth.state == "born":
        return None
    report = observation.fresh(birth.first_leader)
    if observation.leader != birth.first_leader or report is None:
        return None
    etcd, postgres = report.etcd, report.postgres
    if etcd is None or postgres is None or etcd.healthy is not True:
        return None
    if etcd.cluster_id is None or postgres.system_identifier is None:
        return None
    born = DeclareBorn(
        slot=birth.first_leader,
        etcd_cluster_id=etcd.cluster_id,
        system_identifier=postgres.system_identifier,
    )
    return _safe(born, findings[birth.first_leader], observation)


def _wanted(finding: Finding) -> Action:  # noqa: C901, PLR0911, PLR0912 - one switch from diagnosis to action
    e, slot = finding.evidence, finding.slot
    because = finding.rule.why
    instance_id = "" if e.occupant is None else e.occupant.instance_id
    match finding.diagnosis:
        case Diagnosis.HEALTHY | Diagnosis.SPARE:
            return Wait(slot=slot, because=because)
        case Diagnosis.REGION_UNKNOWN | Diagnosis.TWO_OCCUPANTS | Diagnosis.TWO_LEADERS:
            return Hold(slot=slot, rail=finding.diagnosis, because=because)
        case Diagnosis.DATA_LOST:
            return Hold(slot=slot, rail="born-once", because=because)
        case Diagnosis.LEFT:
            return Hold(slot=slot, rail="left", because=because)
        case Diagnosis.SLOT_EMPTY:
            return _launch(finding)
        case Diagnosis.STOPPED:
            return StartInstance(slot=slot, instance_id=instance_id)
        case (
            Diagnosis.TERMINATING
            | Diagnosis.BOOTING
            | Diagnosis.DISK_BUSY
            | Diagnosis.CONFIGURING
            | Diagnosis.WAITS_FOR_LEADER
        ):
            return Wait(slot=slot, because=because)
        case Diagnosis.PRESUMED_DEAD | Diagnosis.BOOT_STUCK:
            return Terminate(slot=slot, instance_id=instance_id)
        case Diagnosis.SUSPECTED:
            return Wait(slot=slot, because=_suspicion(finding))
        case Diagnosis.DISK_MISSING:
            return CreateDisk(slot=slot)
        case Diagnosis.DISK_DETACHED:
            volume_id = "" if e.volume is None else e.volume.volume_id
            return AttachDisk(slot=slot, instance_id=instance_id, volume_id=volume_id)
        case Diagnosis.NOT_CONFIGURED:
            return _configure(finding)
        case Diagnosis.CONFIGURE_FAILED:
            return Hold(slot=slot, rail="attempts", because=because)
        case Diagnosis.AGENT_SILENT:
            return _spaced(
                finding, RestartService(slot=slot, instance_id=instance_id, service="pgmend-agent")
            )
        case Diagnosis.SERVICE_DOWN:
            return _command(
                finding,
                RestartService(slot=slot, instance_id=instance_id, service=e.services_down[0]),
            )
        case Diagnosis.REPLICA_NOT_STREAMING:
            return _patiently(finding, JoinReplica(slot=slot, instance_id=instance_id))
        case Diagnosis.HAPROXY_BLIND:
            return _patiently(
                finding, RestartService(slot=slot, instance_id=instance_id, service="haproxy")
            )
        case Diagnosis.APP_NOT_READY:
            return _patiently(
                finding, RestartService(slot=slot, instance_id=instance_id, service="pgmend-app")
            )
        case Diagnosis.ETCD_UNHEALTHY:
            return _patiently(
                finding, RestartService(slot=slot, instance_id=instance_id, service="etcd")
            )
        case _:
            assert_never(finding.diagnosis)


def _suspicion(finding: Finding) -> str:
    e = finding.evidence
    parts = [f"agent silent for {e.report_age_s or 0:.1f} s"]
    parts.append(f"{len(e.peers_silent)} peers get no answer, {len(e.peers_answered)} do")
    parts.append(
        {None: "EC2 has no verdict", True: "EC2 says impaired", False: "EC2 says ok"}[e.impaired]
    )
    if e.last_led:
        parts.append("another member leads now" if e.superseded else "nobody else leads yet")
    return "; ".join(parts)


def _launch(finding: Finding) -> Action:
    """At once; after a refused launch only after a wait that doubles, so that a short refusal costs no budget."""
    incident = finding.evidence.incident
    if incident is not None and incident.failures and incident.last_acted_at is not None:
        wait_s = min(BACK_OFF_S * 2.0 ** (incident.failures - 1), BACK_OFF_S_MAX)
        since_s = finding.evidence.observation.now - incident.last_acted_at
        if since_s < wait_s:
            return Wait(
                slot=finding.slot,
                because=f"the launch was refused; it is tried again in {wait_s - since_s:.0f} s",
            )
    return Launch(slot=finding.slot)


def _configure(finding: Finding) -> Action:
    e = finding.evidence
    birth = e.observation.birth
    if birth is None:
        return Wait(slot=finding.slot, because="the cluster's birth is not declared yet")
    being_born = birth.state == "pending"
    wanted = Configure(
        slot=finding.slot,
        instance_id="" if e.occupant is None else e.occupant.instance_id,
        volume_id=None if e.volume is None else e.volume.volume_id,
        birth=being_born,
        etcd_token=birth.etcd_token if being_born else None,
    )
    return _command(finding, wanted)


def _command(finding: Finding, step: Step) -> Action:
    """A document answers what the node said after the last step, not before it."""
    e = finding.evidence
    acted_at = None if e.incident is None else e.incident.last_acted_at
    age_s = e.report_age_s
    if acted_at is not None and age_s is not None and e.observation.now - age_s <= acted_at:
        return Wait(slot=finding.slot, because="the last step waits for a newer report")
    return _send(finding, step)


def _spaced(finding: Finding, step: Step) -> Action:
    """At once, then only after a wait: a silent agent gives no newer report to go by."""
    e = finding.evidence
    acted_at = None if e.incident is None else e.incident.last_acted_at
    wait_s = e.observation.spec.timings.restart_wait_s
    if acted_at is not None and e.observation.now - acted_at < wait_s:
        return Wait(slot=finding.slot, because=finding.rule.why)
    return _send(finding, step)


def _send(finding: Finding, step: Step) -> Action:
    """A document can only be sent where SSM sees the agent."""
    if not finding.evidence.online:
        return Wait(slot=finding.slot, because=f"{step.kind} waits for SSM to see the instance")
    return step


def _patiently(finding: Finding, step: Step) -> Action:
    """Give the thing time to recover by itself before touching it, and again after each touch."""
    e = finding.evidence
    if e.observation.leader is None:
        return Wait(slot=finding.slot, because=f"{finding.rule.why}; there is no leader now")
    wait_s = e.observation.spec.timings.restart_wait_s
    since = None if e.incident is None else (e.incident.last_acted_at or e.incident.opened_at)
    if since is None or e.observation.now - since < wait_s:
        return Wait(slot=finding.slot, because=finding.rule.why)
    return _command(finding, step)
