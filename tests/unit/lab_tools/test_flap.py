"""A region that flaps: the turns follow from the seed, and however it ends, the region is mended."""

from __future__ import annotations

import itertools
import threading

import pytest

from lab.errors import LabError
from lab.host.flap import TURN_S, Flaps, turns_s

IRELAND, PARIS, FRANKFURT = "eu-west-1", "eu-west-3", "eu-central-1"
CUT = [("cut", PARIS, IRELAND), ("cut", PARIS, FRANKFURT)]
MENDED = [("mend", PARIS, IRELAND), ("mend", PARIS, FRANKFURT)]
DEADLINE_S = 10.0


class Switch:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.refuses = False

    def cut(self, first: str, second: str) -> None:
        if self.refuses:
            raise LabError("the wide-area network does not answer")
        self.calls.append(("cut", first, second))

    def mend(self, first: str, second: str) -> None:
        self.calls.append(("mend", first, second))

    def cut_peering(self, first: str, second: str) -> None:
        raise AssertionError(f"{first} {second}: no flap does this")

    mend_peering = cut_peering

    def set_way_to_aws(self, region: str, *, reachable: bool) -> None:
        raise AssertionError(f"{region} {reachable}: no flap does this")

    def set_delay(self, first: str, second: str, *, one_way_ms: float) -> None:
        raise AssertionError(f"{first} {second} {one_way_ms}: no flap does this")


class Time:
    """Passes by waiting alone; `freeze` makes waiting last until the flap is over."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.freeze = False
        self.waiting = threading.Event()

    def clock(self) -> float:
        return self.now

    def wait(self, over: threading.Event, seconds: float) -> bool:
        self.waiting.set()
        if self.freeze:
            return over.wait(DEADLINE_S)
        self.waits.append(seconds)
        self.now += seconds
        return over.is_set()


def flaps() -> tuple[Flaps, Switch, Time]:
    switch, time = Switch(), Time()
    return Flaps(switch, clock=time.clock, wait=time.wait), switch, time


def over(flaps: Flaps) -> None:
    """Wait until the background has come to its own end."""
    for thread in threading.enumerate():
        if thread.name.startswith("flap "):
            thread.join(DEADLINE_S)
    assert flaps.sentences() == []


def test_the_same_seed_makes_the_same_turns_and_all_are_within_bounds() -> None:
    first, again, other = (list(itertools.islice(turns_s(seed), 50)) for seed in (7, 7, 8))
    assert first == again != other
    assert all(TURN_S[0] <= turn_s <= TURN_S[1] for turn_s in first + other)


def test_cut_and_mended_by_turns_until_the_time_is_over() -> None:
    flap, switch, time = flaps()
    turns = list(itertools.islice(turns_s(7), 3))
    flap.begin(PARIS, seed=7, for_s=sum(turns) + 1.0)
    over(flap)
    assert switch.calls == CUT + MENDED + CUT + MENDED + MENDED
    assert time.waits == pytest.approx([*turns, 1.0])


def test_a_flap_whose_time_is_shorter_than_a_turn_is_one_cut() -> None:
    flap, switch, time = flaps()
    flap.begin(PARIS, seed=7, for_s=5.0)
    over(flap)
    assert switch.calls == CUT + MENDED
    assert time.waits == [5.0]


def test_it_is_mended_when_it_is_ended_early_and_ending_twice_is_harmless() -> None:
    flap, switch, time = flaps()
    time.freeze = True
    flap.begin(PARIS, seed=7, for_s=600.0)
    assert time.waiting.wait(DEADLINE_S)
    assert flap.sentences() == ["eu-west-3 flaps: cut and mended by turns, seed 7"]
    for _ in range(2):
        flap.end(PARIS)
    assert switch.calls == CUT + MENDED
    assert flap.sentences() == []


def test_a_region_that_flaps_already_begins_anew() -> None:
    flap, switch, time = flaps()
    time.freeze = True
    flap.begin(PARIS, seed=7, for_s=600.0)
    flap.begin(PARIS, seed=8, for_s=600.0)
    assert flap.sentences() == ["eu-west-3 flaps: cut and mended by turns, seed 8"]
    flap.end_all()
    assert switch.calls == CUT + MENDED + CUT + MENDED


def test_one_that_cannot_be_cut_does_not_flap() -> None:
    flap, switch, _ = flaps()
    switch.refuses = True
    with pytest.raises(LabError):
        flap.begin(PARIS, seed=7, for_s=600.0)
    assert flap.sentences() == []
