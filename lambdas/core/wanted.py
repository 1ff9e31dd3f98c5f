"""What each diagnosis asks for, before the rails are asked: one switch. Pure."""

from __future__ import annotations

from typing import assert_never

from lambdas.core.actions import (
    Action,
    AttachDisk,
    Configure,
    CreateDisk,
    Hold,
    Launch,
    StartInstance,
    Step,
    StopInstance,
    Terminate,
    Wait,
)
from lambdas.core.climb import (
    climb,
    hand_on,
    machine_comes_back,
    machine_is_given_time,
    older_than_the_last_step,
    sendable,
)
from lambdas.core.diagnose import Diagnosis, Finding
from lambdas.core.evidence import Evidence, replication_slot_name
from lambdas.core.ladder import machine_wait_s, tried
from lambdas.core.model import InstanceState, PeerState, Role
from lambdas.core.rules.databases import STUCK_AFTER_S, unsettled
from lambdas.core.rules.hosts import no_capacity_key

BACK_OFF_S, BACK_OFF_S_MAX = 5.0, 300.0  # between launches that AWS refuses
STARTS_MAX = 4  # refused so often, a stopped occupant makes room for a new one
CLONING_S_MAX = 2 * 3600.0
LAGGING_S_MAX = 600.0  # a lag that has not become less for as long grows
MIB = 1024 * 1024


def proven(finding: Finding) -> bool:
    """Whether the evidence is complete enough to open an incident."""
    e = finding.evidence
    match finding.diagnosis:
        case Diagnosis.REGION_UNKNOWN | Diagnosis.WAITS_FOR_LEADER:
            return False
        case Diagnosis.SUSPECTED:
            return _long_suspected(e)
        case Diagnosis.REGION_CUT_OFF:
            return _long_cut_off(e)
        case _:
            return True


def wanted(finding: Finding) -> Action:  # noqa: C901, PLR0911, PLR0912 - one switch from diagnosis to action
    """A step, or the wait or hold in its place."""
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
        case Diagnosis.REGION_CUT_OFF:
            return _held(finding, because) if _long_cut_off(e) else Wait(slot=slot, because=because)
        case Diagnosis.NEEDS_PERSON | Diagnosis.DISK_STALLED:
            return _held(finding, because)
        case Diagnosis.LEFT:
            return Hold(slot=slot, rail="left", because=because)
        case Diagnosis.SLOT_EMPTY:
            return backed_off(finding, _launch(finding))
        case Diagnosis.NO_CAPACITY:
            again = backed_off(finding, _launch(finding))
            return _held(finding, because) if isinstance(again, Wait) else again
        case Diagnosis.STOPPED:
            return _start(finding, instance_id)
        case Diagnosis.TERMINATING:
            return _leaving(finding)
        case Diagnosis.DISK_BUSY:
            return _waits_on_ec2(finding, 2 * e.observation.spec.timings.unreachable_after_s)
        case Diagnosis.BOOTING if _is(InstanceState.PENDING, e):
            return _waits_on_ec2(finding, e.observation.spec.timings.boot_grace_s)
        case Diagnosis.BOOTING | Diagnosis.CONFIGURING | Diagnosis.WAITS_FOR_LEADER:
            return Wait(slot=slot, because=because)
        case Diagnosis.DISK_SET_ASIDE if e.leads:
            return hand_on(finding)
        case Diagnosis.PRESUMED_DEAD if machine_comes_back(e):
            return Wait(slot=slot, because=f"{because}; it may be coming back from our last step")
        case Diagnosis.PRESUMED_DEAD | Diagnosis.BOOT_STUCK | Diagnosis.DISK_SET_ASIDE:
            return Terminate(slot=slot, instance_id=instance_id)
        case Diagnosis.SUSPECTED:
            return _suspected(finding)
        case Diagnosis.DISK_MISSING:
            return _disk(finding, CreateDisk(slot=slot, size_gib=_grown_gib(e)))
        case Diagnosis.DISK_DETACHED:
            volume_id = "" if e.volume is None else e.volume.volume_id
            attach = AttachDisk(slot=slot, instance_id=instance_id, volume_id=volume_id)
            return _disk(finding, attach)
        case Diagnosis.NOT_CONFIGURED:
            return _configure(finding)
        case Diagnosis.REPLICA_LAGGING:
            return _lagging(finding)
        case Diagnosis.REPLICA_CLONING:
            return _cloning(finding)
        case Diagnosis.REPLICA_BROKEN:
            return _broken(finding)
        case Diagnosis.WAL_HOARDED:
            return _hoarded(finding)
        case Diagnosis.HAPROXY_BLIND:
            return _unless_cut_off(finding)
        case Diagnosis.APP_NOT_READY:
            return _app(finding)
        case Diagnosis.DISK_FULL | Diagnosis.DISK_FILLING:
            return _growing(finding)
        case Diagnosis.TO_SWITCH_OVER:
            planned = e.observation.planned
            return hand_on(finding, to=None if planned is None else planned.to)
        case (
            Diagnosis.UNREACHABLE
            | Diagnosis.IMPAIRED
            | Diagnosis.RETIRING
            | Diagnosis.CLOCK_OFF
            | Diagnosis.AGENT_SILENT
            | Diagnosis.AGENT_CUT_OFF
            | Diagnosis.DISK_ABSENT
            | Diagnosis.DISK_READ_ONLY
            | Diagnosis.DISK_SMALL
            | Diagnosis.CHECKSUM_FAILURES
            | Diagnosis.CONFIGURE_FAILED
            | Diagnosis.SERVICE_DOWN
            | Diagnosis.ETCD_FULL
            | Diagnosis.ETCD_CORRUPT
            | Diagnosis.ETCD_LOST
            | Diagnosis.ETCD_UNHEALTHY
            | Diagnosis.REPLICA_WAL_GONE
            | Diagnosis.REINIT_LOOP
            | Diagnosis.REPLICA_STUCK
            | Diagnosis.REPLICA_DIVERGED
            | Diagnosis.OUTDATED
        ):
            return climb(finding)
        case _:
            assert_never(finding.diagnosis)


