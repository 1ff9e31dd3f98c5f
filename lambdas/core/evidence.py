"""Everything that bears on one slot, pulled together from an observation. Pure; it draws no conclusion."""

from __future__ import annotations

from dataclasses import dataclass

from lambdas.core.model import (
    Incident,
    Instance,
    Observation,
    OpenAction,
    PeerState,
    Phase,
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
    heard: bool  # a primary hears its WAL receiver reply
    last_led: bool
    superseded: bool
    services_down: tuple[str, ...]
    standby: Standby | None
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


def gather(observation: Observation, slot: Slot) -> Evidence:
    """The evidence for one slot."""
    occupants = observation.occupants(slot.name)
    occupant = occupants[0] if len(occupants) == 1 else None
    report, age_s = _own_report(observation, slot, occupant)
    silent, answered = _peers(observation, slot.name)
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
        peers_silent=silent,
        peers_answered=answered,
        alive=_alive(observation, slot.name),
        heard=_heard(observation, slot.name),
        last_led=_last_led(observation, slot.name, report)
        or (occupant is not None and occupant.instance_id in observation.last_led),
        superseded=_superseded(observation, slot.name, report),
        services_down=_services_down(slot, report),
        standby=_standby(observation, slot.name),
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


def _peers(observation: Observation, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which fresh peers get no answer from the slot, and which get one."""
    silent, answered = [], []
    for other, report in observation.young.items():
        if other == name:
            continue
        match report.peers.get(name):
            case PeerState.SILENT:
                silent.append(other)
            case PeerState.ALIVE | PeerState.REFUSED:
                answered.append(other)
            case _:
                pass
    return tuple(silent), tuple(answered)


def _alive(observation: Observation, name: str) -> bool:
    young = observation.young.items()
    return any(other != name and r.peers.get(name) is PeerState.ALIVE for other, r in young)


def _heard(observation: Observation, name: str) -> bool:
    """Whether any primary sees the copy stream, whatever its Patroni says: a reply a moment ago is a sign of life."""
    return any(
        row.name == name and row.state == "streaming"
        for other, report in observation.young.items()
        if other != name and report.postgres is not None and report.postgres.in_recovery is False
        for row in report.postgres.replication
    )


def _last_led(observation: Observation, name: str, report: Report | None) -> bool:
    """Led by its own last word, or leads by another's fresh one: it may have died just promoted."""
    named = any(
        other != name and r.patroni is not None and r.patroni.leader == name
        for other, r in observation.young.items()
    )
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


def _standby(observation: Observation, name: str) -> Standby | None:
    leader = observation.leader
    report = observation.fresh(leader) if leader else None
    if report is None or report.postgres is None:
        return None
    return next((row for row in report.postgres.replication if row.name == name), None)
