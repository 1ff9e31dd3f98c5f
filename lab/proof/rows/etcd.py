"""An etcd member is down, has lost its data, or raises an alarm."""

from __future__ import annotations

from typing import Final

from lab.proof.scenario import Row, Scenario, blow

ROWS: Final[tuple[Row, ...]] = (
    Scenario(
        name="etcd-down",
        row="etcd member down",
        blows=blow("stop-service", "witness"),
        called=("service-down", "etcd-unhealthy"),  # whichever word of the node comes first
        must=("restart-service:etcd",),
        full_s=60.0,
    ),
    Scenario(
        name="etcd-data-lost",
        row="etcd member's data lost",
        blows=blow("etcd-data-lost", "witness"),
        called=("etcd-lost",),
        must=("replace-etcd-member",),
        may=("restart-service:etcd",),
        full_s=180.0,
    ),
    Scenario(
        name="etcd-nospace",
        row="etcd alarm NOSPACE",
        blows=blow("etcd-nospace", "witness"),
        called=("etcd-full",),
        must=("repair-etcd",),
        full_s=90.0,
        outage_s=45.0,  # nobody can renew the leader's lease while etcd takes no writes
    ),
    Scenario(
        name="etcd-corrupt",
        row="etcd alarm CORRUPT",
        blows=blow("etcd-corrupt", "witness"),
        called=("etcd-corrupt",),
        must=("replace-etcd-member",),
        full_s=120.0,
        outage_s=60.0,  # etcd serves nobody while the alarm stands
    ),
)
