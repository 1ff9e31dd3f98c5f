"""From a diagnosis that has a ladder to the next thing to do: a step, or the wait or hold in its place. Pure."""

from __future__ import annotations

from lambdas.core.actions import (
    COMMANDS,
    DISCARDS,
    REMOVALS,
    STOPS,
    Action,
    DropReplicationSlot,
    GrowDisk,
    GrowFileSystem,
    Hold,
    JoinReplica,
    Reboot,
    Reinit,
    ReleaseBallast,
    RepairEtcd,
    ReplaceEtcdMember,
    RestartService,
    SetDiskAside,
    Step,
    StopInstance,
    Switchover,
    Terminate,
    Wait,
)
from lambdas.core.diagnose import Finding
from lambdas.core.diagnosis import Diagnosis
from lambdas.core.evidence import Evidence
from lambdas.core.ladder import (
    SWITCHOVERS_MAX,
    Rung,
    key_of,
    machine_wait_s,
    rung_now,
    service,
    size_gib_next,
    ssm_is_blind,
    tried,
    wait_s,
    was_stopped,
)
from lambdas.core.succession import successors

# What may recover by itself is given time before it is touched.
PATIENT = frozenset(
    {
        Diagnosis.IMPAIRED,
        Diagnosis.CLOCK_OFF,
        Diagnosis.DISK_ABSENT,
        Diagnosis.DISK_READ_ONLY,
        Diagnosis.ETCD_UNHEALTHY,
        Diagnosis.REPLICA_WAL_GONE,
        Diagnosis.REPLICA_STUCK,
        Diagnosis.REPLICA_DIVERGED,
        Diagnosis.REPLICA_BROKEN,
        Diagnosis.WAL_HOARDED,
        Diagnosis.HAPROXY_BLIND,
        Diagnosis.APP_NOT_READY,
    }
)
# While nobody leads, these may be nothing but that.
NEED_A_LEADER = frozenset(
    {
        Diagnosis.ETCD_UNHEALTHY,
        Diagnosis.REPLICA_WAL_GONE,
        Diagnosis.REINIT_LOOP,
        Diagnosis.REPLICA_STUCK,
        Diagnosis.REPLICA_DIVERGED,
        Diagnosis.REPLICA_BROKEN,
        Diagnosis.HAPROXY_BLIND,
        Diagnosis.APP_NOT_READY,
    }
)
# A silent agent gives no newer report to go by: time is all there is between two steps.
SILENT = frozenset({Diagnosis.AGENT_SILENT, Diagnosis.AGENT_CUT_OFF, Diagnosis.UNREACHABLE})
# Another copy leads before its host, or its copy, goes. Its etcd member is another matter: Patroni asks the others.
NOT_ON_A_LEADER = REMOVALS | STOPS | DISCARDS


def climb(finding: Finding) -> Action:
    """The lowest rung that is left, in its own time; a hold that says what was tried when none is."""
    e = finding.evidence
    rung = rung_now(finding.diagnosis, e)
    patience = _patience(finding, rung)
    if patience is not None and not _is_told(rung, finding):
        return Wait(slot=finding.slot, because=patience)
    if rung is None or patience is not None:
        done = "nothing could be tried" if e.incident is None else e.incident.story
        because = f"{finding.rule.why}; tried: {done}; a person should look"
        return Hold(slot=finding.slot, rail="ladder", because=because)
    if e.leads and rung.kind in NOT_ON_A_LEADER:
        return hand_on(finding)
    return sendable(finding, _step(rung, finding))


def _is_told(rung: Rung | None, finding: Finding) -> bool:
    """Whether what is left is only tried now and then, in vain so far: a person hears of it meanwhile."""
    e = finding.evidence
    if rung is None or not rung.told or not tried(e, key_of(rung, finding.diagnosis, e)):
        return False
    o = e.observation
    return o.now - e.touched_at >= o.spec.timings.restart_wait_s


def _patience(finding: Finding, rung: Rung | None) -> str | None:
    """Why nothing is done yet: what was done before, or the trouble itself, has its time."""
    e, why = finding.evidence, finding.rule.why
    o = e.observation
    if finding.diagnosis in NEED_A_LEADER and o.leader is None:
        return f"{why}; there is no leader now"
    acted_at = None if e.incident is None else e.incident.last_acted_at
    settle_s = wait_s(finding.diagnosis, rung, e)
    settles = settle_s is not None and acted_at is not None and o.now - acted_at < settle_s
    # What may recover by itself has its time, whatever was tried before against something else.
    spaced_s = o.spec.timings.restart_wait_s
    new = finding.diagnosis in PATIENT and o.now - e.found_at < spaced_s
    if settles or new or (settle_s is None and _before_the_first(finding)):
        return why
    return None if finding.diagnosis in SILENT else older_than_the_last_step(e)


