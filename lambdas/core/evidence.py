"""Everything that bears on one slot, pulled together from an observation. Pure; it draws no conclusion."""

from __future__ import annotations

from dataclasses import dataclass

from lambdas.core.hearsay import NOTHING
from lambdas.core.model import (
    Disk,
    Incident,
    Instance,
    Lag,
    Observation,
    OpenAction,
    Phase,
    ReplicationSlot,
    Report,
    Role,
    Slot,
    Standby,
    Volume,
    is_leading,
    timeline_of,
)

UNITS = {
    Role.DB: ("patroni",),
    Role.WITNESS: (),
    Role.HAPROXY: ("haproxy",),
    Role.APP: ("pgmend-app",),
}
DOWN = frozenset({"failed", "inactive"})
# Twice what XFS keeps for its log: 64 MiB or 1/2048 of the device, whichever is more.
WIDENED_BYTES, WIDENED_SHARE = 128 * 1024 * 1024, 0.001
REBOOTS = frozenset({"instance-reboot"})  # events of EC2's that a reboot of ours answers
GIB = 1024**3
HOARD_SHARE = 0.1  # of the leader's disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one slot. `report` is the occupant's own, fresh or not."""

    observation: Observation
    slot: Slot
    occupants: tuple[Instance, ...]
    occupant: Instance | None
    volume: Volume | None
    volumes: tuple[Volume, ...]
    report: Report | None
    report_age_s: float | None
    impaired: bool | None
    peers_silent: tuple[str, ...]
    peers_answered: tuple[str, ...]
    alive: bool  # its agent answers a peer
    heard: bool  # a primary hears its WAL receiver reply, or a proxy that it leads
    last_led: bool
    superseded: bool
    services_down: tuple[str, ...]
    standby: Standby | None
    replication_slot: ReplicationSlot | None  # what the leader keeps for this copy
    leads: bool  # by the one leader's fresh word
    leader_timeline: int | None
    lag: Lag | None
    region_silent: (
        bool  # not one active slot of the region is heard, and EC2 calls none of them ill
    )
    set_aside: Volume | None  # a disk out of use that the occupant still runs on
    open_action: OpenAction | None
    incident: Incident | None

    @property
    def age_s(self) -> float:
        """How long ago EC2 launched the occupant; 0 without one."""
        return 0.0 if self.occupant is None else self.observation.now - self.occupant.launched_at

    @property
    def online(self) -> bool:
        """Whether SSM can reach the occupant."""
        return self.occupant is not None and self.occupant.instance_id in self.observation.online

    @property
    def touched_at(self) -> float:
        """When the slot's incident last acted, or else began; now without one."""
        if self.incident is None:
            return self.observation.now
        return self.incident.last_acted_at or self.incident.opened_at

    @property
    def found_at(self) -> float:
        """Since when the slot's trouble is what it is now."""
        if self.incident is None:
            return self.observation.now
        return self.incident.found_at or self.incident.opened_at

    @property
    def serves_nothing(self) -> bool:
        """By its own young word it has no PostgreSQL up, and no disk mounted or no Patroni that could start one."""
        own = self.observation.fresh(self.slot.name)
        if own is None or (own.postgres is not None and own.postgres.up is not False):
            return False
        absent = self.disk is not None and self.disk.mounted is False
        return absent or "patroni" in self.services_down

    @property
    def patroni_is_mute(self) -> bool:
        """Whether Patroni's unit runs or starts, and it has not answered its own agent for long."""
        since = self.observation.mute_patronis.get(self.slot.name)
        if since is None or self.report is None:
            return False
        return self.observation.now - since > self.observation.spec.timings.restart_wait_s

    @property
    def disk_is_stalled(self) -> bool:
        """Whether EC2 finds that a volume of the occupant ends no I/O, or its data disk has long answered no write."""
        if self.disk is None:
            return False
        if self.occupant is not None and self.occupant.disk_impaired is True:
            return True
        since = self.observation.stalled_disks.get(self.slot.name)
        limit_s = self.observation.spec.timings.restart_wait_s
        return since is not None and self.observation.now - since > limit_s

    @property
    def ssm_speaks(self) -> bool:
        """Whether SSM sees anybody in the region: only then does it say something of those that it does not see."""
        o = self.observation
        return any(i.region == self.slot.region and i.instance_id in o.online for i in o.instances)

    @property
    def suspected_s(self) -> float:
        """For how long neither we nor two peers have heard from it; 0 while they do not say for how long.

        Peers look after active slots only: of one that stands in, our own silence is all there is.
        """
        if not self.slot.active:
            return self.report_age_s or 0.0
        young = self.observation.young
        spans = sorted(young[p].peers_for_s.get(self.slot.name, 0.0) for p in self.peers_silent)
        if self.report_age_s is None or len(spans) < 2:
            return 0.0
        return min(self.report_age_s, spans[-2])

    @property
    def disk(self) -> Disk | None:
        """What the occupant last said of its data disk, if it is set up to have one."""
        if self.report is None or self.report.phase is not Phase.CONFIGURED:
            return None
        return self.report.disk

    @property
    def disk_widened(self) -> bool:
        """Whether the device has room that the file system has not taken."""
        d = self.disk
        if d is None or d.device_bytes is None or d.size_bytes is None:
            return False
        return d.device_bytes - d.size_bytes > max(WIDENED_BYTES, d.device_bytes * WIDENED_SHARE)

    @property
    def disk_used(self) -> float | None:
        """The share of the file system that is used, 0 to 1."""
        d = self.disk
        if d is None or not d.size_bytes or d.used_bytes is None:
            return None
        return d.used_bytes / d.size_bytes

    @property
    def only_reboots(self) -> bool:
        """Whether AWS has announced nothing but a reboot."""
        events = () if self.occupant is None else self.occupant.events
        return bool(events) and all(event.code in REBOOTS for event in events)

    @property
    def hoarded(self) -> tuple[ReplicationSlot, ...]:
        """The leader's replication slots that keep more WAL than its disk should carry for them."""
        postgres = None if self.report is None else self.report.postgres
        if postgres is None or not self.leads:
            return ()
        size = None if self.disk is None else self.disk.size_bytes
        limit = GIB if not size else min(GIB, int(size * HOARD_SHARE))
        rows = postgres.replication_slots
        return tuple(r for r in rows if r.retained_bytes is not None and r.retained_bytes > limit)

    @property
    def droppable(self) -> ReplicationSlot | None:
        """One of them that nobody reads: inactive, physical, and of no member of the cluster."""
        members = {
            replication_slot_name(s.name)
            for s in self.observation.spec.slots
            if s.role is Role.DB and (s.active or self.observation.occupants(s.name))
        }
        for row in self.hoarded:
            if row.active is False and row.physical is True and row.name not in members:
                return row
        return None


