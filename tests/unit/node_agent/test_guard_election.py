"""Who may take an absent leader key: what the guard adds to Patroni's own check."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import pytest

from node_agent.guard import election
from node_agent.guard.leadership import Standing


@dataclass
class Named:
    name: str


@dataclass
class Status:
    """Patroni's `_MemberStatus`."""

    member: Named
    timeline: int | None
    wal_position: int

    def _replace(self, *, wal_position: int) -> Status:
        return replace(self, wal_position=wal_position)


def answered(name: str, *, timeline: int | None, wal_position: int) -> Status:
    return Status(Named(name), timeline, wal_position)


@dataclass
class State:
    """What PostgreSQL says of itself."""

    primary: bool = False
    timeline: int | None = 1
    wal_position: int = 100

    def is_primary(self) -> bool:
        return self.primary

    def replica_cached_timeline(self, _: int) -> int | None:
        return self.timeline


class StockHa:
    """`Ha`, as far as it goes: whoever is not behind a reachable member may lead."""

    def __init__(self, *statuses: Status, **state: Any) -> None:
        self.state_handler = State(**state)
        self.statuses = list(statuses)
        self.paused = self.standby = False
        self.dcs = Named("etcd")
        self.cluster = type("Cluster", (), {"timeline": 1})()
        self.asked_as_primary: bool | None = None

    def is_paused(self) -> bool:
        return self.paused

    def is_standby_cluster(self) -> bool:
        return self.standby

    def fetch_nodes_statuses(self, members: list[str]) -> list[Status]:
        return [status for status in self.statuses if status.member.name in members]

    def _is_healthiest_node(self, members: list[str], check_replication_lag: bool = True) -> bool:  # noqa: FBT002
        assert check_replication_lag
        return all(
            status.wal_position <= self.state_handler.wal_position
            for status in self.fetch_nodes_statuses(members)
        )

    def acquire_lock(self) -> bool:
        self.asked_as_primary = Standing.of(self.dcs).primary  # type: ignore[arg-type]
        if self.statuses:
            raise ConnectionError
        return True


def a_module() -> ModuleType:
    module = ModuleType("ha_on_paper")
    vars(module)["Ha"] = type("Ha", (StockHa,), {})
    election.install(module)
    return module


def ha(*statuses: Status, **state: Any) -> Any:
    return a_module().Ha(*statuses, **state)


@pytest.mark.parametrize(
    ("timeline", "wal_position", "healthiest"),
    [
        (1, 90, True),
        (1, 110, False),
        (2, 90, False),  # it followed somebody we did not
        (2, 110, False),
        (None, 90, True),
        (0, 90, True),
    ],
)
def test_a_member_on_a_newer_timeline_is_ahead_whatever_its_position(
    timeline: int | None, wal_position: int, healthiest: bool
) -> None:
    found = ha(answered("b", timeline=timeline, wal_position=wal_position))

    assert found._is_healthiest_node(["b"], check_replication_lag=True) is healthiest


def test_a_member_on_an_older_timeline_keeps_its_position() -> None:
    """It may have received what it has not replayed: the timeline it tells is the replayed one."""
    assert not ha(answered("b", timeline=1, wal_position=110), timeline=2)._is_healthiest_node(
        ["b"]
    )


def test_without_a_timeline_of_its_own_positions_count_as_ever() -> None:
    assert ha(answered("b", timeline=2, wal_position=90), timeline=None)._is_healthiest_node(["b"])


def test_a_standby_cluster_is_left_to_patroni() -> None:
    found = ha(answered("b", timeline=2, wal_position=90))
    found.standby = True

    assert found._is_healthiest_node(["b"])


def test_nobody_but_the_check_sees_changed_positions() -> None:
    found = ha(answered("b", timeline=2, wal_position=90))

    assert not found._is_healthiest_node(["b"])
    assert "fetch_nodes_statuses" not in vars(found)
    assert found.fetch_nodes_statuses(["b"])[0].wal_position == 90


@pytest.mark.parametrize(
    ("primary", "paused", "declared"),
    [(True, False, True), (False, False, False), (True, True, False)],
)
def test_the_key_is_asked_for_in_the_name_of_a_running_primary(
    primary: bool, paused: bool, declared: bool
) -> None:
    found = ha(primary=primary)
    found.paused = paused

    assert found.acquire_lock()
    assert found.asked_as_primary is declared
    assert not Standing.of(found.dcs).primary


def test_a_declaration_does_not_outlive_a_question_that_failed() -> None:
    found = ha(answered("b", timeline=1, wal_position=1), primary=True)

    with pytest.raises(ConnectionError):
        found.acquire_lock()
    assert not Standing.of(found.dcs).primary
