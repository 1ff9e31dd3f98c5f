"""systemd on this node: drop-ins, which units start at boot, starting and stopping.

Links are made here and not by `systemctl enable`, which runs Debian's SysV tools for every unit that also has an init
script and takes longer than all the rest of `configure`.
"""

from __future__ import annotations

from pathlib import Path

from node_agent import files
from node_agent.errors import AgentError
from node_agent.shell import Run, run

FOLDER = Path("/etc/systemd/system")
PACKAGED = Path("/usr/lib/systemd/system")
WANTS = "multi-user.target.wants"


class Units:
    """Units of this node."""

    def __init__(self, *, run: Run = run, folder: Path = FOLDER, packaged: Path = PACKAGED) -> None:
        self._run, self._folder, self._packaged = run, folder, packaged
        self._changed = False

    def drop_in(self, unit: str, text: str) -> None:
        """What the packaged unit lacks."""
        path = self._folder / f"{unit}.service.d" / "pgmend.conf"
        self._changed |= files.write(path, text)

    def enable(self, unit: str) -> None:
        """Start it at every boot."""
        name = f"{unit}.service"
        ours = self._folder / name
        target = ours if ours.exists() and not ours.is_symlink() else self._packaged / name
        if not target.exists():
            raise AgentError(f"there is no unit {name}; user data has not installed its package")
        link = self._folder / WANTS / name
        if link.is_symlink() and link.readlink() == target:
            return
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        # systemd reads the link at the next boot; until then the unit is started by name.
        link.symlink_to(target)

    def disable(self, unit: str) -> None:
        """Leave it stopped after a boot."""
        (self._folder / WANTS / f"{unit}.service").unlink(missing_ok=True)

    def settle(self) -> None:
        """Tell systemd what changed on disk; nothing when nothing did."""
        if self._changed:
            self._run(["systemctl", "daemon-reload"])
            self._changed = False

    def state(self, unit: str) -> str:
        """ActiveState, or `unknown`."""
        command = ["systemctl", "show", "--property=ActiveState", "--value", f"{unit}.service"]
        return self._run(command).out.strip() or "unknown"

    def exit_code(self, unit: str) -> str:
        """What its process ended with last; `0` while it runs."""
        command = ["systemctl", "show", "--property=ExecMainStatus", "--value", f"{unit}.service"]
        return self._run(command).out.strip()

    def exists(self, unit: str) -> bool:
        """Whether systemd knows it here."""
        command = ["systemctl", "show", "--property=LoadState", "--value", f"{unit}.service"]
        return self._run(command).out.strip() == "loaded"

    def start(self, unit: str) -> None:
        """Ask for it and do not wait; a unit that has failed before is given another chance."""
        self.settle()
        if self.state(unit) == "failed":
            self._run(["systemctl", "reset-failed", f"{unit}.service"], ok=(0, 1))
        self._run(["systemctl", "start", "--no-block", f"{unit}.service"])

    def stop(self, unit: str, *, timeout_s: float = 90.0) -> None:
        """Stop it and wait until it has."""
        self.settle()
        self._run(["systemctl", "stop", f"{unit}.service"], timeout_s=timeout_s)

    def end_leftovers(self, unit: str) -> None:
        """Kill what a stopped unit left running; only where nothing it holds is worth a clean end."""
        command = ["systemctl", "kill", "--kill-whom=all", "--signal=KILL", f"{unit}.service"]
        self._run(command, ok=(0, 1))

    def reload(self, unit: str) -> None:
        """Ask it to read its configuration again."""
        self.settle()
        self._run(["systemctl", "reload", "--no-block", f"{unit}.service"])

    def restart(self, unit: str, *, wait_s: float = 0.0) -> None:
        """Restart it; wait until it is up, if asked to. Raises AgentError when it does not come up."""
        self.settle()
        self._run(["systemctl", "reset-failed", f"{unit}.service"], ok=(0, 1))
        how = [] if wait_s else ["--no-block"]
        self._run(["systemctl", "restart", *how, f"{unit}.service"], timeout_s=wait_s or 30.0)
