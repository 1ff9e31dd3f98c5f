"""The questions to the databases: every answer is kept, also that there was none, and nobody waits for a dead host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab.chaos import sampler
from lab.chaos.promise import read
from lab.chaos.sampler import QUESTION, Sampler, databases
from lab.errors import LabError

NAMES = 'ANY 1 ("db-euw1-b")'


@dataclass
class FakeSession:
    """Answers as a leader, until it is told otherwise."""

    answer: Callable[[], list[tuple[Any, ...]]] = lambda: [(False, NAMES)]
    usable: bool = True
    asked: list[str] = field(default_factory=list)
    closed: bool = False
    cut: threading.Event = field(default_factory=threading.Event)

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        assert not parameters
        self.asked.append(statement)
        return self.answer()

    def rollback(self) -> bool:
        return self.usable

    def close(self) -> None:
        self.closed = True

    def sever(self) -> None:
        self.cut.set()


def no_way() -> FakeSession:
    raise psycopg.OperationalError("nobody is there")


def broken() -> list[tuple[Any, ...]]:
    raise psycopg.OperationalError("the line broke")


def a_sampler(path: Path, way: Callable[[], FakeSession]) -> Sampler:
    return Sampler({"db-euw1-a": way}, path, clock=lambda: 5.0)


def test_a_leader_says_what_it_waits_for_and_is_asked_again_over_the_same_session(
    tmp_path: Path,
) -> None:
    session = FakeSession()
    sample, kept = a_sampler(tmp_path / "p", lambda: session).ask("db-euw1-a", None)
    assert (sample.primary, sample.names, sample.at) == (True, NAMES, 5.0)
    assert kept is session
    assert session.asked == [QUESTION]


def test_a_copy_is_no_leader(tmp_path: Path) -> None:
    session = FakeSession(answer=lambda: [(True, "")])
    sample, _ = a_sampler(tmp_path / "p", lambda: session).ask("db-euw1-a", None)
    assert sample.primary is False


def test_nobody_there_is_no_answer(tmp_path: Path) -> None:
    sample, kept = a_sampler(tmp_path / "p", no_way).ask("db-euw1-a", None)
    assert (sample.primary, kept) == (None, None)


def test_a_session_that_breaks_is_closed_and_is_no_answer(tmp_path: Path) -> None:
    session = FakeSession(answer=broken)
    sample, kept = a_sampler(tmp_path / "p", no_way).ask("db-euw1-a", session)
    assert (sample.primary, kept, session.closed) == (None, None, True)


def test_an_answer_over_a_session_that_then_breaks_counts(tmp_path: Path) -> None:
    session = FakeSession(usable=False)
    sample, kept = a_sampler(tmp_path / "p", no_way).ask("db-euw1-a", session)
    assert (sample.primary, kept, session.closed) == (True, None, True)


def test_every_database_is_asked_until_the_end_and_a_silent_one_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "EVERY_S", 0.01)
    monkeypatch.setattr(sampler, "DEADLINE_S", 0.02)
    silent = FakeSession()

    def waits_for_ever() -> list[tuple[Any, ...]]:
        assert silent.cut.wait(10.0)
        raise psycopg.OperationalError("cut")

    silent.answer = waits_for_ever
    well = FakeSession()
    asker = Sampler(
        {"db-euw1-a": lambda: well, "db-euw3-a": lambda: silent}, tmp_path / "promise.jsonl"
    )
    with asker:
        assert silent.cut.wait(10.0)
        while len(well.asked) < 3:
            threading.Event().wait(0.005)
    samples = read(tmp_path / "promise.jsonl")
    assert sum(it.primary is True for it in samples if it.slot == "db-euw1-a") >= 3
    assert {it.primary for it in samples if it.slot == "db-euw3-a"} == {None}
    assert well.closed


def test_a_thread_that_does_not_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "END_S", 0.05)
    began, go_on = threading.Event(), threading.Event()

    def connecting() -> FakeSession:
        began.set()
        go_on.wait(10.0)
        return FakeSession()

    asker = Sampler({"db-euw1-a": connecting}, tmp_path / "promise.jsonl")
    asker.start()
    assert began.wait(10.0)
    try:
        with pytest.raises(LabError, match="sampler-db-euw1-a"):
            asker.stop()
    finally:
        go_on.set()


def test_the_ways_lead_to_the_nodes_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def connect(dsn: str, **_: object) -> None:
        opened.append(dsn)
        raise psycopg.OperationalError("not today")

    monkeypatch.setattr(psycopg.Connection, "connect", connect)
    ways = databases({"db-euw1-a": "10.10.10.11"}, password="x")
    with pytest.raises(psycopg.OperationalError):
        ways["db-euw1-a"]()
    assert "host=10.10.10.11" in opened[0]
    assert "target_session_attrs" not in opened[0]
