"""When the promise was suspended: from the question before a suspended answer to the answer after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.chaos.promise import REACH_S, Sample, merged, read, seconds, windows
from lab.checker.verdicts.windows import Window

KEPT = 'ANY 2 ("db-euw1-b","db-euw3-a")'
NEAR = 'ANY 1 ("db-euw1-b")'
REGIONS = {"db-euw1-a": "eu-west-1", "db-euw1-b": "eu-west-1", "db-euw3-a": "eu-west-3"}


def a_sample(
    at: float,
    names: str = KEPT,
    *,
    slot: str = "db-euw1-a",
    primary: bool | None = True,
    took_s: float = 0.1,
) -> Sample:
    return Sample(slot=slot, at=at, until=at + took_s, primary=primary, names=names)


def found(*samples: Sample, durability: str = "region") -> list[tuple[float, float]]:
    got = windows(samples, durability=durability, regions=REGIONS)
    return [(round(window.begin, 3), round(window.end, 3)) for window in got]


def test_a_promise_that_is_kept_throughout_is_never_suspended() -> None:
    assert found(*(a_sample(n / 2) for n in range(20))) == []


def test_it_is_suspended_from_the_question_before_to_the_answer_after() -> None:
    samples = [a_sample(0.0), a_sample(0.5, NEAR), a_sample(1.0, ""), a_sample(1.5)]
    assert found(*samples) == [(0.0, 1.6)]
    assert found(*samples, durability="zone") == [(0.5, 1.6)]


def test_a_leader_that_dies_suspended_was_so_until_the_question_nobody_answered() -> None:
    gone = a_sample(0.5, "", primary=None, took_s=0.7)
    assert found(a_sample(0.0, NEAR), gone) == [(0.0, 1.2)]


def test_an_answer_speaks_for_no_longer_than_its_reach() -> None:
    late = a_sample(60.0, "", primary=None, took_s=2.0)
    early = a_sample(0.0, "", primary=None)
    assert found(early, a_sample(30.0, NEAR), late) == [(30.0 - REACH_S, 30.1 + REACH_S)]


def test_the_time_between_two_suspended_answers_far_apart_is_unknown_and_so_not_suspended() -> None:
    assert len(found(a_sample(0.0, NEAR), a_sample(30.0, NEAR))) == 2


def test_alone_it_speaks_for_itself() -> None:
    assert found(a_sample(5.0, NEAR)) == [(5.0, 5.1)]


@pytest.mark.parametrize("names", ["ANY 2 (*)", "ANY (", 'ANY 1 ("db-unknown")'])
def test_unknown_is_not_suspended(names: str) -> None:
    assert found(a_sample(0.0), a_sample(0.5, names), a_sample(1.0)) == []


def test_what_a_copy_has_in_its_file_counts_for_nothing() -> None:
    assert found(a_sample(0.0, "", primary=False), a_sample(0.5, "", primary=None)) == []


def test_each_leader_is_judged_by_its_own_region() -> None:
    names = 'ANY 1 ("db-euw1-a","db-euw1-b")'
    assert found(a_sample(0.0, names, slot="db-euw3-a")) == []
    assert found(a_sample(0.0, names, slot="db-euw1-a")) == [(0.0, 0.1)]


def test_answers_of_one_slot_do_not_end_the_time_of_another() -> None:
    samples = [a_sample(0.0, NEAR), a_sample(0.2, slot="db-euw3-a"), a_sample(0.5, NEAR)]
    assert found(*samples) == [(0.0, 0.6)]


def test_windows_are_put_together_and_counted_once() -> None:
    both = [Window(begin=4.0, end=6.0), Window(begin=0.0, end=2.0), Window(begin=1.0, end=3.0)]
    assert merged(both) == (Window(begin=0.0, end=3.0), Window(begin=4.0, end=6.0))
    assert seconds(both) == 5.0
    assert merged([]) == ()


def test_samples_are_read_back_without_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "promise.jsonl"
    first, second = a_sample(0.0), a_sample(0.5, "", primary=None)
    path.write_text(first.line() + second.line() + first.line()[:20], "utf-8")
    assert read(path) == (first, second)
