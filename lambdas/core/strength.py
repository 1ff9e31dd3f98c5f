"""Whether the cluster is at full strength, and what is missing in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lambdas.core.diagnose import QUIET, Diagnosis, Finding
from lambdas.core.model import Observation

SAID = {
    Diagnosis.SLOT_EMPTY: "has no instance",
    Diagnosis.BOOTING: "is booting",
    Diagnosis.CONFIGURING: "is being configured",
    Diagnosis.NOT_CONFIGURED: "waits to be configured",
    Diagnosis.SUSPECTED: "may be dead",
    Diagnosis.PRESUMED_DEAD: "is presumed dead",
    Diagnosis.TERMINATING: "is being terminated",
    Diagnosis.REPLICA_NOT_STREAMING: "does not stream",
    Diagnosis.WAITS_FOR_LEADER: "waits for a leader",
    Diagnosis.HAPROXY_BLIND: "sees no primary",
    Diagnosis.APP_NOT_READY: "is not ready",
    Diagnosis.ETCD_UNHEALTHY: "has an unhealthy etcd",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """The verdict of one look."""

    full: bool
    missing: tuple[str, ...]
    leader: str | None


def judge(observation: Observation, findings: Mapping[str, Finding]) -> Strength:
    """Full: a leader, the birth closed, and every active slot healthy with a fresh report."""
    missing = [
        f"{name} {SAID.get(f.diagnosis, f'is {f.diagnosis}')}"
        for name, f in findings.items()
        if f.diagnosis not in QUIET
    ]
    if observation.leader is None:
        missing.insert(0, "no leader")
    if observation.birth is None or observation.birth.state != "born":
        missing.append("the cluster is not born")
    return Strength(full=not missing, missing=tuple(missing), leader=observation.leader)
