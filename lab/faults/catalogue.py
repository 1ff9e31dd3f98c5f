"""Every fault the lab can do, by name. Each has its way back; `heal` is safe to call at any time, also twice.

A host that lost power alone has no way back by hand: the healer must replace it. Its `heal` does nothing, on purpose.
A region or a zone that lost power gets it back, and its hosts with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lab.errors import UsageError
from lab.faults import cloud, copies, disks, etcd, hosts, regions, services
from lab.faults.base import Fault, Injected
from lab.faults.hosts import POWER_LOSS

__all__ = ["FAULTS", "POWER_LOSS", "Fault", "Injected", "fault_named"]
SUBJECTS: Final = (hosts, services, copies, disks, etcd, cloud, regions)
FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault for subject in SUBJECTS for fault in subject.FAULTS
}


def fault_named(name: str) -> Fault:
    """The fault of that name; `_` and `-` mean the same. Raises UsageError listing the names."""
    found = FAULTS.get(name.replace("_", "-"))
    if found is None:
        raise UsageError(f"unknown fault '{name}': say one of {', '.join(FAULTS)}, big-database")
    return found
