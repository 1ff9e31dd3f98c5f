"""PostgreSQL and Patroni fail on a host that is well, and the host of the leader stands still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lab.demo.runner import Stage
from lab.freeze.plan import Variant
from lab.proof.account import Account
from lab.proof.scenario import Freeze, Row, Scenario, blow

FROZEN: Final = "host of both leaders frozen and thawed"


def _leads_on(stage: Stage, seen: Account) -> Sequence[str]:
    """Who was hit leads as before."""
    now = stage.bench.leader()
    return [] if now in seen.targets else [f"{now} leads now"]


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
        may=("restart-service:patroni",),  # systemd's watchdog comes first
        full_s=60.0,
    ),
    Scenario(
        name="patroni-hang-leader",
        row="Patroni hang on the leader",
        blows=blow("patroni-hang", "leader"),
        check=_leads_on,  # it is back before its lease is over
        full_s=60.0,
        outage_s=25.0,  # proxies see none that leads for as long
    ),
    Scenario(
        name="patroni-mute",
        row="Patroni hang, and no watchdog",
        blows=blow("patroni-mute", "replica"),
        called=("service-down", "replica-broken", "replica-stuck"),
        must=("restart-service:patroni",),
        full_s=120.0,
    ),
    *(
        Freeze(name=f"thaw-{variant}-{number}", row=f"{FROZEN}, {variant}", variant=variant)
        for number in (1, 2)
        for variant in Variant
    ),
)
