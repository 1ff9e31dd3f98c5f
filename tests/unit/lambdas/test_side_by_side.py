"""Calls side by side: whoever waits for one keeps the run's lease meanwhile, and loses nobody's answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Event
from typing import NoReturn

import pytest

from lambdas import side_by_side
from lambdas.core.model import Instance
from lambdas.errors import LeaseLostError, RegionSilentError
from lambdas.observe import observe
from lambdas.side_by_side import SideBySide
from tests.unit.lambdas.world import FakeEc2, Stage, a_born_cluster

RELEASED_WITHIN_S = 10.0  # real seconds; a test that fails does not hang


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "EVERY_S", 0.001)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=4) as made:
        yield made


class Patience:
    """What is done meanwhile: counted, and after so many times the slow call is let go."""

    def __init__(self, times: int, then: Callable[[], None]) -> None:
        self.times, self._limit, self._then = 0, times, then

    def __call__(self) -> None:
        self.times += 1
        if self.times == self._limit:
            self._then()


def test_something_is_done_while_an_answer_is_waited_for(pool: ThreadPoolExecutor) -> None:
    let_go = Event()
    meanwhile = Patience(30, let_go.set)
    answer = SideBySide(pool=pool, meanwhile=meanwhile).ask(let_go.wait, RELEASED_WITHIN_S)
    assert answer() is True
    assert meanwhile.times >= 30


def test_something_is_done_after_each_answer(pool: ThreadPoolExecutor) -> None:
    meanwhile = Patience(0, lambda: None)
    calls = SideBySide(pool=pool, meanwhile=meanwhile)
    answers = [calls.ask(int, text) for text in ("1", "2", "3")]
    assert [answer() for answer in answers] == [1, 2, 3]
    assert meanwhile.times >= 3


def test_a_call_that_fails_fails_where_it_is_waited_for(pool: ThreadPoolExecutor) -> None:
    def fails() -> NoReturn:
        raise TimeoutError("its own")

    answer = SideBySide(pool=pool, meanwhile=lambda: None).ask(fails)
    with pytest.raises(TimeoutError, match="its own"):
        answer()


def test_a_lease_that_is_lost_meanwhile_ends_the_waiting(pool: ThreadPoolExecutor) -> None:
    let_go = Event()

    def lost() -> NoReturn:
        let_go.set()
        raise LeaseLostError("another has it")

    answer = SideBySide(pool=pool, meanwhile=lost).ask(let_go.wait, RELEASED_WITHIN_S)
    with pytest.raises(LeaseLostError):
        answer()


# -- in a look


def a_region_is_slow(stage: Stage, monkeypatch: pytest.MonkeyPatch, let_go: Event) -> str:
    """EC2 in one region answers when it is let go, and not at all otherwise."""
    slow, instances = stage.spec.regions[0], FakeEc2.instances

    def late(self: FakeEc2) -> tuple[Instance, ...]:
        if self._region == slow and not let_go.wait(RELEASED_WITHIN_S):
            raise RegionSilentError("it was never let go")
        return instances(self)

    monkeypatch.setattr(FakeEc2, "instances", late)
    return slow


def test_a_look_keeps_the_lease_while_a_region_is_slow(
    monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    stage, let_go = a_born_cluster(), Event()
    slow = a_region_is_slow(stage, monkeypatch, let_go)
    keep = Patience(31, let_go.set)
    look = observe(stage.run().world, now=stage.now(), pool=pool, keep=keep)
    assert look.observation.unknown_regions == {}
    assert any(i.region == slow for i in look.observation.instances)
    assert keep.times >= 31


def test_a_run_outlives_a_look_that_is_longer_than_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, let_go = a_born_cluster(), Event()
    a_region_is_slow(stage, monkeypatch, let_go)
    seconds = Patience(int(2 * stage.spec.timings.lease_s), let_go.set)
    renew, token = stage.table.renew_lease, stage.table.lease["token"]
    renewed: list[float] = []

    def renewing(*, owner: str, token: int, now: float, lease_s: float) -> tuple[bool, bool]:
        renewed.append(now)
        return renew(owner=owner, token=token, now=now, lease_s=lease_s)

    run = stage.run()
    keep = run._keep

    def a_second_later() -> None:
        if not let_go.is_set():
            stage.nodes.now += 1.0
        seconds()
        keep()

    monkeypatch.setattr(run, "_keep", a_second_later)
    monkeypatch.setattr(stage.table, "renew_lease", renewing)
    assert run.go().looks > 0
    assert stage.table.lease["token"] == token + 1
    apart = [after - before for before, after in pairwise(renewed)]
    assert len(renewed) >= 4
    assert max(apart) <= stage.spec.timings.lease_s / 2
