"""A cluster under observation and the words for hosts, agents and people. Use it through builders.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from lambdas.core.actions import Action
from lambdas.core.diagnose import Diagnosis, Finding, diagnose
from lambdas.core.model import (
    App,
    Birth,
    Etcd,
    Haproxy,
    Incident,
    Instance,
    InstanceState,
    Lag,
    Mode,
    Observation,
    OpenAction,
    Patroni,
    PeerState,
    Phase,
    Postgres,
    Report,
    Role,
    SeenReport,
    Slot,
    Spec,
    Standby,
    Volume,
    timeline_of,
)
from lambdas.core.parse import spec_from_json
from lambdas.core.plan import plan
from lambdas.core.rules.databases import LAG_BYTES_MAX

EXAMPLES = Path(__file__).parents[2] / "contract" / "examples"
NOW = 1_800_000_000.0
LONG_AGO = NOW - 7200.0
BORN = Birth(
    state="born",
    first_leader="db-euw1-a",
    etcd_token="token",
    etcd_cluster_id="cdf8",
    system_identifier="745",
)
UNITS = {
    Role.DB: ("patroni",),
    Role.WITNESS: (),
    Role.HAPROXY: ("haproxy",),
    Role.APP: ("pgmend-app",),
}


def the_spec() -> Spec:
    """The contract's example: `minimal`, patient timings."""
    return spec_from_json((EXAMPLES / "spec.json").read_text())


def instance_id(slot: str) -> str:
    return f"i-{slot}"


def volume_id(slot: str) -> str:
    return f"vol-{slot}"


