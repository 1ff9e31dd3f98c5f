"""What other people's programs print, in several versions and situations: missing is unknown, never healthy or zero."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.probes import etcd, haproxy, patroni
from node_agent.probes.http import mapping, number, text
from tests.unit.node_agent.builders import MEMBERS, STATUS
from tests.unit.node_agent.strategies import JSON

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
        ("--5", None),
        ("²", None),
        ("5\n", None),
        ("9" * 5000, None),
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


def test_only_this_members_own_alarms_are_reported() -> None:
    own = {"memberID": STATUS["header"]["member_id"], "alarm": "NOSPACE"}  # type: ignore[index]
    alarms = {"alarms": [{"memberID": "1", "alarm": "CORRUPT"}, own]}
    found = etcd.parse({"health": "true"}, STATUS, None, alarms)
    assert (found["alarms"], found["healthy"]) == (["NOSPACE"], True)
    assert etcd.parse(None, None, None, alarms)["alarms"] == []


def test_a_member_that_is_corrupt_is_not_healthy_whatever_it_serves() -> None:
    own = {"memberID": STATUS["header"]["member_id"], "alarm": "CORRUPT"}  # type: ignore[index]
    found = etcd.parse({"health": "true"}, STATUS, None, {"alarms": [own]})
    assert (found["alarms"], found["healthy"]) == (["CORRUPT"], False)


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


def seen(
    history: patroni.History, state: str | None, at_s: float, attempt: int | None = None
) -> tuple[Any, Any]:
    found = history.note({**patroni.parse(None, None), "state": state}, at_s, attempt)
    return found["state_for_s"], found["clones"]


def test_a_state_is_counted_from_when_it_was_first_seen() -> None:
    history = patroni.History()
    assert seen(history, "starting", 10.0) == (0.0, 0)
    assert seen(history, "starting", 25.5) == (15.5, 0)
    assert seen(history, "running", 30.0) == (0.0, 0)


def test_a_pass_without_an_answer_does_not_begin_a_state_anew() -> None:
    history = patroni.History()
    assert seen(history, None, 0.0) == (None, None)
    assert seen(history, "creating replica", 10.0) == (0.0, 1)
    assert seen(history, None, 15.0) == (None, 1)
    assert seen(history, "creating replica", 20.0) == (10.0, 1)


def test_clones_that_patroni_starts_over_within_one_state_are_counted(tmp_path: Path) -> None:
    history, data_dir = patroni.History(), tmp_path / "data"
    assert seen(history, "creating replica", 0.0, patroni.attempt(data_dir)) == (0.0, 1)
    for at_s, clones in ((10.0, 1), (20.0, 2), (30.0, 3)):
        data_dir.mkdir()
        first = patroni.attempt(data_dir)
        assert seen(history, "creating replica", at_s, first) == (at_s, clones)
        (data_dir / "base").mkdir()
        assert patroni.attempt(data_dir) == first
        assert seen(history, "creating replica", at_s + 5.0, first)[1] == clones
        (data_dir / "base").rmdir()
        data_dir.rmdir()
    assert seen(history, "running", 50.0) == (0.0, 3)


def test_clones_are_counted_for_an_hour() -> None:
    history = patroni.History()
    for at_s in (0.0, 100.0, 200.0):
        seen(history, "creating replica", at_s)
        seen(history, "starting", at_s + 50.0)
    assert seen(history, "starting", 300.0) == (50.0, 3)
    assert seen(history, "starting", 3650.0)[1] == 2
    assert seen(history, "starting", 9000.0)[1] == 0


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


@pytest.mark.parametrize("cell", ["x" * 200_000, '"' + "x" * 200_000], ids=["long", "quoted"])
def test_what_is_no_table_is_no_answer(cell: str) -> None:
    assert haproxy.parse(f"# pxname,svname,status\n{cell}")["up"] is False


@given(st.text())
def test_no_text_breaks_the_reader_of_haproxy(words: str) -> None:
    found = haproxy.parse(f"# pxname,svname,status\n{words}")
    json.dumps(found)
    assert found["up"] is True
