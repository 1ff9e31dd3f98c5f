"""How much, how often, how many at once; and never twice."""

from __future__ import annotations

import re

from lambdas.core.model import InstanceState
from tests.simulation.invariants.common import (
    DISCARDING,
    HARMLESS,
    HOUR_S,
    KNOWN_S,
    NEVER,
    REMOVING,
    rolled,
)
from tests.simulation.things import Host
from tests.simulation.watch import BOUNDED, Call, CallCheck, WorldCheck
from tests.simulation.world import World

CONFIGURES_MAX = 4  # three, and one more that ran while the healer could not hear of its end
TRIES_MAX = (
    22  # the healer stops at 15 by its own count; some of ours it takes for healed in between
)
AT_ONCE = frozenset({"stop", "reboot", "reinit-replica", "set-disk-aside"})
AT_ONCE_S = 20.0  # so long after its call something disturbed is hardly back, unless it is well
BEGUN_S = 10.0  # by then what was asked for has begun
# The healer stops at 3 by its own count; a launch whose answer is lost, or whose run dies, is in none.
REFILLS_MAX = 5
NO_ROOM_S, NO_ROOM_MAX = 600.0, 12  # two outages begin the spacing anew
DAY_S = 24 * HOUR_S


def one_occupant_a_slot(world: World) -> str | None:
    """Two machines never hold one identity."""
    if len(world.aws.sits) == sum(1 for h in world.aws.hosts.values() if h.stands):
        return None
    standing = [h.slot.name for h in world.aws.hosts.values() if h.stands]
    twice = sorted({s for s in standing if standing.count(s) > 1})
    return f"{', '.join(twice)} has two occupants"


def removals_at_once_are_bounded(world: World) -> str | None:
    """One removal of ours at a time in a region, two in the cluster."""
    going = [
        h
        for h in world.aws.hosts.values()
        if h.state is InstanceState.SHUTTING_DOWN and h.ended_by_us_at is not None
    ]
    if len(going) < 2:
        return None
    regions = [h.slot.region for h in going]
    if len(going) > 2 or len(set(regions)) < len(regions):
        return f"{', '.join(h.slot.name for h in going)} are being removed at once"
    return None


def replacements_keep_their_budget(call: Call) -> str | None:
    """So many removals an hour, then a person is asked."""
    host, watch = call.host, call.world.watch
    if call.kind not in REMOVING or host is None or rolled(call, host) or host.relieved:
        return None
    recent = [at for at in watch.removed if call.world.now - at < HOUR_S]
    allowed = call.world.spec.budget.replacements_per_hour
    return f"{len(recent) + 1} removals within an hour" if len(recent) >= allowed else None


def failing_launches_keep_their_budget(call: Call) -> str | None:
    """Launches that AWS refuses are not tried for ever; those under way together count once."""
    if call.kind != "launch":
        return None
    refused = call.world.watch.refused_launches
    recent = [at for at in refused if call.world.now - at < HOUR_S]
    budget = call.world.spec.budget
    if len(recent) >= budget.failed_launches_per_hour + budget.launches_in_parallel:
        return f"{len(recent)} launches were refused within an hour and another is tried"
    return None


def a_slot_is_not_refilled_for_ever(call: Call) -> str | None:
    """New instances that never come to be well are no cure."""
    times = call.world.watch.refills.get(call.slot, 0)
    if call.kind != "launch" or times < REFILLS_MAX:
        return None
    return f"{times} new instances did not heal {call.slot} and another is launched"


def who_has_no_room_is_not_asked_for_ever(call: Call) -> str | None:
    """Launches that AWS has no capacity for are spaced out."""
    now, no_room = call.world.now, call.world.watch.no_room.get(call.slot, ())
    recent = [at for at in no_room if now - at < NO_ROOM_S]
    if call.kind != "launch" or len(recent) <= NO_ROOM_MAX:
        return None
    return f"AWS had no capacity for {call.slot} {len(recent)} times within {NO_ROOM_S:.0f} s"


def a_stale_lease_never_acts(call: Call) -> str | None:
    """No step begins once another run holds the lease."""
    hub, healer = call.world.hub, call.healer
    if healer.token is None:
        return f"{call.kind} on {call.slot} without a lease"
    taken = not hub.holds(healer.owner, healer.token)
    if taken and hub.lease.taken_at < healer.intended_at:
        return f"run {healer.number} does {call.kind} on {call.slot}; {hub.lease.owner} holds the lease"
    return None


def an_occupied_slot_is_not_filled(call: Call) -> str | None:
    """Unknown is not empty: nothing is launched where an instance had long stood when EC2 was asked."""
    host = call.host
    if call.kind != "launch" or host is None:
        return None
    asked_at = call.healer.instances_read_at.get(host.slot.region, call.world.now)
    if asked_at - host.made_at < KNOWN_S:
        return None
    return f"{call.slot} is {host.state} and another instance is launched"


def launches_in_parallel_are_bounded(call: Call) -> str | None:
    """So many instances start at once."""
    if call.kind != "launch":
        return None
    starting = [
        h.slot.name
        for h in call.world.aws.hosts.values()
        if h.state is InstanceState.PENDING and h.by_us
    ]
    allowed = call.world.spec.budget.launches_in_parallel
    return f"{len(starting) + 1} launches at once" if len(starting) >= allowed else None


def a_slot_is_not_disturbed_for_ever(call: Call) -> str | None:
    """What many steps did not heal, a person looks at."""
    tries = call.world.watch.tries.get(call.slot, 0)
    if call.kind in BOUNDED and tries >= TRIES_MAX:
        return f"{tries} steps did not heal {call.slot} and one more is taken"
    return None


