"""The verb: blocks one after another, resumed where they were, and the exit code that their promises deserve."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab import cli
from lab.chaos import main
from lab.chaos.main import Asked, Chaos, left_out, plans
from lab.chaos.record import FILE, Block
from lab.chaos.schedule import MINUTES_MAX, Plan
from lab.demo.wiring import Wanted
from lab.errors import LabError, UsageError
from tests.unit.lab.chaos.test_summary import BROKEN, WELL


def asked(minutes: float = 20.0, *, broken: bool = False) -> Asked:
    return Asked(
        plans=plans(
            minutes=minutes, seed=7, durability="region", broken=broken, catalogue=("terminate",)
        ),
        wanted=Wanted(size="minimal", durability="region", clock="fast"),
    )


class Labs:
    """Blocks as they are told, by seed; the seeds that were run."""

    def __init__(self, **outcomes: Block | BaseException) -> None:
        self.outcomes = outcomes
        self.run: list[int] = []

    def __call__(self, _: Chaos, plan: Plan, directory: Path) -> Block:
        assert directory.is_dir()
        assert not any(directory.iterdir())
        self.run.append(plan.seed)
        outcome = self.outcomes.get(f"seed_{plan.seed}", WELL)
        if isinstance(outcome, BaseException):
            raise outcome
        return replace(outcome, seed=plan.seed)


def run(directory: Path, labs: Labs, *, minutes: float = 20.0, broken: bool = False) -> int:
    return Chaos(
        asked=asked(minutes, broken=broken),
        directory=directory,
        commit="abc1234",
        on_a_lab=labs,
    ).run()


def test_a_block_that_kept_its_promises_is_0_and_has_its_files(tmp_path: Path) -> None:
    assert run(tmp_path, Labs()) == 0
    assert (tmp_path / "region-minimal-1200s-seed-7" / FILE).exists()
    assert json.loads((tmp_path / "chaos.json").read_text("utf-8"))["ok"] is True
    assert "region, minimal" in (tmp_path / "chaos.md").read_text("utf-8")


@pytest.mark.parametrize(
    "outcome", [BROKEN, replace(WELL, doubts=("a copy was not compared",)), LabError("no lab")]
)
def test_whatever_is_broken_not_judged_or_not_run_is_1(
    tmp_path: Path, outcome: Block | BaseException
) -> None:
    assert run(tmp_path, Labs(seed_7=outcome)) == 1


def test_a_guard_that_is_off_and_loses_something_is_1(tmp_path: Path) -> None:
    lost = replace(BROKEN, durability="region", broken_on_purpose="commit")
    assert run(tmp_path, Labs(seed_7=lost), broken=True) == 1
    assert (tmp_path / "region-minimal-commit-broken-1200s-seed-7" / FILE).exists()


def test_one_block_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    labs = Labs(seed_7=LabError("no lab"))
    assert run(tmp_path, labs, minutes=50.0) == 1
    assert labs.run == [7, 8, 9]


def test_the_same_command_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Labs(seed_8=KeyboardInterrupt())
    assert run(tmp_path, first, minutes=60.0) == 130
    assert first.run == [7, 8]
    second = Labs()
    assert run(tmp_path, second, minutes=60.0) == 0
    assert second.run == [8, 9]
    assert (tmp_path / "region-minimal-1200s-seed-8-2" / FILE).exists()
    third = Labs()
    assert run(tmp_path, third, minutes=60.0) == 0
    assert third.run == []


def test_a_broken_block_is_not_run_again_and_stays_broken(tmp_path: Path) -> None:
    assert run(tmp_path, Labs(seed_7=BROKEN)) == 1
    again = Labs()
    assert run(tmp_path, again) == 1
    assert again.run == []


@pytest.mark.parametrize(("minutes", "lengths"), [(20.0, 1), (21.0, 2), (60.0, 3), (0.5, 1)])
def test_minutes_are_blocks_of_bounded_length_with_seeds_that_follow(
    minutes: float, lengths: int
) -> None:
    found = asked(minutes).plans
    assert [plan.seed for plan in found] == [7 + n for n in range(lengths)]
    assert sum(plan.length_s for plan in found) == pytest.approx(minutes * 60)
    assert all(plan.length_s <= MINUTES_MAX * 60 for plan in found)


@pytest.mark.parametrize("minutes", [0.0, -1.0, 24 * 60 + 1.0, float("nan")])
def test_a_time_that_is_none_is_refused(minutes: float) -> None:
    with pytest.raises(UsageError, match="minutes"):
        asked(minutes)


def test_what_promises_nothing_cannot_be_broken_on_purpose() -> None:
    with pytest.raises(UsageError, match="promises nothing"):
        plans(minutes=1.0, seed=1, durability="async", broken=True, catalogue=())


def test_kinds_can_be_left_out_and_are_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["chaos", "--list", "--seed", "7", "--without"]
    assert cli.main([*words, "power-loss, region_power"]) == 0
    assert "power-loss on" not in capsys.readouterr().out
    assert cli.main([*words, "power-los"]) == 2
    assert left_out("region_power,power-loss") == ("power-loss", "region-power")
    (plan,) = plans(
        minutes=1.0,
        seed=1,
        durability="zone",
        broken=False,
        catalogue=("hang", "freeze"),
        without=("hang",),
    )
    assert (plan.kinds, plan.without) == (("freeze",), ("hang",))


def test_the_schedule_is_told_without_a_lab(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["chaos", "--list", "--minutes", "20", "--seed", "7", "--durability", "zone"]
    assert cli.main(words) == 0
    first = capsys.readouterr().out
    assert first.startswith("seed 7, 20 minutes, durability zone:\n  1. after ")
    assert cli.main(words) == 0
    assert capsys.readouterr().out == first


def test_summaries_are_put_together_without_a_lab(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, block in (("a", WELL), ("b", BROKEN)):
        (tmp_path / name).mkdir()
        block.save(tmp_path / name)
    assert cli.main(["chaos", "--summary", str(tmp_path / "a")]) == 0
    assert cli.main(["chaos", "--summary", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert "zone, minimal, seed 7: 4 acknowledged" in capsys.readouterr().out
    assert cli.main(["chaos", "--summary", str(tmp_path / "nowhere")]) == 2


class Ended:
    """A lab's life."""

    def __init__(self, failing: BaseException) -> None:
        self.failing = failing
        self.ended = 0
        self.started = False

    def __call__(self) -> Ended:
        return self

    def end(self, _: object) -> None:
        self.ended += 1


@pytest.mark.parametrize("error", [LabError("the lab does not start"), KeyboardInterrupt()])
def test_the_lab_goes_down_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    life = Ended(error)

    def starts_not(*_: object) -> None:
        raise error

    monkeypatch.setattr(main, "Lifetime", life)
    monkeypatch.setattr(main, "set_up", starts_not)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    chaos = Chaos(asked=asked(), directory=tmp_path, commit="abc1234")
    assert chaos.run() == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert life.ended == 1


def test_the_commit_is_known_or_said_to_be_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "ROOT", tmp_path)
    assert main.commit() == "unknown"


def options(parse: Callable[[list[str]], argparse.Namespace], *words: str) -> argparse.Namespace:
    return parse(["chaos", *words])


def test_the_makefiles_words_are_understood() -> None:
    parsed = options(cli._parser().parse_args, "--break", "commit", "--directory", "somewhere")
    assert (parsed.break_, parsed.directory) == ("commit", Path("somewhere"))
    assert (parsed.minutes, parsed.size, parsed.durability) == (MINUTES_MAX, "minimal", "region")
