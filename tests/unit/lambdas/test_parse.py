"""Reports and specs as they are read: what is missing is unknown, what cannot be is refused or left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdas.core.model import Disk, PeerState, ReplicationSlot
from lambdas.core.parse import report_from_json, spec_from_json
from tests.unit.lambdas.builders import EXAMPLES


def read(**changes: Any) -> Any:
    """The example replica's report with changes to its parts: `postgres__up=False`."""
    raw = json.loads((EXAMPLES / "report-replica.json").read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        owner = raw
        for parent in parents:
            owner = owner[parent]
        owner[last] = value
    return report_from_json(json.dumps(raw), cluster="pgmend", slot="db-euw1-b")


def test_what_a_disk_says_is_read() -> None:
    disk = read(
        disk={
            "mounted": True,
            "read_only": False,
            "writable": True,
            "size_bytes": 100,
            "used_bytes": 10,
            "device_bytes": 120,
            "ballast_bytes": 0,
        }
    ).disk
    assert disk == Disk(
        mounted=True,
        read_only=False,
        writable=True,
        size_bytes=100,
        used_bytes=10,
        device_bytes=120,
        ballast_bytes=0,
    )


@pytest.mark.parametrize("disk", [{}, {"mounted": "yes", "size_bytes": "large", "writable": 1}])
def test_what_a_disk_does_not_say_is_unknown(disk: dict[str, object]) -> None:
    assert read(disk=disk).disk == Disk(mounted=None, read_only=None)


def test_a_node_without_a_disk_has_none() -> None:
    assert read(disk=None).disk is None


def test_replication_slots_are_read_row_by_row() -> None:
    rows = [
        {"name": "a", "active": False, "physical": True, "wal_status": "lost"},
        {"name": "", "active": False},
        "no row",
        {"name": "b", "active": "no", "retained_bytes": 7},
    ]
    nothing: dict[str, Any] = {"physical": None, "wal_status": None}
    assert read(postgres__replication_slots=rows).postgres.replication_slots == (
        ReplicationSlot(
            name="a", active=False, physical=True, wal_status="lost", retained_bytes=None
        ),
        ReplicationSlot(name="b", active=None, retained_bytes=7, **nothing),
    )


@pytest.mark.parametrize("nothing", [None, "many", {}])
def test_no_list_of_replication_slots_is_none_known(nothing: object) -> None:
    assert read(postgres__replication_slots=nothing).postgres.replication_slots == ()


def test_counts_and_spans_are_read() -> None:
    report = read(postgres__checksum_failures=3, patroni__state_for_s=181, patroni__clones=2)
    assert report.postgres.checksum_failures == 3
    assert (report.patroni.state_for_s, report.patroni.clones) == (181.0, 2)
    report = read(
        postgres__checksum_failures=True, patroni__state_for_s="long", patroni__clones=None
    )
    assert report.postgres.checksum_failures is None
    assert (report.patroni.state_for_s, report.patroni.clones) == (None, None)


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2026-01-01T00:00:00Z", 1767225600.0),
        ("2026-01-01T01:00:00+01:00", 1767225600.0),
        ("2026-01-01T00:00:00", 1767225600.0),
        ("yesterday", None),
        ("", None),
        (1767225600, None),
        (None, None),
    ],
    ids=str,
)
def test_a_nodes_clock_is_read_or_unknown(said: object, at: float | None) -> None:
    assert read(observed_at=said).observed_at == at


def test_peers_say_for_how_long() -> None:
    peers = {
        "db-euw1-a": {"state": "silent", "for_s": 12},
        "db-euw3-a": {"state": "silent"},
        "witness-euc1-a": {"state": "silent", "for_s": 10**400},
        "app-euw1-a": "silent",
    }
    report = read(peers=peers)
    assert report.peers_for_s == {"db-euw1-a": 12.0}
    assert report.peers["db-euw3-a"] is PeerState.SILENT
    assert report.peers["app-euw1-a"] is PeerState.UNKNOWN


# -- the spec


def test_a_spec_that_is_silent_has_the_defaults() -> None:
    raw = json.loads((EXAMPLES / "spec.json").read_text())
    for slot in raw["slots"]:
        slot.pop("instance_types", None)
        if slot["disk"] is not None:
            slot["disk"].pop("max_gib", None)
    for name in ("unreachable_after_s", "drain_before_s"):
        raw["timings"].pop(name, None)
    raw["budget"].pop("disk_growths_per_day", None)
    spec = spec_from_json(json.dumps(raw))
    disk = spec.by_name["db-euw1-a"].disk
    assert disk is not None
    assert disk.limit_gib == 4 * disk.size_gib
    assert spec.by_name["db-euw1-a"].instance_types == ()
    assert (spec.timings.unreachable_after_s, spec.timings.drain_before_s) == (300.0, 86_400.0)
    assert spec.budget.disk_growths_per_day == 4


def test_a_spec_that_speaks_is_heard() -> None:
    raw = json.loads((EXAMPLES / "spec.json").read_text())
    raw["slots"][0]["instance_types"] = ["a", "b"]
    raw["slots"][0]["disk"]["max_gib"] = 99
    raw["timings"]["unreachable_after_s"] = 20
    spec = spec_from_json(json.dumps(raw))
    first = spec.slots[0]
    assert first.instance_types == ("a", "b")
    assert first.disk is not None
    assert first.disk.limit_gib == 99
    assert spec.timings.unreachable_after_s == 20
