"""The status table shows what is known and a dash for what is not; memory is summed over a tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

from lab.demo.memory import tree_mb
from lab.demo.watch import epoch
from lab.operator import Occupant, StoredReport
from lab.status import HEADER, rows
from tests.unit.lab_tools.fakes import EXAMPLES, a_full_reading, slots

NOW = datetime(2026, 1, 1, 0, 0, 4, tzinfo=UTC)


def a_report(kind: str) -> StoredReport:
    body = json.loads((EXAMPLES / f"report-{kind}.json").read_text("utf-8"))
    return StoredReport(
        slot=body["slot"], instance_id=body["instance_id"], sequence=body["sequence"], body=body
    )


def table(*reports: StoredReport, **changes: str) -> dict[str, tuple[str, ...]]:
    occupants = [
        Occupant(instance_id=report.instance_id, slot=report.slot, state="running", checks="ok")
        for report in reports
    ]
    occupants = [replace(item, **changes) for item in occupants]
    header, *body = rows(slots(), occupants, {report.slot: report for report in reports}, now=NOW)
    assert header == HEADER
    return {row[0]: row for row in body}


def test_leader_and_replica_show_role_lag_and_age() -> None:
    shown = table(a_report("leader"), a_report("replica"), a_report("witness"))

    leader, replica = shown["db-euw1-a"], shown["db-euw1-b"]
    assert leader[3:5] == ("db (leader)", "running")
    assert leader[7] == "4 s"
    assert replica[5] == "0 B"
    assert shown["witness-euc1-a"][6] == "leader"


def test_an_empty_slot_has_its_row_and_a_spare_one_has_none() -> None:
    shown = table()

    assert shown["db-euw1-a"][4] == "empty"
    assert "db-euw1-c" not in shown


def test_the_report_of_the_one_before_says_nothing_about_the_newcomer() -> None:
    shown = table(a_report("leader"), instance_id="i-new")

    assert shown["db-euw1-a"][4] == "running, no report"
    assert shown["db-euw1-a"][7] == "-"


def test_impaired_and_idle_are_told() -> None:
    impaired = table(a_report("leader"), checks="impaired")
    idle = table(a_report("idle"))

    assert impaired["db-euw1-a"][4] == "running, checks fail"
    assert [row[4] for row in idle.values() if row[1] != "-"] == ["running, idle"]


def test_a_full_reading_has_a_row_for_every_active_slot() -> None:
    reading = a_full_reading()

    body = rows(slots(), reading.occupants, reading.reports, now=NOW)[1:]

    assert len(body) == sum(slot.active for slot in slots())


def test_memory_counts_children_too() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "b = b'x' * 60_000_000; print(); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        with_child = tree_mb([os.getpid()])
        child.kill()
    assert with_child >= tree_mb([os.getpid()]) + 50


def test_times_are_read_as_number_or_iso_and_nothing_else() -> None:
    assert epoch(12.5) == 12.5
    assert epoch("12.5") == 12.5
    assert epoch("1970-01-01T00:01:00Z") == 60.0
    assert epoch("20260101") is not None
    assert epoch("soon") is None
    assert epoch(None) is None
    assert epoch(True) is None  # noqa: FBT003
