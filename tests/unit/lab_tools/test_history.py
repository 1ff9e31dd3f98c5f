"""What may be concluded from the writer's and the prober's memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.load.history import (
    NO_ANSWER,
    READ_ONLY,
    WRITABLE,
    Outcome,
    Probe,
    Tail,
    Write,
    acked_ids,
    gaps_by_path,
    longest_gap,
    two_writable_s,
)
from tests.unit.lab_tools.fakes import a_probe, a_write


def test_the_longest_time_without_an_acknowledgement_is_the_outage() -> None:
    writes = [a_write(at, latency_s=0.0) for at in (0.0, 1.0, 1.2, 5.0, 6.0)]

    assert longest_gap(writes, 0.0, 6.0).seconds == pytest.approx(3.8)


def test_a_path_without_any_acknowledgement_is_out_for_the_whole_window() -> None:
    assert longest_gap([], 10.0, 14.0).seconds == pytest.approx(4.0)


def test_an_acknowledgement_counts_when_it_arrives_not_when_it_was_asked_for() -> None:
    writes = [a_write(0.0, latency_s=0.0), a_write(0.1, latency_s=1.9)]

    assert longest_gap(writes, 0.0, 2.0).seconds == pytest.approx(2.0)


def test_one_path_may_be_out_while_the_other_writes() -> None:
    writes = [a_write(n / 10, path="west") for n in range(100)]
    writes += [a_write(n / 10, path="south") for n in range(50)]

    gaps = gaps_by_path(writes, 0.0, 10.0)

    assert gaps["south"].seconds > 4.9
    assert gaps["west"].seconds < 0.2
    assert longest_gap(writes, 0.0, 10.0).seconds < 0.2


def test_only_acknowledged_writes_are_promised() -> None:
    writes = [
        a_write(0.0, number=1),
        a_write(0.1, number=2, outcome=Outcome.UNKNOWN),
        a_write(0.2, number=3, outcome=Outcome.FAILED),
    ]

    assert acked_ids(writes) == {1}


def probes(target: str, begin: float, end: float, answer: str) -> list[Probe]:
    count = round((end - begin) / 0.25)
    return [a_probe(target, begin + n * 0.25, answer) for n in range(count + 1)]


def test_one_leader_after_another_is_not_two_writable() -> None:
    seen = [
        *probes("db-euw1-a", 0.0, 5.0, WRITABLE),
        *probes("db-euw1-a", 5.25, 20.0, NO_ANSWER),
        *probes("db-euw1-b", 0.0, 6.0, READ_ONLY),
        *probes("db-euw1-b", 6.25, 20.0, WRITABLE),
    ]

    assert two_writable_s(seen, 0.0, 20.0) == 0.0


def test_two_leaders_at_once_are_counted_for_as_long_as_both_answer() -> None:
    seen = [
        *probes("db-euw1-a", 0.0, 5.0, WRITABLE),
        *probes("db-euw3-a", 3.0, 9.0, WRITABLE),
    ]

    assert two_writable_s(seen, 0.0, 20.0) == pytest.approx(2.0, abs=0.05)


def test_a_single_answer_of_a_second_leader_counts() -> None:
    seen = [
        *probes("db-euw1-a", 0.0, 5.0, WRITABLE),
        *probes("db-euw3-a", 0.0, 2.0, READ_ONLY),
        a_probe("db-euw3-a", 3.0, WRITABLE, latency_s=0.01),
    ]

    assert two_writable_s(seen, 0.0, 20.0) == pytest.approx(0.01)


def test_a_question_answered_long_after_it_was_asked_says_nothing_about_the_time_between() -> None:
    seen = [
        *probes("db-euw1-a", 0.0, 4.0, WRITABLE),
        a_probe("db-euw3-a", 3.0, WRITABLE, latency_s=5.0),
    ]

    assert two_writable_s(seen, 0.0, 20.0) == 0.0


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 50), st.booleans()), max_size=40),
    st.floats(0, 20),
)
def test_two_writable_time_never_exceeds_the_window(
    answers: list[tuple[str, float, bool]], length: float
) -> None:
    seen = [
        a_probe(name, at, WRITABLE if writable else READ_ONLY) for name, at, writable in answers
    ]

    assert 0.0 <= two_writable_s(seen, 5.0, 5.0 + length) <= length + 1e-9


def test_a_record_survives_its_line_whatever_the_reason_says(tmp_path: Path) -> None:
    write = Write(
        id=7,
        path="haproxy-euw1-a",
        at=1.5,
        wall=2.5,
        latency_s=0.25,
        outcome=Outcome.UNKNOWN,
        reason="server closed,\nthe connection",
    )
    file = tmp_path / "writer.csv"
    file.write_text(write.line(), "utf-8")

    (read,) = Tail(file, Write).read()

    assert (read.id, read.outcome, read.latency_s) == (7, Outcome.UNKNOWN, 0.25)
    assert read.reason == "server closed; the connection"


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    file = tmp_path / "prober.csv"
    line = a_probe("db-euw1-a", 1.0, WRITABLE).line()
    tail = Tail(file, Probe)
    assert tail.read() == ()

    file.write_text(line + line[:10], "utf-8")
    assert len(tail.read()) == 1
    with file.open("a", encoding="utf-8") as more:
        more.write(line[10:])
    assert len(tail.read()) == 1
    assert tail.read() == ()
