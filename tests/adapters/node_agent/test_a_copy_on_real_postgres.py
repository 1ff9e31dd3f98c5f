"""What the agent reads of a PostgreSQL, asked of a real one: its report, and how far it reaches once it is down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node_agent import database
from node_agent.position import lsn_bytes, on_disk
from node_agent.probes.postgres import UNKNOWN, Postgres
from node_agent.shell import run
from tests.adapters.lab_tools.conftest import Server, postgres

__all__ = ["postgres"]
ORPHAN = "nobodys"


@pytest.fixture
def server(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(database, "BIN_DIR", postgres.bin)
    yield postgres
    if postgres.sql("SELECT count(*) FROM pg_replication_slots", dbname="postgres") != "0":
        postgres.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    postgres.sql("DROP TABLE IF EXISTS written")


def reached(server: Server) -> int:
    found = lsn_bytes(server.sql("SELECT pg_current_wal_flush_lsn()"))
    assert found is not None
    return found


def test_a_server_that_crashed_reaches_as_far_as_it_had_promised(server: Server) -> None:
    server.sql("CREATE TABLE written (n int)")
    server.sql("CHECKPOINT")
    server.sql("INSERT INTO written SELECT generate_series(1, 20000)")
    promised = reached(server)
    server.control("stop", "-m", "immediate")
    try:
        found = on_disk(server.directory / "data", run)
    finally:
        server.control("start")
    assert found is not None
    assert found.timeline == 1
    assert promised <= found.lsn_bytes < promised + 8192


def test_a_server_that_runs_reaches_no_further_than_it_says(server: Server) -> None:
    server.sql("CHECKPOINT")
    server.sql("CREATE TABLE written (n int)")
    found = on_disk(server.directory / "data", run)
    assert found is not None
    assert found.lsn_bytes <= reached(server)


def test_a_server_that_was_stopped_well_reaches_its_last_checkpoint(server: Server) -> None:
    before = reached(server)
    server.control("stop", "-m", "fast")
    try:
        found = on_disk(server.directory / "data", run)
    finally:
        server.control("start")
    assert found is not None
    assert before < found.lsn_bytes <= reached(server)


def test_a_report_names_the_slots_and_what_they_keep(server: Server) -> None:
    server.sql(f"SELECT pg_create_physical_replication_slot('{ORPHAN}', true)")
    server.sql("CREATE TABLE written (n int)")
    probe = Postgres(f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres")
    try:
        found = probe.probe()
    finally:
        probe.close()
    assert set(found) == set(UNKNOWN)
    assert (found["up"], found["in_recovery"], found["timeline"]) == (True, False, 1)
    assert found["checksum_failures"] is None  # made without checksums
    (slot,) = found["replication_slots"]
    assert slot.pop("retained_bytes") > 0
    assert slot == {"name": ORPHAN, "active": False, "physical": True, "wal_status": "reserved"}


def test_a_copy_that_was_promoted_and_crashed_reaches_into_its_new_timeline(
    server: Server,
) -> None:
    """Runs last: this server is on timeline 2 afterwards."""
    data = server.directory / "data"
    server.sql("CREATE TABLE written (n int)")
    server.control("stop", "-m", "fast")
    (data / "standby.signal").touch()
    server.control("start")
    server.sql("SELECT pg_promote()", dbname="postgres")
    server.sql("INSERT INTO written SELECT generate_series(1, 20000)")
    promised = reached(server)
    server.control("stop", "-m", "immediate")
    try:
        found = on_disk(data, run)
    finally:
        server.control("start")
    assert found is not None
    assert found.timeline == 2
    assert promised <= found.lsn_bytes < promised + 8192
