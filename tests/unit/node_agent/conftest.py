"""A node's file system below a temporary folder: every path the agent knows leads there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from node_agent import ballast, database, disk, lock, paths, phase, report, spec, standing, units
from node_agent.commands import configure, diagnose, post_bootstrap
from node_agent.setup import etcd, front, patroni

UNIT_FILES = ("etcd", "patroni", "haproxy", "pgmend-app", "pgmend-disk", "pgmend-agent")


class Home:
    """Where things lie in this test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc, self.data, self.state = root / "etc", root / "data", root / "state"
        self.units, self.packaged = root / "systemd", root / "packaged"
        self.data_dir = self.data / "postgresql" / "data"
        self.etcd = self.data / "etcd"
        self.patroni = self.etc / "patroni" / "config.yml"
        self.roles = self.etc / "patroni" / "roles.json"
        self.monitor = self.etc / "monitor.json"
        self.spec = self.etc / "spec.json"
        self.phase = self.state / "phase"
        self.environment = self.etc / "default-etcd"
        self.boot_record = self.etc / "disk.json"
        self.haproxy = self.etc / "haproxy.cfg"
        self.app = self.etc / "app.json"
        for folder in (self.etc, self.data, self.state, self.units, self.packaged):
            folder.mkdir()
        for unit in UNIT_FILES:
            (self.packaged / f"{unit}.service").write_text("[Unit]\n")

    def enabled(self) -> set[str]:
        """Units that start at boot."""
        wants = self.units / "multi-user.target.wants"
        return {link.name.removesuffix(".service") for link in wants.glob("*.service")}

    def a_database(self) -> None:
        """A finished data directory."""
        (self.data_dir / "global").mkdir(parents=True)
        (self.data_dir / "global" / "pg_control").write_bytes(b"control")

    def half_a_clone(self) -> None:
        """A base backup that was cut short."""
        self.data_dir.mkdir(parents=True)
        (self.data_dir / "backup_label").write_text("START WAL LOCATION\n")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The agent's paths, moved."""
    found = Home(tmp_path)
    moved: list[tuple[object, str, Path]] = [
        (paths, "DATA", found.data),
        (disk, "DATA", found.data),
        (disk, "FORMATTING", found.state / "formatting"),
        (disk, "BOOT_RECORD", found.boot_record),
        (disk, "BY_ID", found.root / "by-id"),
        (disk, "LOCK", found.root / "disk.lock"),
        (lock, "COMMANDS", found.root / "command.lock"),
        (database, "FOLDER", found.data / "postgresql"),
        (database, "DATA_DIR", found.data_dir),
        (etcd, "FOLDER", found.etcd),
        (etcd, "ENVIRONMENT", found.environment),
        (patroni, "CONFIG", found.patroni),
        (patroni, "ROLES", found.roles),
        (patroni, "SECRET_FILE", found.monitor),
        (diagnose, "CONFIG", found.patroni),
        (diagnose, "ROLES", found.roles),
        (diagnose, "SECRET_FILE", found.monitor),
        (diagnose, "DATA", found.data),
        (post_bootstrap, "ROLES", found.roles),
        (front, "HAPROXY_FILE", found.haproxy),
        (front, "APP_FILE", found.app),
        (standing, "SECRET_FILE", found.monitor),
        (report, "SECRET_FILE", found.monitor),
        (report, "DATA", found.data),
        (report, "DATA_DIR", found.data_dir),
        (spec, "KEPT", found.spec),
        (configure, "KEPT", found.spec),
        (phase, "PHASE_FILE", found.phase),
        (units, "FOLDER", found.units),
        (units, "PACKAGED", found.packaged),
    ]
    for module, name, path in moved:
        monkeypatch.setattr(module, name, path)
    # A share of this computer's own disk is nothing to fill for a test.
    monkeypatch.setattr(ballast, "BYTES_MAX", 64 * 1024)
    # Owners are users of a node; who runs the tests has neither them nor the right to give files away.
    monkeypatch.setattr(shutil, "chown", lambda *_: None)
    return found
