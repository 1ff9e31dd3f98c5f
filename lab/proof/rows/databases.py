"""PostgreSQL and Patroni fail on a host that is well, and the host of the leader stands still."""

from __future__ import annotations

from typing import Final

from lab.freeze.plan import Variant
from lab.proof.scenario import Freeze, Row, Scenario, blow

FROZEN: Final = "host of both leaders frozen and thawed"
# Patroni elects: while it does, there is nothing for the healer to restore.
ROWS: Final[tuple[Row, ...]] = (
    Scenario(
        name="postgres-crash",
        row="Postgres crash",
        blows=blow("postgres-kill", "leader"),
        full_s=60.0,
        outage_s=30.0,
    ),
    Scenario(
        name="patroni-crash",
        row="Patroni crash",
        blows=blow("patroni-kill", "leader"),
        full_s=60.0,
        outage_s=10.0,
    ),
    Scenario(
        name="patroni-hang",
        row="Patroni hang",
        blows=blow("patroni-hang", "replica"),
        called=("service-down", "replica-broken", "replica-stuck"),
        must=("restart-service:patroni",),
        full_s=120.0,
    ),
    Scenario(
        name="patroni-hang-leader",
        row="Patroni hang on the leader",
        blows=blow("patroni-hang", "leader"),
        called=("service-down",),
        must=(
            "restart-service:patroni",
        ),  # only once another leads: a living leader is not touched
        may=("join-replica", "reinit"),
        full_s=150.0,
        outage_s=45.0,  # the leader's lease has to run out
    ),
    *(
        Freeze(name=f"thaw-{variant}-{number}", row=f"{FROZEN}, {variant}", variant=variant)
        for number in (1, 2)
        for variant in Variant
    ),
)
