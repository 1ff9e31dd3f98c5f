"""After the faults: full strength returns within a bound, and then nothing more is done; or the healer holds for a
reason that what happened really warrants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambdas.core.model import Phase
from lambdas.core.parse import BadReportError, report_from_json
from tests.simulation.invariants.common import CONFIGURES_MANY, HOUR_S, KNOWN_S

if TYPE_CHECKING:
    from tests.simulation.world import World

BOUND_S = 2700.0
QUIET_S = 250.0
LOOKS_MAX = 2  # of a person
TRIES_MANY = 10  # of those that disturb or begin something
STEPS_MANY = 15  # of every kind: the healer counts them all, and stops there
POLL_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """How it ended: seconds until full strength, or the rails that hold with reason."""

    full_after_s: float | None
    held_by: tuple[str, ...]


def settle(world: World) -> Settling:
    """Wait, let a person look at what is held with reason, then judge."""
    began, looked = world.now, 0
    while world.now - began < BOUND_S:
        world.time.run_until(world.now + POLL_S)
        if world.watch.violations:
            return Settling(full_after_s=None, held_by=())
        held = warranted_holds(world)
        if held and looked >= LOOKS_MAX:
            return Settling(full_after_s=None, held_by=held)
        if held:
            looked += 1
            world.tell(f"a person acknowledges: {'; '.join(held)}")
            world.hub.acknowledge()
            began = world.now
        if not world.missing() and _says_so(world):
            full_after_s = world.now - began
            _stays(world)
            return Settling(full_after_s=full_after_s, held_by=())
    gap = known_gap(world)
    if gap is not None:
        return Settling(full_after_s=None, held_by=(f"gap: {gap}",))
    world.watch.note(
        "full_strength_returns",
        f"after {BOUND_S:.0f} s of calm: {'; '.join(world.missing()) or 'nothing is missing'}; "
        f"the healer says: {world.healers.last_sentence}",
    )
    return Settling(full_after_s=None, held_by=())


def known_gap(world: World) -> str | None:
    """What the healer is known not to end, though it should. Listed in the docs."""
    last = world.aws.occupant(world.patroni.last_leader)
    if last is not None and not last.up(world.now) and world.patroni.leader_name() is None:
        if not world.etcd.quorum():
            return (
                "etcd waits for the dead leader's disk, which is not replaced before another leads"
            )
        return "the dead leader alone has what was acknowledged, so nobody may lead"
    told = any(incident.held for incident in world.hub.open.values())
    if told and not world.etcd.quorum():
        return "etcd has no majority, and what could bring it back is held"
    if told and world.patroni.leader_name() is None:
        return "nobody leads, and what could bring the last leader back is held"
    return None


def _says_so(world: World) -> bool:
    last = world.healers.last
    return last is not None and last.full_strength and last.quiet and not world.hub.open


def _stays(world: World) -> None:
    """At full strength nothing is done any more."""
    acted_at, now = world.watch.acted_at, world.now
    world.time.run_until(now + QUIET_S)
    if world.watch.acted_at > max(acted_at, now):
        world.watch.note("at_full_strength_nothing_is_done", "a step was taken at full strength")
    elif world.missing():
        world.watch.note("full_strength_stays", "; ".join(world.missing()))


def warranted_holds(world: World) -> tuple[str, ...]:
    """The rails that hold now, if each has its reason in what really happened; else nothing.

    Where nothing is missing, an order, or the end of a stand-in, may still be held up.
    """
    last = world.healers.last
    stand_in = any(not host.slot.active for host in world.aws.sits.values())
    left = world.missing() or stand_in or world.hub.planned is not None
    if last is None or not last.holds or not left:
        return ()
    rails = tuple(sorted({hold.split(":")[0] for hold in last.holds}))
    final = [rail for rail in rails if rail in WARRANTS and WARRANTS[rail](world)]
    return tuple(final)


def _removals_spent(world: World) -> bool:
    recent = [at for at in world.watch.removed if world.now - at < HOUR_S]
    return len(recent) >= world.spec.budget.replacements_per_hour


def _launches_spent(world: World) -> bool:
    recent = [at for at in world.watch.refused_launches if world.now - at < HOUR_S]
    return len(recent) >= world.spec.budget.failed_launches_per_hour


def _tried_in_vain(world: World) -> bool:
    watch = world.watch
    configured = any(count >= 3 for count in watch.configures_failed.values())
    many = any(count >= STEPS_MANY for count in watch.steps_on.values())
    return configured or many or any(count >= TRIES_MANY for count in watch.tries.values())


def _climbed(world: World) -> bool:
    """Something was tried on a slot that is not as it should be."""
    ill = {sentence.split(" ")[0] for sentence in world.missing()}
    return any(world.watch.tried.get(slot) for slot in ill)


def _unreadable(world: World) -> bool:
    """The last word of a slot that is not as it should be is no report."""
    ill = {sentence.split(" ")[0] for sentence in world.missing()}
    for slot in ill & set(world.hub.reports):
        try:
            report_from_json(world.hub.reports[slot], cluster=world.spec.cluster, slot=slot)
        except BadReportError:
            return True
    return False


def _breaker_is_open(world: World) -> bool:
    return world.hub.breaker is not None and world.hub.breaker.open


def _no_copy_is_able(world: World) -> bool:
    leader = world.patroni.primary()
    return all(h is leader or world.ill(h) is not None for h in world.patroni.hosts())


def _nobody_of_a_region_is_heard(world: World) -> bool:
    hosts = world.aws.sits.values()
    quiet = {h.slot.region for h in hosts} - {
        h.slot.region for h in hosts if world.now - h.told_at < KNOWN_S
    }
    return bool(quiet)


def _etcd_needs_who_is_not_set_up(world: World) -> bool:
    """Setting up a voter failed as often as it may, its member serves already, and too few others are well."""
    etcd = world.etcd
    well = {h.slot.name for h in world.aws.sits.values() if etcd.is_well(h)}
    return any(
        h.phase is Phase.IDLE
        and h.configures_failed >= CONFIGURES_MANY
        and etcd.serves(h.slot.name)
        and len(well - {h.slot.name}) < etcd.majority()
        for h in world.aws.sits.values()
    )


def _grown_enough(world: World) -> bool:
    return bool(world.watch.grown)


WARRANTS: dict[str, Callable[[World], bool]] = {
    "removal-budget": _removals_spent,
    "launch-budget": _launches_spent,
    "attempts": _tried_in_vain,
    "report-refused": _unreadable,
    "breaker": _breaker_is_open,
    "refills": _breaker_is_open,
    "ladder": _climbed,
    "region-cut-off": _nobody_of_a_region_is_heard,
    "growth-budget": _grown_enough,
    "no-successor": _no_copy_is_able,
    "quorum": _etcd_needs_who_is_not_set_up,
}
