"""One machine: an overlay over the root file system, a systemd of its own under systemd-nspawn, in its own groups."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from lab.errors import LabError
from lab.host import cgroups
from lab.host.network import namespace
from lab.host.shell import attempt, tool
from lab.ports import MachineSpec

REBOOT_EXIT = 133
SIGRTMIN_HALT = signal.SIGRTMIN + 4  # systemd: poweroff.target
SIGRTMIN_REBOOT = signal.SIGRTMIN + 5


class Machine:
    """A machine that exists; running or not. Thread-safe."""

    def __init__(
        self,
        spec: MachineSpec,
        folder: Path,
        lower: Sequence[Path],
        *,
        on_boot: Callable[[MachineSpec], None],
        on_exit: Callable[[MachineSpec], None],
    ) -> None:
        self.spec = spec
        self._folder, self._lower = folder, lower
        self._on_boot, self._on_exit = on_boot, on_exit
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._wanted = False
        self.lost = False
        self.link_up = True

    @property
    def root(self) -> Path:
        """Where the machine's file system is mounted on this computer."""
        return self._folder / "root"

    def create(self) -> None:
        """The overlay, powered off."""
        for name in ("upper", "work", "root"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        upper = self._folder / "upper"
        (upper / "etc/lab").mkdir(parents=True, exist_ok=True)
        (upper / "etc/machine-id").write_text("")
        (upper / "etc/hostname").write_text(f"{self.spec.hostname}\n")
        (upper / "etc/hosts").write_text(
            f"127.0.0.1 localhost\n{self.spec.address} {self.spec.hostname}\n"
        )
        (upper / "etc/lab/endpoint").write_text(f"{self.spec.endpoint}\n")
        lower = ":".join(str(path) for path in self._lower)
        options = f"lowerdir={lower},upperdir={upper},workdir={self._folder / 'work'}"
        tool(["mount", "-t", "overlay", "pgmend-lab", "-o", options, str(self.root)])

    def power_on(self) -> None:
        """Boot; returns once init runs."""
        with self._lock:
            if self.running():
                return
            self._wanted, self.lost = True, False
            self._boot()

    def _boot(self) -> None:
        group = self.spec.instance_id
        folders = cgroups.make(group)
        with suppress(OSError):
            cgroups.freeze(group, frozen=False)
        joins = "".join(f"echo $$ > {folder}/cgroup.procs; " for folder in folders)
        command = [
            *("systemd-nspawn", "--quiet", "--boot", "--directory", str(self.root)),
            *("--machine", self.spec.hostname, "--register=no", "--keep-unit", "--console=pipe"),
            *("--network-namespace-path", f"/run/netns/{namespace(group)}"),
            *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        ]
        with (self._folder / "console.log").open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["/bin/sh", "-c", joins + 'exec "$@"', "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )
        self._wait_for_init(self._nspawn)
        threading.Thread(target=self._watch, args=(self._nspawn,), daemon=True).start()
        self._on_boot(self.spec)

    def _wait_for_init(self, nspawn: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            pid = self.init_pid()
            if pid is not None and self._runs(pid) == "systemd":
                return
            if nspawn.poll() is not None:
                break
            time.sleep(0.01)
        raise LabError(
            f"machine {self.spec.instance_id} did not boot; see {self._folder / 'console.log'}"
        )

    @staticmethod
    def _proc(pid: int) -> Path:
        return Path(f"/proc/{pid}")

    def _runs(self, pid: int) -> str | None:
        """The name of what runs there; None for a process that has just gone, as nspawn's helpers do."""
        try:
            return (self._proc(pid) / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None

    def _watch(self, nspawn: subprocess.Popen[bytes]) -> None:
        """Boot again after a reboot; tell when the machine went off by itself."""
        code = nspawn.wait()
        with self._lock:
            if nspawn is not self._nspawn:
                return
            if code == REBOOT_EXIT and self._wanted:
                self._boot()
                return
            by_itself = self._wanted and not self.lost
            self._wanted = self._wanted and self.lost
        if by_itself:
            self._on_exit(self.spec)

    def init_pid(self) -> int | None:
        """Process id of the machine's init as this computer sees it."""
        nspawn = self._nspawn
        if nspawn is None:
            return None
        with suppress(OSError, ValueError, IndexError):
            listed = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
            return int(listed[0])
        return None

    def running(self) -> bool:
        """Whether nspawn runs."""
        return self._nspawn is not None and self._nspawn.poll() is None

    def healthy(self) -> bool:
        """What EC2's status checks would see."""
        if not self.running() or not self.link_up or self.init_pid() is None:
            return False
        return not cgroups.frozen(self.spec.instance_id)

    def shut_down(self, *, timeout_s: float) -> bool:
        """Ask init to power off; kill it after the time-out."""
        with self._lock:
            self._wanted = False
            pid, nspawn = self.init_pid(), self._nspawn
        if nspawn is None or nspawn.poll() is not None:
            return True
        if pid is not None and not cgroups.frozen(self.spec.instance_id):
            with suppress(ProcessLookupError):
                os.kill(pid, SIGRTMIN_HALT)
            with suppress(subprocess.TimeoutExpired):
                nspawn.wait(timeout_s)
                return True
        self.kill()
        return False

    def reboot(self, *, timeout_s: float) -> None:
        """Ask init to reboot; kill and boot when it has not gone down in time."""
        before, pid = self._nspawn, self.init_pid()
        if pid is not None and before is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, SIGRTMIN_REBOOT)
            with suppress(subprocess.TimeoutExpired):
                before.wait(timeout_s)
                return
        self.kill()
        self.power_on()

    def power_loss(self) -> None:
        """Everything in it is killed at once; EC2 is not told."""
        with self._lock:
            self.lost = True
        self._kill_all()

    def kill(self) -> None:
        """End it the hard way, on purpose."""
        with self._lock:
            self._wanted = False
        self._kill_all()

    def _kill_all(self) -> None:
        with suppress(OSError):
            cgroups.freeze(self.spec.instance_id, frozen=False)
        cgroups.kill(self.spec.instance_id)
        if self._nspawn is not None:
            with suppress(subprocess.TimeoutExpired):
                self._nspawn.wait(10)

    def destroy(self) -> None:
        """Kill it and remove overlay and groups."""
        self.kill()
        if not attempt(["umount", str(self.root)]):
            attempt(["umount", "--lazy", str(self.root)])
        cgroups.remove(self.spec.instance_id)
        keep = self._folder / "console.log"
        if keep.exists():
            keep.rename(self._folder.parent / f"{self.spec.instance_id}.console.log")
        shutil.rmtree(self._folder, ignore_errors=True)

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs something through the machine's own systemd."""
        pid = self.init_pid()
        if pid is None:
            raise LabError(f"{self.spec.hostname} ({self.spec.instance_id}) is not running")
        inside = ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-p", "-n", "-C", "-r", "-w", "--"]
        environment = [
            "env",
            "-i",
            "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
        ]
        return [*inside, *environment, *argv]

    def run(self, argv: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        as_it_is = "--expand-environment=no"  # ${...} in a script is the script's own
        wrapped = ["systemd-run", "--wait", "--pipe", "--quiet", "--collect", as_it_is, *argv]
        return subprocess.run(
            self.enter(wrapped), capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def journal(self, into: Path) -> None:
        """Save the journal, read from outside so that it works on a dead machine too, and the console."""
        into.mkdir(parents=True, exist_ok=True)
        text = subprocess.run(
            ["journalctl", "--root", str(self.root), "--no-pager", "--output=short-precise"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        (into / f"{self.spec.hostname}-{self.spec.instance_id}.journal").write_text(text)
        console = self._folder / "console.log"
        if console.exists():
            shutil.copy(console, into / f"{self.spec.hostname}-{self.spec.instance_id}.console")
