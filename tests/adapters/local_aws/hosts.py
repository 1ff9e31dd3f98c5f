"""Machines on paper: what the local EC2 asked of them is recorded, and they are well or not as told."""

from __future__ import annotations

import subprocess
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.ports import MachineSpec

GATE_S = 20.0


class PaperMachines:
    """Implements `lab.ports.MachineHost`."""

    def __init__(self) -> None:
        self.specs: dict[str, MachineSpec] = {}
        self.calls: list[tuple[str, ...]] = []
        self._on: set[str] = set()
        self._lost: set[str] = set()
        self._refusals: dict[tuple[str, str], str] = {}
        self._gates: dict[tuple[str, str], threading.Event] = defaultdict(_open_gate)

    # -- what tests say and ask

    def of(self, identity: str) -> list[tuple[str, ...]]:
        """The calls about one machine or disk."""
        return [call for call in list(self.calls) if identity in call]

    def loses_power(self, instance_id: str) -> None:
        self._lost.add(instance_id)

    def gets_power_back(self, instance_id: str) -> None:
        self._lost.discard(instance_id)

    def refuses(self, verb: str, identity: str, because: str) -> None:
        self._refusals[verb, identity] = because

    def agrees(self, verb: str, identity: str) -> None:
        self._refusals.pop((verb, identity), None)

    def holds(self, verb: str, identity: str) -> threading.Event:
        """The next such call waits until the event is set."""
        gate = self._gates[verb, identity] = threading.Event()
        return gate

    def _call(self, verb: str, *words: str) -> None:
        self.calls.append((verb, *words))
        for word in words:
            if not self._gates[verb, word].wait(GATE_S):
                raise LabError(f"nobody opened the gate of {verb} {word}")
            if (verb, word) in self._refusals:
                raise LabError(self._refusals[verb, word])

    # -- the port

    def create(self, spec: MachineSpec) -> None:
        self._call("create", spec.instance_id, spec.hostname)
        self.specs[spec.instance_id] = spec

    def power_on(self, instance_id: str) -> None:
        self._call("power_on", instance_id)
        self._on.add(instance_id)
        self._lost.discard(instance_id)

    def shut_down(self, instance_id: str, *, timeout_s: float) -> bool:
        self._call("shut_down", instance_id, "politely" if timeout_s else "hard")
        self._on.discard(instance_id)
        return True

    def reboot(self, instance_id: str, *, timeout_s: float) -> None:
        self._call("reboot", instance_id, "politely" if timeout_s else "hard")
        self._lost.discard(instance_id)

    def power_loss(self, instance_id: str) -> None:
        self.loses_power(instance_id)

    def freeze(self, instance_id: str) -> None:
        self.loses_power(instance_id)

    def thaw(self, instance_id: str) -> None:
        self.gets_power_back(instance_id)

    def set_link(self, instance_id: str, *, up: bool) -> None:
        self._call("set_link", instance_id, "up" if up else "down")

    def destroy(self, instance_id: str) -> None:
        self._call("destroy", instance_id)
        self._on.discard(instance_id)
        self.specs.pop(instance_id, None)

    def healthy(self, instance_id: str) -> bool:
        return instance_id in self._on and instance_id not in self._lost

    def create_disk(self, volume_id: str, *, size_gib: int, copy_of: str | None = None) -> None:
        del copy_of
        self._call("create_disk", volume_id, f"{size_gib} GiB")

    def delete_disk(self, volume_id: str) -> None:
        self._call("delete_disk", volume_id)

    def grow_disk(self, volume_id: str, *, size_gib: int) -> None:
        self._call("grow_disk", volume_id, f"{size_gib} GiB")

    def attach_disk(self, instance_id: str, volume_id: str) -> None:
        self._call("attach_disk", instance_id, volume_id)

    def detach_disk(self, instance_id: str, volume_id: str, *, force: bool = False) -> None:
        self._call("force_detach_disk" if force else "detach_disk", instance_id, volume_id)

    def set_disk_writable(self, instance_id: str, *, writable: bool) -> None:
        self._call("set_disk_writable", instance_id, str(writable))

    def break_disk(self, instance_id: str) -> None:
        self._call("break_disk", instance_id)

    def run(
        self, instance_id: str, argv: Sequence[str], *, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        raise LabError(f"{instance_id} is on paper: {argv} within {timeout_s} s")

    def journal(self, instance_id: str, *, into: Path) -> None:
        raise LabError(f"{instance_id} is on paper: no journal into {into}")

    def machines(self) -> Sequence[str]:
        return tuple(self.specs)


def _open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate
