"""A copy is discarded only when the leader is known to have all of it; what cannot be read is never "nothing"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.errors import AgentError, HoldError, RefusedError
from node_agent.position import Position, lsn_bytes, on_disk
from node_agent.shell import Result
from tests.unit.node_agent.builders import LEADER, SYSTEM, Programs
from tests.unit.node_agent.conftest import Home
from tests.unit.node_agent.standing import Bench

CONTROL = {
    "pg_control version number": "1700",
    "Database system identifier": SYSTEM,
    "Database cluster state": "in production",
    "Latest checkpoint location": "0/3000080",
    "Latest checkpoint's REDO location": "0/3000028",
    "Latest checkpoint's TimeLineID": "1",
    "Minimum recovery ending location": "0/0",
    "Min recovery ending loc's timeline": "0",
}


class Files(Programs):
    """PostgreSQL's own programs over a data directory."""

    def __init__(self, home: Home) -> None:
        super().__init__()
        self.home, self.control = home, dict(CONTROL)
        self.ends = {"--timeline": "0/3000110"}
        home.a_database()
        self.wal = home.data_dir / "pg_wal"
        self.wal.mkdir()
        self.segment("000000010000000000000003")

    def segment(self, name: str) -> Path:
        (self.wal / name).touch()
        return self.wal / name

    def __call__(
        self, argv: Sequence[str], *, ok: Sequence[int] = (0,), timeout_s: float = 60.0
    ) -> Result:
        program = Path(argv[0]).name
        if program == "pg_controldata":
            text = "".join(f"{name}:    {value}\n" for name, value in self.control.items())
            self.answers[program] = Result(code=0, out=text)
        if program == "pg_waldump":
            end = self.ends.get(argv[4])
            said = f"WAL statistics between 0/3000028 and {end}:\nType  N\n" if end else ""
            self.answers[program] = Result(code=1, out=said, err="error in WAL record")
        return super().__call__(argv, ok=ok, timeout_s=timeout_s)

    def reach(self) -> Position | None:
        return on_disk(self.home.data_dir, self)


@pytest.fixture
def files(home: Home) -> Files:
    return Files(home)


@pytest.mark.parametrize(
    ("words", "found"),
    [("0/3000028", 0x3000028), ("A/FF", (10 << 32) + 255), ("", None), ("0", None), ("x/y", None)],
)
def test_a_location_is_read_as_postgres_writes_it(words: str, found: int | None) -> None:
    assert lsn_bytes(words) == found


@given(st.integers(min_value=0, max_value=2**64 - 1), st.integers(min_value=1, max_value=99))
def test_a_position_is_written_as_postgres_writes_it(lsn: int, timeline: int) -> None:
    words = str(Position(timeline=timeline, lsn_bytes=lsn))
    assert lsn_bytes(words.split(" ", maxsplit=1)[0]) == lsn


def test_a_copy_reaches_as_far_as_its_last_whole_record(files: Files) -> None:
    assert files.reach() == Position(timeline=1, lsn_bytes=0x3000110)
    assert files.said("--timeline", "1", "--start", "0/3000028")


def test_what_recovery_must_reach_counts_too(files: Files) -> None:
    files.control["Minimum recovery ending location"] = "0/4000000"
    files.control["Min recovery ending loc's timeline"] = "2"
    assert files.reach() == Position(timeline=2, lsn_bytes=0x4000000)


def test_wal_of_a_newer_timeline_than_the_last_checkpoints_counts(files: Files) -> None:
    newer = "000000020000000000000003"
    for name in (newer, "000000020000000000000004", "00000002.history"):
        files.segment(name)
    files.ends[newer] = "0/4000200"
    assert files.reach() == Position(timeline=2, lsn_bytes=0x4000200)


def test_a_directory_without_a_copy_has_nothing_to_lose(home: Home) -> None:
    assert on_disk(home.data_dir, Programs()) is None
    home.half_a_clone()
    assert on_disk(home.data_dir, Programs()) is None


