"""People are obeyed."""

from __future__ import annotations

from lambdas.core.consent import PlannedKind
from lambdas.core.model import InstanceState, Mode
from tests.simulation.invariants.common import (
    DISCARDING,
    FOREVER,
    KNOWN_S,
    MACHINE,
    NEVER,
    REMOVING,
    STOPPING,
    rolled,
    tried_less,
)
from tests.simulation.watch import Call, CallCheck

ON_PAPER = frozenset({"declare-birth", "declare-born"})  # written to the table, done to no slot
CLOCK_S = 21.0  # how far apart the healer's clock and a window's may be


def people_are_obeyed(call: Call) -> str | None:
    """Nothing is done while closed, in another mode, on a tagged slot; nothing is disturbed in a pause."""
    world, healer, marks = call.world, call.healer, call.world.watch.marks
    if world.hub.closed and healer.table_read_at >= marks["closed"]:
        return f"{call.kind} on {call.slot} while the cluster is closed"
    if world.hub.mode is not Mode.AUTO and healer.table_read_at >= marks["mode"]:
        return f"{call.kind} on {call.slot} in mode {world.hub.mode}"
    host = call.host
    if host is not None and host.hands_off and call.kind not in ON_PAPER:
        read_at = healer.instances_read_at.get(host.slot.region, NEVER)
        # The tag is the instance's: where EC2 does not list that yet, nobody can read it.
        hidden = call.kind == "launch" and read_at - host.made_at < KNOWN_S
        if not hidden and read_at >= marks.get(f"hands-off {call.slot}", FOREVER):
            return f"{call.kind} on {call.slot}, which is tagged hands-off"
    if world.patroni.paused and call.kind in STOPPING | {"switchover"} and _pause_is_known(call):
        return f"{call.kind} on {call.slot} while Patroni is paused"
    return None


def _pause_is_known(call: Call) -> bool:
    """A member's word of it lay in the table, and was young, when the healer read it."""
    since, read_at = call.world.watch.marks["pause"], call.healer.table_read_at
    telling = [
        h
        for h in call.world.patroni.hosts()
        if since + 1.0 < h.told_at <= read_at < h.told_at + 12.0
        and "patroni" in h.told_well
        and h.seen(read_at - 20.0) is InstanceState.RUNNING
        and not call.world.weather.on("patroni-hung", h.instance_id)
    ]
    return len(telling) > 1  # one word may have been overwritten by another's


def windows_are_kept(call: Call) -> str | None:
    """Inside a maintenance window nothing is done."""
    healer, at = call.healer, call.healer.table_read_at
    for window in call.world.hub.windows:
        set_at = call.world.watch.windows_set.get(window, FOREVER)
        if healer.table_read_at < set_at:
            continue
        if window.from_ + CLOCK_S <= at < window.until - CLOCK_S:
            return f"{call.kind} on {call.slot} inside a maintenance window"
    return None


def an_open_breaker_stops_everything(call: Call) -> str | None:
    """What did not help is not done again before a person has looked."""
    breaker, healer = call.world.hub.breaker, call.healer
    if breaker is None or not breaker.open:
        return None
    if call.kind not in MACHINE | DISCARDING | {"launch"}:
        return None
    if healer.table_read_at >= call.world.watch.breaker_since:
        return f"{call.kind} on {call.slot} while the breaker is open"
    return None


def a_roll_costs_one_switchover(call: Call) -> str | None:
    """Replacing every node interrupts the writes once, if nothing else goes wrong."""
    watch, planned, host = call.world.watch, call.world.hub.planned, call.host
    if call.kind != "switchover" or planned is None or planned.kind is not PlannedKind.ROLL:
        return None
    since = watch.ordered_at.get(planned.plan_id, FOREVER)
    ours = [at for at in watch.roll_switchovers if at > since]
    if not ours or host is None or host.announced or watch.promoted_at > ours[-1] + 1.0:
        return None
    ill = host.told_ill_since != FOREVER or call.healer.verdicts.get(host.instance_id) is True
    young = host.made_at >= planned.since
    return None if ill or young else "a roll switches over a second time"


def a_roll_waits_for_strength(call: Call) -> str | None:
    """The next node is only replaced when the one before is back and nothing else is amiss.

    Who had never spoken when the table was read, and does so just before its end, is ended for its silence.
    """
    host, world = call.host, call.world
    if host is None or call.kind not in REMOVING or not rolled(call, host):
        return None
    aside = host.disk is not None and not host.disk.current
    silent = world.now - host.told_at > 12.0
    silent = silent or call.healer.told_before.get(host.instance_id, NEVER) == NEVER
    if host.told_ill_since != FOREVER or silent or aside:
        return None  # it would be ended for itself
    weak = [
        name
        for name, since in world.watch.unwell_since.items()
        if name != call.slot and world.now - since > KNOWN_S and world.why_unwell(name)
    ]
    ill = call.healer.verdicts.get(host.instance_id) is True or tried_less(call)
    if host.configures_failed or ill or not weak:
        return None
    return f"a roll ends {call.slot} while {weak[0]} {world.why_unwell(weak[0])}"


CALLS: tuple[CallCheck, ...] = (
    people_are_obeyed,
    windows_are_kept,
    an_open_breaker_stops_everything,
    a_roll_costs_one_switchover,
    a_roll_waits_for_strength,
)
