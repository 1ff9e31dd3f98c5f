"""Volumes: sparse files behind loop devices, kept while the volume exists; attaching shows one to a machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from pathlib import Path

from lab.errors import LabError
from lab.host.paths import Paths
from lab.host.shell import attempt, tool

GIB = 1024**3


def by_id(volume_id: str) -> str:
    """The link that EC2's Nitro hosts have for a volume."""
    return f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"


class Disks:
    """Every volume's file and loop device."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._devices: dict[str, str] = {}
        self._lock = threading.Lock()

    def create(self, volume_id: str, *, size_gib: int, copy_of: str | None = None) -> None:
        """A new blank volume, or a copy."""
        path = self._paths.disk(volume_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            if volume_id in self._devices:
                return
            if copy_of is not None:
                tool(
                    [
                        "cp",
                        "--sparse=always",
                        "--reflink=auto",
                        str(self._paths.disk(copy_of)),
                        str(path),
                    ]
                )
            else:
                path.touch()
            os.truncate(path, size_gib * GIB)
            self._devices[volume_id] = self._loop(path)

    @staticmethod
    def _loop(path: Path) -> str:
        device = tool(["losetup", "--find"]).strip()
        if not Path(device).exists():
            number = re.sub(r"\D", "", device)
            tool(["mknod", device, "b", "7", number])
        return tool(["losetup", "--find", "--show", str(path)]).strip()

    def delete(self, volume_id: str) -> None:
        """For good."""
        with self._lock:
            device = self._devices.pop(volume_id, None)
            if device is not None:
                tool(["losetup", "--detach", device])
            self._paths.disk(volume_id).unlink(missing_ok=True)

    def grow(self, volume_id: str, *, size_gib: int) -> None:
        """Larger, also while in use."""
        path = self._paths.disk(volume_id)
        if size_gib * GIB < path.stat().st_size:
            raise LabError(f"{volume_id} cannot shrink")
        os.truncate(path, size_gib * GIB)
        tool(["losetup", "--set-capacity", self._device(volume_id)])

    def _device(self, volume_id: str) -> str:
        try:
            return self._devices[volume_id]
        except KeyError:
            raise LabError(f"there is no disk {volume_id}") from None

    def show(self, volume_id: str, init_pid: int) -> None:
        """Make the device and its by-id link in a running machine."""
        number = os.minor(Path(self._device(volume_id)).stat().st_rdev)
        name, target = f"/dev/nvme-{volume_id}", by_id(volume_id)
        script = (
            f"[ -b {name} ] || mknod -m 660 {name} b 7 {number}; "
            f"mkdir -p {Path(target).parent}; ln -sfn {name} {target}"
        )
        tool(["nsenter", "-t", str(init_pid), "-m", "--", "/bin/sh", "-c", script])

    def hide(self, volume_id: str, init_pid: int) -> None:
        """Take the device away from a running machine; refused while it is mounted there."""
        name, target = f"/dev/nvme-{volume_id}", by_id(volume_id)
        mounted = attempt(
            [
                "nsenter",
                "-t",
                str(init_pid),
                "-m",
                "--",
                "/bin/sh",
                "-c",
                f"grep -q '^{name} ' /proc/1/mounts",
            ]
        )
        if mounted:
            raise LabError(f"{volume_id} is still mounted in its machine")
        tool(["nsenter", "-t", str(init_pid), "-m", "--", "rm", "-f", name, target])

    def down(self) -> None:
        """Detach every device; the files go with the state folder."""
        with self._lock:
            self._devices.clear()
        release(self._paths)


def release(paths: Paths) -> None:
    """Detach every loop device whose file lies in the lab's state folder, also those of a lab that crashed."""
    listed = json.loads(tool(["losetup", "--list", "--json"]) or "{}")
    for device in listed.get("loopdevices", []):
        if str(device.get("back-file", "")).startswith(f"{paths.state}/"):
            attempt(["losetup", "--detach", device["name"]])


def forget(paths: Paths) -> None:
    """Remove the files."""
    shutil.rmtree(paths.state / "disks", ignore_errors=True)