def configuring_fails_only_so_often(call: Call) -> str | None:
    """An instance that could not be configured is not configured for ever."""
    host = call.host
    if host is None or call.kind != "configure-node" or host.configures_failed <= CONFIGURES_MAX:
        return None
    return f"{call.slot} could not be configured {host.configures_failed} times and is again"


def one_document_at_a_time(call: Call) -> str | None:
    """A node works on one document of ours."""
    host = call.host
    if host is None or not call.comment or call.what in HARMLESS:
        return None
    going = [
        c.document
        for c in call.world.documents.commands.values()
        if c.host is host
        and c.status in ("Pending", "InProgress")
        and c.comment != call.comment
        and c.known
        and c.sent_at > host.up_at  # what was sent before a reboot is over
    ]
    return f"{call.slot} works on {going[0]} and gets {call.kind}" if going else None


def a_document_is_sent_once(call: Call) -> str | None:
    """The same step, taken again after a crash, finds what was sent."""
    if not call.comment:
        return None
    sent = call.world.documents.commands.values()
    began_at = (
        call.healer.intended_at
    )  # what another run sends while this step is under way is a race
    twice = any(
        c.comment == call.comment and c.host is call.host and c.sent_at < began_at for c in sent
    )
    return f"{call.comment} is sent twice" if twice else None


def nothing_is_restarted_on_an_older_word(call: Call) -> str | None:
    """After a restart the node speaks before it is restarted again, if only through a word that comes late."""
    host = call.host
    if host is None or call.kind not in ("restart-service", "join-replica"):
        return None
    unit = call.what or "patroni"
    ended_at = call.world.watch.restarted_at.get((call.slot, unit), NEVER)
    if unit in HARMLESS or max(_last_heard_at(call, host), host.made_at) > ended_at:
        return None
    return f"{unit} on {call.slot} was restarted, nothing was heard since, and it is again"


def _last_heard_at(call: Call, host: Host) -> float:
    """When its last word came; one that came late counts where no younger one had come before it."""
    lies_there = call.world.hub.reports.get(call.slot, "")
    new = _sequence(lies_there) > _sequence(host.told_body)
    return max(host.told_at, host.heard_at if new else NEVER)


def _sequence(body: str) -> int:
    """The sequence of a report; -1 for what is none."""
    found = re.search(r'"sequence": (\d+)', body)
    return -1 if found is None else int(found.group(1))


def disks_only_grow_and_within_bounds(call: Call) -> str | None:
    """A volume never becomes smaller, nor larger than the spec allows, nor too often."""
    if call.kind != "grow-disk":
        return None
    volume_id, _, size = call.what.partition(" ")
    disk, spec = call.world.aws.disks[volume_id], call.world.spec.by_name[call.slot].disk
    if spec is None or int(size) > spec.limit_gib:
        return f"{volume_id} would have {size} GiB, which the spec does not allow"
    if int(size) < disk.gib:
        return f"{volume_id} has {disk.gib:.0f} GiB and would have {size}"
    grown = [at for at in call.world.watch.grown.get(call.slot, ()) if call.world.now - at < DAY_S]
    if len(grown) >= call.world.spec.budget.disk_growths_per_day:
        return f"{call.slot}'s disk has grown {len(grown)} times today and would again"
    return None


def one_disturbance_at_a_time(call: Call) -> str | None:
    """What stops, reboots or gives up something: one in a region, two in the cluster, like removals.

    A machine that has spoken after its reboot is back, whatever ails it besides; a copy is back when it is well.
    """
    if call.kind not in AT_ONCE:
        return None
    now, watch = call.world.now, call.world.watch
    going = [
        slot
        for slot, at in watch.disturbed.items()
        if slot != call.slot
        and now - at < AT_ONCE_S
        and at < call.healer.table_read_at
        and watch.stands(slot)
        and (now - at < BEGUN_S or call.world.why_unwell(slot) is not None)
        and not _machine_is_back(call, slot)
    ]
    by_name = call.world.spec.by_name
    same = [s for s in going if by_name[s].region == by_name[call.slot].region]
    if same or len(going) > 1:
        return f"{call.slot} gets a {call.kind} while {', '.join(going)} is being disturbed"
    return None


def _machine_is_back(call: Call, slot: str) -> bool:
    """Its copy was not given up, and a word that it said since it is up again lay there when the healer read."""
    host, tried = call.world.aws.occupant(slot), call.world.watch.tried.get(slot, set())
    if host is None or tried & DISCARDING or not host.up(call.world.now):
        return False
    return host.up_at < host.told_at <= call.healer.table_read_at


def members_change_one_at_a_time(call: Call) -> str | None:
    """etcd gets the next new member when the one before is promoted."""
    etcd = call.world.etcd
    if call.kind != "replace-etcd-member":
        return None
    others = [slot for slot in etcd.learners if slot != call.slot]
    return f"{call.slot} and {others[0]} change etcd at once" if others else None


CALLS: tuple[CallCheck, ...] = (
    replacements_keep_their_budget,
    failing_launches_keep_their_budget,
    who_has_no_room_is_not_asked_for_ever,
    a_slot_is_not_refilled_for_ever,
    disks_only_grow_and_within_bounds,
    a_stale_lease_never_acts,
    an_occupied_slot_is_not_filled,
    launches_in_parallel_are_bounded,
    one_disturbance_at_a_time,
    members_change_one_at_a_time,
    a_slot_is_not_disturbed_for_ever,
    configuring_fails_only_so_often,
    one_document_at_a_time,
    a_document_is_sent_once,
    nothing_is_restarted_on_an_older_word,
)
STATES: tuple[WorldCheck, ...] = (one_occupant_a_slot, removals_at_once_are_bounded)
