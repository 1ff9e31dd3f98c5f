"""Whether the cluster is at full strength, and what is missing in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lambdas.core.diagnose import ORDERED, QUIET, Diagnosis, Finding
from lambdas.core.evidence import leader_gives_no_answer
from lambdas.core.model import Observation

SAID = {
    Diagnosis.SLOT_EMPTY: "has no instance",
    Diagnosis.BOOTING: "is booting",
    Diagnosis.CONFIGURING: "is being configured",
    Diagnosis.NOT_CONFIGURED: "waits to be configured",
    Diagnosis.SUSPECTED: "may be dead",
    Diagnosis.PRESUMED_DEAD: "is presumed dead",
    Diagnosis.TERMINATING: "is being terminated",
    Diagnosis.UNREACHABLE: "cannot be reached",
    Diagnosis.REGION_CUT_OFF: "is in a region that is cut off from AWS",
    Diagnosis.NO_CAPACITY: "has no instance, for want of capacity",
    Diagnosis.REPLICA_BROKEN: "does not stream",
    Diagnosis.REPLICA_DIVERGED: "is on another timeline",
    Diagnosis.REPLICA_STUCK: "does not finish starting",
    Diagnosis.REPLICA_CLONING: "is being cloned",
    Diagnosis.REPLICA_LAGGING: "lags",
    Diagnosis.REPLICA_WAL_GONE: "needs WAL that is gone",
    Diagnosis.REINIT_LOOP: "is made anew again and again",
    Diagnosis.DISK_ABSENT: "does not have its disk mounted",
    Diagnosis.DISK_FULL: "has a full disk",
    Diagnosis.DISK_READ_ONLY: "has a disk that takes no writes",
    Diagnosis.DISK_STALLED: "has a disk that does not answer",
    Diagnosis.CHECKSUM_FAILURES: "has wrong checksums",
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


def _helped(finding: Finding) -> str:
    incident = finding.evidence.incident
    stands_in = None if incident is None else incident.stand_in
    return f"; {stands_in} stands in" if stands_in is not None else ""


def judge(observation: Observation, findings: Mapping[str, Finding]) -> Strength:
    """Full: a leader, the birth closed, and every active slot healthy, or only to be replaced on somebody's order."""
    missing = [
        f"{name} {SAID.get(f.diagnosis, f'is {f.diagnosis}')}{_helped(f)}"
        for name, f in findings.items()
        if f.diagnosis not in QUIET | ORDERED
    ]
    if observation.leader is None:
        missing.insert(0, "no leader")
    elif leader_gives_no_answer(observation):
        missing.append(f"{observation.leader}'s PostgreSQL gives its agent no answer")
    if observation.birth is None or observation.birth.state != "born":
        missing.append("the cluster is not born")
    return Strength(full=not missing, missing=tuple(missing), leader=observation.leader)
