"""The verdict over a run: what is broken, what is excused, and what it cannot say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.checker import history
from lab.checker.final import CopyDigest, FinalState, Register
from lab.checker.history import Operation
from lab.checker.judge import Verdict, judge
from lab.checker.settings import Kind, Settings
from lab.checker.verdicts import copies, writable
from lab.checker.verdicts.finding import Anomaly
from lab.checker.verdicts.windows import Window
from lab.load.history import NO_ANSWER, READ_ONLY, WRITABLE, Outcome
from tests.unit.lab.checker.builders import (
    a_read,
    a_transfer,
    a_value,
    a_write,
    an_append,
    balances_of,
)
from tests.unit.lab_tools.fakes import a_probe

SETTINGS = Settings(keys=1, accounts=2, initial_balance=100)


def a_final(**more: Any) -> FinalState:
    return FinalState(**({"at": 1000.0} | more))


def the_verdict(
    directory: Path,
    final: FinalState,
    *windows: Window,
    probes: Sequence[Any] = (),
    asynchronous: bool = False,
    loss_s_max: float | None = None,
    **histories: Sequence[Operation],
) -> Verdict:
    SETTINGS.save(directory)
    for kind, operations in histories.items():
        history.write(Kind(kind).history(directory), operations)
    return judge(
        directory, final, probes, windows, asynchronous=asynchronous, loss_s_max=loss_s_max
    )


def test_a_run_without_fault_holds_and_says_what_it_counted(tmp_path: Path) -> None:
    one = a_value(1, 1)
    verdict = the_verdict(
        tmp_path,
        a_final(
            appended=(1,),
            registers=(Register(key=0, value=one, writer=1),),
            balances=(100, 100),
            ledger=(),
        ),
        append=[an_append(1, 0.0), an_append(2, 1.0, outcome=Outcome.FAILED)],
        register=[a_write(one, 0.0), a_read(one, 1.0)],
        bank=[balances_of([100, 100], 0.0)],
    )

    assert verdict.holds
    assert (verdict.sentences, verdict.excused, verdict.doubts) == ((), (), ())
    assert verdict.counts[Kind.APPEND] == {Outcome.ACKED: 1, Outcome.FAILED: 1}
    assert (verdict.lost, verdict.lost_s) == (0, 0.0)


def test_every_workload_and_every_source_is_judged(tmp_path: Path) -> None:
    one, two = a_value(1, 1), a_value(1, 2)
    verdict = the_verdict(
        tmp_path,
        a_final(
            appended=(),
            registers=(Register(key=0, value=one, writer=1),),
            balances=(100, 90),
            ledger=(),
            copies=(
                CopyDigest(copy="db-euw1-a", table="t", lsn="0/1", rows=1, digest="5"),
                CopyDigest(copy="db-euw3-a", table="t", lsn="0/1", rows=1, digest="6"),
            ),
        ),
        probes=[a_probe("db-euw1-a", 1.0, WRITABLE), a_probe("db-euw3-a", 1.0, WRITABLE)],
        append=[an_append(1, 0.0)],
        register=[a_write(one, 0.0), a_write(two, 1.0)],
        bank=[balances_of([100, 101], 0.0), a_transfer(1, 0, 1, 5, 1.0)],
    )

    assert not verdict.holds
    assert [it.anomaly for it in verdict.broken] == [
        Anomaly.LOST,  # the append
        Anomaly.LOST,  # the write of the register, by the reading at the end
        Anomaly.MONEY,  # a read
        Anomaly.MONEY,  # the total at the end
        Anomaly.MONEY,  # the ledger
        Anomaly.LOST,  # the transfer
        Anomaly.TWO_WRITABLE,
        Anomaly.COPIES_DIFFER,
    ]
    assert all(verdict.sentences)


def test_a_write_of_a_register_that_is_gone_at_the_end_is_lost(tmp_path: Path) -> None:
    one, two = a_value(1, 1), a_value(1, 2)
    verdict = the_verdict(
        tmp_path,
        a_final(registers=(Register(key=0, value=one, writer=1),)),
        register=[a_write(one, 0.0), a_write(two, 1.0, number=9)],
    )

    (finding,) = verdict.broken
    assert finding.anomaly is Anomaly.LOST
    assert f"read of key 0 as {one} at the end" in finding.sentence
    assert f"write of {two} to key 0 by client 1 (no. 9)" in finding.sentence


def test_a_key_that_is_gone_at_the_end_is_lost(tmp_path: Path) -> None:
    verdict = the_verdict(tmp_path, a_final(registers=()), register=[])

    assert [it.anomaly for it in verdict.broken] == [Anomaly.LOST]


def test_loss_inside_a_window_is_excused_and_counted(tmp_path: Path) -> None:
    verdict = the_verdict(
        tmp_path,
        a_final(appended=(1,)),
        Window(begin=5.0, end=20.0),
        append=[an_append(1, 0.0, 0.5), an_append(2, 10.0, 10.5)],
    )

    assert verdict.holds
    assert [it.anomaly for it in verdict.excused] == [Anomaly.LOST]
    assert verdict.lost == 1
    assert verdict.lost_s == pytest.approx(10.0)


def test_asynchronous_loss_is_a_figure_and_not_a_broken_promise(tmp_path: Path) -> None:
    appends = [an_append(n, n * 0.1, n * 0.1 + 0.01) for n in range(100)]
    verdict = the_verdict(
        tmp_path, a_final(appended=tuple(range(90))), asynchronous=True, append=appends
    )

    assert verdict.holds
    assert verdict.lost == 10
    assert verdict.lost_s == pytest.approx(1.0)


def test_asynchronous_loss_beyond_its_bound_is_a_broken_promise(tmp_path: Path) -> None:
    appends = [an_append(n, n * 0.1, n * 0.1 + 0.01) for n in range(100)]
    verdict = the_verdict(
        tmp_path,
        a_final(appended=tuple(range(90))),
        asynchronous=True,
        loss_s_max=0.5,
        append=appends,
    )

    (sentence,) = verdict.sentences
    assert sentence.startswith("10 acknowledged operations are gone, 1.000 s back")


def test_asynchronous_replication_excuses_neither_money_nor_two_leaders(tmp_path: Path) -> None:
    verdict = the_verdict(
        tmp_path,
        a_final(balances=(100, 100), ledger=()),
        probes=[a_probe("a", 1.0, WRITABLE), a_probe("b", 1.0, WRITABLE)],
        asynchronous=True,
        bank=[balances_of([100, 101], 0.0)],
    )

    assert [it.anomaly for it in verdict.broken] == [Anomaly.MONEY, Anomaly.TWO_WRITABLE]


def test_a_verdict_is_plain_json(tmp_path: Path) -> None:
    verdict = the_verdict(
        tmp_path,
        a_final(appended=(), doubts=("a sentence",)),
        Window(begin=5.0, end=20.0),
        append=[an_append(1, 0.0, 0.5), an_append(2, 10.0, 10.5)],
    )

    item = json.loads(json.dumps(verdict.as_json()))

    assert item["holds"] is False
    assert [it["anomaly"] for it in item["broken"]] == ["lost"]
    assert [it["operations"] for it in item["excused"]] == [1]
    assert item["doubts"] == ["a sentence"]
    assert item["counts"] == {"append": {"acked": 2}}
    assert item["losses"] == [{"number": 2, "seconds": 10.5, "begin": 0.0, "end": 10.5}]


def test_what_nobody_could_judge_is_a_doubt(tmp_path: Path) -> None:
    verdict = the_verdict(tmp_path, a_final(), append=[an_append(1, 0.0, outcome=Outcome.UNKNOWN)])

    assert verdict.holds
    assert verdict.doubts == (
        "no append operation was acknowledged: nothing is shown by them",
        "the append workload was not read at the end: loss was not looked for",
    )


def test_a_run_without_history_is_a_doubt(tmp_path: Path) -> None:
    assert the_verdict(tmp_path, a_final()).doubts == ("there is no history: nothing was judged",)


def test_a_killed_checker_is_a_doubt(tmp_path: Path) -> None:
    the_verdict(tmp_path, a_final(appended=(1, 2)), append=[an_append(1, 0.0), an_append(2, 1.0)])
    path = Kind.APPEND.history(tmp_path)
    path.write_text(path.read_text()[:-5])

    verdict = judge(tmp_path, a_final(appended=(1, 2)), (), ())

    assert verdict.holds
    assert verdict.doubts == (
        "the append history ends within a line: its writer was killed",
        "1 append operations never ended: their client was killed",
    )


def test_two_nodes_that_take_writes_in_turn_are_no_finding() -> None:
    probes = [a_probe("a", t / 4, WRITABLE) for t in range(8)]
    probes += [a_probe("b", t / 4, READ_ONLY) for t in range(8)]
    probes += [a_probe("a", 3 + t / 4, NO_ANSWER) for t in range(8)]
    probes += [a_probe("b", 3 + t / 4, WRITABLE) for t in range(8)]

    assert list(writable.findings(probes)) == []


def test_two_nodes_that_take_writes_at_once_are_named_with_the_moment() -> None:
    probes = [a_probe("a", t / 4, WRITABLE) for t in range(20)]
    probes += [a_probe("c", t / 4, READ_ONLY) for t in range(20)]
    probes += [a_probe("b", 2.1 + t / 4, WRITABLE) for t in range(4)]

    (finding,) = writable.findings(probes)

    assert finding.sentence == ("a and b both took writes for 0.752 s, first seen at 2.102 s")


def test_copies_that_hold_the_same_are_no_finding() -> None:
    digests = [
        CopyDigest(copy=copy, table="t", lsn="0/1", rows=2, digest="5") for copy in ("a", "b", "c")
    ]

    assert list(copies.findings(digests)) == []
    assert list(copies.doubts(digests)) == []


@pytest.mark.parametrize(("rows", "digest"), [(2, "6"), (3, "5")], ids=["content", "rows"])
def test_a_copy_that_differs_is_named(rows: int, digest: str) -> None:
    digests = [
        CopyDigest(copy=copy, table="t", lsn="0/1", rows=2, digest="5") for copy in ("a", "c")
    ]
    digests.append(CopyDigest(copy="b", table="t", lsn="0/1", rows=rows, digest=digest))

    (finding,) = copies.findings(digests)

    assert finding.sentence == (
        "table t differs between copies at 0/1: a, c: 2 rows, digest 5;"
        f" b: {rows} rows, digest {digest}"
    )


def test_copies_read_at_different_places_are_not_compared_but_doubted() -> None:
    digests = [
        CopyDigest(copy="a", table="t", lsn="0/1", rows=2, digest="5"),
        CopyDigest(copy="b", table="t", lsn="0/2", rows=3, digest="6"),
    ]

    assert list(copies.findings(digests)) == []
    assert len(list(copies.doubts(digests))) == 2