def replication_slot_name(member: str) -> str:
    """What Patroni calls the replication slot of a member."""
    return member.lower().replace("-", "_")


def gather(observation: Observation, slot: Slot) -> Evidence:
    """The evidence for one slot."""
    occupants = observation.occupants(slot.name)
    occupant = occupants[0] if len(occupants) == 1 else None
    report, age_s = _own_report(observation, slot, occupant)
    heard = observation.hearsay.get(slot.name, NOTHING)
    volumes = tuple(v for v in observation.volumes if v.slot == slot.name)
    return Evidence(
        observation=observation,
        slot=slot,
        occupants=occupants,
        occupant=occupant,
        volume=volumes[0] if len(volumes) == 1 else None,
        volumes=volumes,
        report=report,
        report_age_s=age_s,
        impaired=None if occupant is None else occupant.impaired,
        peers_silent=tuple(heard.silent),
        peers_answered=tuple(heard.answered),
        alive=heard.alive,
        heard=heard.streams or heard.writable,
        last_led=_last_led(observation, slot.name, report)
        or (occupant is not None and occupant.instance_id in observation.last_led),
        superseded=_superseded(observation, slot.name, report),
        services_down=_services_down(slot, report),
        standby=_standby(observation, slot.name),
        replication_slot=_replication_slot(observation, slot.name),
        leads=observation.leader == slot.name,
        leader_timeline=_leader_timeline(observation),
        lag=observation.lags.get(slot.name),
        region_silent=slot.region in observation.silent_regions,
        set_aside=_set_aside(observation, occupant, report),
        open_action=observation.open_actions.get(slot.name),
        incident=observation.incidents.get(slot.name),
    )


def _own_report(
    observation: Observation, slot: Slot, occupant: Instance | None
) -> tuple[Report | None, float | None]:
    seen = observation.reports.get(slot.name)
    if seen is None or occupant is None or seen.report.instance_id != occupant.instance_id:
        return None, None
    return seen.report, seen.age_s


def _last_led(observation: Observation, name: str, report: Report | None) -> bool:
    """Led by its own last word, or leads by another's fresh one: it may have died just promoted."""
    named = observation.hearsay.get(name, NOTHING).leads
    return named or (report is not None and is_leading(report))


def _superseded(observation: Observation, name: str, report: Report | None) -> bool:
    """Whether another member's fresh report shows it leading on a newer timeline."""
    old = None if report is None else timeline_of(report)
    if old is None:
        return False  # what is not known proves no succession
    for leader in observation.leaders:
        fresh = observation.fresh(leader)
        if leader == name or fresh is None:
            continue
        new = timeline_of(fresh)
        if new is not None and new > old:
            return True
    return False


def _services_down(slot: Slot, report: Report | None) -> tuple[str, ...]:
    if report is None or report.phase is not Phase.CONFIGURED:
        return ()
    units = UNITS[slot.role] + (("etcd",) if slot.etcd_voter else ())
    return tuple(unit for unit in units if report.services.get(unit) in DOWN)


def _set_aside(
    observation: Observation, occupant: Instance | None, report: Report | None
) -> Volume | None:
    if occupant is None:
        return None
    runs_on = None if report is None else report.volume_id
    for volume in observation.set_aside:
        if volume.volume_id == runs_on or volume.attached_to == occupant.instance_id:
            return volume
    return None


def _leader_timeline(observation: Observation) -> int | None:
    leader = observation.leaders_report
    return None if leader is None else timeline_of(leader)


def _replication_slot(observation: Observation, name: str) -> ReplicationSlot | None:
    leader = observation.leaders_report
    rows = () if leader is None or leader.postgres is None else leader.postgres.replication_slots
    return next((row for row in rows if row.name == replication_slot_name(name)), None)


def leader_gives_no_answer(observation: Observation) -> bool:
    """Whether the leader's PostgreSQL did not answer its own agent: that its young report lists nobody says nothing."""
    report = observation.leaders_report
    return report is not None and (report.postgres is None or report.postgres.up is not True)


def _standby(observation: Observation, name: str) -> Standby | None:
    report = observation.leaders_report
    if report is None or report.postgres is None:
        return None
    return next((row for row in report.postgres.replication if row.name == name), None)
