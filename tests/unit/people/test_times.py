"""Times as people write and read them."""

from __future__ import annotations

import math

import pytest

from lambdas.people.errors import RefusedError
from lambdas.people.times import moment, seconds, spent, until, written

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("90s", 90),
        ("90m", 5400),
        ("2h", 7200),
        ("1d12h", 129600),
        (" 1H30M ", 5400),
        ("31d", 2678400),
    ],
)
def test_a_duration_is_read(said: str, meant: int) -> None:
    assert seconds(said) == meant


@pytest.mark.parametrize(
    "said", ["", "2", "h", "2x", "2h 30", "-2h", "0m", "1.5h", "2m1h", "∞", "32d", "9" * 5000 + "s"]
)
def test_what_is_no_duration_is_refused(said: str) -> None:
    with pytest.raises(RefusedError):
        seconds(said)


@pytest.mark.parametrize(
    "said",
    ["2027-01-15T08:00Z", "2027-01-15 08:00", "2027-01-15T09:00+01:00", "20270115T080000Z"],
)
def test_a_time_is_utc_unless_it_says_otherwise(said: str) -> None:
    assert moment(said) == NOW


@pytest.mark.parametrize("said", ["", "tomorrow", "8:00", "2027-13-01", "1800000000000"])
def test_what_is_no_time_is_refused(said: str) -> None:
    with pytest.raises(RefusedError, match="no time"):
        moment(said)


def end(for_: str | None = None, until_: str | None = None, begin: float = NOW) -> float | None:
    return until(for_=for_, until_=until_, begin=begin, now=NOW)


def test_an_end_is_counted_from_the_beginning() -> None:
    assert end() is None
    assert end(for_="2h", begin=NOW + 60) == NOW + 7260
    assert end(until_="2027-01-15T09:00Z") == NOW + 3600


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"for_": "2h", "until_": "2027-01-15T09:00Z"}, "not both"),
        ({"until_": "2027-01-15T07:59Z"}, "is past"),
        ({"until_": "2027-01-15T08:00Z"}, "is past"),
        ({"until_": "2027-01-15T09:00Z", "begin": NOW + 7200}, "before it begins"),
        ({"until_": "2027-03-15T09:00Z"}, "more than 31 days"),
    ],
)
def test_an_end_that_cannot_be_is_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        end(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (math.inf, "for ever"),
        (59.9, "59 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (9000, "2 h 30 min"),
        (86400 * 2 + 3600 * 5 + 60, "2 d 5 h"),
    ],
)
def test_a_duration_is_written_in_its_two_largest_units(duration_s: float, words: str) -> None:
    assert spent(duration_s) == words


def test_a_time_is_written_in_utc() -> None:
    assert written(NOW + 0.9) == "2027-01-15 08:00:00 UTC"


@pytest.mark.parametrize("at", [math.inf, math.nan, -1.0, 1e300])
def test_a_time_that_cannot_be_is_still_words(at: float) -> None:
    assert written(at) == "a time that no calendar has"
