"""What the rules share: kinds of calls, and what the healer must know by now."""

from __future__ import annotations

from typing import Final

from lambdas.core.consent import PlannedKind
from lambdas.core.model import InstanceState, Phase
from tests.simulation.things import FOREVER, NEVER, Host
from tests.simulation.watch import Call

KNOWN_S: Final = 45.0
YOUNG_S: Final = 20.0  # a word counts for so long
HOUR_S: Final = 3600.0
REMOVING: Final = frozenset({"terminate"})
MACHINE: Final = frozenset({"terminate", "stop", "reboot"})
DISCARDING: Final = frozenset({"reinit-replica", "set-disk-aside"})
STOPPING: Final = MACHINE | {"restart-service", "join-replica", "reinit-replica"}
HARMLESS: Final = frozenset({"pgmend-agent", "chrony"})
CONFIGURES_MANY: Final = 2  # so often it failed, at the least, before a node is given up


def rolled(call: Call, host: Host) -> bool:
    """A person ordered that the host is replaced."""
    planned = call.world.hub.planned or call.world.watch.last_order
    roll = planned is not None and planned.kind is PlannedKind.ROLL
    return roll and planned is not None and host.made_at < planned.since


def asked_for(call: Call, host: Host) -> bool:
    """Whether the reason is no illness: an order, AWS's notice, a disk set aside, a stand-in's end, no setup."""
    if rolled(call, host) or (host.disk is not None and not host.disk.current):
        return True
    if host.by_us and not host.slot.active:
        return True  # it stood in for another, which is back
    announced = host.announced or call.world.now - host.over_at < KNOWN_S
    if announced and call.kind != "terminate":
        return True
    given_up = host.phase is Phase.IDLE and host.configures_failed >= CONFIGURES_MANY
    return given_up or host.state in (InstanceState.STOPPED, InstanceState.STOPPING)


def tried_less(call: Call) -> bool:
    """Whether a lower rung was tried on the slot since it was last well."""
    lower = {"terminate": {"reboot", "stop"}, "stop": {"reboot"}}
    return bool(lower.get(call.kind, set()) & call.world.watch.tried.get(call.slot, set()))


def says_it_is_ill(call: Call, host: Host) -> bool:
    """Its own words, or EC2's, give a reason to work on the host."""
    return host.told_ill_since < FOREVER or call.healer.verdicts.get(host.instance_id) is True


def silent_s(call: Call, host: Host) -> float:
    """For how long the healer had no word of it when it read the table."""
    return call.healer.table_read_at - max(host.told_at, host.made_at)


def has_spoken(call: Call, host: Host) -> bool:
    """Whether a word of its own lies in the table. Where a late one of its predecessor's does, it has none."""
    return host.told_at > NEVER and host.instance_id in call.world.hub.reports.get(call.slot, "")


def long_well(host: Host, service: str, call: Call) -> bool:
    """The service has really been well, and been told so, for so long that the healer must know."""
    now = call.world.now
    well, told = host.well.get(service), host.told_well.get(service)
    return (
        well is not None
        and told is not None
        and now - max(well, told) > KNOWN_S
        and now - host.told_at < 12.0
    )


__all__ = [
    "CONFIGURES_MANY",
    "DISCARDING",
    "FOREVER",
    "HARMLESS",
    "HOUR_S",
    "KNOWN_S",
    "MACHINE",
    "NEVER",
    "REMOVING",
    "STOPPING",
    "YOUNG_S",
    "asked_for",
    "has_spoken",
    "long_well",
    "rolled",
    "says_it_is_ill",
    "silent_s",
    "tried_less",
]
