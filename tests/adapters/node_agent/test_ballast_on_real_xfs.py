"""The ballast and the probe on a real XFS that runs full, grows in use, and takes no more writes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from node_agent.ballast import Ballast
from node_agent.commands.grow_file_system import grow
from node_agent.commands.release_ballast import release
from node_agent.probes import disk
from node_agent.shell import Result
from tests.adapters.node_agent.conftest import Debian

GIB = 1024**3
pytestmark = pytest.mark.root


class Xfs:
    """A file behind a loop device, with the nodes' own xfsprogs."""

    def __init__(self, debian: Debian, folder: Path) -> None:
        self._debian, self._image, self.mount = debian, folder / "image", folder / "mount"
        self.mount.mkdir()
        with self._image.open("wb") as image:
            image.truncate(GIB)
        self.device = self._do("losetup", "--show", "-f", str(self._image)).strip()
        self._run("mkfs.xfs", "-q", "-K", self.device)
        self._do("mount", "-t", "xfs", "-o", "noatime,nouuid", self.device, str(self.mount))
        (self.mount / "disk.json").write_text("{}")

    @staticmethod
    def _do(*words: str) -> str:
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def _run(self, program: str, *words: str) -> None:
        found = self._debian.command(program, *words)
        self._do(*(w.replace("/usr/bin/", "/usr/sbin/") for w in found))

    def grow(self) -> str:
        def xfs_growfs(argv: list[str], *, timeout_s: float) -> Result:
            """Debian's is a program; this host may have none."""
            assert timeout_s > 0
            self._run(*argv)
            return Result(code=0, out="")

        return grow(self.mount, xfs_growfs)

    def enlarge_device(self) -> None:
        os.truncate(self._image, 2 * GIB)
        self._do("losetup", "-c", self.device)

    def fill(self) -> None:
        """To the last block."""
        with (self.mount / "filling").open("wb", buffering=0) as file:
            for size in (1024 * 1024, 4096):
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def read_only(self) -> None:
        self._do("mount", "-o", "remount,ro", str(self.mount))

    def close(self) -> None:
        self._do("umount", str(self.mount))
        self._do("losetup", "-d", self.device)


@pytest.fixture
def xfs(debian: Debian, tmp_path: Path) -> Iterator[Xfs]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    found = Xfs(debian, tmp_path)
    yield found
    found.close()


def test_a_full_disk_gets_room_from_its_ballast_and_grows_in_use(xfs: Xfs) -> None:
    ballast = Ballast(xfs.mount)
    ballast.make()
    held = ballast.held_bytes()
    assert held >= 0.9 * GIB * 2 // 100
    assert disk.writable(xfs.mount) is True
    xfs.fill()
    full = disk.sizes(xfs.mount)
    assert full["used_bytes"] >= 0.99 * full["size_bytes"]
    assert full["ballast_bytes"] == held
    assert disk.writable(xfs.mount) is True  # its few bytes lie there already

    assert release(xfs.mount) == f"{held} bytes of ballast were released"
    (xfs.mount / "work").write_bytes(bytes(held // 2))
    assert "no ballast is made" in ballast.make()

    xfs.enlarge_device()
    small = disk.sizes(xfs.mount)
    assert small["device_bytes"] == 2 * GIB
    assert "it grew from" in xfs.grow()
    grown = disk.sizes(xfs.mount)
    assert grown["size_bytes"] > 1.8 * GIB
    assert grown["ballast_bytes"] > held
    assert "it has" in xfs.grow()


def test_a_disk_that_went_read_only_says_so(xfs: Xfs) -> None:
    assert disk.writable(xfs.mount) is True
    xfs.read_only()
    assert disk.writable(xfs.mount) is False
    assert disk.sizes(xfs.mount)["read_only"] is True
