"""What other people's programs print, in several versions and situations: missing is unknown, never healthy or zero."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.probes import etcd, haproxy, patroni
from node_agent.probes.http import mapping, number, text
from node_agent.probes.postgres import UNKNOWN, Postgres, standby
from tests.unit.node_agent.builders import MEMBERS, STATUS

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)

# -- values


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        (5, 5),
        ("5", 5),
        ("-5", -5),
        ("unknown", None),
        ("", None),
        (None, None),
        (True, None),
        (5.5, None),
    ],
)
def test_a_number_is_a_number_or_unknown(given_: object, found: int | None) -> None:
    assert number(given_) == found


@given(JSON)
def test_no_value_breaks_the_readers_of_values(value: object) -> None:
    assert isinstance(number(value), int | None)
    assert isinstance(text(value), str | None)
    assert isinstance(mapping(value), dict)


# -- etcd


def test_a_healthy_etcd_leader_is_understood() -> None:
    found = etcd.parse({"health": "true", "reason": ""}, STATUS, MEMBERS, {})
    assert found["healthy"] is True
    assert found["is_leader"] is True
    assert found["name"] == "n1"
    assert int(found["member_id"], 16) == 15429915573580438332
    assert int(found["cluster_id"], 16) == 7374361507836364162
    assert (found["term"], found["db_size_bytes"], found["alarms"]) == (2, 20480, [])


def test_a_member_that_has_not_started_has_no_name_and_is_still_listed() -> None:
    found = etcd.parse(None, STATUS, MEMBERS, None)
    assert [(m["name"], m["learner"]) for m in found["members"]] == [(None, True), ("n1", False)]


@pytest.mark.parametrize(
    ("answer", "healthy"), [({"health": "false"}, False), ({"health": True}, True), ({}, None)]
)
def test_health_is_said_or_unknown(answer: dict[str, Any], *, healthy: bool | None) -> None:
    assert etcd.parse(answer, None, None, None)["healthy"] is healthy


def test_an_etcd_without_a_leader_is_neither_leader_nor_follower() -> None:
    without = {**STATUS, "leader": "0"}
    assert etcd.parse(None, without, None, None)["is_leader"] is None


def test_alarms_are_named() -> None:
    alarms = {"alarms": [{"memberID": "1", "alarm": "NOSPACE"}]}
    assert etcd.parse(None, None, None, alarms)["alarms"] == ["NOSPACE"]


@given(JSON, JSON, JSON, JSON)
def test_no_answer_breaks_the_reader_of_etcd(a: object, b: object, c: object, d: object) -> None:
    for inner in (d, [d]):
        etcd.parse(a, {"header": b, "leader": c}, {"members": inner}, {"alarms": inner})
    found = etcd.parse(a, b, c, d)
    json.dumps(found)
    assert set(found) == set(etcd.parse(None, None, None, None))


# -- Patroni

REPLICA_4_0 = {
    "state": "running",
    "postmaster_start_time": "2026-01-01 00:00:00.000000+00:00",
    "role": "replica",
    "server_version": 170012,
    "xlog": {"received_location": 83886600, "replayed_location": 83886600},
    "timeline": 1,
    "replication_state": "streaming",
    "dcs_last_seen": 1795501309,
    "patroni": {"version": "4.0.7", "scope": "pgmend", "name": "db-euw1-b"},
}
CLUSTER_4_0 = {
    "members": [
        {"name": "db-euw1-a", "role": "leader", "state": "running", "timeline": 1},
        {
            "name": "db-euw1-b",
            "role": "quorum_standby",
            "state": "streaming",
            "timeline": 1,
            "lag": 0,
        },
        {"name": "db-euw3-a", "role": "replica", "state": "starting", "lag": "unknown"},
    ],
    "scope": "pgmend",
}


def test_a_replica_of_patroni_4_is_understood() -> None:
    found = patroni.parse(REPLICA_4_0, CLUSTER_4_0)
    assert (found["role"], found["state"], found["leader"]) == ("replica", "running", "db-euw1-a")
    lags = {m["name"]: m["lag_bytes"] for m in found["members"]}
    assert lags == {"db-euw1-a": None, "db-euw1-b": 0, "db-euw3-a": None}


@pytest.mark.parametrize("role", ["primary", "master", "standby_leader", "leader"])
def test_every_versions_word_for_leading_is_known(role: str) -> None:
    assert patroni.parse({"role": role}, {})["role"] == "leader"
    members = {"members": [{"name": "a", "role": role}]}
    assert patroni.parse({}, members)["leader"] == "a"


def test_a_pause_is_seen_wherever_it_is_said() -> None:
    assert patroni.parse({"pause": True}, {})["paused"]
    assert patroni.parse({}, {"pause": True})["paused"]
    assert not patroni.parse({}, {})["paused"]


def test_a_patroni_that_is_silent_is_not_up_and_nothing_is_known() -> None:
    found = patroni.parse(None, None)
    assert found["up"] is False
    assert (found["role"], found["leader"], found["members"]) == (None, None, [])


@given(JSON, JSON)
def test_no_answer_breaks_the_reader_of_patroni(own: object, member: object) -> None:
    patroni.parse(own, {"members": member})
    found = patroni.parse(own, {"members": [member]})
    json.dumps(found)
    assert set(found) == set(patroni.parse(None, None))


# -- HAProxy

# HAProxy 3.0.11: names as of old, more columns, "UP 1/2" while a check fails, "DOWN 1/2" while one succeeds.
SHOW_STAT = """\
# pxname,svname,qcur,qmax,scur,smax,slim,stot,status,weight,act,bck,chkfail,new_column
writes,FRONTEND,,,0,1,2000,1,OPEN,,,,,
writes,db-euw1-a,0,0,0,1,90,1,UP,1,1,0,0,x
writes,db-euw1-b,0,0,0,0,90,0,DOWN,1,1,0,1,x
writes,db-euw3-a,0,0,0,0,90,0,DOWN 1/2,1,1,0,1,x
writes,BACKEND,0,0,0,1,200,1,UP,1,1,0,,
reads,db-euw1-b,0,0,0,0,90,0,UP 1/2,1,1,0,1,x
reads,db-euw3-a,0,0,0,0,90,0,UP,1,0,1,0,x
reads,db-euw3-b,0,0,0,0,90,0,MAINT,1,0,1,0,x
reads,BACKEND,0,0,0,0,200,0,UP,2,1,1,,

