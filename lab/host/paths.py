"""Where the lab keeps things on this computer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """cache survives `lab down`; state and run do not."""

    cache: Path
    state: Path
    run: Path

    @classmethod
    def from_env(cls) -> Paths:
        """PGMEND_CACHE, PGMEND_LAB_STATE and PGMEND_LAB_RUN override the defaults."""
        return cls(
            cache=Path(os.environ.get("PGMEND_CACHE", "/var/cache/pgmend")),
            state=Path(os.environ.get("PGMEND_LAB_STATE", "/var/lib/pgmend-lab")),
            run=Path(os.environ.get("PGMEND_LAB_RUN", "/run/pgmend-lab")),
        )

    @property
    def socket(self) -> Path:
        """The lab daemon's control socket."""
        return self.run / "control.sock"

    @property
    def lock(self) -> Path:
        """Held by the daemon while it lives."""
        return self.run / "lock"

    @property
    def evidence(self) -> Path:
        """Append-only records of what happened in this lab."""
        return self.state / "evidence"

    def machine(self, instance_id: str) -> Path:
        """One machine's overlay and console."""
        return self.state / "machines" / instance_id

    def disk(self, volume_id: str) -> Path:
        """One volume's sparse file."""
        return self.state / "disks" / f"{volume_id}.img"
