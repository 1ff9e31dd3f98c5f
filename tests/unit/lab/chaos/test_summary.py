"""Blocks are kept whole, and put together by what they promise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.chaos.record import FILE, Block, name_of, sentences
from lab.chaos.summary import HEADER, as_json, as_markdown, faults_table, found_in, table, totals
from lab.errors import UsageError

WELL = Block(
    seed=7,
    size="minimal",
    durability="region",
    broken_on_purpose="",
    without=(),
    commit="abc1234",
    began_wall=1000.0,
    minutes=20.0,
    faults={"freeze": {"struck": 3, "taken back": 3}, "terminate": {"passed over": 1}},
    operations={"append": {"acked": 90, "unknown": 2}, "bank": {"acked": 50, "failed": 1}},
    outages_s=(2.0, 24.0),
    lost=0,
    excused=0,
    lost_s=0.0,
    anomalies={},
    suspended_s=12.5,
    two_writable_s=0.0,
    full_strength_s=40.0,
    broken=(),
    doubts=(),
)
SECOND = replace(
    WELL,
    seed=8,
    began_wall=2000.0,
    outages_s=(4.0,),
    commit="def5678",
    faults={"freeze": {"struck": 1}},
)
BROKEN = replace(
    WELL,
    durability="zone",
    began_wall=3000.0,
    lost=4,
    lost_s=1.5,
    anomalies={"lost": 1},
    broken=("4 acknowledged appends are gone",),
)


def test_a_block_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    BROKEN.save(tmp_path)
    assert Block.load(tmp_path / FILE) == BROKEN
    assert json.loads((tmp_path / FILE).read_text("utf-8"))["ok"] is False
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("block", "ok"),
    [(WELL, True), (BROKEN, False), (replace(WELL, doubts=("a copy was not compared",)), False)],
)
def test_what_is_broken_or_was_not_judged_is_not_well(block: Block, ok: bool) -> None:
    assert block.ok is ok
    assert bool(sentences(block)) is not ok
    assert totals([WELL, block])[-1].ok is ok


def test_blocks_of_one_mode_are_added_up() -> None:
    (total,) = totals([WELL, SECOND])
    assert total.seeds == (7, 8)
    assert total.commits == ("abc1234", "def5678")
    assert total.faults == {"freeze": 4}
    assert total.operations == {"acked": 280, "unknown": 4, "failed": 2}
    assert total.outages_s == (24.0, 4.0, 2.0)
    (mode,) = as_json([total])["modes"]
    assert mode["minutes"] == 40.0
    assert mode["outages"] == {"number": 3, "p50_s": 4.0, "p95_s": 24.0, "max_s": 24.0}


def test_modes_are_told_apart_and_so_is_what_was_broken_on_purpose() -> None:
    on_purpose = replace(BROKEN, durability="region", broken_on_purpose="commit")
    found = totals([WELL, BROKEN, on_purpose])
    assert [total.mode for total in found] == [
        "region, minimal",
        "zone, minimal",
        "region, minimal, commit broken on purpose",
    ]
    assert [total.ok for total in found] == [True, False, False]
    assert as_json(found)["ok"] is False


def test_the_tables_have_a_cell_for_every_column() -> None:
    found = totals([WELL, SECOND, BROKEN])
    rows = table(found)
    assert rows[0] == HEADER
    assert {len(row) for row in rows} == {len(HEADER)}
    well, broken = (dict(zip(HEADER, row, strict=True)) for row in rows[1:])
    assert (well["lost"], well["max"], well["anomalies"], well["verdict"]) == (
        "0",
        "24.0 s",
        "none",
        "kept",
    )
    assert (broken["lost"], broken["anomalies"], broken["verdict"]) == ("4", "lost (1)", "BROKEN")
    assert faults_table(found) == [
        ("fault", "region, minimal", "zone, minimal"),
        ("freeze", "4", "3"),
    ]


def test_every_broken_promise_is_a_line_with_its_seed() -> None:
    text = as_markdown(totals([WELL, BROKEN]))
    assert "- zone, minimal, seed 7: 4 acknowledged appends are gone\n" in text
    assert "region, minimal: seeds 7; commit abc1234." in text


def test_blocks_are_found_below_any_directory_each_once(tmp_path: Path) -> None:
    for number, block in enumerate((SECOND, WELL)):
        directory = tmp_path / "run" / f"block-{number}"
        directory.mkdir(parents=True)
        block.save(directory)
    (tmp_path / "run" / "begun-only").mkdir()
    assert found_in([tmp_path, tmp_path / "run"]) == (WELL, SECOND)


def test_nothing_found_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no block\.json"):
        found_in([tmp_path])


def test_kinds_that_were_not_drawn_are_part_of_the_mode() -> None:
    less = replace(WELL, without=("region-power", "zone-lost"))
    assert less.mode == "region, minimal, without region-power and zone-lost"
    assert len(totals([WELL, less])) == 2


def named(
    durability: str = "region",
    size: str = "minimal",
    *,
    seed: int = 7,
    length_s: float = 1200.0,
    broken_on_purpose: str = "",
    without: tuple[str, ...] = (),
) -> str:
    return name_of(
        durability=durability,
        size=size,
        seed=seed,
        length_s=length_s,
        broken_on_purpose=broken_on_purpose,
        without=without,
    )


def test_a_name_says_what_the_block_is_and_other_faults_have_another() -> None:
    assert named() == "region-minimal-1200s-seed-7"
    assert named("zone", broken_on_purpose="commit") == "zone-minimal-commit-broken-1200s-seed-7"
    others = [
        named(seed=8),
        named(length_s=60.0),
        named(size="standard"),
        named(without=("hang",)),
        named(without=("hang", "freeze")),
        named(broken_on_purpose="commit"),
    ]
    assert len({named(), *others}) == 1 + len(others)
