"""Does a lost host come back as fast with 2 GB of data as with none? The disk outlives the host,
so it should.

Runs on a lab that is up: a replica loses power a few times before and a few times after the database
is filled, and the medians are compared. In between the fill is checkpointed on every copy: how much
WAL a host has to replay after a crash is a matter of `max_wal_size`, not of the database's size.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Final

import psycopg

from lab.demo.record import seconds
from lab.demo.runner import Stage
from lab.errors import LabError
from lab.faults.catalogue import POWER_LOSS
from lab.faults.targets import resolve

RATIO_MAX: Final = 1.3
FILL_BYTES: Final = 2 * 1024**3
ROW_BYTES: Final = 2048
CHUNK_ROWS: Final = 32_768
LIMIT_S: Final = 600.0
TRIALS: Final = 3

CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS lab_ballast (id bigint GENERATED ALWAYS AS IDENTITY, filler text)"
)
# Stored as it is: a compressed filler would not fill anything.
KEEP_PLAIN: Final = "ALTER TABLE lab_ballast ALTER COLUMN filler SET STORAGE EXTERNAL"
FILL: Final = (
    "INSERT INTO lab_ballast (filler)"
    " SELECT repeat(md5(i::text), %s) FROM generate_series(1, %s) AS i"
)
SIZE: Final = "SELECT pg_database_size(current_database())"


def big_database(stage: Stage) -> bool:
    """Heal with and without data; True when the ratio is within the promise."""
    timeline = stage.timeline
    empty_s = _median_s(stage, "replica host loses power, little data")
    with timeline.step("filling the database with 2 GB"):
        size = fill(stage, timeline.still)
    with timeline.step("a checkpoint on every copy"):
        checkpoint(stage)
    full_s = _median_s(stage, "replica host loses power, 2 GB of data")
    ratio = full_s / empty_s
    timeline.table(
        [
            ("database", f"back at full strength, median of {TRIALS}"),
            ("as it was", seconds(empty_s)),
            (f"{size / 1024**3:.1f} GB", seconds(full_s)),
            ("ratio", f"{ratio:.2f} (promised: at most {RATIO_MAX})"),
        ]
    )
    if ratio > RATIO_MAX:
        timeline.say("broken", f"a full database took {ratio:.2f} times as long to heal")
    return ratio <= RATIO_MAX


def fill(stage: Stage, still: Callable[[str], None]) -> int:
    """Fill the leader's database through its own address; returns its size in bytes."""
    leader = stage.bench.leader()
    address = next((s.address for s in stage.api.slots() if s.name == leader), None)
    if address is None:
        raise LabError("no database leads now, so none can be filled; wait and try again")
    try:
        with psycopg.connect(
            host=address,
            dbname="app",
            user="app",
            password=stage.api.passwords()["app"],
            connect_timeout=5,
            autocommit=True,
            gssencmode="disable",
        ) as connection:
            connection.execute(CREATE)
            connection.execute(KEEP_PLAIN)
            while (size := _size(connection)) < FILL_BYTES:
                still(f"{size / 1024**2:.0f} MiB of {FILL_BYTES / 1024**2:.0f}")
                connection.execute(FILL, (ROW_BYTES // 32, CHUNK_ROWS))
            return size
    except psycopg.Error as error:
        raise LabError(f"the database could not be filled: {error}") from error


def _size(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    row = connection.execute(SIZE).fetchone()
    return int(str(row[0])) if row is not None else 0


def checkpoint(stage: Stage) -> None:
    """Flush every copy, so that none has more to replay than in ordinary operation."""
    for slot in stage.api.slots():
        if slot.role == "db" and slot.active:
            instance_id = stage.bench.occupant_of(slot.name).instance_id
            as_postgres = ("runuser", "-u", "postgres", "--")
            stage.bench.command(instance_id, *as_postgres, "psql", "-qc", "CHECKPOINT")


def _median_s(stage: Stage, title: str) -> float:
    """Heal a few times; the median of the seconds to full strength."""
    return statistics.median(_heal_once(stage, title) for _ in range(TRIALS))


def _heal_once(stage: Stage, title: str) -> float:
    stage.timeline.heading(title)
    if stage.watch.until_full(limit_s=LIMIT_S) is None:
        raise LabError(
            "the cluster is not at full strength; 'make lab-status' shows what is missing"
        )
    slots = stage.api.slots()
    target = resolve("replica", slots=slots, leader=stage.bench.leader(), roles=("db",))
    begin = stage.clock()
    POWER_LOSS.inject(stage.bench, target)
    stage.timeline.say("fault", f"{target.name}: {POWER_LOSS.describe}")
    full_at = stage.watch.until_full(limit_s=LIMIT_S, weak_first=True)
    if full_at is None:
        raise LabError(f"{target.name} did not come back within {LIMIT_S:.0f} s")
    return full_at - begin
