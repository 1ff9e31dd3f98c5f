"""A leader lets go of a slot whose WAL is gone once its copy is being cloned, and of no other, and not before."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.replication_slots import drop, outlived

SLOTS = ["db-euw1-a", "db-euw1-b", "db-euw3-a"]


def a_report(
    *, role: str = "leader", state: str = "creating replica", recovery: bool = False, **row: Any
) -> dict[str, Any]:
    lost = {"name": "db_euw1_b", "wal_status": "lost", "physical": True, "active": False}
    return {
        "patroni": {"role": role, "members": [{"name": "db-euw1-b", "state": state}]},
        "postgres": {"in_recovery": recovery, "replication_slots": [{**lost, **row}]},
    }


def test_a_lost_slot_whose_copy_is_being_cloned_is_let_go_of() -> None:
    assert outlived(a_report(), SLOTS) == ["db_euw1_b"]


@pytest.mark.parametrize(
    "report",
    [
        a_report(role="replica"),
        a_report(recovery=True),
        a_report(state="running"),  # the slot still tells that the copy needs a clone
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
    assert outlived(report, SLOTS) == []


def test_what_is_in_use_or_keeps_wal_by_now_is_left_alone_where_it_is_decided() -> None:
    calls: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> None:
        calls.append(argv)

    drop("db_euw1_b", run, only_lost=True)  # type: ignore[arg-type] # its answer is not read
    assert "NOT active AND wal_status = 'lost'" in calls[0][-1]
    drop("db_euw1_b", run)  # type: ignore[arg-type]
    assert "wal_status" not in calls[1][-1]