def test_wal_that_cannot_be_read_is_unknown(files: Files) -> None:
    files.ends.clear()
    with pytest.raises(AgentError, match="cannot be read"):
        files.reach()


@pytest.mark.parametrize("missing", ["Latest checkpoint's REDO location", "Latest checkpoint"])
def test_a_control_file_that_does_not_say_it_is_unknown(files: Files, missing: str) -> None:
    files.control = {n: v for n, v in files.control.items() if not n.startswith(missing)}
    with pytest.raises(AgentError, match="does not say"):
        files.reach()


def test_a_damaged_control_file_is_a_hold(files: Files) -> None:
    files.control = {}
    with pytest.raises(HoldError, match="cannot be read"):
        files.reach()


# -- reinit


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


def anew(bench: Bench) -> None:
    """Patroni does it at once."""

    def done() -> None:
        bench.patroni.state, bench.patroni.started_at = "streaming", "2026-01-01 00:01:00"

    bench.patroni.on_post = done
    bench.reinit()


@pytest.mark.parametrize(
    ("own", "leader"),
    [
        (Position(timeline=2, lsn_bytes=2000), {}),
        (Position(timeline=1, lsn_bytes=1999), {}),
        (None, {"timeline": None}),
    ],
    ids=["level", "an older timeline", "no copy"],
)
def test_a_copy_that_the_leader_has_all_of_may_go(
    bench: Bench, own: Position | None, leader: dict[str, Any]
) -> None:
    bench.files = own
    assert bench.patroni.leader is not None
    bench.patroni.leader.update(leader)
    anew(bench)
    assert len(bench.patroni.posts) == 1


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (Position(timeline=2, lsn_bytes=2001), "the last of some writes"),
        (Position(timeline=3, lsn_bytes=1000), "the last of some writes"),
        (Position(timeline=1, lsn_bytes=9000), "the last of some writes"),
        (AgentError("it cannot be read"), "it cannot be read"),
        (HoldError("damaged"), "damaged"),
    ],
    ids=["ahead", "newer timeline", "ahead on an older one", "unreadable", "damaged"],
)
def test_a_copy_that_may_be_the_last_is_left_as_it_is(
    bench: Bench, own: Position | AgentError, words: str
) -> None:
    bench.files = own
    with pytest.raises(RefusedError, match=words):
        bench.reinit()
    assert bench.nothing_was_done()


@pytest.mark.parametrize(
    ("leader", "words"),
    [("db-euw1-b", "living leader"), (None, "no leader"), ("db-euw1-a", "leads now")],
    ids=["this very copy", "nobody", "another"],
)
def test_who_leads_is_asked_again_after_the_files_were_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, leader: str | None, words: str
) -> None:
    """Which may take minutes: long enough for a failover."""

    def a_failover_later() -> Position:
        if leader is None:
            del bench.cluster.keys[LEADER]
        else:
            bench.cluster.keys[LEADER] = leader
        return Position(timeline=2, lsn_bytes=1000)

    monkeypatch.setattr(bench, "_files_reach", a_failover_later)
    with pytest.raises(RefusedError, match=words):
        bench.reinit()
    assert bench.nothing_was_done()


def test_what_a_running_copy_has_received_counts_too(bench: Bench) -> None:
    bench.patroni.own = {"timeline": 2, "xlog": {"received_location": 2001}}
    with pytest.raises(RefusedError, match="0/7D1 on timeline 2"):
        bench.reinit()
    assert bench.nothing_was_done()


@pytest.mark.parametrize(
    "leader",
    [
        None,
        {"timeline": 2},
        {"xlog": {"location": 9000}},
        {"timeline": 2, "xlog": {"location": "far"}},
        {"timeline": 2, "xlog": 5},
    ],
    ids=str,
)
def test_a_leader_that_does_not_say_how_far_it_is_has_nothing(
    bench: Bench, leader: dict[str, Any] | None
) -> None:
    bench.patroni.leader = leader
    with pytest.raises(RefusedError, match="does not say how far"):
        bench.reinit()
    assert bench.nothing_was_done()
