"""A node leaves and a service restarts only where the cluster can do without."""

from __future__ import annotations

import pytest

from node_agent.errors import AgentError, RefusedError
from node_agent.phase import phase
from node_agent.shell import Result
from tests.unit.node_agent.builders import (
    LEADER,
)
from tests.unit.node_agent.conftest import Home
from tests.unit.node_agent.standing import Bench


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


# -- leave


def test_a_copy_leaves_and_stays_off(bench: Bench) -> None:
    bench.units.enable("patroni")
    assert bench.leave() == "db-euw1-b has left the cluster"
    assert bench.programs.states["patroni"] == "inactive"
    assert bench.home.enabled() == set()
    assert phase() == "left"


def test_a_voter_gives_up_its_seat(home: Home) -> None:
    bench = Bench(home, "db-euw3-a")
    bench.cluster.keys[LEADER] = "db-euw1-a"
    bench.leave()
    assert bench.cluster.calls == ["remove 2"]
    assert bench.programs.states["etcd"] == "inactive"


def test_a_voter_whose_seat_nobody_can_take_back_keeps_it_and_runs_on(home: Home) -> None:
    bench = Bench(home, "db-euw3-a")
    bench.cluster.keys[LEADER] = "db-euw1-a"
    bench.units.enable("etcd")
    stop = bench.programs._systemctl

    def cut_off_after_patroni(words: list[str]) -> Result:
        if words[-1].startswith("patroni"):
            bench.cluster.without_answer_from("db-euw1-a", "witness-euc1-a")
        return stop(words)

    bench.programs._systemctl = cut_off_after_patroni  # type: ignore[method-assign]
    with pytest.raises(AgentError, match="etcd runs on") as failure:
        bench.leave()
    assert failure.value.exit_code == 1
    assert bench.cluster.calls == []
    assert bench.programs.states["etcd"] == "active"
    assert "etcd" in bench.home.enabled()
    assert phase() == "configured"


@pytest.mark.parametrize("slot", ["db-euw3-a", "witness-euc1-a"])
def test_a_voter_that_the_majority_needs_stays(home: Home, slot: str) -> None:
    bench = Bench(home, slot)
    bench.cluster.keys[LEADER] = "db-euw1-b"
    bench.cluster.without_answer_from("db-euw1-a")
    with pytest.raises(RefusedError, match="majority"):
        bench.leave()
    assert bench.nothing_was_done()
    assert phase() == "configured"


@pytest.mark.parametrize(
    ("slot", "unit"), [("haproxy-euw1-a", "haproxy"), ("app-euw1-a", "pgmend-app")]
)
def test_a_front_node_leaves_by_stopping(home: Home, slot: str, unit: str) -> None:
    bench = Bench(home, slot)
    bench.programs.states[unit] = "active"
    bench.leave()
    assert bench.programs.states[unit] == "inactive"
    assert bench.cluster.calls == []


# -- restart


def test_a_followers_patroni_is_restarted(bench: Bench) -> None:
    assert bench.restart("patroni") == "patroni is active again"


def test_a_leaders_patroni_that_is_down_may_be_started(bench: Bench) -> None:
    bench.leading().programs.states["patroni"] = "failed"
    assert bench.restart("patroni") == "patroni is active again"


def test_a_leaders_healthy_etcd_is_not_restarted(home: Home) -> None:
    bench = Bench(home, "db-euw1-a").leading()
    with pytest.raises(RefusedError, match="living leader"):
        bench.restart("etcd")
    assert bench.nothing_was_done()


def test_an_etcd_that_serves_nobody_is_restarted_wherever_it_is(home: Home) -> None:
    bench = Bench(home, "db-euw1-a").leading()
    bench.patroni.etcd_healthy = False
    assert bench.restart("etcd") == "etcd is active again"


def test_an_etcd_that_the_majority_needs_is_not_restarted(home: Home) -> None:
    bench = Bench(home, "witness-euc1-a")
    bench.cluster.without_answer_from("db-euw1-a")
    with pytest.raises(RefusedError, match="not restarted"):
        bench.restart("etcd")


@pytest.mark.parametrize(
    ("slot", "service"),
    [("db-euw1-b", "etcd"), ("db-euw1-b", "haproxy"), ("witness-euc1-a", "patroni")],
)
def test_a_service_the_node_does_not_run_is_refused(home: Home, slot: str, service: str) -> None:
    bench = Bench(home, slot)
    with pytest.raises(RefusedError, match=f"does not run {service}"):
        bench.restart(service)


def test_a_service_that_does_not_come_back_is_a_failure(home: Home) -> None:
    bench = Bench(home, "haproxy-euw1-a")
    bench.programs.started = lambda unit: bench.programs.states.update({unit: "failed"})
    with pytest.raises(AgentError, match="haproxy was restarted and is failed"):
        bench.restart("haproxy")