def _held(finding: Finding, because: str) -> Hold:
    return Hold(slot=finding.slot, rail=finding.diagnosis, because=because)


# -- hosts


def _long_suspected(e: Evidence) -> bool:
    limit_s = e.observation.spec.timings.unreachable_after_s
    return (e.report_age_s or 0.0) > limit_s and not machine_is_given_time(e)


def _long_cut_off(e: Evidence) -> bool:
    return (e.report_age_s or 0.0) > e.observation.spec.timings.restart_wait_s


def _suspected(finding: Finding) -> Action:
    """Only suspected for ever is for a person: nothing proves more, and nobody would be told."""
    because = _suspicion(finding)
    if _long_suspected(finding.evidence):
        return _held(finding, because)
    return Wait(slot=finding.slot, because=because)


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


def _is(state: InstanceState, e: Evidence) -> bool:
    return e.occupant is not None and e.occupant.state is state


def _found_for_s(finding: Finding) -> float:
    """For how long the slot's trouble has been this one, seconds; 0 at the first look."""
    e = finding.evidence
    known = e.incident is not None and e.incident.found in (None, finding.diagnosis)
    return e.observation.now - e.found_at if known else 0.0


def _waits_on_ec2(finding: Finding, limit_s: float) -> Action:
    """What EC2 alone can end is waited for, and told when it takes much longer than it ever should."""
    because, for_s = finding.rule.why, _found_for_s(finding)
    if for_s <= limit_s:
        return Wait(slot=finding.slot, because=because)
    incident = finding.evidence.incident
    tried = "nothing could be tried" if incident is None else incident.story
    because = f"{because}; EC2 has shown it so for {for_s / 60:.0f} minutes"
    return _held(finding, f"{because}; tried: {tried}; a person should look")


def _leaving(finding: Finding) -> Action:
    """A host that hangs in the stop that we asked for is stopped once more, with force: AWS's own remedy."""
    e = finding.evidence
    limit_s = e.observation.spec.timings.unreachable_after_s
    if _found_for_s(finding) > limit_s and _hangs_in_our_stop(e):
        instance_id = "" if e.occupant is None else e.occupant.instance_id
        return StopInstance(slot=finding.slot, instance_id=instance_id, force=True)
    return _waits_on_ec2(finding, 2 * limit_s)


