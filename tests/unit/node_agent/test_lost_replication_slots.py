"""A leader lets go of a slot whose WAL is gone once its copy is being cloned, and of no other, and not before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from node_agent import daemon, replication_slots
from node_agent.daemon import Daemon
from node_agent.errors import AgentError
from node_agent.replication_slots import DROP_LOST_S, DROP_S, drop, outlived
from node_agent.shell import Result
from tests.unit.node_agent.builders import Programs, a_node

ADDRESSES = {"db-euw1-b": "10.10.11.11", "db-euw3-a": "10.20.10.11"}


def a_report(*, role: str = "leader", recovery: bool = False, **row: Any) -> dict[str, Any]:
    lost = {"name": "db_euw1_b", "wal_status": "lost", "physical": True, "active": False}
    return {
        "patroni": {"role": role},
        "postgres": {"in_recovery": recovery, "replication_slots": [{**lost, **row}]},
    }


def cloning(address: str) -> str | None:
    assert address == "10.10.11.11"  # nobody else is asked
    return "creating replica"


def test_a_lost_slot_whose_copy_is_being_cloned_is_let_go_of() -> None:
    assert outlived(a_report(), ADDRESSES, cloning) == ["db_euw1_b"]


@pytest.mark.parametrize("state", ["running", "starting", "stopped", None])
def test_before_the_clone_it_stays_and_tells_that_the_copy_needs_one(state: str | None) -> None:
    assert outlived(a_report(), ADDRESSES, lambda _: state) == []


@pytest.mark.parametrize(
    "report",
    [
        a_report(role="replica"),
        a_report(recovery=True),
        a_report(wal_status="reserved"),
        a_report(wal_status=None),
        a_report(active=True),
        a_report(physical=False),
        a_report(name="somebody_elses"),
        {"patroni": None, "postgres": None},
    ],
    ids=lambda report: str(report)[:60],
)
def test_every_other_one_stays(report: dict[str, Any]) -> None:
    assert outlived(report, ADDRESSES, lambda _: "creating replica") == []


def test_what_is_in_use_or_keeps_wal_by_now_is_left_alone_where_it_is_decided() -> None:
    programs = Programs()
    drop("db_euw1_b", programs, only_lost=True)
    assert "NOT active AND wal_status = 'lost'" in programs.calls[0][-1]
    drop("db_euw1_b", programs)
    assert "wal_status" not in programs.calls[1][-1]


def test_postgres_gives_up_before_the_agents_pass_does() -> None:
    limits: list[float] = []
    programs = Programs()

    def run(argv: Sequence[str], *, timeout_s: float) -> Result:
        limits.append(timeout_s)
        return programs(argv, timeout_s=timeout_s)

    drop("db_euw1_b", run, only_lost=True)
    drop("db_euw1_b", run)

    assert limits == [DROP_LOST_S, DROP_S]
    for call, limit_s in zip(programs.calls, limits, strict=True):
        (limit,) = (word for word in call if word.startswith("SET statement_timeout"))
        assert limit == f"SET statement_timeout = '{limit_s - 1:.0f}s'"


def test_a_pass_waits_for_one_that_fails_and_for_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    def fails(name: str, *_: Any, **__: Any) -> None:
        tried.append(name)
        raise AgentError("psql takes too long")

    monkeypatch.setattr(replication_slots, "outlived", lambda *_: ["one", "two"])
    monkeypatch.setattr(replication_slots, "drop", fails)
    Daemon(a_node())._drop_lost(a_report(), {})

    assert tried == ["one"]
    assert "one stays: psql takes too long" in caplog.text


def test_a_small_copy_that_is_cloned_between_two_passes_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states = iter(["running", "running", "creating replica", "running"])
    slept: list[float] = []
    dropped: list[str] = []
    monkeypatch.setattr(
        daemon, "time", SimpleNamespace(sleep=slept.append, monotonic=time.monotonic)
    )
    monkeypatch.setattr(replication_slots, "drop", lambda name, *_, **__: dropped.append(name))
    agent = Daemon(a_node())
    monkeypatch.setattr(agent, "_state_at", lambda _: next(states))

    agent._drop_lost(a_report(), ADDRESSES)
    agent._drop_lost(a_report(wal_status="reserved"), ADDRESSES)  # nobody is asked

    assert (dropped, slept) == (["db_euw1_b"], [daemon.LOST_LOOK_S] * 2)
