"""A node leaves and a service restarts only where the cluster can do without."""

from __future__ import annotations

from argparse import Namespace

import pytest

from node_agent.commands import restart
from node_agent.commands.restart import set_clock
from node_agent.errors import AgentError, HoldError, RefusedError
from node_agent.guard import REFUSED
from node_agent.phase import phase
from node_agent.shell import Result
from tests.unit.node_agent.builders import (
    LEADER,
    a_node,
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


def test_a_voter_that_leaves_takes_its_alarms_with_it(home: Home) -> None:
    bench = Bench(home, "db-euw3-a")
    bench.cluster.keys[LEADER] = "db-euw1-a"
    bench.cluster.alarms = [("2", "NOSPACE"), ("3", "NOSPACE")]
    bench.leave()
    assert bench.cluster.alarms == [("3", "NOSPACE")]


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


@pytest.mark.parametrize("state", ["active", "reloading", "deactivating", "unknown"])
def test_a_living_leaders_patroni_is_not_restarted_whatever_systemd_calls_it(
    bench: Bench, state: str
) -> None:
    bench.leading().programs.states["patroni"] = state
    with pytest.raises(RefusedError, match="living leader"):
        bench.restart("patroni")
    assert bench.nothing_was_done()


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


@pytest.mark.parametrize("slot", ["db-euw1-b", "haproxy-euw1-a", "witness-euc1-a"])
def test_the_clocks_keeper_is_restarted_wherever_there_is_one(home: Home, slot: str) -> None:
    bench = Bench(home, slot)
    bench.programs.states["chrony"] = "active"
    assert set_clock(bench.units, bench.clock.deadline) == "chrony is active again"
    assert bench.programs.said("restart", "chrony.service")


def test_a_host_without_a_clocks_keeper_refuses(bench: Bench) -> None:
    with pytest.raises(RefusedError, match="has no chrony"):
        set_clock(bench.units, bench.clock.deadline)
    assert bench.nothing_was_done()


def test_the_clocks_keeper_of_a_node_that_is_not_configured_is_restarted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(home)
    bench.programs.states["chrony"] = "failed"
    home.phase.unlink()
    monkeypatch.setattr(restart, "Units", lambda: bench.units)
    monkeypatch.setattr(restart, "STEADY_S", 0.1)
    assert restart.run(a_node(), Namespace(service="chrony")) == "chrony is active again"


def test_a_service_that_does_not_come_back_is_a_failure(home: Home) -> None:
    bench = Bench(home, "haproxy-euw1-a")
    bench.programs.started = lambda unit: bench.programs.states.update({unit: "failed"})
    with pytest.raises(AgentError, match="haproxy was restarted and is failed"):
        bench.restart("haproxy")


@pytest.mark.parametrize("code", [1, 0])
def test_a_patroni_that_ends_moments_after_its_start_is_a_failure(bench: Bench, code: int) -> None:
    bench.clock.after(3.0, lambda: bench.programs.states.update(patroni="activating"))
    bench.programs.exit_codes["patroni"] = code
    with pytest.raises(AgentError, match="patroni was restarted and is activating") as failure:
        bench.restart("patroni")
    assert failure.value.exit_code == 1


def test_a_patroni_that_its_guard_refuses_is_a_persons_matter(bench: Bench) -> None:
    bench.clock.after(1.0, lambda: bench.programs.states.update(patroni="failed"))
    bench.programs.exit_codes["patroni"] = REFUSED
    with pytest.raises(HoldError, match="the guard does not know this Patroni") as failure:
        bench.restart("patroni")
    assert failure.value.exit_code == 11


def test_an_old_refusal_says_nothing_of_a_patroni_that_stays_up(bench: Bench) -> None:
    bench.programs.exit_codes["patroni"] = REFUSED
    began = bench.clock.now
    assert bench.restart("patroni") == "patroni is active again"
    assert bench.clock.now - began >= restart.STEADY_S


def test_another_service_that_ends_with_the_same_code_may_be_tried_again(home: Home) -> None:
    bench = Bench(home, "haproxy-euw1-a")
    bench.programs.started = lambda unit: bench.programs.states.update({unit: "failed"})
    bench.programs.exit_codes["haproxy"] = REFUSED
    with pytest.raises(AgentError, match="is failed") as failure:
        bench.restart("haproxy")
    assert failure.value.exit_code == 1
