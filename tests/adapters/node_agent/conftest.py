"""The nodes' own Patroni and etcd, run from their root file system on this computer: no node, no root, loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.host.paths import Paths

ROOT = Path(__file__).resolve().parents[3]
READY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """Programs of the nodes' root file system, with their own loader and libraries."""

    root: Path

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line that runs it here."""
        (loader,) = (self.root / "usr").glob("lib*/ld-linux-*.so.*")
        (libraries,) = (self.root / "usr/lib").glob("*-linux-gnu")
        return [
            *(str(loader), "--library-path", str(libraries)),
            *(str(self.root / "usr/bin" / program), *arguments),
        ]

    def python(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Debian's Python with its own packages and this checkout."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONHOME": str(self.root / "usr"),
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.run(
            self.command("python3", "-P", "-B", *arguments),
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One etcd process."""

    url: str
    process: subprocess.Popen[bytes]


class Cluster:
    """Three etcd members on loopback."""

    def __init__(self, debian: Debian, directory: Path) -> None:
        ports = free_ports(6)
        names = ("a", "b", "c")
        peers = {name: f"http://127.0.0.1:{ports[i]}" for i, name in enumerate(names)}
        self.members = [
            self._start(debian, directory, name, peers, f"http://127.0.0.1:{ports[3 + i]}")
            for i, name in enumerate(names)
        ]

    @staticmethod
    def _start(
        debian: Debian, directory: Path, name: str, peers: dict[str, str], client: str
    ) -> Member:
        words = {
            "name": name,
            "data-dir": str(directory / name),
            "listen-peer-urls": peers[name],
            "initial-advertise-peer-urls": peers[name],
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "initial-cluster": ",".join(f"{peer}={url}" for peer, url in peers.items()),
            "initial-cluster-token": directory.name,
            "unsafe-no-fsync": "true",
        }
        with (directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                debian.command("etcd", *(f"--{word}={value}" for word, value in words.items())),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return Member(url=client, process=process)

    @property
    def urls(self) -> list[str]:
        return [member.url for member in self.members]

    def wait(self) -> None:
        """Until every member serves linearizable reads."""
        end = time.monotonic() + READY_S
        while not all(healthy(url) for url in self.urls):
            assert time.monotonic() < end, "etcd has not come up"
            time.sleep(0.1)

    def signal(self, number: signal.Signals, members: Sequence[Member]) -> None:
        for member in members:
            member.process.send_signal(number)

    def close(self) -> None:
        for member in self.members:
            member.process.kill()
        for member in self.members:
            member.process.wait()


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:  # noqa: S310 - loopback
            return str(json.load(answer).get("health")) == "true"
    except (urllib.error.URLError, OSError, ValueError):
        return False


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="session")
def debian() -> Debian:
    """Skips where the lab has never been started, which builds the root file system."""
    if sys.platform != "linux":
        pytest.skip("the nodes' programs are Linux's")
    found = [
        root
        for root in Paths.from_env().cache.glob("rootfs-*")
        if (root / "usr/lib/python3/dist-packages/patroni/dcs/etcd3.py").exists()
        and (root / "usr/bin/etcd").exists()
    ]
    if not found:
        pytest.skip("there is no root file system of the nodes yet; 'make lab-up' builds it")
    return Debian(root=max(found, key=lambda root: root.stat().st_mtime))


@pytest.fixture(scope="module")
def cluster(debian: Debian, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(debian, tmp_path_factory.mktemp("etcd"))
    try:
        running.wait()
        yield running
    finally:
        running.close()
