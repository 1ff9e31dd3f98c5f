"""A PostgreSQL of this machine, if it has one, for the writer and the prober."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server; everybody is trusted."""

    port: int
    directory: Path
    bin: Path

    def control(self, *words: str) -> None:
        """Run pg_ctl as the server's user."""
        options = f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 -c fsync=off"
        as_server_user(
            self.directory,
            [
                str(self.bin / "pg_ctl"),
                "-D",
                str(self.directory / "data"),
                "-w",
                "-o",
                options,
                "-l",
                str(self.directory / "log"),
                *words,
            ],
        )

    def sql(self, statement: str, *, dbname: str = "app") -> str:
        """Run one statement as superuser and return what it printed."""
        done = subprocess.run(
            [
                "psql",
                "-h",
                "127.0.0.1",
                "-p",
                str(self.port),
                "-U",
                "postgres",
                "-AtqX",
                "-d",
                dbname,
                "-c",
                statement,
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()


def as_server_user(directory: Path, argv: list[str]) -> None:
    """PostgreSQL refuses to run as root."""
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    subprocess.run(
        argv,
        check=True,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
    )


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    if not BINARIES or shutil.which("psql") is None:
        pytest.skip("no PostgreSQL server is installed here (Debian package postgresql)")
    directory = Path(tempfile.mkdtemp(prefix="pgmend-test-"))
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres")
    server = Server(port=free_port(), directory=directory, bin=BINARIES[-1].parent)
    as_server_user(
        directory,
        [
            str(server.bin / "initdb"),
            "-D",
            str(directory / "data"),
            "-A",
            "trust",
            "-U",
            "postgres",
            "--no-sync",
        ],
    )
    server.control("start")
    try:
        server.sql("CREATE ROLE app LOGIN", dbname="postgres")
        server.sql("CREATE DATABASE app OWNER app", dbname="postgres")
        yield server
    finally:
        server.control("stop", "-m", "immediate")
        shutil.rmtree(directory)