"""


def test_servers_that_are_up_are_listed_by_name_and_listener() -> None:
    found = haproxy.parse(SHOW_STAT)
    assert found["write_backends_up"] == ["db-euw1-a"]
    assert found["read_backends_up"] == ["db-euw1-b", "db-euw3-a"]
    assert found["backends"]["db-euw3-a"] == "DOWN 1/2"


def test_columns_may_come_in_another_order() -> None:
    found = haproxy.parse("# status,svname,pxname\nUP,db-euw1-a,writes\n")
    assert found["write_backends_up"] == ["db-euw1-a"]


def test_a_proxy_that_does_not_answer_sees_nothing_known(tmp_path: Path) -> None:
    found = haproxy.probe(0.1, str(tmp_path / "no.sock"))
    assert found == {
        "up": False,
        "write_backends_up": None,
        "read_backends_up": None,
        "backends": {},
    }


def test_a_proxy_is_asked_through_its_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(100) == b"show stat\n"
                connection.sendall(SHOW_STAT.encode())

        thread = threading.Thread(target=answer)
        thread.start()
        found = haproxy.probe(5.0, path)
        thread.join()
    assert found["write_backends_up"] == ["db-euw1-a"]


@given(st.text())
def test_no_text_breaks_the_reader_of_haproxy(words: str) -> None:
    found = haproxy.parse(f"# pxname,svname,status\n{words}")
    json.dumps(found)
    assert found["up"] is True


# -- PostgreSQL


def test_a_standby_that_stopped_replying_is_stale_and_not_streaming() -> None:
    assert standby("b", "streaming", "quorum", 0, 0.2)["state"] == "streaming"
    assert standby("b", "streaming", "quorum", 0, 30.0)["state"] == "stale"
    assert standby("b", "streaming", "quorum", 0, None)["state"] == "stale"
    assert standby("b", "catchup", "async", 5, None)["state"] == "catchup"


def test_a_server_that_is_not_there_is_down_and_the_rest_unknown() -> None:
    probe = Postgres("host=127.0.0.1 port=1 dbname=postgres connect_timeout=1")
    assert probe.probe() == UNKNOWN
    probe.close()


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