def _hangs_in_our_stop(e: Evidence) -> bool:
    """Whether it is stopping because we stopped it, says nothing, and was not stopped once more yet."""
    if e.incident is None or e.slot.name in e.observation.young:
        return False
    ours = e.incident.took("stop") and not e.incident.acted_since(e.found_at)
    return ours and _is(InstanceState.STOPPING, e)


def _launch(finding: Finding) -> Launch:
    """The type that was refused least for want of capacity, the first of the list before the others."""
    e = finding.evidence
    tried = {} if e.incident is None else e.incident.rungs
    types = e.slot.instance_types
    if not types:
        return Launch(slot=finding.slot)
    chosen = min(types, key=lambda kind: tried.get(no_capacity_key(kind), 0))
    return Launch(slot=finding.slot, instance_type=None if chosen == types[0] else chosen)


def _start(finding: Finding, instance_id: str) -> Action:
    """Started, the least that helps; where AWS refuses that again and again, a new one takes its place."""
    incident = finding.evidence.incident
    if incident is not None and incident.failures_of("start") >= STARTS_MAX:
        return Terminate(slot=finding.slot, instance_id=instance_id)
    return backed_off(finding, StartInstance(slot=finding.slot, instance_id=instance_id))


def back_off_s(times: int) -> float:
    """How long to wait after so many tries in a row that came to nothing, seconds."""
    return min(BACK_OFF_S * 2.0 ** (times - 1), BACK_OFF_S_MAX)


def backed_off(finding: Finding, step: Step) -> Action:
    """At once; when AWS refused it, only after a wait that doubles: a short refusal costs no budget and no noise."""
    incident = finding.evidence.incident
    failures = 0 if incident is None else incident.failures_of(step.kind)
    if incident is None or not failures or incident.last_acted_at is None:
        return step
    left_s = back_off_s(failures) - (finding.evidence.observation.now - incident.last_acted_at)
    if left_s <= 0:
        return step
    because = f"AWS refused {step.kind}; it is tried again in {left_s:.0f} s"
    return Wait(slot=finding.slot, because=because)


# -- disks


def _disk(finding: Finding, step: CreateDisk | AttachDisk) -> Action:
    """A node that runs on a volume gets no other one: whoever took the volume's tag away has to put it right.

    One that was set aside is no such volume: its node was ended for a fresh disk (the diagnosis disk-set-aside).
    """
    e = finding.evidence
    has = None if e.report is None else e.report.volume_id
    if has is not None and (isinstance(step, CreateDisk) or has != step.volume_id):
        because = f"the node runs on {has}, which EC2 does not list as the slot's current volume"
        return Hold(slot=finding.slot, rail="disk", because=because)
    if isinstance(step, CreateDisk) and _may_be_hidden(e):
        because = "the slot had a disk a moment ago, and EC2 may only not list it now"
        return Wait(slot=finding.slot, because=because)
    return backed_off(finding, step)


def _may_be_hidden(e: Evidence) -> bool:
    """Whether it was made or given a disk a moment ago: EC2 may forget for a while what it has just shown."""
    incident = e.incident
    if incident is None:
        return False
    all_refused = tried(e, "create-disk") == incident.failures_of("create-disk") > 0
    given = incident.took("attach-disk") or (incident.took("create-disk") and not all_refused)
    return given and e.observation.now - e.touched_at < machine_wait_s(e.observation.spec.timings)


def _grown_gib(e: Evidence) -> int | None:
    """As large as the leader's disk and the slot's own before have grown; None for the spec's own size."""
    if e.slot.disk is None:
        return None
    o = e.observation
    before = [v for v in o.set_aside if v.slot == e.slot.name]
    source = [v for v in o.volumes if e.slot.role is Role.DB and v.slot == o.leader]
    grown = max((v.size_gib or 0 for v in before + source), default=0)
    wanted = min(grown, e.slot.disk.limit_gib)
    return wanted if wanted > e.slot.disk.size_gib else None


def _growing(finding: Finding) -> Action:
    """A volume that EC2 is already enlarging is waited for."""
    volume = finding.evidence.volume
    if volume is not None and volume.modification == "modifying":
        return Wait(slot=finding.slot, because=f"{volume.volume_id} is being enlarged")
    return climb(finding)


# -- documents


