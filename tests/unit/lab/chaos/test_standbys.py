"""What a text of `synchronous_standby_names` promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.chaos.standbys import NOBODY, Standbys, kept, parse

REGIONS = {
    "db-euw1-a": "eu-west-1",
    "db-euw1-b": "eu-west-1",
    "db-euw1-c": "eu-west-1",
    "db-euw3-a": "eu-west-3",
    "db-euw3-b": "eu-west-3",
}
HERE = "eu-west-1"


@pytest.mark.parametrize(
    ("text", "number", "names"),
    [
        ('ANY 2 ("db-euw1-b","db-euw3-a")', 2, ("db-euw1-b", "db-euw3-a")),
        ('any  1( "db-euw1-b" )', 1, ("db-euw1-b",)),
        ("FIRST 1 (a, b,c)", 1, ("a", "b", "c")),
        ("2 (a, b, c)", 2, ("a", "b", "c")),
        ("a, B", 1, ("a", "b")),
        ('"db-euw3-a"', 1, ("db-euw3-a",)),
        ("*", 1, ("*",)),
        ("ANY 1 (*)", 1, ("*",)),
        ('ANY 1 ("odd ""name"", (really)")', 1, ('odd "name", (really)',)),
        ("\nANY 3 (a,\n b)\n", 3, ("a", "b")),
    ],
)
def test_every_form_that_postgresql_takes(text: str, number: int, names: tuple[str, ...]) -> None:
    assert parse(text) == Standbys(number=number, names=names)


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_nothing_waits_for_nobody(text: str) -> None:
    assert parse(text) == NOBODY


@pytest.mark.parametrize(
    "text", ["ANY (a)", "ANY 1 (", "ANY 0 (a)", "ANY 1 ()", "db-euw1-b", 'ANY 1 ("a', "a,,b", "a b"]
)
def test_what_is_no_such_text_is_unknown(text: str) -> None:
    assert parse(text) is None
    for durability in ("zone", "region"):
        assert kept(text, durability=durability, region=HERE, regions=REGIONS) is None


@pytest.mark.parametrize(
    ("text", "zone", "region"),
    [
        ("", False, False),
        ('ANY 1 ("db-euw1-b")', True, False),  # only the own region answers
        ('ANY 1 ("db-euw3-a")', True, True),
        ('ANY 1 ("db-euw1-b","db-euw3-a")', True, False),  # the near one suffices
        ('ANY 2 ("db-euw1-b","db-euw3-a")', True, True),
        ('ANY 2 ("db-euw1-b","db-euw1-c","db-euw3-a","db-euw3-b")', True, False),
        ('ANY 3 ("db-euw1-b","db-euw1-c","db-euw3-a","db-euw3-b")', True, True),
        ('ANY 3 ("db-euw1-b","db-euw3-a")', True, True),  # nobody is acknowledged at all
        ('ANY 2 ("DB-EUW1-B","DB-EUW3-A")', True, True),
        ('ANY 2 ("db-euw1-b","somebody-else")', True, None),
        ("ANY 2 (*)", True, None),
    ],
)
def test_the_promise_by_mode(text: str, zone: bool, region: bool | None) -> None:
    assert kept(text, durability="zone", region=HERE, regions=REGIONS) is zone
    assert kept(text, durability="region", region=HERE, regions=REGIONS) is region
    assert kept(text, durability="async", region=HERE, regions=REGIONS) in {False, None}


def test_the_own_region_is_the_leaders() -> None:
    text = 'ANY 1 ("db-euw1-a","db-euw1-b")'
    assert kept(text, durability="region", region="eu-west-3", regions=REGIONS) is True
    assert kept(text, durability="region", region="eu-west-1", regions=REGIONS) is False


@given(st.lists(st.sampled_from(sorted(REGIONS)), min_size=1, unique=True), st.integers(1, 6))
def test_kept_in_a_region_means_that_no_answers_are_all_from_there(
    names: list[str], number: int
) -> None:
    text = f"ANY {number} ({','.join(f'{chr(34)}{name}{chr(34)}' for name in names)})"
    near = [name for name in names if REGIONS[name] == HERE]
    enough_from_here = len(near) >= number
    found = kept(text, durability="region", region=HERE, regions=REGIONS)
    assert found is not enough_from_here
