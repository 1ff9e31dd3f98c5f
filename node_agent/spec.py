"""The cluster spec as this node reads it; see docs/contracts.md. Kept on disk so that a reboot needs no AWS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from node_agent.errors import HoldError

KEPT = Path("/etc/pgmend/spec.json")
VERSION = 1


@dataclass(frozen=True)
class Spec:
    """The raw spec with the few questions asked of it."""

    raw: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str | bytes) -> Spec:
        """Raises HoldError for a version this agent does not read."""
        raw = json.loads(text)
        if raw.get("version") != VERSION:
            raise HoldError(
                f"cluster spec has version {raw.get('version')!r}, this agent reads {VERSION}"
            )
        return cls(raw)

    @classmethod
    def kept(cls) -> Spec | None:
        """The spec this node was configured with."""
        return cls.parse(KEPT.read_text()) if KEPT.exists() else None

    @cached_property
    def slots(self) -> Mapping[str, Mapping[str, Any]]:
        """By name."""
        return {slot["name"]: slot for slot in self.raw["slots"]}

    @property
    def voters(self) -> list[Mapping[str, Any]]:
        """Slots that vote in etcd."""
        return [slot for slot in self.raw["slots"] if slot["etcd_voter"]]

    def of_role(self, role: str) -> list[Mapping[str, Any]]:
        """Slots of a role, spare ones too."""
        return [slot for slot in self.raw["slots"] if slot["role"] == role]

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds."""
        timings: Mapping[str, float] = self.raw["timings"]
        return timings

    @property
    def patroni(self) -> Mapping[str, Any]:
        """Patroni's settings."""
        patroni: Mapping[str, Any] = self.raw["patroni"]
        return patroni

    @property
    def bus(self) -> str:
        """Name of every region's bus."""
        return str(self.raw["hub"]["bus"])
