"""Whether this computer can carry the lab, in clear sentences, before anything is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab.errors import LabError
from lab.host.paths import Paths
from lab.ports import REGIONS

DISK_BYTES_MIN = 6 * 1024**3
MEMORY_BYTES_MIN = 4 * 1024**3
TOOLS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "losetup": "mount",
    "nsenter": "util-linux",
}


def check(paths: Paths) -> None:
    """Raises LabError naming the first thing that is missing and what to do."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root (namespaces, cgroups, loop devices): run it with sudo")
    for name, package in TOOLS.items():
        if shutil.which(name) is None:
            raise LabError(f"{name} is missing: apt-get install {package} (make setup does it)")
    for device in ("/dev/net/tun", "/dev/loop-control"):
        if not Path(device).exists():
            raise LabError(
                f"{device} is missing: this kernel cannot carry the lab's network or disks"
            )
    _space(paths)
    _routes()


def _space(paths: Paths) -> None:
    parent = paths.state
    while not parent.exists():
        parent = parent.parent
    free = shutil.disk_usage(parent).free
    if free < DISK_BYTES_MIN:
        raise LabError(
            f"only {free / 1024**3:.1f} GiB are free at {parent}, the lab needs "
            f"{DISK_BYTES_MIN / 1024**3:.0f}: free some, or set PGMEND_LAB_STATE to a larger disk"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < MEMORY_BYTES_MIN:
        raise LabError(
            f"this computer has {memory / 1024**3:.1f} GiB of memory, the lab needs "
            f"{MEMORY_BYTES_MIN / 1024**3:.0f}"
        )


def _routes() -> None:
    """The lab's ranges must not be somebody else's on this computer."""
    for region in REGIONS:
        listed = subprocess.run(
            ["ip", "-4", "route", "show", "root", region.cidr],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for line in listed.splitlines():
            if "pgmh-" not in line:
                raise LabError(
                    f"this computer already routes part of {region.cidr} ({line.strip()}); "
                    "the lab needs that range"
                )
