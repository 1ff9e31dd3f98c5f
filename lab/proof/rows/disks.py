"""A slot's disk fills up, fails or goes."""

from __future__ import annotations

from typing import Final

from lab.proof.scenario import FRESH_DISK, Row, Scenario, blow

GROWN: Final = ("grow-disk", "grow-file-system")
ROWS: Final[tuple[Row, ...]] = (
    Scenario(
        name="disk-filling",
        row="disk filling",
        blows=blow("disk-filling", "leader"),
        called=("disk-filling",),
        must=GROWN,  # online, on the leader
        full_s=60.0,
    ),
    Scenario(
        name="disk-full",
        row="disk full",
        blows=blow("disk-full", "replica"),
        called=("disk-full",),
        must=("release-ballast", *GROWN),
        may=("join-replica", "restart-service:patroni", "restart-service:etcd"),
        full_s=150.0,
    ),
    Scenario(
        name="disk-read-only",
        row="disk read-only",
        blows=blow("disk-read-only", "replica"),
        called=("disk-read-only",),
        must=("reboot",),
        full_s=150.0,
    ),
    Scenario(
        name="disk-errors",
        row="disk failing",
        blows=blow("disk-errors", "replica"),
        called=("disk-read-only", "disk-absent", "service-down"),
        must=("reboot",),
        full_s=150.0,
    ),
    Scenario(
        name="disk-torn-off",
        row="disk absent",
        blows=blow("disk-torn-off", "replica"),
        called=("disk-detached", "disk-absent", "disk-read-only"),
        must=("attach-disk", "reboot"),
        full_s=180.0,
    ),
    Scenario(
        name="disk-lost",
        row="disk lost",
        blows=blow("disk-lost", "replica"),
        must=("create-disk", "launch", "configure"),
        may=FRESH_DISK,
        full_s=120.0,
    ),
)
