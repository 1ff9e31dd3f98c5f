"""Damage to hosts and to how EC2 sees them: power, cable, standstill, stops, checks, announcements."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from lab.control import MachineFault, RegionLink
from lab.faults.base import Fault, Injected
from lab.faults.bench import Bench, said
from lab.operator import Occupant, Slot
from lab.ports import REGIONS

RETIRES_IN_S: Final = 6 * 3600.0  # within the day in which the healer drains, long after the run
Do = Callable[[Bench, Occupant, Slot], None]


def machine(fault: MachineFault) -> Do:
    """Damage that the machine host does."""
    return lambda bench, occupant, _: bench.machines.machine_fault(fault, occupant.instance_id)


def machine_back(fault: MachineFault) -> Callable[[Bench, Injected], None]:
    """Its way back."""
    return lambda bench, done: bench.machines.machine_fault(fault, done.instance_id or "")


def _terminate(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    bench.api.terminate(occupant.instance_id, slot.region)


def _stop(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    with said(f"stop {occupant.instance_id}"):
        bench.aws("ec2", slot.region).stop_instances(InstanceIds=[occupant.instance_id])


def _reboot(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    with said(f"reboot {occupant.instance_id}"):
        bench.aws("ec2", slot.region).reboot_instances(InstanceIds=[occupant.instance_id])


def _impair(bench: Bench, occupant: Occupant, _: Slot) -> None:
    bench.machines.status_checks(occupant.instance_id, "impaired")


def _checks_back(bench: Bench, done: Injected) -> None:
    bench.machines.status_checks(done.instance_id or "", None)


def _hang(bench: Bench, occupant: Occupant, _: Slot) -> None:
    bench.machines.machine_fault(MachineFault.HANG, occupant.instance_id)


def _announce(bench: Bench, occupant: Occupant, _: Slot) -> None:
    bench.machines.schedule_event(
        occupant.instance_id, "instance-retirement", time.time() + RETIRES_IN_S
    )


def _take_back(bench: Bench, done: Injected) -> None:
    bench.machines.cancel_events(done.instance_id or "")


def each_link(bench: Bench, link: RegionLink, region: str) -> None:
    """Do this to the ways between the region and every other."""
    for other in REGIONS:
        if other.name != region:
            bench.machines.region_link(link, region, other.name)


def _cut_region(bench: Bench, region: str) -> None:
    each_link(bench, RegionLink.CUT, region)


def _mend_region(bench: Bench, done: Injected) -> None:
    each_link(bench, RegionLink.MEND, done.region or "")


POWER_LOSS: Final = Fault(
    name="power-loss",
    describe="the host loses power; EC2 goes on calling it running",
    default_target="replica",
    do=machine(MachineFault.POWER_LOSS),
)
TERMINATE: Final = Fault(
    name="terminate",
    describe="somebody terminates the instance through the AWS API",
    default_target="replica",
    do=_terminate,
)
FREEZE: Final = Fault(
    name="freeze",
    describe="every process on the host stands still, nothing is lost",
    default_target="replica",
    do=machine(MachineFault.FREEZE),
    undo=machine_back(MachineFault.THAW),
)
HANG: Final = Fault(
    name="hang",
    describe="every process on the host stands still, and EC2's status checks go on passing",
    default_target="replica",
    do=_hang,
    undo=machine_back(MachineFault.THAW),
)
UNPLUG: Final = Fault(
    name="unplug",
    describe="the host's network cable is pulled",
    default_target="replica",
    do=machine(MachineFault.UNPLUG),
    undo=machine_back(MachineFault.PLUG),
)
STOP_INSTANCE: Final = Fault(
    name="stop-instance",
    describe="somebody stops the instance through the AWS API",
    default_target="replica",
    do=_stop,
)
REBOOT: Final = Fault(
    name="reboot",
    describe="somebody reboots the instance through the AWS API",
    default_target="replica",
    do=_reboot,
)
IMPAIRED: Final = Fault(
    name="impaired",
    describe="EC2's status checks call the host impaired, and it works on",
    default_target="replica",
    do=_impair,
    undo=_checks_back,
)
RETIRING: Final = Fault(
    name="retiring",
    describe="AWS announces that it will retire the host in a few hours",
    default_target="replica",
    do=_announce,
    undo=_take_back,
)
CUT_REGION: Final = Fault(
    name="cut-region",
    describe="no packet passes between the region and the others, nor from it to their AWS",
    default_target="region:euw3",
    do_region=_cut_region,
    put_back=_mend_region,
)

FAULTS: Final = (
    POWER_LOSS,
    TERMINATE,
    FREEZE,
    HANG,
    UNPLUG,
    STOP_INSTANCE,
    REBOOT,
    IMPAIRED,
    RETIRING,
    CUT_REGION,
)
