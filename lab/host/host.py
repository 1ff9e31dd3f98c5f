"""All machines of the lab behind one object: implements `lab.ports.MachineHost`."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.errors import LabError
from lab.host import cgroups, damage, disks, rootfs
from lab.host.disks import Disks
from lab.host.imds import Metadata
from lab.host.machine import Machine
from lab.host.network import Network
from lab.host.paths import Paths
from lab.ports import MachineSpec, MetadataSource

IMAGE = Path(__file__).resolve().parent.parent / "image"


class Host:
    """The machine host of this computer."""

    def __init__(self, paths: Paths, progress: Callable[[str], None]) -> None:
        self._paths, self._progress = paths, progress
        self.network = Network(paths)
        self._disks = Disks(paths)
        self._machines: dict[str, Machine] = {}
        self._attached: dict[str, list[str]] = {}
        self._lock = threading.RLock()
        self._metadata: Metadata | None = None
        self._on_exit: Callable[[str], None] = lambda _: None
        self.root: Path | None = None

    def serve(self, source: MetadataSource, on_exit: Callable[[str], None]) -> None:
        """Who answers for metadata, and who is told that a machine went off by itself."""
        self._metadata = Metadata(source)
        self._on_exit = on_exit

    def up(self) -> None:
        """Root file system, image layer, network."""
        self.root = rootfs.ensure(self._paths, self._progress)
        image = self._paths.state / "image"
        shutil.rmtree(image, ignore_errors=True)
        shutil.copytree(IMAGE, image, symlinks=True)
        self.network.up()

    # -- machines

    def _get(self, instance_id: str) -> Machine:
        try:
            return self._machines[instance_id]
        except KeyError:
            raise LabError(f"there is no machine {instance_id}") from None

    def create(self, spec: MachineSpec) -> None:
        """Namespace, link, overlay; powered off."""
        with self._lock:
            if spec.instance_id in self._machines:
                return
            if self.root is None or self._metadata is None:
                raise LabError("the machine host is not up yet")
            machine = Machine(
                spec,
                self._paths.machine(spec.instance_id),
                [self._paths.state / "image", self.root],
                on_boot=self._booted,
                on_exit=lambda s: self._on_exit(s.instance_id),
            )
            self._machines[spec.instance_id] = machine
        self.network.plug_in(spec)
        self._metadata.open(spec.instance_id)
        machine.create()

    def _booted(self, spec: MachineSpec) -> None:
        """Disks are there again after every boot."""
        pid = self._machines[spec.instance_id].init_pid()
        for volume_id in self._attached.get(spec.instance_id, []):
            if pid is not None:
                self._disks.show(volume_id, pid)

    def power_on(self, instance_id: str) -> None:
        """Boot; a cable that went with the power comes back with it."""
        self._powered(instance_id).power_on()

    def _powered(self, instance_id: str) -> Machine:
        """The machine, with its cable in again if that went with the power."""
        machine = self._get(instance_id)
        if machine.lost:
            self.set_link(instance_id, up=True)
        return machine

    def shut_down(self, instance_id: str, *, timeout_s: float) -> bool:
        """Power off, politely first."""
        return self._get(instance_id).shut_down(timeout_s=timeout_s)

    def reboot(self, instance_id: str, *, timeout_s: float) -> None:
        """Reboot, politely first."""
        self._powered(instance_id).reboot(timeout_s=timeout_s)

    def power_loss(self, instance_id: str) -> None:
        """Fault: link down, then everything killed."""
        machine = self._get(instance_id)
        self.set_link(instance_id, up=False)
        machine.power_loss()

    def freeze(self, instance_id: str) -> None:
        """Fault: everything stops."""
        self._get(instance_id)
        cgroups.freeze(instance_id, frozen=True)

    def thaw(self, instance_id: str) -> None:
        """The way back."""
        self._get(instance_id)
        cgroups.freeze(instance_id, frozen=False)

    def set_disk_writable(self, instance_id: str, *, writable: bool) -> None:
        """Fault and its way back: the data disk's file system is mounted read-only."""
        (damage.writable if writable else damage.read_only)(self._get(instance_id))

    def break_disk(self, instance_id: str) -> None:
        """Fault: the data disk's file system answers with errors only."""
        damage.errors(self._get(instance_id))

    def set_link(self, instance_id: str, *, up: bool) -> None:
        """The machine's cable."""
        machine = self._get(instance_id)
        self.network.set_link(machine.spec, up=up)
        machine.link_up = up

    def destroy(self, instance_id: str) -> None:
        """Every trace but its disks."""
        with self._lock:
            machine = self._machines.get(instance_id)
        if machine is None:
            return
        if self._metadata is not None:
            self._metadata.close(instance_id)
        machine.destroy()
        self.network.unplug(instance_id)
        with self._lock:
            self._machines.pop(instance_id, None)
            self._attached.pop(instance_id, None)

    def healthy(self, instance_id: str) -> bool:
        """What status checks see."""
        machine = self._machines.get(instance_id)
        return machine is not None and machine.healthy()

    def run(
        self, instance_id: str, argv: Sequence[str], *, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """A command in the machine."""
        return self._get(instance_id).run(argv, timeout_s=timeout_s)

    def enter(self, instance_id: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs something in the machine, for a shell."""
        return self._get(instance_id).enter(argv)

    def journal(self, instance_id: str, *, into: Path) -> None:
        """Save its logs."""
        self._get(instance_id).journal(into)

    def machines(self) -> Sequence[str]:
        """All that exist."""
        return tuple(self._machines)

    def specs(self) -> Sequence[MachineSpec]:
        """What each of them was made from."""
        with self._lock:
            return tuple(machine.spec for machine in self._machines.values())

    # -- disks

    def create_disk(self, volume_id: str, *, size_gib: int, copy_of: str | None = None) -> None:
        """A new disk."""
        self._disks.create(volume_id, size_gib=size_gib, copy_of=copy_of)

    def delete_disk(self, volume_id: str) -> None:
        """For good."""
        self._disks.delete(volume_id)

    def grow_disk(self, volume_id: str, *, size_gib: int) -> None:
        """Larger."""
        self._disks.grow(volume_id, size_gib=size_gib)

    def attach_disk(self, instance_id: str, volume_id: str) -> None:
        """Show it to a machine, now and after every boot."""
        machine = self._get(instance_id)
        with self._lock:
            attached = self._attached.setdefault(instance_id, [])
            if volume_id not in attached:
                attached.append(volume_id)
        pid = machine.init_pid()
        if pid is not None and machine.running():
            self._disks.show(volume_id, pid)

    def detach_disk(self, instance_id: str, volume_id: str, *, force: bool = False) -> None:
        """Take it away; forced, also from under a mounted file system, which breaks."""
        machine = self._machines.get(instance_id)
        if machine is not None and machine.running():
            pid = machine.init_pid()
            if pid is not None:
                if force:
                    damage.let_go(machine)
                self._disks.hide(volume_id, pid)
        with self._lock:
            if volume_id in self._attached.get(instance_id, []):
                self._attached[instance_id].remove(volume_id)

    def down(self) -> None:
        """Destroy every machine, forget every disk, end the wide-area network."""
        for instance_id in list(self._machines):
            self.destroy(instance_id)
        self.network.down()
        self._disks.down()
        disks.forget(self._paths)
