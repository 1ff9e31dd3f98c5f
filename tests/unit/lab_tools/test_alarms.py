"""Alarm states where data is missing: the tables of CloudWatch's user guide, row by row."""

from __future__ import annotations

import pytest

from lab.aws.alarms import verdict

FLAG = {"0": False, "X": True, "-": None}
RETAIN = "whatever it was"
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


def judged(points: str, *, needed: int, treat: str, before: str, periods: int = 3) -> str:
    """The verdict on points written as the guide writes them, newest on the right."""
    flags = [FLAG[point] for point in reversed(points.split())]
    return verdict(flags, periods=periods, needed=needed, treat_missing=treat, before=before)


@pytest.mark.parametrize("before", ["OK", "ALARM", "INSUFFICIENT_DATA"])
@pytest.mark.parametrize(
    ("points", "needed", "states"),
    [
        ("0 - X - X", 3, ("OK", "OK", "OK", "OK")),
        ("0 - - - -", 3, ("OK", "OK", "OK", "OK")),
        ("- - - - -", 3, ("INSUFFICIENT_DATA", RETAIN, "ALARM", "OK")),
        ("0 X X - X", 3, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("- - X - -", 3, ("ALARM", RETAIN, "ALARM", "OK")),
        ("0 - X - X", 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0 0 X 0 X", 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0 - X - -", 2, ("OK", "OK", "ALARM", "OK")),
        ("- - - - 0", 2, ("OK", "OK", "ALARM", "OK")),
        ("- - - X -", 2, ("ALARM", RETAIN, "ALARM", "OK")),
    ],
)
def test_a_row_of_the_guides_tables(
    points: str, needed: int, states: tuple[str, ...], before: str
) -> None:
    for treat, state in zip(TREATMENTS, states, strict=True):
        expected = before if state is RETAIN else state
        assert judged(points, needed=needed, treat=treat, before=before) == expected, treat


@pytest.mark.parametrize("points", ["- - - - X", "- - - X -"])
def test_a_lone_breaching_point_is_too_early_for_an_alarm(points: str) -> None:
    assert judged(points, needed=3, treat="missing", before="OK") == "OK"


def test_points_beyond_the_evaluation_periods_do_not_count_when_none_is_missing() -> None:
    assert judged("X X 0 0 0", needed=1, treat="missing", before="OK") == "OK"


def test_one_of_one_is_decided_by_the_newest_point() -> None:
    for points, state in (("X X 0", "OK"), ("0 0 X", "ALARM")):
        found = judged(points, needed=1, periods=1, treat="notBreaching", before="OK")
        assert found == state


def test_a_heartbeat_that_stops_alarms_once_too_few_real_points_are_in_range() -> None:
    states = [
        judged(points, needed=2, periods=2, treat="breaching", before="OK")
        for points in ("0 0 0 -", "0 0 - -", "0 - - -", "- - - -")
    ]
    assert states == ["OK", "OK", "OK", "ALARM"]
