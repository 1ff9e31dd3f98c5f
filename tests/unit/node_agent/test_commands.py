"""What documents ask of a database node: a living leader is never touched, unknown is never taken for safe."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from node_agent.errors import AgentError, RefusedError
from node_agent.phase import CONFIGURED, enter
from node_agent.standing import Here
from tests.unit.node_agent.builders import (
    LEADER,
    a_node,
    the_spec,
)
from tests.unit.node_agent.conftest import Home
from tests.unit.node_agent.standing import Bench


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


# -- who counts as the leader


TOUCHES: dict[str, Callable[[Bench], str]] = {
    "join": Bench.join,
    "reinit": Bench.reinit,
    "leave": Bench.leave,
    "restart patroni": lambda bench: bench.restart("patroni"),
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_a_leader_by_patronis_word_is_never_touched(
    bench: Bench, touch: Callable[[Bench], str]
) -> None:
    bench.patroni.role = "primary"
    with pytest.raises(RefusedError, match="living leader"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_a_leader_by_etcds_key_is_never_touched_even_when_patroni_is_silent(
    bench: Bench, touch: Callable[[Bench], str]
) -> None:
    bench.cluster.keys[LEADER] = bench.slot
    bench.patroni.up = False
    with pytest.raises(RefusedError, match="leader key"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_a_server_that_takes_writes_while_nobody_else_is_known_to_lead_counts_as_leader(
    bench: Bench, touch: Callable[[Bench], str]
) -> None:
    bench.cluster.without_answer_from("db-euw1-a", "db-euw3-a")
    bench.patroni.up, bench.in_recovery = False, False
    with pytest.raises(RefusedError, match="takes writes"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", [Bench.join, Bench.reinit, Bench.leave])
def test_without_a_majority_nobody_knows_who_leads_and_nothing_is_done(
    bench: Bench, touch: Callable[[Bench], str]
) -> None:
    bench.cluster.without_answer_from("db-euw1-a", "db-euw3-a")
    with pytest.raises(RefusedError, match="no majority"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", [Bench.join, Bench.reinit, Bench.leave])
def test_without_a_leader_there_is_nobody_to_follow(
    bench: Bench, touch: Callable[[Bench], str]
) -> None:
    bench.cluster.keys.clear()
    with pytest.raises(RefusedError, match="no leader to follow"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", [Bench.join, Bench.reinit, Bench.leave])
def test_a_paused_cluster_is_a_persons(bench: Bench, touch: Callable[[Bench], str]) -> None:
    bench.patroni.paused = True
    with pytest.raises(RefusedError, match="paused"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", [Bench.join, Bench.reinit])
def test_a_node_without_a_database_has_nothing_to_join(
    home: Home, touch: Callable[[Bench], str]
) -> None:
    bench = Bench(home, "witness-euc1-a")
    with pytest.raises(RefusedError, match="no database"):
        touch(bench)


def test_a_node_that_no_document_configured_refuses(home: Home) -> None:
    assert not home.spec.exists()
    with pytest.raises(RefusedError, match="not configured"):
        Here.configured(a_node())


def test_a_node_that_left_refuses_until_it_is_configured_again(home: Home) -> None:
    home.spec.write_text(json.dumps(the_spec().raw))
    enter("left")
    with pytest.raises(RefusedError, match="not configured"):
        Here.configured(a_node())
    enter(CONFIGURED)
    assert Here.configured(a_node()).address == "10.10.10.11"


# -- join


def test_a_copy_that_streams_is_left_alone(bench: Bench) -> None:
    bench.patroni.state = "streaming"
    assert "streams already" in bench.join()
    assert bench.nothing_was_done()


def test_a_copy_that_does_not_follow_is_restarted_and_waited_for(bench: Bench) -> None:
    bench.streams_once_patroni_is_started()
    assert bench.join() == "db-euw1-b follows db-euw3-a again"
    assert bench.programs.said("stop", "patroni.service")


def test_a_copy_whose_patroni_is_stopped_is_started(bench: Bench) -> None:
    bench.streams_once_patroni_is_started()
    bench.patroni.up, bench.programs.states["patroni"] = False, "inactive"
    bench.join()
    assert not bench.programs.said("stop", "patroni.service")


def test_an_old_primary_with_another_leader_elsewhere_is_joined(bench: Bench) -> None:
    bench.streams_once_patroni_is_started()
    bench.patroni.up, bench.in_recovery = False, False
    assert "follows" in bench.join()


def test_a_clone_under_way_is_left_alone(bench: Bench) -> None:
    bench.patroni.state = "creating replica"
    with pytest.raises(RefusedError, match="cloned"):
        bench.join()
    assert bench.nothing_was_done()


def test_a_copy_that_is_starting_gets_its_time_first(bench: Bench) -> None:
    bench.patroni.state = "starting"
    bench.clock.after(10.0, lambda: setattr(bench.patroni, "state", "streaming"))
    assert "only needed time" in bench.join()
    assert bench.nothing_was_done()


def test_a_copy_that_starts_for_ever_is_restarted(bench: Bench) -> None:
    bench.streams_once_patroni_is_started()
    bench.patroni.state = "starting"
    bench.join()
    assert bench.programs.said("stop", "patroni.service")


def test_a_clone_that_was_cut_short_is_cleared_before_the_start(bench: Bench) -> None:
    bench.streams_once_patroni_is_started().home.half_a_clone()
    bench.join()
    assert not bench.home.data_dir.exists()


def test_a_copy_that_does_not_stream_in_time_is_a_failure_that_says_so(bench: Bench) -> None:
    with pytest.raises(AgentError, match="does not stream yet: Patroni here is running") as failure:
        bench.join()
    assert failure.value.exit_code == 1


def test_a_copy_that_fails_to_start_again_and_again_is_not_waited_for_to_the_end(
    bench: Bench,
) -> None:
    bench.patroni.state, began = "start failed", bench.clock.now
    with pytest.raises(AgentError, match="Patroni here is start failed"):
        bench.join()
    assert 20 <= bench.clock.now - began < 60


def test_a_copy_whose_second_start_succeeds_is_joined(bench: Bench) -> None:
    bench.patroni.state = "start failed"
    bench.clock.after(15.0, bench.streams)
    assert "follows" in bench.join()


def test_a_copy_promoted_meanwhile_is_not_stopped(bench: Bench) -> None:
    bench.patroni.state = "starting"
    bench.clock.after(15.0, bench.leading)
    with pytest.raises(RefusedError, match="leads"):
        bench.join()
    assert not bench.programs.said("stop")


# -- reinit


def test_a_copy_is_made_anew_and_waited_for(bench: Bench) -> None:
    def begin() -> None:
        bench.patroni.state = "creating replica"
        bench.clock.after(30.0, finish)

    def finish() -> None:
        bench.patroni.state, bench.patroni.started_at = "streaming", "2026-01-01 00:01:00"

    bench.patroni.on_post = begin
    assert bench.reinit() == "db-euw1-b was made anew from db-euw3-a"
    assert bench.patroni.posts == [("http://10.10.11.11:8008/reinitialize", {"force": True})]
    assert bench.clock.now >= 1030.0


def test_a_copy_that_still_streams_as_before_was_not_made_anew(bench: Bench) -> None:
    bench.patroni.state = "streaming"
    with pytest.raises(AgentError, match="being made anew"):
        bench.reinit()


def the_leader_sends_to(bench: Bench, **row: str) -> None:
    assert bench.patroni.leader is not None
    sender = {"application_name": bench.slot, "state": "streaming", "sync_state": "quorum", **row}
    bench.patroni.leader["replication"] = [{"application_name": "db-euw1-a"}, sender]


def test_a_copy_that_streams_by_its_own_and_by_the_leaders_word_is_not_discarded(
    bench: Bench,
) -> None:
    bench.patroni.state = "streaming"
    the_leader_sends_to(bench)
    with pytest.raises(RefusedError, match="streams from db-euw3-a, so it is as good as a new one"):
        bench.reinit()
    assert bench.nothing_was_done()


@pytest.mark.parametrize(
    ("state", "row"),
    [
        ("running", {}),
        ("starting", {}),
        ("streaming", {"state": "catchup"}),
        ("streaming", {"application_name": "db-euw3-b"}),
    ],
    ids=str,
)
def test_a_copy_that_one_of_both_does_not_call_streaming_may_be_made_anew(
    bench: Bench, state: str, row: dict[str, str]
) -> None:
    def finish() -> None:
        bench.patroni.state, bench.patroni.started_at = "streaming", "2026-01-01 00:01:00"

    bench.patroni.state, bench.patroni.on_post = state, finish
    the_leader_sends_to(bench, **row)
    assert "made anew" in bench.reinit()


def test_patronis_refusal_is_a_refusal(bench: Bench) -> None:
    bench.patroni.refuses = "reinitialize already in progress"
    with pytest.raises(RefusedError, match="refused"):
        bench.reinit()
