"""The fence and a real PostgreSQL: its pid file, its signals, its copies."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.guard.fence import STATUS_LINE, Found, Lease, fence, look, now
from tests.adapters.lab_tools.conftest import Server, postgres

__all__ = ["postgres"]
WAIT_S = 20.0


@pytest.fixture
def server(postgres: Server) -> Iterator[Server]:
    """Runs before and after."""
    yield postgres
    (data(postgres) / "standby.signal").unlink(missing_ok=True)
    if (data(postgres) / "postmaster.pid").exists():
        postgres.control("stop", "-m", "immediate")
    postgres.control("start")


def data(server: Server) -> Path:
    return server.directory / "data"


def lease(server: Server) -> Lease:
    """One that is over now, and had the server that runs."""
    return Lease(data_dir=str(data(server)), ends=now())


def gone(pid: int) -> bool:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_a_primary_is_known_and_ended_with_its_clients(server: Server) -> None:
    lines = (data(server) / "postmaster.pid").read_text().splitlines()
    had = lease(server)

    assert look(had) == (Found.ENDED, int(lines[0]))
    assert lines[STATUS_LINE].strip() == "ready"
    assert fence(had, at=had.ends) is Found.ENDED
    assert gone(int(lines[0]))
    assert fence(had, at=had.ends) is Found.NOTHING


def test_a_primary_that_a_person_starts_after_the_lease_is_left_alone(server: Server) -> None:
    server.control("stop", "-m", "fast")
    had = lease(server)
    server.control("start")

    assert fence(had, at=now()) is Found.NOTHING
    assert server.sql("SELECT 1", dbname="postgres") == "1"


def test_a_hot_copy_is_ready_too_and_is_left_alone(server: Server) -> None:
    server.control("stop", "-m", "fast")
    (data(server) / "standby.signal").touch()
    server.control("start")
    lines = (data(server) / "postmaster.pid").read_text().splitlines()

    assert lines[STATUS_LINE].strip() == "ready"
    assert server.sql("SELECT pg_is_in_recovery()", dbname="postgres") == "t"
    assert look(lease(server))[0] is Found.NOTHING


def test_a_primary_that_ends_well_is_left_to_it(server: Server) -> None:
    """A smart shutdown waits for a client."""
    words = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-AtqX"]
    waiting = subprocess.Popen(["psql", *words, "-c", "SELECT pg_sleep(60)", "postgres"])
    others = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
    end = time.monotonic() + WAIT_S
    while server.sql(others, dbname="postgres") == "0":
        assert time.monotonic() < end, "the client does not come"
    try:
        server.control("stop", "-m", "smart", "-W")
        status, end = "", time.monotonic() + WAIT_S
        while status != "stopping" and time.monotonic() < end:
            status = (data(server) / "postmaster.pid").read_text().splitlines()[STATUS_LINE].strip()
        assert status == "stopping"
        assert look(lease(server))[0] is Found.UNSETTLED
    finally:
        waiting.kill()
        waiting.wait()
