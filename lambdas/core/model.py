"""What the healer knows of the world, as frozen data: what EC2 shows, and the observation that holds everything.

The spec, reports and incidents are beside this file, and are found here too.

Unknown is None, everywhere. Times are epoch seconds by the healer's own clock; `_s` is seconds, `_bytes` bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from lambdas.core.consent import Breaker, Planned, Window
from lambdas.core.hearsay import HeardOf, gather_hearsay
from lambdas.core.incident import BIRTH, Incident, OpenAction
from lambdas.core.report import (
    App,
    Disk,
    Etcd,
    Haproxy,
    Patroni,
    PeerState,
    Phase,
    Postgres,
    ReplicationSlot,
    Report,
    SeenReport,
    Standby,
    is_leading,
    timeline_of,
)
from lambdas.core.spec import Budget, DiskSpec, Role, Slot, Spec, Timings

__all__ = [
    "BIRTH",
    "App",
    "Birth",
    "Budget",
    "Disk",
    "DiskSpec",
    "Etcd",
    "Haproxy",
    "Incident",
    "Instance",
    "InstanceState",
    "Lag",
    "Mode",
    "Observation",
    "OpenAction",
    "Patroni",
    "PeerState",
    "Phase",
    "Postgres",
    "ReplicationSlot",
    "Report",
    "Role",
    "ScheduledEvent",
    "SeenReport",
    "Slot",
    "Spec",
    "Standby",
    "Timings",
    "Volume",
    "is_leading",
    "timeline_of",
]


PING_LOST_S = 600.0  # SSM calls an instance online for some minutes after its last word


class Mode(StrEnum):
    """How far the healer may go."""

    AUTO = "auto"
    OBSERVE = "observe"
    OFF = "off"


class InstanceState(StrEnum):
    """EC2's instance states, in EC2's words."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledEvent:
    """What AWS will do to an instance by itself: a code of EC2's, and not before when (epoch seconds)."""

    code: str
    not_before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One EC2 instance of the cluster. `impaired` is None while EC2 has no verdict; `launched_at` is its last start."""

    instance_id: str
    slot: str
    region: str
    state: InstanceState
    launched_at: float
    impaired: bool | None
    hands_off: bool = False
    instance_type: str | None = None
    events: tuple[ScheduledEvent, ...] = ()
    disk_impaired: bool | None = (
        None  # EC2's check of its attached volumes; None while it has no verdict
    )
    first_launched_at: float | None = None  # a stop and start of it does not change that

    @property
    def made_at(self) -> float:
        """When it came to be, however often it was stopped and started since."""
        return self.launched_at if self.first_launched_at is None else self.first_launched_at

    @property
    def next_event(self) -> ScheduledEvent | None:
        """The first of what AWS has announced."""
        return min(self.events, key=lambda event: event.not_before, default=None)

    @property
    def retire_at(self) -> float | None:
        """When AWS may stop, reboot or retire it; None while nothing is announced."""
        return None if self.next_event is None else self.next_event.not_before


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One EBS volume of the cluster: a slot's current one, or one that was set aside.

    `modification` is EC2's word on its last change: modifying, optimizing, completed or failed.
    """

    volume_id: str
    slot: str
    state: str
    attached_to: str | None
    attachment_state: str | None
    size_gib: int | None = None
    modification: str | None = None
    set_aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """The cluster's one birth. `state` is `pending` or `born`."""

    state: str
    first_leader: str
    etcd_token: str
    declared_at: float | None = None
    etcd_cluster_id: str | None = None
    system_identifier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """The least a copy has been behind since it fell behind, and when; and since when it has been (epoch seconds)."""

    least_bytes: int
    at: float
    since: float


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One look at the world. Regions whose EC2 API failed are in `unknown_regions`, not empty."""

    now: float
    spec: Spec
    reports: Mapping[str, SeenReport]
    instances: tuple[Instance, ...]
    volumes: tuple[Volume, ...]
    online: frozenset[str]
    unknown_regions: Mapping[str, str] = field(default_factory=dict)
    birth: Birth | None = None
    closed: bool = False
    mode: Mode = Mode.AUTO
    open_actions: Mapping[str, OpenAction] = field(default_factory=dict)
    incidents: Mapping[str, Incident] = field(default_factory=dict)
    removals: tuple[float, ...] = ()
    failed_launches: tuple[float, ...] = ()
    refused_reports: frozenset[str] = frozenset()  # slots whose report cannot be read
    # Instances that led when a young word last said who leads.
    last_led: frozenset[str] = frozenset()
    windows: tuple[Window, ...] = ()
    breaker: Breaker | None = None
    planned: Planned | None = None
    set_aside: tuple[Volume, ...] = ()  # disks that no slot runs on any more, or shall not
    growths: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # slot → when, in a day
    lags: Mapping[str, Lag] = field(default_factory=dict)  # copies that stream and are behind
    # Slots whose Patroni runs and has not answered its own agent, and since when.
    mute_patronis: Mapping[str, float] = field(default_factory=dict)
    # Slots whose node cannot say whether its data disk takes writes, and since when.
    stalled_disks: Mapping[str, float] = field(default_factory=dict)
    # Regions whose SSM gave no answer, and its words: whom it sees there is not known.
    mute_ssm: Mapping[str, str] = field(default_factory=dict)

    def fresh(self, slot: str) -> Report | None:
        """The slot's report if it is its occupant's and recent, else None."""
        return self.young.get(slot)

    @cached_property
    def young(self) -> Mapping[str, Report]:
        """Every fresh report by its slot. Looked through for every slot, so it is made once."""
        found = ((slot, self._trusted(slot)) for slot in self.reports)
        return {slot: report for slot, report in found if report is not None}

    @cached_property
    def hearsay(self) -> Mapping[str, HeardOf]:
        """What the young reports of others say of each slot."""
        return gather_hearsay(self.young)

    def _trusted(self, slot: str) -> Report | None:
        seen = self.reports[slot]
        if seen.age_s > self.spec.timings.agent_silent_after_s:
            return None
        if self.spec.by_name[slot].region in self.unknown_regions:
            # EC2's API is silent there; its nodes are not. Whom we asked something is the occupant.
            asked = self.open_actions.get(slot)
            known = None if asked is None else asked.instance_id
            return seen.report if known in (None, seen.report.instance_id) else None
        occupant = self.occupant(slot)
        if occupant is None or occupant.instance_id != seen.report.instance_id:
            return None
        return seen.report

    def occupants(self, slot: str) -> tuple[Instance, ...]:
        """Every instance of the slot that is not terminated."""
        return self._standing.get(slot, ())

    @cached_property
    def _standing(self) -> Mapping[str, tuple[Instance, ...]]:
        found: dict[str, tuple[Instance, ...]] = {}
        for instance in self.instances:
            if instance.state is not InstanceState.TERMINATED:
                found[instance.slot] = (*found.get(instance.slot, ()), instance)
        return found

    def occupant(self, slot: str) -> Instance | None:
        """The slot's one instance that is not terminated."""
        found = self.occupants(slot)
        return found[0] if len(found) == 1 else None

    @cached_property
    def silent_regions(self) -> frozenset[str]:
        """Regions of which nobody is heard while EC2 calls nobody ill: their way to AWS is lost, not they."""
        return frozenset(region for region in self.spec.regions if self._is_silent(region))

    def _is_silent(self, region: str) -> bool:
        active = [s for s in self.spec.slots if s.region == region and s.active]
        if any(slot.name in self.young for slot in active):
            return False
        silent = [slot.name for slot in active if self._fell_silent(slot.name)]
        return len(silent) >= 2 and not any(self._ssm_still_sees(name) for name in silent)

    def _ssm_still_sees(self, slot: str) -> bool:
        """SSM has its word long after its report stopped coming: then there is a way to AWS."""
        seen, occupant = self.reports.get(slot), self.occupant(slot)
        long = seen is not None and seen.age_s > PING_LOST_S
        return long and occupant is not None and occupant.instance_id in self.online

    def _fell_silent(self, slot: str) -> bool:
        """Its occupant has spoken, if only what cannot be read, runs, and is not called ill."""
        seen, occupant = self.reports.get(slot), self.occupant(slot)
        if occupant is None or occupant.state is not InstanceState.RUNNING:
            return False
        spoke = (
            slot in self.refused_reports
            if seen is None
            else (occupant.instance_id == seen.report.instance_id)
        )
        return spoke and occupant.impaired is not True

    @cached_property
    def leaders(self) -> tuple[str, ...]:
        """Slots whose own fresh report says that they lead on the newest timeline.

        After a failover the old leader's last report is fresh for a moment; its older
        timeline gives it away.
        An unknown timeline gives nobody away and stays in.
        """
        fresh = ((slot.name, self.fresh(slot.name)) for slot in self.spec.slots)
        leading = {name: timeline_of(r) for name, r in fresh if r is not None and is_leading(r)}
        newest = max((t for t in leading.values() if t is not None), default=None)
        return tuple(name for name, t in leading.items() if t is None or t == newest)

    @cached_property
    def leader(self) -> str | None:
        """The one leader; None when none or several say that they lead."""
        return self.leaders[0] if len(self.leaders) == 1 else None

    @cached_property
    def leaders_report(self) -> Report | None:
        """The one leader's young report."""
        return None if self.leader is None else self.fresh(self.leader)

    @cached_property
    def paused(self) -> bool:
        """Whether any fresh report says that Patroni is paused."""
        reports = (self.fresh(slot.name) for slot in self.spec.slots)
        return any(r is not None and r.patroni is not None and r.patroni.paused for r in reports)