class BareCluster:
    """A cluster under observation."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.now = NOW
        self.instances: dict[str, Instance] = {}
        self.volumes: dict[str, Volume] = {}
        self.reports: dict[str, SeenReport] = {}
        self.refused: set[str] = set()
        self.online: set[str] = set()
        self.set_aside: list[Volume] = []
        self.extra: dict[str, Any] = {"birth": BORN}
        self.incidents: dict[str, Incident] = {}
        self.actions: dict[str, OpenAction] = {}
        for slot in spec.slots:
            if slot.active:
                self._occupy(slot)
        self.with_leader("db-euw1-a", timeline=2)

    # -- what it is made of

    def _occupy(self, slot: Slot) -> None:
        self.instances[slot.name] = Instance(
            instance_id=instance_id(slot.name),
            slot=slot.name,
            region=slot.region,
            state=InstanceState.RUNNING,
            launched_at=LONG_AGO,
            impaired=False,
        )
        self.online.add(instance_id(slot.name))
        if slot.disk is not None:
            self.volumes[slot.name] = Volume(
                volume_id=volume_id(slot.name),
                slot=slot.name,
                state="in-use",
                attached_to=instance_id(slot.name),
                attachment_state="attached",
            )
        self.reports[slot.name] = SeenReport(report=self._report(slot), age_s=1.0)

    def _report(self, slot: Slot) -> Report:
        units = UNITS[slot.role] + (("etcd",) if slot.etcd_voter else ())
        others = (s.name for s in self.spec.slots if s.active and s.name != slot.name)
        is_db, is_app = slot.role is Role.DB, slot.role is Role.APP
        return Report(
            slot=slot.name,
            instance_id=instance_id(slot.name),
            sequence=100,
            phase=Phase.CONFIGURED,
            volume_id=None if slot.disk is None else volume_id(slot.name),
            services=dict.fromkeys(units, "active"),
            postgres=_postgres(leads=False, timeline=2) if is_db else None,
            patroni=_patroni(leader="", leads=False, timeline=2) if is_db else None,
            etcd=Etcd(healthy=True, cluster_id="cdf8", is_leader=False, alarms=())
            if slot.etcd_voter
            else None,
            haproxy=Haproxy(up=True, write_backends_up=("db-euw1-a",))
            if slot.role is Role.HAPROXY
            else None,
            app=App(up=True, ready=True) if is_app else None,
            peers=dict.fromkeys(others, PeerState.ALIVE),
        )

    # -- words

    def with_leader(self, leader: str, *, timeline: int) -> Self:
        """The leader on a timeline; every other living database follows it."""
        copies = [s.name for s in self.spec.slots if s.role is Role.DB and s.name in self.reports]
        rows = tuple(
            Standby(name=name, state="streaming", lag_bytes=0)
            for name in copies
            if name != leader and self._fresh(name)
        )
        for name in copies:
            if not self._fresh(name):
                continue  # the dead do not change their last word
            leads = name == leader
            self.says(
                name,
                patroni=_patroni(leader=leader, leads=leads, timeline=timeline),
                postgres=_postgres(leads=leads, timeline=timeline, rows=rows if leads else ()),
            )
        return self.proxies_see(leader)

    def nobody_leads(self) -> Self:
        """The leader has stepped down, and nobody has taken its place."""
        for name, seen in list(self.reports.items()):
            if _leads(seen.report):
                timeline = timeline_of(seen.report) or 0
                follower = _patroni(leader="", leads=False, timeline=timeline)
                postgres = _postgres(leads=False, timeline=timeline)
                self.says(name, patroni=follower, postgres=postgres)
        for name, seen in list(self.reports.items()):
            if seen.report.patroni is not None:
                self.says(name, patroni=replace(seen.report.patroni, leader=None))
        return self.proxies_see()

    def proxies_see(self, *slots: str) -> Self:
        """Servers to write to, as every proxy sees them."""
        for name, seen in list(self.reports.items()):
            if seen.report.haproxy is not None:
                self.says(name, haproxy=Haproxy(up=True, write_backends_up=slots))
        return self

    def says(self, slot: str, **changes: Any) -> Self:
        """The slot's agent reports something else."""
        seen = self.reports[slot]
        self.reports[slot] = replace(seen, report=replace(seen.report, **changes))
        return self

    def silent(self, slot: str, *, for_s: float = 30.0) -> Self:
        """Its agent has not been heard of."""
        self.reports[slot] = replace(self.reports[slot], age_s=for_s)
        return self

    def seen_by_peers_as(self, slot: str, state: PeerState, *, by: tuple[str, ...] = ()) -> Self:
        """What the others (or only some of them) get when they knock."""
        for name, seen in list(self.reports.items()):
            if name != slot and (not by or name in by):
                self.says(name, peers={**seen.report.peers, slot: state})
        return self

    def unreachable(self, slot: str, *, by: tuple[str, ...] = ()) -> Self:
        """Peers get no answer from it."""
        return self.seen_by_peers_as(slot, PeerState.SILENT, by=by)

    def impaired(self, slot: str, *, verdict: bool | None = True) -> Self:
        """EC2's status checks."""
        return self._instance(slot, impaired=verdict)

    def dead(self, slot: str) -> Self:
        """Its host lost power, and everybody has noticed."""
        return self.unheard(slot).impaired(slot)

    def unheard(self, slot: str, *, for_s: float = 30.0) -> Self:
        """Nobody has heard of it, and what it served is not served."""
        if _leads(self.reports[slot].report):
            self.proxies_see()
        return self.silent(slot, for_s=for_s).unreachable(slot).not_followed_by(slot)

    def not_followed_by(self, slot: str) -> Self:
        """The leader has no connection of this copy."""
        for name, seen in list(self.reports.items()):
            postgres = seen.report.postgres
            if postgres is not None:
                rows = tuple(row for row in postgres.replication if row.name != slot)
                self.says(name, postgres=replace(postgres, replication=rows))
        return self

    def without_etcd_majority(self) -> Self:
        """No voter gets answers from etcd."""
        for voter in self.spec.voters:
            if voter.name in self.reports and self._fresh(voter.name):
                ill = Etcd(healthy=False, cluster_id="cdf8", is_leader=False, alarms=())
                self.says(voter.name, etcd=ill)
        return self

    def empty(self, slot: str) -> Self:
        """No instance; the disk lies free."""
        self.instances.pop(slot, None)
        return self.disk_is(slot, "available", attached_to=None, attachment_state=None)

    def in_state(self, slot: str, state: InstanceState) -> Self:
        return self._instance(slot, state=state)

    def never_spoke(self, slot: str, *, age_s: float) -> Self:
        """A newcomer that boots: running, and no report of its own yet."""
        self.reports.pop(slot, None)
        if any(_leads(seen.report) for seen in self.reports.values()):
            self.lagging(slot, state=None, lag_bytes=None)
        self.seen_by_peers_as(slot, PeerState.REFUSED)
        return self._instance(slot, launched_at=self.now - age_s)

    def idle(self, slot: str) -> Self:
        """The agent is up; no document has configured the node."""
        return self.says(
            slot,
            phase=Phase.IDLE,
            services={},
            postgres=None,
            patroni=None,
            etcd=None,
            haproxy=None,
            app=None,
            peers={},
        )

    def offline(self, slot: str) -> Self:
        """SSM does not see it."""
        self.online.discard(instance_id(slot))
        return self

    def without_disk(self, slot: str) -> Self:
        """It has no volume, and its node knows of none."""
        self.volumes.pop(slot, None)
        return self.says(slot, volume_id=None)

    def with_second_disk(self, slot: str) -> Self:
        """Another volume is tagged as the slot's current one, too."""
        self.volumes[f"{slot} too"] = replace(
            self.volumes[slot],
            volume_id="vol-too",
            state="available",
            attached_to=None,
            attachment_state=None,
        )
        return self

    def report_refused(self, slot: str) -> Self:
        """Its report is in the table and cannot be read."""
        del self.reports[slot]
        self.refused.add(slot)
        return self

    def disk_is(self, slot: str, state: str, **changes: Any) -> Self:
        if slot in self.volumes:
            self.volumes[slot] = replace(self.volumes[slot], state=state, **changes)
        return self

    def service(self, slot: str, unit: str, state: str) -> Self:
        services = self.reports[slot].report.services
        return self.says(slot, services={**services, unit: state})

    def lagging(
        self,
        slot: str,
        *,
        state: str | None = "streaming",
        lag_bytes: int | None,
        for_s: float = 0.0,
    ) -> Self:
        """What the leader says of one of its standbys, and for how long it has said that it is behind."""
        if lag_bytes is not None and lag_bytes > LAG_BYTES_MAX:
            lag = Lag(least_bytes=lag_bytes, at=self.now - for_s, since=self.now - for_s)
            self.extra["lags"] = {**self.extra.get("lags", {}), slot: lag}
        leader = next(n for n, s in self.reports.items() if _leads(s.report))
        postgres = self.reports[leader].report.postgres
        assert postgres is not None
        rows = tuple(
            replace(row, state=state, lag_bytes=lag_bytes) if row.name == slot else row
            for row in postgres.replication
        )
        return self.says(leader, postgres=replace(postgres, replication=rows))

    def incident(self, slot: str, *, opened_s_ago: float = 1.0, **changes: Any) -> Self:
        """An open incident on the slot."""
        made = Incident(
            incident_id=f"20270115T080000-{slot}",
            slot=slot,
            diagnosis="x",
            opened_at=self.now - opened_s_ago,
            wake="tick",
        )
        self.incidents[slot] = replace(made, **changes)
        return self

    def asked_for_a_person(self, slot: str, *, ago_s: float = 10.0) -> Self:
        """Configuring the slot ended with exit code 11."""
        return self.incident(slot, last_exit_code=11, last_acted_at=self.now - ago_s)

    def under_way(self, slot: str, kind: str, *, asked_s_ago: float = 2.0, **changes: Any) -> Self:
        """An action is under way on the slot; its incident is open."""
        if slot not in self.incidents:
            self.incident(slot, steps=1)
        incident = self.incidents[slot]
        made = OpenAction(
            action_id=f"{incident.incident_id}-{incident.steps}-{kind}",
            kind=kind,
            incident=incident.incident_id,
            started_at=self.now - asked_s_ago,
            instance_id=instance_id(slot),
        )
        self.actions[slot] = replace(made, **changes)
        return self

    def region_unknown(self, region: str) -> Self:
        """EC2's API of the region did not answer."""
        self.extra["unknown_regions"] = {region: "no answer"}
        for slot in [s.name for s in self.spec.slots if s.region == region]:
            self.instances.pop(slot, None)
            self.volumes.pop(slot, None)
        return self

    def hands_off(self, slot: str) -> Self:
        return self._instance(slot, hands_off=True)

    def paused(self) -> Self:
        """A person has paused Patroni."""
        for name, seen in list(self.reports.items()):
            if seen.report.patroni is not None:
                self.says(name, patroni=replace(seen.report.patroni, paused=True))
        return self

    def closed(self) -> Self:
        self.extra["closed"] = True
        return self

    def mode(self, mode: Mode) -> Self:
        self.extra["mode"] = mode
        return self

    def unborn(self) -> Self:
        self.extra["birth"] = None
        return self

    def being_born(self) -> Self:
        self.extra["birth"] = Birth(
            state="pending", first_leader="db-euw1-a", etcd_token="secret-token"
        )
        return self

    def led_last(self, slot: str) -> Self:
        """The healer remembers that it led, whatever is said now."""
        self.extra["last_led"] = frozenset({instance_id(slot)})
        return self

    def removed(self, *s_ago: float) -> Self:
        self.extra["removals"] = tuple(self.now - s for s in s_ago)
        return self

    def launches_failed(self, *s_ago: float) -> Self:
        self.extra["failed_launches"] = tuple(self.now - s for s in s_ago)
        return self

    def also(self, slot: str, second: str) -> Self:
        """A second instance claims the slot."""
        self.instances[f"{slot}#2"] = replace(self.instances[slot], instance_id=second)
        return self

    # -- questions

    def observation(self) -> Observation:
        return Observation(
            now=self.now,
            spec=self.spec,
            reports=self.reports,
            instances=tuple(self.instances.values()),
            volumes=tuple(self.volumes.values()),
            online=frozenset(self.online),
            open_actions=self.actions,
            incidents=self.incidents,
            refused_reports=frozenset(self.refused),
            set_aside=tuple(self.set_aside),
            **self.extra,
        )

    def findings(self) -> Mapping[str, Finding]:
        return diagnose(self.observation())

    def diagnosis(self, slot: str) -> Diagnosis:
        return self.findings()[slot].diagnosis

    def plan(self) -> tuple[Action, ...]:
        observation = self.observation()
        return plan(observation, diagnose(observation))

    def planned(self, slot: str) -> Action | None:
        """The one action for a slot, None when there is none."""
        found = [action for action in self.plan() if action.slot == slot]
        assert len(found) <= 1, f"more than one step for {slot}: {found}"
        return found[0] if found else None

    # -- helpers

    def _fresh(self, name: str) -> bool:
        return self.reports[name].age_s <= self.spec.timings.agent_silent_after_s

    def _instance(self, slot: str, **changes: Any) -> Self:
        self.instances[slot] = replace(self.instances[slot], **changes)
        return self


def follower_of(leader: str, *, timeline: int) -> Patroni:
    """What a replica's Patroni says."""
    return _patroni(leader=leader, leads=False, timeline=timeline)


def _leads(report: Report) -> bool:
    return report.patroni is not None and report.patroni.role == "leader"


def _patroni(*, leader: str, leads: bool, timeline: int) -> Patroni:
    return Patroni(
        up=True,
        role="leader" if leads else "replica",
        state="running",
        timeline=timeline,
        paused=False,
        leader=leader,
    )


def _postgres(*, leads: bool, timeline: int, rows: tuple[Standby, ...] = ()) -> Postgres:
    return Postgres(
        up=True,
        in_recovery=not leads,
        timeline=timeline,
        lsn_bytes=1000,
        system_identifier="745",
        receiver_up=None if leads else True,
        replication=rows,
    )
