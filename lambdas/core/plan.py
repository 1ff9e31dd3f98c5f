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
from lambdas.core.model import InstanceState, Observation, PeerState, Role
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
    """Instances that start, and those that were asked for and that EC2 does not show yet."""
    starting = {i.slot for i in observation.instances if i.state is InstanceState.PENDING}
    asked = {slot for slot, action in observation.open_actions.items() if action.kind == "launch"}
    return len(starting | {slot for slot in asked if not observation.occupants(slot)})


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
    if birth.state == "born" or observation.leader is None:
        return None
    report = observation.fresh(observation.leader)
    etcd_cluster_id = _etcd_cluster(observation)
    system = (
        None if report is None or report.postgres is None else report.postgres.system_identifier
    )
    if etcd_cluster_id is None or system is None:
        return None
    born = DeclareBorn(
        slot=observation.leader, etcd_cluster_id=etcd_cluster_id, system_identifier=system
    )
    return _safe(born, findings[observation.leader], observation)


def _etcd_cluster(observation: Observation) -> str | None:
    """The etcd cluster's id as a healthy voter knows it; the leader itself may be no voter."""
    for voter in observation.spec.voters:
        report = observation.fresh(voter.name)
        if report is not None and report.etcd is not None and report.etcd.healthy is True:
            return report.etcd.cluster_id
    return None


def _wanted(finding: Finding) -> Action:  # noqa: C901, PLR0911, PLR0912 - one switch from diagnosis to action
    e, slot = finding.evidence, finding.slot
    because = finding.rule.why
    instance_id = "" if e.occupant is None else e.occupant.instance_id
    match finding.diagnosis:
        case Diagnosis.HEALTHY | Diagnosis.SPARE:
            return Wait(slot=slot, because=because)
        case (
            Diagnosis.REGION_UNKNOWN
            | Diagnosis.TWO_OCCUPANTS
            | Diagnosis.TWO_LEADERS
            | Diagnosis.REPORT_REFUSED
            | Diagnosis.TWO_DISKS
        ):
            return Hold(slot=slot, rail=finding.diagnosis, because=because)
        case Diagnosis.NEEDS_PERSON:
            return Hold(slot=slot, rail="born-once", because=because)
        case Diagnosis.LEFT:
            return Hold(slot=slot, rail="left", because=because)
        case Diagnosis.SLOT_EMPTY:
            return _backed_off(finding, Launch(slot=slot))
        case Diagnosis.STOPPED:
            return _backed_off(finding, StartInstance(slot=slot, instance_id=instance_id))
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
            return _disk(finding, CreateDisk(slot=slot))
        case Diagnosis.DISK_DETACHED:
            volume_id = "" if e.volume is None else e.volume.volume_id
            attach = AttachDisk(slot=slot, instance_id=instance_id, volume_id=volume_id)
            return _disk(finding, attach)
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
            return _join(finding, JoinReplica(slot=slot, instance_id=instance_id))
        case Diagnosis.HAPROXY_BLIND:
            return _unless_cut_off(
                finding, RestartService(slot=slot, instance_id=instance_id, service="haproxy")
            )
        case Diagnosis.APP_NOT_READY:
            return _restart_app(
                finding, RestartService(slot=slot, instance_id=instance_id, service="pgmend-app")
            )
        case Diagnosis.ETCD_UNHEALTHY:
            return _patiently(
                finding, RestartService(slot=slot, instance_id=instance_id, service="etcd")
            )
        case _:
            assert_never(finding.diagnosis)


def _restart_app(finding: Finding, step: RestartService) -> Action:
    """An app that lives and has not said whether it is ready is still finding out."""
    report = finding.evidence.report
    app = None if report is None else report.app
    if app is not None and app.up is True and app.ready is None:
        because = "the app answers, and whether it is ready is not known yet"
        return Wait(slot=finding.slot, because=because)
    return _patiently(finding, step)


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


def _backed_off(finding: Finding, step: Step) -> Action:
    """At once; when AWS refused it, only after a wait that doubles: a short refusal costs no budget and no noise."""
    incident = finding.evidence.incident
    failures = 0 if incident is None else incident.failures_of(step.kind)
    if incident is None or not failures or incident.last_acted_at is None:
        return step
    wait_s = min(BACK_OFF_S * 2.0 ** (failures - 1), BACK_OFF_S_MAX)
    left_s = wait_s - (finding.evidence.observation.now - incident.last_acted_at)
    if left_s <= 0:
        return step
    because = f"AWS refused {step.kind}; it is tried again in {left_s:.0f} s"
    return Wait(slot=finding.slot, because=because)


def _disk(finding: Finding, step: CreateDisk | AttachDisk) -> Action:
    """A node that runs on a volume gets no other one: whoever took the volume's tag away has to put it right."""
    e = finding.evidence
    has = None if e.report is None else e.report.volume_id
    if has is not None and (isinstance(step, CreateDisk) or has != step.volume_id):
        because = f"the node runs on {has}, which EC2 does not list as the slot's current volume"
        return Hold(slot=finding.slot, rail="disk", because=because)
    return _backed_off(finding, step)


def _join(finding: Finding, step: JoinReplica) -> Action:
    """A copy that streams and lags, or is being cloned, needs time and no help."""
    e = finding.evidence
    if e.standby is not None and e.standby.state == "streaming":
        lag = e.standby.lag_bytes
        behind = "by an unknown amount" if lag is None else f"by {lag / 1024 / 1024:.0f} MiB"
        return Wait(slot=finding.slot, because=f"the copy streams and is behind {behind}")
    patroni = None if e.report is None else e.report.patroni
    if patroni is not None and patroni.state == "creating replica":
        return Wait(slot=finding.slot, because="the copy is being cloned from the leader")
    return _patiently(finding, step)


def _unless_cut_off(finding: Finding, step: RestartService) -> Action:
    """A proxy that cannot reach the leader's host sees no primary, and no restart mends the network."""
    e = finding.evidence
    leader = e.observation.leader
    if e.report is not None and leader and e.report.peers.get(leader) is PeerState.SILENT:
        return Wait(
            slot=finding.slot, because=f"{finding.slot} gets no answer from {leader}'s host"
        )
    return _patiently(finding, step)


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
