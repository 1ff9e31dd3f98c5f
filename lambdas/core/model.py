"""What the healer knows, as frozen data: the spec it was given and the world it saw.

Unknown is None, everywhere. Times are epoch seconds by the healer's own clock; `_s` is seconds, `_bytes` bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final

BIRTH: Final = "birth"


class Role(StrEnum):
    """What a slot is for."""

    DB = "db"
    HAPROXY = "haproxy"
    APP = "app"
    WITNESS = "witness"


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


class Phase(StrEnum):
    """What an agent says of its node."""

    IDLE = "idle"
    CONFIGURED = "configured"
    LEFT = "left"


class PeerState(StrEnum):
    """What one node saw of another."""

    ALIVE = "alive"
    REFUSED = "refused"
    SILENT = "silent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """The volume a slot should have."""

    size_gib: int
    type: str
    iops: int
    throughput_mibs: int
    kms_key_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A name, a role, a zone and an address that outlive instances."""

    name: str
    role: Role
    region: str
    zone: str
    address: str
    interface_id: str
    launch_template_id: str
    launch_template_version: str
    active: bool
    etcd_voter: bool
    disk: DiskSpec | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds, from the spec."""

    report_interval_s: float
    metric_interval_s: float
    probe_timeout_s: float
    peer_silent_after_s: float
    agent_silent_after_s: float
    boot_grace_s: float
    configure_timeout_s: float
    look_interval_s: float
    restart_wait_s: float
    lease_s: float
    wake_stale_after_s: float
    run_budget_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be replaced before a person is asked."""

    replacements_per_hour: int
    replacements_per_day: int
    launches_in_parallel: int
    failed_launches_per_hour: int


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The cluster as OpenTofu declared it."""

    cluster: str
    size: str
    durability: str
    hub_region: str
    regions: tuple[str, ...]
    slots: tuple[Slot, ...]
    timings: Timings
    budget: Budget

    @cached_property
    def by_name(self) -> Mapping[str, Slot]:
        """Slots by their names."""
        return MappingProxyType({slot.name: slot for slot in self.slots})

    @cached_property
    def voters(self) -> tuple[Slot, ...]:
        """The slots whose occupants vote in etcd."""
        return tuple(slot for slot in self.slots if slot.etcd_voter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standby:
    """One row of the leader's pg_stat_replication, as the leader's agent told it."""

    name: str
    state: str | None
    lag_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """What an agent saw of its PostgreSQL."""

    up: bool | None
    in_recovery: bool | None
    timeline: int | None
    lsn_bytes: int | None
    system_identifier: str | None
    receiver_up: bool | None
    replication: tuple[Standby, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patroni:
    """What an agent saw of its Patroni."""

    up: bool | None
    role: str | None
    state: str | None
    timeline: int | None
    paused: bool | None
    leader: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Etcd:
    """What an agent saw of its etcd member."""

    healthy: bool | None
    cluster_id: str | None
    is_leader: bool | None
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Haproxy:
    """What an agent saw of its HAProxy; None where the statistics socket did not answer."""

    up: bool | None
    write_backends_up: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What an agent saw of its app."""

    up: bool | None
    ready: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One agent's last report."""

    slot: str
    instance_id: str
    sequence: int
    phase: Phase
    volume_id: str | None
    services: Mapping[str, str]
    postgres: Postgres | None
    patroni: Patroni | None
    etcd: Etcd | None
    haproxy: Haproxy | None
    app: App | None
    peers: Mapping[str, PeerState]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenReport:
    """A report and for how long, by the healer's clock, nothing newer has come."""

    report: Report
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One EC2 instance of the cluster. `impaired` is None while EC2 has no verdict."""

    instance_id: str
    slot: str
    region: str
    state: InstanceState
    launched_at: float
    impaired: bool | None
    hands_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One EBS volume tagged `current`."""

    volume_id: str
    slot: str
    state: str
    attached_to: str | None
    attachment_state: str | None


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
class OpenAction:
    """An action under way on a slot. `command_state` is SSM's status, None when there is no command."""

    action_id: str
    kind: str
    incident: str
    started_at: float
    instance_id: str | None = None
    command_id: str | None = None
    command_state: str | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """From first diagnosis to proven recovery of one slot."""

    incident_id: str
    slot: str
    diagnosis: str
    opened_at: float
    wake: str
    steps: int = 0
    tries: int = 0  # steps since the slot was last emptied
    failures: int = 0  # of `failing`, one after another
    failing: str | None = None  # the kind of step that failed last
    last_exit_code: int | None = None
    last_acted_at: float | None = None
    held: str | None = None

    @property
    def passing(self) -> bool:
        """The birth's own steps: journaled, but nothing is wrong, so nothing is opened or healed."""
        return self.diagnosis == BIRTH

    def failures_of(self, kind: str) -> int:
        """How often this kind of step has failed, one after another."""
        return self.failures if self.failing == kind else 0

    def failed(self, kind: str) -> Incident:
        """One failure more of a kind; another kind's count is over."""
        return replace(self, failing=kind, failures=self.failures_of(kind) + 1)

    def succeeded(self, kind: str) -> Incident:
        """This kind's failures are over."""
        return replace(self, failing=None, failures=0) if self.failing == kind else self

    def next_action_id(self, kind: str) -> str:
        """The id of the next step, the same until it is counted: a crash replays it."""
        return f"{self.incident_id}-{self.steps + 1}-{kind}"[:64]


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

    def fresh(self, slot: str) -> Report | None:
        """The slot's report if it is its occupant's and recent, else None."""
        return self.young.get(slot)

    @cached_property
    def young(self) -> Mapping[str, Report]:
        """Every fresh report by its slot. Looked through for every slot, so it is made once."""
        found = ((slot, self._trusted(slot)) for slot in self.reports)
        return {slot: report for slot, report in found if report is not None}

    def _trusted(self, slot: str) -> Report | None:
        seen = self.reports[slot]
        if seen.age_s > self.spec.timings.agent_silent_after_s:
            return None
        if self.spec.by_name[slot].region in self.unknown_regions:
            return seen.report  # EC2's API is silent there; its nodes are not
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

    @property
    def leader(self) -> str | None:
        """The one leader; None when none or several say that they lead."""
        return self.leaders[0] if len(self.leaders) == 1 else None

    @cached_property
    def paused(self) -> bool:
        """Whether any fresh report says that Patroni is paused."""
        reports = (self.fresh(slot.name) for slot in self.spec.slots)
        return any(r is not None and r.patroni is not None and r.patroni.paused for r in reports)


def timeline_of(report: Report) -> int | None:
    """The newest timeline the report speaks of, None when it speaks of none."""
    parts = (report.postgres, report.patroni)
    known = [part.timeline for part in parts if part is not None and part.timeline is not None]
    return max(known, default=None)


def is_leading(report: Report) -> bool:
    """Whether the report says that its node was Patroni's leader with a PostgreSQL not in recovery."""
    if report.patroni is None or report.patroni.role not in ("leader", "master", "primary"):
        return False
    return report.postgres is not None and report.postgres.in_recovery is not True
