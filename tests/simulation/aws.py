"""EC2's truth: machines and volumes, which take their time, belong to one slot's interface, and are shown late.

It keeps AWS's promises (exclusive interfaces and volumes, client tokens, states that take time) and no others.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lambdas.core.model import InstanceState, Slot
from tests.simulation.things import FOREVER, NEVER, Disk, Host

if TYPE_CHECKING:
    from tests.simulation.world import World

LISTED_FOR_S = 600.0  # how long EC2 shows what is terminated
INITIALIZING_S = 60.0
DEAD_END_S, FORCED_END_S = 120.0, 40.0  # ending or stopping a host that does not answer
REBOOTS = "instance-reboot"
GONE_STATES = (InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED)


NO, TOO_MANY = 400, 503  # what HTTP calls AWS's no, and EC2's word that there were too many calls


def refusal(code: str, operation: str, *, status: int = NO) -> ClientError:
    """AWS's no."""
    said: Any = {
        "Error": {"Code": code, "Message": "as simulated"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(said, operation)


class Aws:
    """Every region's EC2."""

    def __init__(self, world: World) -> None:
        self._w = world
        self.hosts: dict[str, Host] = {}
        self.disks: dict[str, Disk] = {}
        self.tokens: dict[str, str] = {}
        self.sits: dict[str, Host] = {}  # slot → the one instance on its interface
        self._made: dict[str, int] = {}
        self.exclusive = True  # a test of the simulator may take AWS's promise away

    # -- questions

    def of_slot(self, slot: str) -> list[Host]:
        """Every instance that holds or claims the slot."""
        return [h for h in self.hosts.values() if h.slot.name == slot and h.stands]

    def occupant(self, slot: str) -> Host | None:
        """The slot's instance, whatever its state short of terminated."""
        return self.sits.get(slot)

    def disk_of(self, slot: str) -> Disk | None:
        """The slot's first current volume that still exists."""
        return next((d for d in self.disks.values() if d.slot.name == slot and d.current), None)

    def impaired(self, host: Host) -> bool | None:
        """What EC2's status checks say."""
        now = self._w.now
        if now < host.verdict_until:
            return host.verdict
        if host.state is not InstanceState.RUNNING or now - host.running_at < INITIALIZING_S:
            return None
        if host.ill_since is not None and now - host.ill_since >= host.checks_s:
            return True
        return now < host.impaired_until

    # -- machines

    def launch(self, slot: Slot, *, token: str, by_us: bool, instance_type: str = "") -> Host:
        """A new instance on the slot's interface; the same token gives the same one."""
        known = self.tokens.get(token)
        if known is not None:
            return self.hosts[known]
        if self.of_slot(slot.name) and self.exclusive:
            raise refusal("InvalidNetworkInterface.InUse", "RunInstances")
        number = self._made[slot.name] = self._made.get(slot.name, 0) + 1
        dice = random.Random(f"{self._w.seed}/{slot.name}/{number}")  # noqa: S311 - not for secrets
        now = self._w.now
        host = Host(
            instance_id=f"i-{slot.name}-{number}",
            slot=slot,
            number=number,
            made_at=now,
            launched_at=now,
            boot_s=dice.uniform(20.0, 50.0),
            end_s=dice.uniform(5.0, 40.0),
            checks_s=dice.uniform(60.0, 130.0),
            views=[(now, InstanceState.PENDING)],
            by_us=by_us,
            instance_type=instance_type or next(iter(slot.instance_types), ""),
        )
        self.hosts[host.instance_id] = host
        self.sits[slot.name] = host
        self.tokens[token] = host.instance_id
        self._w.time.after(dice.uniform(2.0, 8.0), lambda: self._run(host))
        self._w.stir()
        return host

    def _run(self, host: Host) -> None:
        if host.state is not InstanceState.PENDING:
            return
        now = self._w.now
        if self._w.weather.on("ends-at-once", host.slot.name):
            self._to(host, InstanceState.SHUTTING_DOWN)
            self._w.time.after(2.0, lambda: self._gone(host))
            return
        self._to(host, InstanceState.RUNNING)
        host.running_at = now
        host.power, host.frozen, host.ill_since = True, False, None
        host.up_at = now + host.boot_s
        if self._w.weather.on("boot-stuck", host.slot.name):
            host.up_at = FOREVER
            if host.sequence:
                host.ill_since = now  # its kernel; a first boot may also hang in its user data
        host.agent = "up"
        mute_s = self._w.weather.amount("born-mute", host.slot.name)
        if mute_s and not host.sequence:
            host.aws_cut = True
            self._w.time.after(mute_s, lambda: setattr(host, "aws_cut", False))
        self._w.time.at(host.up_at, lambda: self._w.nodes.booted(host))

    def _to(self, host: Host, state: InstanceState) -> None:
        host.views.append((self._w.now, state))
        self._w.stir()
        self._w.wake(f"ec2:{host.instance_id} {state}")

    def terminate(self, host: Host) -> None:
        """End it; what is gone already stays gone."""
        if host.state in GONE_STATES:
            return
        dead = not host.power or host.frozen
        self._w.nodes.off(host, clean=not dead)
        self._to(host, InstanceState.SHUTTING_DOWN)
        self._w.time.after(DEAD_END_S if dead else host.end_s, lambda: self._gone(host))

    def _gone(self, host: Host) -> None:
        self._to(host, InstanceState.TERMINATED)
        if self.sits.get(host.slot.name) is host:
            del self.sits[host.slot.name]
        if host.disk is not None:
            self.release(host.disk)
        self._w.time.after(LISTED_FOR_S, lambda: self._forget(host))

    def _forget(self, host: Host) -> None:
        self.hosts.pop(host.instance_id, None)

    def reboot(self, host: Host) -> None:
        """Reboot a running instance; one without power stays without."""
        if host.state is not InstanceState.RUNNING:
            raise refusal("IncorrectState", "RebootInstances")
        host.announced = [(at, code, when) for at, code, when in host.announced if code != REBOOTS]
        host.over_at = self._w.now
        if host.power:
            self._w.nodes.recover(host)
            self._w.nodes.reboot(host)

    def announce(self, host: Host, code: str, not_before: float) -> None:
        """AWS will do something to the instance by itself."""
        notice = (self._w.now, code, not_before)
        host.announced.append(notice)
        self._w.time.at(not_before, lambda: self._carry_out(host, notice))
        self._w.wake(f"health:{host.instance_id}")

    def _carry_out(self, host: Host, notice: tuple[float, str, float]) -> None:
        if notice not in host.announced or host.state is not InstanceState.RUNNING:
            return
        host.announced.remove(notice)
        host.over_at = self._w.now
        if notice[1] == REBOOTS:
            self._w.nodes.recover(host)
            self._w.nodes.reboot(host)
        else:
            self.stop(host)

    def stop(self, host: Host, *, force: bool = False) -> None:
        """Stop a running instance; its volume stays with it."""
        if host.state is not InstanceState.RUNNING:
            return
        dead = not host.power or host.frozen
        self._w.nodes.off(host, clean=not dead)
        self._to(host, InstanceState.STOPPING)
        patience_s = FORCED_END_S if force else DEAD_END_S
        self._w.time.after(patience_s if dead else host.end_s, lambda: self._stopped(host))

    def _stopped(self, host: Host) -> None:
        if host.state is InstanceState.STOPPING:
            self._to(host, InstanceState.STOPPED)

    def start(self, host: Host) -> None:
        """Start a stopped instance."""
        if host.state in (InstanceState.PENDING, InstanceState.RUNNING):
            return
        if host.state is not InstanceState.STOPPED:
            raise refusal("IncorrectInstanceState", "StartInstances")
        self._to(host, InstanceState.PENDING)
        host.launched_at, host.moved, host.announced = self._w.now, True, []
        self._w.time.after(5.0, lambda: self._run(host))

    # -- volumes

    def create_volume(self, slot: Slot, *, token: str, size_gib: int | None = None) -> Disk:
        """A blank volume for the slot, of the spec's size by default; the same token gives the same one."""
        known = self.tokens.get(token)
        if known is not None:
            return self.disks[known]
        now = self._w.now
        number = sum(1 for d in self.disks.values() if d.slot is slot) + 1
        disk = Disk(
            volume_id=f"vol-{slot.name}-{number}",
            slot=slot,
            views=[(now, ("creating", None, None))],
        )
        own_gib = 0 if slot.disk is None else slot.disk.size_gib
        self._w.storage.format(disk, float(own_gib if size_gib is None else size_gib))
        self.disks[disk.volume_id] = disk
        self.tokens[token] = disk.volume_id
        self._w.time.after(3.0, lambda: self._show(disk))
        self._w.stir()
        return disk

    def attach(self, disk: Disk, host: Host) -> None:
        """Give a free volume to a running instance."""
        if disk.lost:
            raise refusal("InvalidVolume.NotFound", "AttachVolume")
        if host.state is not InstanceState.RUNNING:
            raise refusal("IncorrectState", "AttachVolume")
        if disk.holder is not None and (disk.holder is not host) and self.exclusive:
            raise refusal("VolumeInUse", "AttachVolume")
        if disk.holder is host:
            raise refusal("VolumeInUse", "AttachVolume")
        disk.holder, host.disk = host, disk
        self._show(disk)
        slow = self._w.weather.on("attach-slow", disk.slot.region)
        self._w.time.after(60.0 if slow else 4.0, lambda: self._attached(disk, host))

    def _attached(self, disk: Disk, host: Host) -> None:
        if disk.holder is host and not disk.lost:
            disk.attached = True
            self._show(disk)

    def release(self, disk: Disk) -> None:
        """The volume is nobody's any more."""
        if disk.holder is not None:
            disk.holder.disk = None
        disk.holder, disk.attached = None, False
        self._show(disk)

    def set_aside(self, disk: Disk) -> None:
        """The volume is tagged as no longer its slot's; it is kept, and stays where it is attached."""
        if disk.lost:
            raise refusal("InvalidVolume.NotFound", "CreateTags")
        disk.aside_at = min(disk.aside_at, self._w.now)
        self._w.stir()

    def lose(self, disk: Disk) -> None:
        """The volume fails for good and is listed no more."""
        self.release(disk)
        disk.lost, disk.wal_at = True, NEVER

    def _show(self, disk: Disk) -> None:
        holder = disk.holder
        state: tuple[str, str | None, str | None] = ("available", None, None)
        if holder is not None:
            attachment = "attached" if disk.attached else "attaching"
            state = ("in-use", holder.instance_id, attachment)
        disk.views.append((self._w.now, state))
        self._w.stir()
