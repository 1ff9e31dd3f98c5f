"""A leader lets go of a slot whose WAL is gone once its copy is being cloned, and of no other, and not before."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.replication_slots import drop, outlived

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
    calls: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> None:
        calls.append(argv)

    drop("db_euw1_b", run, only_lost=True)  # type: ignore[arg-type] # its answer is not read
    assert "NOT active AND wal_status = 'lost'" in calls[0][-1]
    drop("db_euw1_b", run)  # type: ignore[arg-type]
    assert "wal_status" not in calls[1][-1]
