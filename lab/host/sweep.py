"""Removes every trace of a lab, also of a crashed one. It touches only what carries the lab's own names."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from lab.host import cgroups, disks
from lab.host.network import router
from lab.host.paths import Paths
from lab.host.shell import attempt, tool
from lab.ports import REGIONS


def leftovers(paths: Paths) -> list[str]:
    """What a lab left on this computer, in words."""
    found = [f"process {pid}" for pid in sorted(cgroups.pids() - {os.getpid()})]
    found += [f"mount {mount}" for mount in _mounts(paths)]
    found += [f"namespace {name}" for name in _namespaces()]
    found += [f"link {name}" for name in _links()]
    found += [
        f"control group {r / cgroups.NAME}"
        for r in cgroups.hierarchies()
        if (r / cgroups.NAME).exists()
    ]
    found += [f"loop device {name}" for name in _loops(paths)]
    return found


def sweep(paths: Paths, *, spare: frozenset[int] = frozenset()) -> None:
    """Remove it all. Safe to call at any time, twice, and on a clean computer."""
    spare |= {os.getpid()}
    for group in _frozen():
        cgroups.freeze(group, frozen=False)
    cgroups.kill(spare=spare)
    for mount in sorted(_mounts(paths), key=len, reverse=True):
        if not attempt(["umount", mount]):
            attempt(["umount", "--lazy", mount])
    for name in _namespaces():
        attempt(["ip", "netns", "del", name])
    for name in _links():
        attempt(["ip", "link", "del", name])
    disks.release(paths)
    cgroups.remove()
    for name in ("machines", "disks", "image", "functions"):
        shutil.rmtree(paths.state / name, ignore_errors=True)
    for name in ("wan.sock", "control.sock", "ready.json"):
        (paths.run / name).unlink(missing_ok=True)


def _frozen() -> list[str]:
    base = next(
        (r / cgroups.NAME for r in cgroups.hierarchies() if (r / cgroups.NAME).exists()), None
    )
    if base is None:
        return []
    return [
        folder.name for folder in base.iterdir() if folder.is_dir() and cgroups.frozen(folder.name)
    ]


def _mounts(paths: Paths) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1] for line in lines]
    return [point for point in points if point.startswith(f"{paths.state}/")]


def _namespaces() -> list[str]:
    folder = Path("/run/netns")
    routers = {router(region) for region in REGIONS}
    if not folder.exists():
        return []
    return [p.name for p in folder.iterdir() if p.name in routers or p.name.startswith("pgm-i-")]


def _links() -> list[str]:
    listed = json.loads(tool(["ip", "-json", "link"]) or "[]")
    return [item["ifname"] for item in listed if item.get("ifname", "").startswith("pgmh-")]


def _loops(paths: Paths) -> list[str]:
    listed = json.loads(tool(["losetup", "--list", "--json"]) or "{}")
    return [
        d["name"]
        for d in listed.get("loopdevices", [])
        if str(d.get("back-file", "")).startswith(f"{paths.state}/")
    ]
