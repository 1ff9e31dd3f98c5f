"""AWS refuses, announces nothing, or cannot be reached: launches, boots, credentials, a region's way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lab.demo.runner import Stage
from lab.faults.bench import said
from lab.faults.cloud import first_type
from lab.proof.account import Account
from lab.proof.scenario import ANYWHERE, REFILL, Row, Scenario, blow


def _another_type(stage: Stage, seen: Account) -> list[str]:
    """The new occupant is of a type that the list names after the first."""
    return list(_of_first_type(stage, seen))


def _of_first_type(stage: Stage, seen: Account) -> Iterator[str]:
    bench = stage.bench
    for name in seen.targets:
        slot, occupant = bench.slot(name), bench.occupant_of(name)
        with said(f"describe {occupant.instance_id}"):
            answer = bench.aws("ec2", slot.region).describe_instances(
                InstanceIds=[occupant.instance_id]
            )
        found = str(answer["Reservations"][0]["Instances"][0]["InstanceType"])
        if found == first_type(bench, name):
            yield f"{name} has an instance of type {found}, for which there was no capacity"


ROWS: Final[tuple[Row, ...]] = (
    Scenario(
        name="no-capacity",
        row="launch refused for want of capacity: the next type",
        blows=blow("no-capacity", "replica"),
        must=REFILL,
        full_s=90.0,
        check=_another_type,
    ),
    Scenario(
        name="no-capacity-at-all",
        row="launch refused for want of capacity: every type",
        blows=blow("no-capacity-at-all", "haproxy"),
        called=("no-capacity",),
        must=("launch", "configure"),
        # A spare slot carries on, and is ended when it is not needed any more.
        may=tuple(f"{kind}{ANYWHERE}" for kind in ("launch", "configure", "terminate")),
        stands_s=45.0,
        mended_on=("no-capacity",),
        full_s=90.0,
    ),
    Scenario(
        name="boot-stuck",
        row="boot stuck",
        blows=blow("boot-stuck", "haproxy"),
        called=("boot-stuck",),
        must=("terminate", "launch", "configure"),
        stands_s=150.0,
        mended_on=("boot-stuck",),
        full_s=75.0,
    ),
    Scenario(
        name="credentials-expired",
        row="instance credentials expired",
        blows=blow("credentials-expired", "replica"),
        called=("agent-cut-off",),
        may=("restart-service:pgmend-agent",),
        stands_s=90.0,  # nobody tells of it but the alarm on its heartbeat and the tick
        mended_on=("agent-cut-off",),
        full_s=75.0,
    ),
    Scenario(
        name="region-cut-off",
        row="a region's way to AWS lost",
        blows=blow("region-cut-off", "region:euw3"),
        called=("region-cut-off",),
        held="region-cut-off",
        stands_s=45.0,  # a hold that replaces nothing
        full_s=60.0,
    ),
)
