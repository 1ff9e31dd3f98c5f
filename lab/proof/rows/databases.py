"""PostgreSQL and Patroni fail on a host that is well, and the host of the leader stands still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lab.demo.runner import Stage
from lab.freeze.plan import Variant
from lab.proof.account import Account
from lab.proof.scenario import Freeze, Row, Scenario, blow

# It answers, and systemd has had it up for five seconds (systemd's microseconds since the kernel began).
BACK: Final = (
    'curl -so /dev/null -m 1 "http://$1:8008/liveness";'
    " up=$(cut -d. -f1 /proc/uptime);"
    " since=$(systemctl show -P ActiveEnterTimestampMonotonic patroni);"
    " [ $((up - since / 1000000)) -ge 5 ]"
)
FROZEN: Final = "host of both leaders frozen and thawed"


def _leads_on(stage: Stage, seen: Account) -> Sequence[str]:
    """Who was hit leads as before."""
    now = stage.bench.leader()
    return [] if now in seen.targets else [f"{now} leads now"]


def _patroni_is_back(stage: Stage) -> bool:
    """Whether the Patroni that was hit answers again, and for so long that the healer has had its word of it."""
    slot = stage.bench.slot(stage.run.marks[-1].slot)
    asked = ("/bin/bash", "-euc", BACK, "back", slot.address)
    hit = stage.bench.occupant_of(slot.name)
    return stage.bench.machines.run(hit.instance_id, asked).returncode == 0


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
        until=_patroni_is_back,
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
