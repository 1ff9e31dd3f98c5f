"""One pass: every probe of this role at once, put together as the contract's report."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node_agent import services
from node_agent.database import DATA_DIR
from node_agent.node import Node
from node_agent.paths import DATA, SECRET_FILE, STATE
from node_agent.phase import phase
from node_agent.probes import haproxy, patroni, system
from node_agent.probes.beside import Beside
from node_agent.probes.disk import Disk
from node_agent.probes.etcd import Etcd
from node_agent.probes.http import Http, number, text
from node_agent.probes.peers import Peers
from node_agent.probes.postgres import Postgres, conninfo
from node_agent.probes.stand_ins import StandIns
from node_agent.spec import Spec

log = logging.getLogger("pgmend.agent")
VERSION, AGENT_VERSION = 1, "0.1.0"
ANSWER_S = 2.0  # until the spec says how long a probe may take


class Sequence:
    """A number that rises over restarts, a full root disk or a lost file among them.

    It starts above the number on disk and the seconds of the epoch, whichever is more. Passes are a second or more
    apart, so a life that began at its epoch second used no number beyond the second in which it ended: what could not
    be saved is not used again. The number on disk covers a clock that was put back and lives of a few seconds each.
    """

    def __init__(
        self, file: Path = STATE / "sequence", now: Callable[[], float] = time.time
    ) -> None:
        self._file = file
        self._saved = _saved(file)
        self._value = max(self._saved, int(now()))
        self._failing = False

    def next(self) -> int:
        """The next number. Blocks of a hundred are reserved on disk, so that few passes write."""
        self._value += 1
        if self._value > self._saved:
            self._save(self._value + 100)
        return self._value

    def _save(self, value: int) -> None:
        """Tried again at every pass until it succeeds; said once."""
        try:
            self._write(value)
        except OSError as error:
            if not self._failing:
                log.warning(
                    "the sequence cannot be saved: %s; it goes on in memory, free some space", error
                )
            self._failing = True
            return
        self._saved, self._failing = value, False

    def _write(self, value: int) -> None:
        """Over the old digits, all of one width: a full disk has no room for a new file, and has it for this."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{value:020d}\n")
            file.flush()
            os.fsync(file.fileno())


def _saved(file: Path) -> int:
    try:
        return number(file.read_text().strip()) or 0
    except (OSError, ValueError):
        return 0


def volume_id(file: Path) -> str | None:
    """The volume the disk says it is; None while it cannot be read, which must not silence the agent."""
    try:
        return text(json.loads(file.read_text()).get("volume_id"))
    except (OSError, ValueError, AttributeError):
        return None


def _answer(name: str, probe: Future[Any]) -> Any:  # noqa: ANN401 - what the probe found
    """A probe that this host's own failure breaks (a dead disk, a hung systemd) says nothing; the others still do."""
    try:
        return probe.result()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.warning("the probe of %s failed: %s", name, error)
        return None


class Reporter:
    """Makes reports. The spec is the one the node was configured with, or None while idle."""

    def __init__(
        self,
        node: Node,
        clock: Callable[[], float] = time.monotonic,
        sequence: Sequence | None = None,
    ) -> None:
        self._node, self._clock = node, clock
        self._sequence = sequence or Sequence()
        self._pool = ThreadPoolExecutor(max_workers=7, thread_name_prefix="probe")
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._started = clock()
        self.spec: Spec | None = None
        self._postgres: Postgres | None = None
        self._patroni = patroni.History()
        self._attempt = Beside("clone", lambda: patroni.attempt(DATA_DIR))
        self._disk = Disk(DATA, ANSWER_S, clock=clock)
        self._volume_id = Beside("volume", lambda: volume_id(DATA / "disk.json"))
        self._http = Http(ANSWER_S)
        self._peers, self._stand_ins = Peers(ANSWER_S), StandIns({}, ANSWER_S)
        self._app = system.App(self._http, ANSWER_S)
        self.reload()

    def reload(self) -> None:
        """Take the spec up once the node is configured."""
        self.spec = Spec.kept()
        if self.spec is None:
            return
        timeout_s = float(self.spec.timings["probe_timeout_s"])
        self._http, self._peers = Http(timeout_s), Peers(timeout_s)
        self._stand_ins = StandIns(self._others(self.spec, active=False), timeout_s)
        self._app = system.App(self._http, timeout_s)
        if self._node.role == "db" and SECRET_FILE.exists():
            if self._postgres is not None:
                self._postgres.close()
            password = json.loads(SECRET_FILE.read_text())["monitor"]
            self._postgres = Postgres(conninfo(password, timeout_s))

    def make(self) -> dict[str, Any]:
        """One report."""
        parts = self._probes()
        futures = {name: self._pool.submit(probe) for name, probe in parts.items()}
        found = {name: _answer(name, future) for name, future in futures.items()}
        return {
            "version": VERSION,
            "cluster": self._node.cluster,
            "slot": self._node.slot,
            "role": self._node.role,
            "region": self._node.region,
            "instance_id": self._node.instance_id,
            "sequence": self._sequence.next(),
            "boot_id": self._boot_id,
            "agent_version": AGENT_VERSION,
            "observed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "uptime_s": round(self._clock() - self._started, 1),
            "phase": phase(),
            **dict.fromkeys(("volume_id", "postgres", "patroni", "etcd", "haproxy", "app", "disk")),
            "services": {},
            "peers": {},
            **{name: part for name, part in found.items() if part is not None},
        }

    def _probes(self) -> Mapping[str, Callable[[], Any]]:
        """What this role looks at."""
        role, spec = self._node.role, self.spec
        probes: dict[str, Callable[[], Any]] = {
            "services": lambda: system.units(self.units()),
            "volume_id": self._volume,
        }
        if spec is None:
            return {**probes, "peers": dict}
        me = spec.slots[self._node.slot]
        probes["peers"] = lambda: self._peers.probe(self._neighbours(spec), self._clock())
        if me["disk"] is not None:
            probes["disk"] = self._disk.probe
        if me["etcd_voter"]:
            probes["etcd"] = Etcd(self._http).probe
        if role == "db":
            probes["patroni"] = lambda: self._ask_patroni(me["address"])
            if self._postgres is not None:
                probes["postgres"] = self._postgres.probe
        if role == "haproxy":
            probes["haproxy"] = lambda: haproxy.probe(float(spec.timings["probe_timeout_s"]))
        if role == "app":
            probes["app"] = self._app.probe
        return probes

    def _volume(self) -> str | None:
        found = self._volume_id.answer(ANSWER_S)
        return None if found is None else found[0]

    def _ask_patroni(self, address: str) -> dict[str, Any]:
        part = patroni.probe(self._http, address)
        found = self._attempt.answer(ANSWER_S) if part["state"] == patroni.CLONING else None
        return self._patroni.note(part, self._clock(), None if found is None else found[0])

    def units(self) -> tuple[str, ...]:
        """Units this slot runs; those of its role alone while no spec says more."""
        spec = self.spec or Spec.kept()
        return (
            services.OWN[self._node.role]
            if spec is None
            else services.of_slot(spec, self._node.slot)
        )

    def _neighbours(self, spec: Spec) -> dict[str, str]:
        return {**self._others(spec, active=True), **self._stand_ins.open(self._clock())}

    def _others(self, spec: Spec, *, active: bool) -> dict[str, str]:
        return {
            s["name"]: s["address"]
            for s in spec.raw["slots"]
            if s["active"] is active and s["name"] != self._node.slot
        }
