"""Starts and stops the writer and the prober, and checks what the leader kept of what was
acknowledged.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import psycopg

from lab.errors import LabError
from lab.load.history import Outcome, Probe, Tail, Write, acked_ids
from lab.load.writer import TABLE
from lab.operator import Operator, Slot

ROOT: Final = Path(__file__).resolve().parents[2]
FIRST_WRITES_S: Final = 60.0


class Load(Protocol):
    """What the runner needs of the load."""

    def start(self) -> None:
        """Start, and return once every path has an acknowledged write."""

    def stop(self) -> None:
        """Stop; harmless when it does not run."""

    def collect(self) -> tuple[Sequence[Write], Sequence[Probe]]:
        """Everything so far."""

    def missing(self, leader_address: str) -> frozenset[int]:
        """Acknowledged ids the leader does not have."""


class Processes:
    """The real load: two processes of their own."""

    def __init__(self, directory: Path, api: Operator) -> None:
        self._directory = directory
        self._api = api
        self._running: list[subprocess.Popen[bytes]] = []
        self._writer_log = directory / "writer.csv"
        self._writes: list[Write] = []
        self._probes: list[Probe] = []
        self._new_writes = Tail(self._writer_log, Write)
        self._new_probes = Tail(directory / "prober.csv", Probe)

    def start(self) -> None:
        """Start both; LabError when no write is acknowledged on some path within a minute."""
        slots = self._api.slots()
        proxies = [slot for slot in slots if slot.role == "haproxy" and slot.active]
        databases = [slot for slot in slots if slot.role == "db"]
        words = [f"{slot.name}={slot.address}:5432" for slot in proxies]
        self._spawn("writer", [str(self._writer_log), *words])
        self._wait_for_first_writes({slot.name for slot in proxies})
        self._spawn(
            "prober",
            [
                str(self._directory / "prober.csv"),
                *(f"{slot.name}={slot.address}:5432" for slot in (*databases, *proxies)),
            ],
        )

    def stop(self) -> None:
        """End both and wait for them."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def collect(self) -> tuple[Sequence[Write], Sequence[Probe]]:
        """Everything written so far. Raises LabError when one of the two has died."""
        self._assert_alive()
        self._writes += self._new_writes.read()
        self._probes += self._new_probes.read()
        return self._writes, self._probes

    def missing(self, leader_address: str) -> frozenset[int]:
        """Acknowledged ids the leader does not have."""
        self.collect()
        promised = acked_ids(self._writes)
        return promised - present_ids(leader_address, self._api.passwords()["app"])

    def _spawn(self, name: str, arguments: Sequence[str]) -> None:
        log = (self._directory / f"{name}.log").open("ab")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"lab.load.{name}", *arguments],
                cwd=ROOT,
                env={**os.environ, "PGPASSWORD": self._api.passwords()["app"]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which stops its load itself
            )
        self._running.append(process)

    def _wait_for_first_writes(self, paths: set[str]) -> None:
        def acknowledged() -> set[str]:
            writes, _ = self.collect()
            return {write.path for write in writes if write.outcome is Outcome.ACKED}

        if not wait_until(lambda: paths <= acknowledged(), timeout_s=FIRST_WRITES_S):
            silent = ", ".join(sorted(paths - acknowledged()))
            raise LabError(
                f"no write was acknowledged through {silent} within {FIRST_WRITES_S:.0f} s;"
                f" see {self._directory / 'writer.log'}"
            )

    def _assert_alive(self) -> None:
        for process in self._running:
            if process.poll() is not None:
                name = str(process.args[2] if isinstance(process.args, list) else process.args)
                log = self._directory / f"{name.rpartition('.')[2]}.log"
                raise LabError(f"{name} ended by itself; see {log}")


def present_ids(address: str, password: str) -> frozenset[int]:
    """All ids the database at this address holds. Raises LabError when it does not answer."""
    try:
        with psycopg.connect(
            host=address,
            port=5432,
            user="app",
            dbname="app",
            password=password,
            connect_timeout=5,
            autocommit=True,
            gssencmode="disable",
        ) as connection:
            rows = connection.execute(f"SELECT id FROM {TABLE}").fetchall()  # noqa: S608
    except psycopg.Error as error:
        raise LabError(
            f"the leader at {address} could not be asked what it kept: {error}"
        ) from error
    return frozenset(row[0] for row in rows)


def wait_until(condition: Callable[[], bool], *, timeout_s: float, every_s: float = 0.25) -> bool:
    """True as soon as the condition holds, False when the time is over."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every_s)
    return True


def database_names(slots: Sequence[Slot]) -> frozenset[str]:
    """The slots whose probes are direct answers of a database."""
    return frozenset(slot.name for slot in slots if slot.role == "db")
