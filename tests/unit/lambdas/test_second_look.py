"""A look whose calls took long: what disturbs waits for a second look, what does not is done, and nothing starves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lambdas import run
from lambdas.core.actions import DISTURBING, Launch, Reboot, RestartService, Terminate
from lambdas.core.diagnose import diagnose
from lambdas.core.plan import plan
from lambdas.observe import Look, observe
from lambdas.second_look import SecondLook
from tests.unit.lambdas.world import Stage, a_born_cluster

SLOT = "db-euw3-a"
END = Terminate(slot=SLOT, instance_id="i-1")
SAID = f"looks again before terminate on {SLOT}"


def a_second_look() -> SecondLook:
    found = SecondLook(limit_s=10.0)
    found.begin()
    return found


def test_a_quick_look_puts_nothing_off() -> None:
    assert a_second_look().puts_off(END, age_s=10.0) is None


def test_a_slow_look_puts_off_what_disturbs_and_says_so() -> None:
    said = a_second_look().puts_off(END, age_s=33.4)
    assert said == f"looked for 33 s, looks again before terminate on {SLOT}"


def test_what_disturbs_nobody_is_never_put_off() -> None:
    assert Launch(slot=SLOT).kind not in DISTURBING
    assert a_second_look().puts_off(Launch(slot=SLOT), age_s=100.0) is None


def test_what_two_looks_in_a_row_want_is_done() -> None:
    looks = a_second_look()
    assert looks.puts_off(END, age_s=30.0) is not None
    looks.begin()
    assert looks.puts_off(END, age_s=30.0) is None


@pytest.mark.parametrize(
    "other",
    [
        Terminate(slot=SLOT, instance_id="i-2"),
        Terminate(slot="db-euw1-b", instance_id="i-1"),
        Reboot(slot=SLOT, instance_id="i-1"),
        RestartService(slot=SLOT, instance_id="i-1", service="etcd"),
    ],
    ids=str,
)
def test_another_step_is_put_off_for_itself(other: Any) -> None:
    looks = a_second_look()
    assert looks.puts_off(END, age_s=30.0) is not None
    looks.begin()
    assert looks.puts_off(other, age_s=30.0) is not None


def test_a_look_in_between_that_did_not_want_it_counts() -> None:
    looks = a_second_look()
    assert looks.puts_off(END, age_s=30.0) is not None
    looks.begin()
    looks.begin()
    assert looks.puts_off(END, age_s=30.0) is not None


# -- in a run


def looks_are_slow(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    *,
    meanwhile: Callable[[Look], None] = lambda _: None,
    takes_s: float | None = None,
) -> None:
    """Every look takes longer than half of `agent_silent_after_s`, after it has read the hub table."""
    takes_s = takes_s or stage.spec.timings.agent_silent_after_s / 2 + 0.5

    def slowly(*args: Any, keep: Callable[[], None], **kwargs: Any) -> Look:
        look = observe(*args, keep=keep, **kwargs)
        meanwhile(look)
        for _ in range(int(takes_s)):
            stage.nodes.sleep(1.0)
            keep()
        stage.nodes.sleep(takes_s % 1.0)
        return look

    monkeypatch.setattr(run, "observe", slowly)


def a_dead_host() -> Stage:
    stage = a_born_cluster()
    stage.lose(SLOT)
    return stage


def test_a_host_that_came_back_during_a_slow_look_is_not_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = a_dead_host()
    stage.nodes.may_end.add(SLOT)
    machine = stage.nodes.occupant(SLOT)

    def comes_back(look: Look) -> None:
        o = look.observation
        if any(isinstance(a, Terminate) for a in plan(o, diagnose(o))):
            machine.power, machine.dead_since = True, None

    looks_are_slow(stage, monkeypatch, meanwhile=comes_back)
    stage.wake()
    assert any(SAID in sentence for sentence in stage.sentences)
    assert stage.nodes.count("terminate", SLOT) == 0
    assert stage.nodes.occupant(SLOT) is machine


@pytest.mark.parametrize("takes_s", [2.5, 10.5, 16.0, 21.0, 31.0, 45.0])
def test_where_every_look_is_slow_the_second_one_acts(
    monkeypatch: pytest.MonkeyPatch, takes_s: float
) -> None:
    stage = a_dead_host()
    looks_are_slow(stage, monkeypatch, takes_s=takes_s)
    stage.until_full(within_s=120 + 15 * takes_s)
    assert stage.nodes.count("terminate", SLOT) == 1
    assert sum(SAID in sentence for sentence in stage.sentences) == 1
    assert stage.told.of("Held") == []


def test_a_quick_look_acts_at_once() -> None:
    stage = a_dead_host()
    stage.wake()
    assert stage.nodes.count("terminate", SLOT) == 1
    assert not any(SAID in sentence for sentence in stage.sentences)


def test_a_run_does_not_end_while_a_step_waits_for_its_second_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = a_dead_host()
    looks_are_slow(stage, monkeypatch)
    outcome = stage.wake()
    first = next(i for i, sentence in enumerate(stage.sentences) if SAID in sentence)
    assert "ended i-" in stage.sentences[first + 1]
    assert outcome.looks > first + 1


# -- looks that are too far apart


def test_a_person_is_told_when_looks_never_follow_each_other_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = a_dead_host()
    began, limit_s = stage.now(), stage.spec.timings.unreachable_after_s
    with monkeypatch.context() as far_apart:
        far_apart.setattr(stage, "sleep", lambda _: stage.nodes.sleep(25.0))
        while not stage.told.of("Held"):
            assert stage.now() - began < 2 * limit_s
            stage.nodes.sleep(25.0)
            assert not stage.wake().quiet
    assert stage.now() - began > limit_s
    assert stage.nodes.count("terminate", SLOT) == 0
    (held,) = stage.told.of("Held")
    assert (held["slot"], held["rail"]) == (SLOT, "looked-away")
    stage.until_full(within_s=120)
    assert stage.nodes.count("terminate", SLOT) == 1
    assert len(stage.told.of("Held")) == 1
