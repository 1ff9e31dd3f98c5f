"""What PostgreSQL answers, by names: missing is unknown, and a server that is gone is down."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from hypothesis import given

from node_agent.probes import postgres
from node_agent.probes.postgres import UNKNOWN, Postgres, Replies, replication_slot, standby
from tests.unit.node_agent.builders import Clock
from tests.unit.node_agent.strategies import JSON


def a_standby(state: str, silent_s: object) -> dict[str, Any]:
    row = {"name": "b", "state": state, "sync_state": "quorum", "lag_bytes": 5}
    return standby({**row, "silent_s": silent_s})


def test_a_standby_that_stopped_replying_is_stale_and_not_streaming() -> None:
    assert a_standby("streaming", 0.2)["state"] == "streaming"
    assert a_standby("streaming", 30.0)["state"] == "stale"
    assert a_standby("streaming", None)["state"] == "stale"
    assert a_standby("streaming", "0.2")["state"] == "stale"
    assert a_standby("catchup", None)["state"] == "catchup"


@pytest.mark.parametrize("skew_s", [-10_000.0, -6.0, 0.0, 6.0, 10_000.0])
def test_a_standby_that_goes_on_replying_streams_whatever_its_clock_says(skew_s: float) -> None:
    clock = Clock()
    replies = Replies(clock)
    for _ in range(20):
        (row,) = replies.note([{"pid": 7, "replied": clock.now + skew_s}])
        assert row["silent_s"] == 0.0
        clock.sleep(1.0)


def test_a_standby_is_silent_from_the_look_that_saw_its_last_reply() -> None:
    clock = Clock()
    replies = Replies(clock)
    rows: list[dict[str, Any]] = [
        {"pid": 7, "replied": clock.now + 3600.0},
        {"pid": 8, "replied": None},
    ]
    said = []
    for _ in range(8):
        said.append([row["silent_s"] for row in replies.note(rows)])
        clock.sleep(1.0)
    assert said == [[float(second), None] for second in range(8)]
    rows[0]["replied"] = clock.now - 3600.0
    assert replies.note(rows)[0]["silent_s"] == 0.0


def test_another_sender_begins_anew_and_one_that_is_gone_is_forgotten() -> None:
    clock = Clock()
    replies = Replies(clock)
    replies.note([{"pid": 7, "replied": 1.0}])
    clock.sleep(60.0)
    assert replies.note([{"pid": 8, "replied": 1.0}])[0]["silent_s"] == 0.0
    assert replies.note([{"pid": 7, "replied": 1.0}])[0]["silent_s"] == 0.0


SERVER = {
    "in_recovery": False,
    "timeline": 2,
    "lsn_bytes": 83886080,
    "system_identifier": "7450000000000000001",
    "receiver_up": False,
    "synchronous_standby_names": "",
    "checksum_failures": 0,
}


def test_a_server_that_answers_is_read_by_names_whatever_their_order() -> None:
    found = postgres.parse(dict(reversed(SERVER.items())), [], [])
    assert found == {
        **SERVER,
        "up": True,
        "receiver_up": None,
        "replication": [],
        "replication_slots": [],
    }


def test_a_server_without_checksums_does_not_know_of_failures() -> None:
    assert (
        postgres.parse({**SERVER, "checksum_failures": None}, [], [])["checksum_failures"] is None
    )


def test_an_answer_without_a_word_is_up_and_unknown() -> None:
    assert postgres.parse({}, [], []) == {**UNKNOWN, "up": True}


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (
            {"active": False, "physical": True, "wal_status": "extended", "retained_bytes": 5},
            {"active": False, "physical": True, "wal_status": "extended", "retained_bytes": 5},
        ),
        (
            {"active": None, "physical": "t", "wal_status": "", "retained_bytes": None},
            {"active": None, "physical": None, "wal_status": None, "retained_bytes": None},
        ),
        (
            {"retained_bytes": -16},
            {"active": None, "physical": None, "wal_status": None, "retained_bytes": 0},
        ),
    ],
    ids=["orphan", "odd", "ahead"],
)
def test_a_replication_slot_is_known_or_unknown(
    row: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert replication_slot({"name": "db_euw1_b", **row}) == {"name": "db_euw1_b", **wanted}


def test_a_slot_without_a_name_is_not_listed() -> None:
    assert postgres.parse(SERVER, [], [{"active": True}, {"name": 5}])["replication_slots"] == []


@given(JSON, JSON, JSON)
def test_no_answer_breaks_the_reader_of_postgres(a: object, b: object, c: object) -> None:
    for inner in (c, [c], {"name": "x", "retained_bytes": c, "silent_s": c}):
        postgres.parse(a, [b, inner], [inner, b])
    found = postgres.parse({"in_recovery": a, "timeline": b}, a, c)
    json.dumps(found)
    assert set(found) == set(UNKNOWN)


def test_a_server_that_is_not_there_is_down_and_the_rest_unknown() -> None:
    probe = Postgres("host=127.0.0.1 port=1 dbname=postgres connect_timeout=1")
    assert probe.probe() == UNKNOWN
    probe.close()


def test_a_probe_remembers_the_replies_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a connection that is made again, too."""
    row: dict[str, Any] = {
        "pid": 7,
        "name": "b",
        "state": "streaming",
        "replied": 9e9,
        "lag_bytes": 0,
    }

    class Answers:
        def __init__(self) -> None:
            self.rows: list[dict[str, Any]] = []

        def execute(self, query: str) -> Answers:
            asked = {postgres.QUERY: [SERVER], postgres.STANDBYS: [row], postgres.SLOTS: []}
            self.rows = asked[query]
            return self

        def fetchone(self) -> dict[str, Any]:
            return self.rows[0]

        def fetchall(self) -> list[dict[str, Any]]:
            return self.rows

        def close(self) -> None:
            pass

        def fileno(self) -> int:
            return 0

    monkeypatch.setattr(psycopg, "connect", lambda _conninfo, **_: Answers())
    clock = Clock()
    probe = Postgres("host=x", clock=clock)

    def state() -> str:
        return str(probe.probe()["replication"][0]["state"])

    assert state() == "streaming"
    clock.sleep(postgres.STALE_S)
    assert state() == "streaming"
    probe.close()
    clock.sleep(0.5)
    assert state() == "stale"
    row["replied"] += 1.0
    assert state() == "streaming"


def test_a_connection_that_breaks_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        closed = 0

        def execute(self, _query: str) -> None:
            raise psycopg.OperationalError("the connection is closed")

        def close(self) -> None:
            Broken.closed += 1

        def fileno(self) -> int:
            return 0

    opened: list[str] = []

    def connect(conninfo: str, **_: Any) -> Broken:
        opened.append(conninfo)
        return Broken()

    monkeypatch.setattr(psycopg, "connect", connect)
    probe = Postgres("host=x")
    assert [probe.probe()["up"], probe.probe()["up"]] == [False, False]
    assert len(opened) == 2
    assert Broken.closed == 2