def _configure(finding: Finding) -> Action:
    e = finding.evidence
    birth = e.observation.birth
    if birth is None:
        return Wait(slot=finding.slot, because="the cluster's birth is not declared yet")
    being_born = birth.state == "pending"
    step = Configure(
        slot=finding.slot,
        instance_id="" if e.occupant is None else e.occupant.instance_id,
        volume_id=None if e.volume is None else e.volume.volume_id,
        birth=being_born,
        etcd_token=birth.etcd_token if being_born else None,
    )
    return _command(finding, step)


def _command(finding: Finding, step: Step) -> Action:
    """What the node said before the last step is no reason for the next."""
    because = older_than_the_last_step(finding.evidence)
    return _send(finding, step) if because is None else Wait(slot=finding.slot, because=because)


def _send(finding: Finding, step: Step) -> Action:
    return sendable(finding, step)


# -- copies


def _lagging(finding: Finding) -> Action:
    """It streams: it needs time, and no help of ours. A lag that does not become less is told."""
    e = finding.evidence
    lag_bytes = None if e.standby is None else e.standby.lag_bytes
    behind = "by an unknown amount" if lag_bytes is None else f"by {lag_bytes / MIB:.0f} MiB"
    because = f"the copy streams and is behind {behind}"
    if e.lag is not None and lag_bytes is not None and lag_bytes > e.lag.least_bytes:
        since_s = e.observation.now - e.lag.at
        if since_s > LAGGING_S_MAX:
            least = f"{e.lag.least_bytes / MIB:.0f} MiB {since_s / 60:.0f} minutes ago"
            return _held(finding, f"{because}, and was {least}: it does not catch up")
    return Wait(slot=finding.slot, because=because)


def _hoarded(finding: Finding) -> Action:
    """What is kept for a copy that is being healed is kept for a good reason."""
    e = finding.evidence
    o = e.observation
    ill = {replication_slot_name(name) for name in o.incidents if name != finding.slot}
    if e.droppable is None and all(row.name in ill for row in e.hoarded):
        because = "WAL is kept for a copy that is being healed"
        return Wait(slot=finding.slot, because=because)
    return climb(finding)


def _broken(finding: Finding) -> Action:
    """One that is starting may have much WAL to replay, and would begin anew: it has until it counts as stuck."""
    e = finding.evidence
    state = unsettled(e)
    if state is not None and e.observation.now - e.found_at < STUCK_AFTER_S:
        return Wait(slot=finding.slot, because=f"{finding.rule.why}; its PostgreSQL is {state}")
    return climb(finding)


def _cloning(finding: Finding) -> Action:
    """A copy that is being made needs time and no help; one that takes hours is told."""
    e = finding.evidence
    patroni = None if e.report is None else e.report.patroni
    for_s = None if patroni is None else patroni.state_for_s
    if for_s is not None and for_s > CLONING_S_MAX:
        return _held(finding, f"{finding.rule.why}, for {for_s / 3600:.1f} h now")
    return Wait(slot=finding.slot, because=finding.rule.why)


# -- the front


def _unless_cut_off(finding: Finding) -> Action:
    """A proxy that cannot reach the leader's host sees no primary, and no restart mends the network."""
    e = finding.evidence
    leader = e.observation.leader
    if e.report is not None and leader and e.report.peers.get(leader) is PeerState.SILENT:
        return Wait(
            slot=finding.slot, because=f"{finding.slot} gets no answer from {leader}'s host"
        )
    return climb(finding)


def _app(finding: Finding) -> Action:
    """An app that lives and has not said whether it is ready is still finding out."""
    report = finding.evidence.report
    app = None if report is None else report.app
    if app is not None and app.up is True and app.ready is None:
        because = "the app answers, and whether it is ready is not known yet"
        return Wait(slot=finding.slot, because=because)
    if app is not None and app.up is True and not _a_proxy_sees(finding.evidence):
        because = "the app answers, and no proxy shows it a primary"
        return Wait(slot=finding.slot, because=because)
    return climb(finding)


def _a_proxy_sees(e: Evidence) -> bool:
    proxies = (report.haproxy for report in e.observation.young.values())
    return any(p is not None and len(p.write_backends_up or ()) == 1 for p in proxies)
