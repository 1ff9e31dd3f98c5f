"""What the clients did survives on disk, whatever becomes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.checker import calls
from lab.checker.calls import (
    Append,
    Call,
    CompareAndSet,
    ReadBalances,
    ReadRegister,
    Transfer,
    WriteRegister,
)
from lab.checker.final import CopyDigest, Entry, FinalState, Register
from lab.checker.history import HistoryError, Recorder, read, write
from lab.checker.settings import Settings, client_of, unique
from lab.load.history import Outcome
from tests.unit.lab.checker.builders import a_cas, a_read, a_write, an_append, balances_of

EACH_CALL: tuple[Call, ...] = (
    Append(id=1),
    ReadRegister(key=2),
    WriteRegister(key=2, value=3),
    CompareAndSet(key=2, expected=3, value=4),
    Transfer(id=5, source=0, target=1, amount=7),
    ReadBalances(),
)


@pytest.mark.parametrize("call", EACH_CALL, ids=lambda call: str(call.kind))
def test_every_call_comes_back_from_json(call: Call) -> None:
    assert calls.parse(json.loads(json.dumps(calls.as_json(call)))) == call


def test_every_kind_of_call_is_tried_here() -> None:
    assert {call.kind for call in EACH_CALL} == set(calls.KINDS)


def test_a_history_comes_back_as_it_was(tmp_path: Path) -> None:
    history = [
        an_append(1, 0.0),
        an_append(2, 1.0, outcome=Outcome.FAILED),
        an_append(3, 2.0, outcome=Outcome.UNKNOWN),
    ]

    write(tmp_path / "append.jsonl", history)

    found = read(tmp_path / "append.jsonl")
    assert found.operations == tuple(history)
    assert (found.truncated, found.never_completed) == (0, 0)


def test_a_call_is_on_disk_before_it_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "append.jsonl"
    with Recorder(path) as recorder:
        recorder.invoked(client=3, number=1, path="proxy", call=Append(id=9), at=1.5)

        (operation,) = read(path).operations

    assert operation.call == Append(id=9)
    assert (operation.outcome, operation.completed_at) == (Outcome.UNKNOWN, None)
    assert read(path).never_completed == 1


@given(cut=st.integers(min_value=1, max_value=60))
def test_a_line_cut_off_by_a_kill_is_counted_and_its_operation_unknown(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("history") / "append.jsonl"
    write(path, [an_append(1, 0.0), an_append(2, 1.0)])
    text = path.read_text()
    path.write_text(text[:-cut])

    found = read(path)

    assert found.truncated == 1
    assert [it.outcome for it in found.operations] == [Outcome.ACKED, Outcome.UNKNOWN]


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        '{"event":"completed","client":9,"number":9,"at":1,"outcome":"acked","result":[]}',
        '{"event":"invoked","client":1,"number":7,"path":"p","at":1,"kind":"sing","arguments":{}}',
    ],
    ids=["no JSON", "an end without a beginning", "an unknown kind"],
)
def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / "append.jsonl"
    write(path, [an_append(1, 0.0)])
    path.write_text(path.read_text() + line + "\n" + path.read_text())

    with pytest.raises(HistoryError, match="line 3 of"):
        read(path)


def test_an_operation_neither_begins_nor_ends_twice(tmp_path: Path) -> None:
    path = tmp_path / "append.jsonl"
    write(path, [an_append(1, 0.0)])
    begin, end = path.read_text().splitlines()

    path.write_text(f"{begin}\n{begin}\n")
    with pytest.raises(HistoryError, match="two calls"):
        read(path)
    path.write_text(f"{begin}\n{end}\n{end}\n")
    with pytest.raises(HistoryError, match="ended twice"):
        read(path)


def test_two_runs_never_share_a_history(tmp_path: Path) -> None:
    write(tmp_path / "append.jsonl", [])

    with pytest.raises(HistoryError, match="empty directory"):
        Recorder(tmp_path / "append.jsonl")


def test_a_reason_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "append.jsonl"
    with Recorder(path) as recorder:
        recorder.invoked(client=1, number=1, path="proxy", call=Append(id=9), at=1.0)
        recorder.completed(
            client=1,
            number=1,
            at=2.0,
            outcome=Outcome.UNKNOWN,
            result=(),
            reason="gone\nSSL: " + "x" * 1000,
        )

    (operation,) = read(path).operations
    assert operation.reason.startswith("gone SSL: x")
    assert len(operation.reason) == 300


def test_an_operation_is_told_with_who_when_and_how() -> None:
    told = [
        str(an_append(7, 1.0, client=4, number=2)),
        str(a_read(unique(1, 3), 1.0, client=4, number=2)),
        str(a_write(unique(4, 1), 1.0, number=2, outcome=Outcome.UNKNOWN)),
        str(a_cas(unique(1, 3), unique(4, 1), 1.0, number=2)),
        str(balances_of([1, 2], 1.0, client=4, number=2)),
    ]

    assert told == [
        "append of 7 by client 4 (no. 2) [1.000 to 1.500 s]",
        "read of key 0 as 2000000003 by client 4 (no. 2) [1.000 to 1.500 s]",
        "write of 5000000001 to key 0 by client 4 (no. 2) [1.000 to 1.500 s, unknown]",
        (
            "compare-and-set of key 0 from 2000000003 to 5000000001 (it held 2000000003)"
            " by client 4 (no. 2) [1.000 to 1.500 s]"
        ),
        "read of the balances 1, 2 by client 4 (no. 2) [1.000 to 1.500 s]",
    ]


@given(
    numbers=st.lists(
        st.tuples(st.integers(0, 500), st.integers(1, 10**6)), unique=True, max_size=30
    )
)
def test_unique_numbers_are_unique_and_name_their_client(numbers: list[tuple[int, int]]) -> None:
    made = [unique(client, number) for client, number in numbers]

    assert len(set(made)) == len(made)
    assert [client_of(value) for value in made] == [client for client, _ in numbers]
    assert 0 not in made


def test_settings_and_the_reading_at_the_end_come_back_from_their_files(tmp_path: Path) -> None:
    settings = Settings(clients=2, keys=3, overdraft=True)
    final = FinalState(
        at=12.5,
        appended=(1, 1, 2),
        registers=(Register(key=0, value=0, writer=-1),),
        balances=(90, 110),
        ledger=(Entry(id=1, source=0, target=1, amount=10),),
        copies=(CopyDigest(copy="a", table="t", lsn="0/1", rows=2, digest="17"),),
        doubts=("a sentence",),
    )

    settings.save(tmp_path)
    final.save(tmp_path)

    assert Settings.load(tmp_path) == settings
    assert FinalState.load(tmp_path) == final


def test_a_workload_that_was_not_run_stays_one_that_was_not_run(tmp_path: Path) -> None:
    FinalState(at=1.0).save(tmp_path)

    assert FinalState.load(tmp_path) == FinalState(at=1.0)
