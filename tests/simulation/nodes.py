"""What happens on a node: boots, services that crash and come back, power, freezes, people's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdas.core.model import Phase
from tests.simulation.things import FOREVER, ON_DISK, Host
from tests.unit.lambdas.builders import UNITS

if TYPE_CHECKING:
    from tests.simulation.world import World

COMES_BACK_S = 3.0  # systemd restarts what crashed
IMPAIRED_STAYS_S = 30.0  # after a host has recovered


class Nodes:
    """The operating systems of all hosts."""

    def __init__(self, world: World) -> None:
        self._w = world

    def units(self, host: Host) -> tuple[str, ...]:
        """What the slot runs."""
        return UNITS[host.slot.role] + (("etcd",) if host.slot.etcd_voter else ())

    # -- services

    def start(self, host: Host, unit: str) -> bool:
        """Start a unit; whether it runs. One that is broken fails as often as it is broken."""
        if host.broken.get(unit, 0) > 0:
            host.broken[unit] -= 1
            self._fall(host, unit, "failed", clean=False)
            return False
        lacks_disk = unit in ON_DISK and (host.disk is None or not host.disk.serves)
        if unit in ON_DISK and host.disk is not None and host.disk.blank:
            lacks_disk = host.phase is Phase.CONFIGURED  # only configuring makes a file system
        if lacks_disk or f"unit {unit}" in host.ails:
            self._fall(host, unit, "failed", clean=False)
            return False
        host.services[unit] = "active"
        if unit == "patroni":
            self._w.patroni.start(host)
        self._w.stir()
        return True

    def stop(self, host: Host, unit: str) -> None:
        """Stop a unit in good order, until somebody starts it."""
        self._fall(host, unit, "inactive", clean=True)

    def crash(self, host: Host, unit: str, back_s: float = COMES_BACK_S) -> None:
        """The unit's process dies and systemd starts it again; PostgreSQL outlives Patroni."""
        host.services[unit] = "activating"
        self._w.stir()

        def again() -> None:
            if host.services.get(unit) != "activating":
                return
            if host.frozen:  # systemd stands still as well, and goes on when the host does
                self._w.time.after(COMES_BACK_S, again)
            elif host.up(self._w.now):
                host.services[unit] = "active"
                if unit == "patroni" and host.pg == "down":
                    self._w.patroni.start(host)
                self._w.stir()

        self._w.time.after(back_s, again)

    def restart(self, host: Host, unit: str) -> bool:
        """Stop it, start it."""
        self._fall(host, unit, "inactive", clean=True)
        return self.start(host, unit)

    def restart_always(self, host: Host, unit: str) -> None:
        """The agent or the clock's keeper: both may be restarted whatever the node does."""
        if unit == "pgmend-agent":
            host.agent = "up"
            self.cured(host, "agent")
        elif host.ails.get("clock") == "chrony":
            del host.ails["clock"]
            host.clock_off_s = 0.0
        self._w.stir()

    def _fall(self, host: Host, unit: str, state: str, *, clean: bool) -> None:
        host.services[unit] = state
        if unit == "patroni":
            self._w.patroni.stop(host, clean=clean)
        self._w.stir()

    def start_all(self, host: Host) -> None:
        """What its phase says it runs; etcd before Patroni."""
        if host.phase is not Phase.CONFIGURED:
            return
        for unit in reversed(self.units(host)):
            self.start(host, unit)

    # -- machines

    def booted(self, host: Host) -> None:
        """The operating system is up."""
        if not host.up(self._w.now) or self._w.now < host.up_at:
            return
        by, host.moved = ("move" if host.moved else "reboot"), False
        self.cured(host, by)
        self._w.storage.mended(host, by)
        host.agent = "up"
        self.start_all(host)
        if "frozen" in host.ails:
            host.frozen = True
        self._w.stir()

    def cured(self, host: Host, by: str) -> None:
        """What ailed the node and ends with that is over."""
        for ailment in host.cured_by(by):
            if ailment == "unreachable":
                host.isolated = False
            elif ailment == "clock":
                host.clock_off_s = 0.0

    def off(self, host: Host, *, clean: bool) -> None:
        """The operating system goes down."""
        if host.pg != "down":
            self._w.patroni.stop(host, clean=clean)
        for unit in host.services:
            host.services[unit] = "inactive"
        host.power, host.frozen, host.up_at = False, False, FOREVER
        self._w.stir()

    def power_loss(self, host: Host) -> None:
        """The host is dead, and EC2 goes on calling it running."""
        self.off(host, clean=False)
        host.ill_since = self._w.now

    def power_back(self, host: Host) -> None:
        """Power returns and the host boots."""
        if host.power:
            return
        self.recover(host)
        self.reboot(host)

    def reboot(self, host: Host) -> None:
        """Down and up again on the same instance."""
        self.off(host, clean=host.power and not host.frozen)
        host.power, host.up_at = True, self._w.now + host.boot_s / 2
        self._w.time.at(host.up_at, lambda: self.booted(host))

    def freeze(self, host: Host) -> None:
        """Everything on it stands still."""
        if host.power and not host.frozen:
            host.frozen, host.ill_since = True, self._w.now
            self._w.stir()

    def thaw(self, host: Host) -> None:
        """It goes on as if nothing had been."""
        if host.frozen and "frozen" not in host.ails:
            host.frozen = False
            self.recover(host)

    def recover(self, host: Host) -> None:
        """The machine is well again; EC2 needs a moment to say so."""
        now = self._w.now
        if host.ill_since is not None and now - host.ill_since >= host.checks_s:
            host.impaired_until = now + IMPAIRED_STAYS_S
        host.ill_since = None
        self._w.stir()
