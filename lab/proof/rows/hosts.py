"""A host goes, stands still, is cut off, or is about to be taken away; and an agent or a clock on one that is well."""

from __future__ import annotations

from typing import Final

from lab.proof.scenario import REFILL, Row, Scenario, blow

ROWS: Final[tuple[Row, ...]] = (
    Scenario(
        name="host-rebooted",
        row="host rebooted",
        blows=blow("reboot", "replica"),
        may=("restart-service:pgmend-agent",),
        full_s=75.0,
    ),
    Scenario(
        name="host-stopped",
        row="host stopped",
        blows=blow("stop-instance", "replica"),
        called=("stopped", "terminating"),
        must=("start",),
        full_s=75.0,
    ),
    Scenario(
        name="host-terminated",
        row="host terminated",
        blows=blow("terminate", "replica"),
        must=REFILL,
        full_s=60.0,
    ),
    Scenario(
        name="host-impaired",
        row="host impaired, and serving",
        blows=blow("impaired", "replica"),
        called=("impaired",),
        must=("reboot",),
        stands_s=75.0,
        mended_on=("reboot",),  # the checks pass again on a host that was rebooted
        full_s=90.0,
    ),
    Scenario(
        name="host-dead",
        row="host dead: power lost",
        blows=blow("power-loss", "leader"),
        called=("presumed-dead", "suspected"),
        must=("terminate", *REFILL),
        full_s=90.0,
        outage_s=30.0,
    ),
    Scenario(
        name="host-retiring",
        row="host retiring: the leader's, drained before the date",
        blows=blow("retiring", "leader"),
        called=("retiring",),
        must=("switchover", "stop", "start"),
        full_s=150.0,
    ),
    Scenario(
        name="host-frozen",
        row="host frozen while EC2's checks pass",
        blows=blow("hang", "replica"),
        called=("unreachable", "suspected"),
        must=("reboot",),
        full_s=150.0,
        outage_s=20.0,
    ),
    Scenario(
        name="host-unreachable",
        row="host unreachable: its cable pulled",
        blows=blow("unplug", "replica"),
        called=("presumed-dead", "unreachable", "suspected"),
        must=("terminate", *REFILL),
        full_s=90.0,
        outage_s=20.0,
    ),
    Scenario(
        name="agent-silent",
        row="agent silent on a healthy node",
        blows=blow("stop-agent", "leader"),
        called=("agent-silent",),
        must=("restart-service:pgmend-agent",),  # and nothing else
        full_s=60.0,
    ),
    Scenario(
        name="clock-off",
        row="clock three hours off",
        blows=blow("clock-off", "replica"),
        called=("clock-off",),
        may=("restart-service:chrony",),
        stands_s=40.0,
    ),
    Scenario(
        name="witness-lost",
        row="witness lost",
        blows=blow("power-loss", "witness"),
        must=("terminate", *REFILL),
        full_s=75.0,
    ),
)
