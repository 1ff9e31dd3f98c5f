"""What is worth an event, and what is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.changes import changes, used
from tests.unit.node_agent.builders import example

SILENT_S = 10.0


def between(
    old: dict[str, Any], new: dict[str, Any]
) -> list[tuple[str, str, str | None, str | None]]:
    found = changes(old, new, peer_silent_after_s=SILENT_S)
    return [(c.detail_type, c.subject, c.before, c.after) for c in found]


def changed(name: str, part: str, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    old = example(name)
    new = copy.deepcopy(old)
    new[part].update(fields)
    return old, new


@pytest.mark.parametrize("name", ["leader", "replica", "witness", "haproxy", "app", "idle"])
def test_nothing_new_is_no_event(name: str) -> None:
    report = example(f"report-{name}.json")
    assert between(report, report) == []


def test_a_promotion_is_told_once() -> None:
    old, new = changed("report-replica.json", "patroni", role="leader")
    assert between(old, new) == [("Patroni Role Changed", "role", "replica", "leader")]


def test_a_leader_that_is_lost_and_one_that_is_found_are_two_events() -> None:
    old, without = changed("report-replica.json", "patroni", leader=None)
    _, after = changed("report-replica.json", "patroni", leader="db-euw3-a")
    assert between(old, without) == [("Patroni Leader Changed", "leader", "db-euw1-a", None)]
    assert between(without, after) == [("Patroni Leader Changed", "leader", None, "db-euw3-a")]


def test_a_leader_says_which_copy_it_lost() -> None:
    old = example("report-leader.json")
    new = copy.deepcopy(old)
    new["postgres"]["replication"][0]["state"] = "stale"
    assert between(old, new) == [("Replication Broken", "db-euw1-b", "streaming", None)]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (True, False, [("Disk Pressure", "writable", "true", "false")]),
        (None, False, [("Disk Pressure", "writable", None, "false")]),
        (False, True, [("Disk Pressure", "writable", "false", "true")]),
        (True, None, []),
        (None, True, []),
        (False, None, []),
        (False, False, []),
    ],
)
def test_a_disk_that_takes_no_writes_is_told_and_one_that_hangs_is_not(
    before: bool | None, after: bool | None, told: list[Any]
) -> None:
    old, _ = changed("report-leader.json", "disk")
    old["disk"]["writable"] = before
    _, new = changed("report-leader.json", "disk", writable=after)
    assert between(old, new) == told


def test_etcds_alarms_are_told_because_its_health_does_not_say_them() -> None:
    old, new = changed("report-witness.json", "etcd", alarms=["NOSPACE"])
    assert between(old, new) == [("Etcd Health Changed", "alarms", None, "NOSPACE")]
    assert between(new, old) == [("Etcd Health Changed", "alarms", "NOSPACE", None)]


def test_a_former_leader_does_not_mourn_its_copies() -> None:
    old, new = changed("report-leader.json", "postgres", in_recovery=True, replication=[])
    assert between(old, new) == []


def test_a_server_that_goes_down_takes_the_primary_with_it() -> None:
    old, new = changed("report-haproxy.json", "haproxy", write_backends_up=[])
    assert between(old, new) == [
        ("HAProxy Backend Down", "db-euw1-a", "up", "down"),
        ("HAProxy No Primary", "writes", "up", "down"),
    ]


def test_a_new_primary_is_told_from_the_old_one() -> None:
    old, new = changed("report-haproxy.json", "haproxy", write_backends_up=["db-euw3-a"])
    assert between(old, new) == [
        ("HAProxy Backend Down", "db-euw1-a", "up", "down"),
        ("HAProxy Backend Up", "db-euw3-a", "down", "up"),
    ]


def test_health_is_told_as_words() -> None:
    old, new = changed("report-witness.json", "etcd", healthy=False)
    assert between(old, new) == [("Etcd Health Changed", "etcd", "true", "false")]
    old, new = changed("report-app.json", "app", ready=None)
    assert between(old, new) == [("App Health Changed", "app", "true", None)]


@pytest.mark.parametrize(("share", "told"), [(0.79, False), (0.8, True), (0.95, True)])
def test_a_disk_is_told_when_it_fills_up(*, share: float, told: bool) -> None:
    old, new = changed("report-leader.json", "disk", size_bytes=1000, used_bytes=int(share * 1000))
    assert bool(between(old, new)) is told
    assert between(new, new) == []


def peer(state: str, for_s: float) -> dict[str, Any]:
    return {"peers": {"db-euw1-b": {"state": state, "for_s": for_s}}}


def test_a_peer_is_unreachable_after_a_while_and_told_once() -> None:
    assert between(peer("alive", 100.0), peer("silent", 0.0)) == []
    assert between(peer("silent", 5.0), peer("silent", 10.0)) == [
        ("Peer Unreachable", "db-euw1-b", "silent", "silent")
    ]
    assert between(peer("silent", 10.0), peer("silent", 15.0)) == []


def test_a_refusing_peer_is_no_unreachable_one() -> None:
    assert between(peer("refused", 50.0), peer("refused", 60.0)) == []


@pytest.mark.parametrize("part", ["patroni", "postgres", "haproxy", "etcd", "app", "disk", "peers"])
@pytest.mark.parametrize("name", ["leader", "haproxy", "app", "witness"])
def test_a_probe_that_falls_silent_breaks_nothing(name: str, part: str) -> None:
    report = example(f"report-{name}.json")
    without = {**report, part: None}
    assert isinstance(between(report, without), list)
    assert isinstance(between(without, report), list)


def test_what_is_not_known_is_not_pressure() -> None:
    assert used(None) is None
    assert used({"size_bytes": None, "used_bytes": 5}) is None
    assert used({"size_bytes": 10, "used_bytes": None}) is None
    assert used({"size_bytes": 10, "used_bytes": 5}) == 0.5


@given(
    st.sampled_from(["leader", "replica", "haproxy"]),
    st.sampled_from(["leader", "replica", "haproxy"]),
)
def test_every_event_has_a_kind_and_a_subject(first: str, second: str) -> None:
    found = changes(
        example(f"report-{first}.json"), example(f"report-{second}.json"), peer_silent_after_s=1.0
    )
    assert all(bool(c.detail_type) and bool(c.subject) for c in found)
