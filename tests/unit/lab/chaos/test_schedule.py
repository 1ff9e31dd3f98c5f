"""The same seed is the same schedule, and nothing falls beside what it must not fall beside."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.chaos.kinds import DATA_REST_S, KINDS, LEFT_OUT, Effect, Kind, apart_s, known
from lab.chaos.schedule import (
    AT_ONCE,
    FIRST_S,
    LAST_S,
    LULL_S,
    PLANTED,
    STORM_S,
    Blow,
    Plan,
    as_lines,
    draw,
    fits,
    kind_of,
)
from lab.faults.catalogue import FAULTS
from lab.faults.targets import ROLES, WORDS, resolve
from tests.unit.lab_tools.fakes import slots

EVERYTHING = known(tuple(FAULTS))
DURABILITIES = st.sampled_from(("async", "zone", "region"))


def a_plan(
    seed: int = 7,
    *,
    minutes: float = 20.0,
    durability: str = "region",
    kinds: tuple[str, ...] = EVERYTHING,
    at_once: int = AT_ONCE,
    broken: bool = False,
) -> Plan:
    return Plan(
        seed=seed,
        length_s=minutes * 60,
        durability=durability,
        kinds=kinds,
        at_once=at_once,
        broken=broken,
    )


def a_blow(kind: str, begin_s: float, length_s: float = 30.0) -> Blow:
    return Blow(number=1, kind=kind, begin_s=begin_s, length_s=length_s, target="replica", pick=0.0)


@pytest.mark.parametrize("name", [*FAULTS])
def test_every_fault_of_the_catalogue_is_used_or_left_out_for_a_reason(name: str) -> None:
    assert (name in KINDS) != (name in LEFT_OUT)


def test_no_kind_is_misspelt() -> None:
    assert set(KINDS) <= set(FAULTS)


def test_a_kind_that_the_catalogue_has_not_is_never_drawn() -> None:
    assert known(("terminate", "of-another-project")) == ("terminate",)
    assert {blow.kind for blow in draw(a_plan(kinds=("terminate", "hang")))} == {
        "terminate",
        "hang",
    }
    assert draw(a_plan(kinds=())) == ()


@pytest.mark.parametrize("kind", KINDS.values(), ids=str)
def test_every_kind_can_hit_whom_it_aims_at(kind: Kind) -> None:
    fault = FAULTS[kind.name]
    assert 0 < kind.shortest_s <= kind.longest_s
    for word in kind.aims:
        if fault.whole_region:
            assert resolve(word, slots=slots(), leader=None).region is not None
        else:
            role = word if word in ROLES else "db"
            assert word in WORDS
            assert role in fault.roles


@given(st.integers(), DURABILITIES, st.floats(1.0, 20.0), st.integers(1, 4))
def test_the_same_seed_is_the_same_schedule_and_keeps_every_rule(
    seed: int, durability: str, minutes: float, at_once: int
) -> None:
    plan = a_plan(seed, minutes=minutes, durability=durability, at_once=at_once)
    blows = draw(plan)

    assert draw(plan) == blows
    assert [blow.number for blow in blows] == list(range(1, len(blows) + 1))
    assert list(blows) == sorted(blows, key=lambda it: it.begin_s)
    for blow in blows:
        assert FIRST_S <= blow.begin_s <= plan.length_s - LAST_S + 0.1
        assert blow.end_s <= plan.length_s + 0.1
        assert blow.begin_s % (STORM_S + LULL_S) <= STORM_S + 0.1
        beside = [b for b in blows if b.begin_s <= blow.begin_s < b.end_s]
        assert len(beside) <= at_once
    for one, other in itertools.combinations(blows, 2):
        _apart(one, other, durability)


def _apart(one: Blow, other: Blow, durability: str) -> None:
    """The rules in other words than the schedule's own."""
    first, second = kind_of(one), kind_of(other)
    away_s = other.begin_s - one.end_s
    effects = [first.effect, second.effect]
    if effects == [Effect.DATA, Effect.DATA]:
        assert away_s >= DATA_REST_S
    if durability != "async" and set(effects) == {Effect.DATA, Effect.REGION}:
        assert away_s >= DATA_REST_S
    if first.alone and first.alone == second.alone:
        assert away_s >= 0


def test_other_seeds_are_other_schedules() -> None:
    assert len({draw(a_plan(seed)) for seed in range(30)}) == 30


def test_faults_do_overlap_and_in_many_seeds_all_kinds_come() -> None:
    schedules = [draw(a_plan(seed)) for seed in range(60)]
    assert all(
        any(b.begin_s < a.end_s for a, b in itertools.pairwise(blows)) for blows in schedules
    )
    assert {blow.kind for blows in schedules for blow in blows} == set(EVERYTHING)


def test_only_where_nothing_is_promised_data_may_go_while_a_region_is_away() -> None:
    data, region = KINDS["disk-lost"], KINDS["region-power"]
    assert apart_s(data, region, "async") is None
    assert apart_s(data, region, "zone") == apart_s(region, data, "region") == DATA_REST_S
    assert apart_s(data, KINDS["diverged"], "async") == DATA_REST_S


@pytest.mark.parametrize(
    ("kind", "begin_s", "may"),
    [
        ("freeze", 20.0, True),
        ("throttled", 39.9, False),  # the way back of one would be that of both
        ("throttled", 40.0, True),
        ("disk-lost", 20.0, True),
    ],
)
def test_what_is_undone_once_is_done_once(kind: str, begin_s: float, may: bool) -> None:
    assert fits(a_blow(kind, begin_s), [a_blow("no-capacity", 10.0)], a_plan()) is may


def test_no_more_at_once_than_asked_for() -> None:
    earlier = [a_blow("freeze", 0.0), a_blow("hang", 1.0)]
    assert not fits(a_blow("unplug", 2.0), earlier, a_plan(at_once=2))
    assert fits(a_blow("unplug", 2.0), earlier, a_plan(at_once=3))
    assert fits(a_blow("unplug", 30.0), earlier, a_plan(at_once=2))


def test_with_a_guard_off_the_leader_dies_first_and_the_rest_comes_after() -> None:
    blows = draw(a_plan(broken=True))
    assert blows[: len(PLANTED)] == PLANTED
    assert {blow.target for blow in PLANTED} == {"leader", "region:leader"}
    assert all(blow.begin_s > PLANTED[-1].end_s for blow in blows[len(PLANTED) :])
    assert [blow.number for blow in blows] == list(range(1, len(blows) + 1))


def test_planted_blows_that_do_not_fit_into_the_time_are_left_out() -> None:
    assert draw(a_plan(minutes=3.0, broken=True)) == PLANTED[:2]


def test_it_is_told_in_words_and_as_lines() -> None:
    blow = a_blow("freeze", 12.4, 30.0)
    assert str(blow) == "1. after 12 s: freeze on replica for 30 s"
    assert Blow(**json.loads(as_lines([blow]))) == blow
