"""People at work while things go wrong: they repair, they get in the way, and they say stop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from lambdas.core.consent import Planned, PlannedKind, Window
from lambdas.core.model import InstanceState, Mode, Phase
from tests.simulation.faults.base import ANYBODY, Fault, Kind, Strike, dice_of, kind, on_host
from tests.simulation.things import Host

if TYPE_CHECKING:
    from tests.simulation.world import World


def _terminates(world: World, _fault: Fault, host: Host) -> str | None:
    world.aws.terminate(host)
    return f"a person terminates {host.slot.name}"


def _stops(world: World, _fault: Fault, host: Host) -> str | None:
    if host.state is not InstanceState.RUNNING:
        return None
    world.aws.stop(host)
    return f"a person stops {host.slot.name}"


def _reboots(world: World, _fault: Fault, host: Host) -> str | None:
    if host.state is not InstanceState.RUNNING:
        return None
    world.nodes.recover(host)
    world.nodes.reboot(host)
    return f"a person reboots {host.slot.name}"


def _restarts(world: World, fault: Fault, host: Host) -> str | None:
    units = world.nodes.units(host)
    if not units or host.phase is not Phase.CONFIGURED or not host.up(world.now):
        return None
    unit = dice_of(world, fault).choice(units)
    world.nodes.restart(host, unit)
    return f"a person restarts {unit} on {host.slot.name}"


def _launches(world: World, fault: Fault) -> str | None:
    empty = [s for s in world.spec.slots if s.active and world.aws.occupant(s.name) is None]
    if not empty:
        return None
    slot = dice_of(world, fault).choice(empty)
    world.aws.launch(slot, token=f"person-{fault.number}", by_us=False)
    return f"a person launches an instance into {slot.name}"


def _switches_over(world: World, _fault: Fault) -> str | None:
    old = world.patroni.primary()
    heirs = [h for h in world.patroni.hosts() if world.patroni.streams(h)]
    if old is None or not heirs or world.patroni.paused or world.patroni.key is not old:
        return None
    world.patroni.switch(old, heirs[0])
    return f"a person switches over from {old.slot.name} to {heirs[0].slot.name}"


def _mark(
    name: str, sentence: str, begin: Callable[[World], None], end: Callable[[World], None]
) -> Strike:
    """Something a person sets and, after a while, takes back."""

    def strike(world: World, fault: Fault) -> str | None:
        if name in world.watch.marks:
            return None
        world.watch.marks[name] = world.now
        begin(world)

        def back() -> None:
            end(world)
            world.watch.marks.pop(name, None)
            world.stir()

        world.time.after(fault.for_s, back)
        world.stir()
        return f"a person {sentence} for {fault.for_s:.0f} s"

    return strike


def _pause(world: World) -> None:
    world.patroni.paused = True


def _resume(world: World) -> None:
    world.patroni.paused = False


def _close(world: World) -> None:
    world.hub.closed = True


def _reopen(world: World) -> None:
    world.hub.closed = False


def _mode(mode: Mode) -> Callable[[World], None]:
    def switch(world: World) -> None:
        world.hub.mode = mode

    return switch


def _hands_off(world: World, fault: Fault, host: Host) -> str | None:
    name = f"hands-off {host.slot.name}"
    if host.hands_off:
        return None
    host.hands_off = True
    world.watch.marks[name] = world.now

    def back() -> None:
        host.hands_off = False

    world.time.after(fault.for_s, back)
    world.stir()
    return f"a person tags {host.slot.name} hands-off for {fault.for_s:.0f} s"


def _window(world: World, fault: Fault) -> str | None:
    """A maintenance window, from now or a little later."""
    begins = world.now + fault.amount
    window = Window(from_=begins, until=begins + fault.for_s, why="as simulated")
    world.hub.windows = (*world.hub.windows[-3:], window)
    world.watch.window_set(window)
    world.time.at(begins, lambda: None)
    return f"a person sets a window of {fault.for_s:.0f} s that begins in {fault.amount:.0f} s"


def _acknowledges(world: World, _fault: Fault) -> str | None:
    if not world.hub.open and (world.hub.breaker is None or not world.hub.breaker.open):
        return None
    world.hub.acknowledge()
    return "a person acknowledges what was held"


def _orders_roll(world: World, fault: Fault) -> str | None:
    if world.hub.planned is not None:
        return None
    plan_id = f"roll-{fault.number}"
    world.hub.planned = Planned(plan_id=plan_id, kind=PlannedKind.ROLL, since=world.now)
    world.watch.ordered(world.hub.planned)
    return "a person orders that every node is replaced"


def _orders_switchover(world: World, fault: Fault) -> str | None:
    heirs = [h for h in world.patroni.hosts() if world.patroni.streams(h)]
    if world.hub.planned is not None or not heirs:
        return None
    heir = dice_of(world, fault).choice(heirs).slot.name
    plan_id = f"switchover-{fault.number}"
    world.hub.planned = Planned(
        plan_id=plan_id, kind=PlannedKind.SWITCHOVER, since=world.now, to=heir
    )
    world.watch.ordered(world.hub.planned)
    return f"a person orders that {heir} leads"


def _cancels(world: World, _fault: Fault) -> str | None:
    if world.hub.planned is None:
        return None
    world.hub.planned = None
    return "a person takes the order back"


_kind = partial(kind, "people")


_NOBODY = ("",)
PEOPLE: tuple[Kind, ...] = (
    _kind("person-terminates", 2, ANYBODY, (0, 0), on_host(_terminates)),
    _kind("person-stops", 1.5, ANYBODY, (0, 0), on_host(_stops)),
    _kind("person-reboots", 1.5, ANYBODY, (0, 0), on_host(_reboots)),
    _kind("person-restarts", 2, ("replica", "any", "voter"), (0, 0), on_host(_restarts)),
    _kind("person-launches", 2, _NOBODY, (0, 0), _launches),
    _kind("switchover", 3, _NOBODY, (0, 0), _switches_over),
    _kind("hands-off", 3, ANYBODY, (30, 200), on_host(_hands_off)),
    _kind("pause", 2, _NOBODY, (20, 150), _mark("pause", "pauses Patroni", _pause, _resume)),
    _kind(
        "closed", 1.5, _NOBODY, (20, 120), _mark("closed", "closes the cluster", _close, _reopen)
    ),
    _kind(
        "observe",
        1.5,
        _NOBODY,
        (20, 120),
        _mark("mode", "sets mode observe", _mode(Mode.OBSERVE), _mode(Mode.AUTO)),
    ),
    _kind("window", 1.5, _NOBODY, (20, 150), _window, (0, 60)),
    _kind("acknowledge", 1.5, _NOBODY, (0, 0), _acknowledges),
    _kind("order-roll", 0.6, _NOBODY, (0, 0), _orders_roll),
    _kind("order-switchover", 1.5, _NOBODY, (0, 0), _orders_switchover),
    _kind("cancel-order", 0.4, _NOBODY, (0, 0), _cancels),
    _kind(
        "off",
        1.0,
        _NOBODY,
        (20, 120),
        _mark("mode", "sets mode off", _mode(Mode.OFF), _mode(Mode.AUTO)),
    ),
)
