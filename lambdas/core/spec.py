"""The cluster as OpenTofu declared it, as frozen data. What a spec does not say has its default here.

`_s` is seconds, `_gib` and `_mibs` are gibibytes and mebibytes a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final

GROWTH_FACTOR_MAX: Final = 4


class Role(StrEnum):
    """What a slot is for."""

    DB = "db"
    HAPROXY = "haproxy"
    APP = "app"
    WITNESS = "witness"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """The volume a slot should have. The healer may let it grow to `max_gib`."""

    size_gib: int
    type: str
    iops: int
    throughput_mibs: int
    kms_key_id: str | None
    max_gib: int | None = None

    @property
    def limit_gib(self) -> int:
        """How large the disk may become."""
        return self.max_gib if self.max_gib is not None else GROWTH_FACTOR_MAX * self.size_gib


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A name, a role, a zone and an address that outlive instances.

    `instance_types` are asked for in this order when there is no capacity; the first is the launch template's own.
    """

    name: str
    role: Role
    region: str
    zone: str
    address: str
    interface_id: str
    launch_template_id: str
    launch_template_version: str
    active: bool
    etcd_voter: bool
    disk: DiskSpec | None
    instance_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds, from the spec."""

    report_interval_s: float
    metric_interval_s: float
    probe_timeout_s: float
    peer_silent_after_s: float
    agent_silent_after_s: float
    boot_grace_s: float
    configure_timeout_s: float
    look_interval_s: float
    restart_wait_s: float
    lease_s: float
    wake_stale_after_s: float
    run_budget_s: float
    unreachable_after_s: float = 300.0
    drain_before_s: float = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be replaced before a person is asked."""

    replacements_per_hour: int
    replacements_per_day: int
    launches_in_parallel: int
    failed_launches_per_hour: int
    disk_growths_per_day: int = 4  # of one slot; EC2 allows one change of a volume in six hours


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The cluster as OpenTofu declared it."""

    cluster: str
    size: str
    durability: str
    hub_region: str
    regions: tuple[str, ...]
    slots: tuple[Slot, ...]
    timings: Timings
    budget: Budget

    @cached_property
    def by_name(self) -> Mapping[str, Slot]:
        """Slots by their names."""
        return MappingProxyType({slot.name: slot for slot in self.slots})

    @cached_property
    def voters(self) -> tuple[Slot, ...]:
        """The slots whose occupants vote in etcd."""
        return tuple(slot for slot in self.slots if slot.etcd_voter)