def _before_the_first(finding: Finding) -> bool:
    """Whether it is too early for the first rung."""
    e = finding.evidence
    spaced_s = e.observation.spec.timings.restart_wait_s
    if finding.diagnosis in PATIENT:
        return e.observation.now - max(e.touched_at, e.found_at) < spaced_s
    acted_at = None if e.incident is None else e.incident.last_acted_at
    recent = acted_at is not None and e.observation.now - acted_at < spaced_s
    return finding.diagnosis in SILENT and recent


def older_than_the_last_step(e: Evidence) -> str | None:
    """A step answers what the node said after the last step, not before it."""
    acted_at = None if e.incident is None else e.incident.last_acted_at
    age_s = e.report_age_s
    if acted_at is not None and age_s is not None and e.observation.now - age_s <= acted_at:
        return "the last step waits for a newer report"
    return None


def sendable(finding: Finding, step: Step) -> Action:
    """A document can only be sent where SSM sees the agent."""
    e = finding.evidence
    if step.kind not in COMMANDS or e.online:
        return step
    because = f"{step.kind} waits for SSM to see the instance"
    mute = e.observation.mute_ssm.get(e.slot.region)
    if mute is not None:
        because = f"{step.kind} waits for SSM, which gives no answer ({mute})"
    if ssm_is_blind(e):
        return Hold(slot=finding.slot, rail="ssm", because=f"{because}, in vain for long")
    return Wait(slot=finding.slot, because=because)


def hand_on(finding: Finding, to: str | None = None) -> Action:
    """Another copy is to lead before the leader's host is worked on."""
    e = finding.evidence
    able = successors(e.observation, lasting=finding.diagnosis is Diagnosis.OUTDATED)
    times = tried(e, "switchover")
    since_s = e.observation.now - e.touched_at
    if times and since_s < e.observation.spec.timings.restart_wait_s:
        return Wait(slot=finding.slot, because=f"{finding.slot} is asked to hand on the lead")
    if times >= SWITCHOVERS_MAX:
        because = f"{finding.rule.why}; it leads, and {times} switchovers came to nothing"
        return Hold(slot=finding.slot, rail="ladder", because=because)
    heir = next((name for name in able if to is None or name == to), None)
    if heir is None:
        whom = f"{to} is not" if to is not None else "no copy is"
        because = f"{finding.rule.why}; it leads, and {whom} well and close behind it"
        return Hold(slot=finding.slot, rail="no-successor", because=because)
    instance_id = "" if e.occupant is None else e.occupant.instance_id
    step = Switchover(slot=finding.slot, instance_id=instance_id, to=heir)
    return sendable(finding, step)


def machine_is_given_time(e: Evidence) -> bool:
    """Whether the slot's machine was touched so lately that it may still be coming back."""
    acted_at = None if e.incident is None else e.incident.last_acted_at
    limit_s = machine_wait_s(e.observation.spec.timings)
    return acted_at is not None and e.observation.now - acted_at < limit_s


def machine_comes_back(e: Evidence) -> bool:
    """Whether we stopped, rebooted or started the machine so lately that its silence is our own doing."""
    return was_stopped(e.incident) and machine_is_given_time(e)


def _step(rung: Rung, finding: Finding) -> Step:  # noqa: C901, PLR0911, PLR0912 - one switch from rung to step
    e, slot = finding.evidence, finding.slot
    instance_id = "" if e.occupant is None else e.occupant.instance_id
    volume_id = "" if e.volume is None else e.volume.volume_id
    match rung.kind:
        case "restart-service":
            unit = service(finding.diagnosis, e)
            return RestartService(slot=slot, instance_id=instance_id, service=unit)
        case "join-replica":
            return JoinReplica(slot=slot, instance_id=instance_id)
        case "reinit":
            return Reinit(slot=slot, instance_id=instance_id)
        case "reboot":
            return Reboot(slot=slot, instance_id=instance_id)
        case "stop":
            dead = finding.diagnosis is Diagnosis.UNREACHABLE
            return StopInstance(slot=slot, instance_id=instance_id, force=dead)
        case "terminate":
            return Terminate(slot=slot, instance_id=instance_id)
        case "set-disk-aside":
            return SetDiskAside(slot=slot, instance_id=instance_id, volume_id=volume_id)
        case "grow-disk":
            return GrowDisk(slot=slot, volume_id=volume_id, size_gib=size_gib_next(e) or 0)
        case "grow-file-system":
            return GrowFileSystem(slot=slot, instance_id=instance_id)
        case "release-ballast":
            return ReleaseBallast(slot=slot, instance_id=instance_id)
        case "drop-replication-slot":
            name = "" if e.droppable is None else e.droppable.name
            return DropReplicationSlot(slot=slot, instance_id=instance_id, replication_slot=name)
        case "repair-etcd":
            return RepairEtcd(slot=slot, instance_id=instance_id)
        case "replace-etcd-member":
            return ReplaceEtcdMember(slot=slot, instance_id=instance_id)
        case other:
            raise ValueError(f"no step climbs the rung {other!r}")
