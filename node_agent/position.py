"""How far a copy's WAL reaches, read from its files, so that it is known while PostgreSQL is down too.

For whoever is about to discard a copy: what cannot be read counts as unknown, never as "nothing there".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from node_agent import database
from node_agent.errors import AgentError
from node_agent.shell import Run

SEGMENT = re.compile(r"[0-9A-F]{24}")
STATISTICS = re.compile(r"^WAL statistics between \S+ and ([0-9A-F]+)/([0-9A-F]+)", re.MULTILINE)
LSN = re.compile(r"([0-9A-F]+)/([0-9A-F]+)")
# A crash leaves at most max_wal_size (1 GB) behind the last checkpoint.
READ_S = 120.0
TIMELINES = ("Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline")
POSITIONS = ("Latest checkpoint location", "Minimum recovery ending location")
REDO = "Latest checkpoint's REDO location"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The end of a copy's WAL."""

    timeline: int
    lsn_bytes: int

    def __str__(self) -> str:
        """As PostgreSQL writes it, with its timeline."""
        return (
            f"{self.lsn_bytes >> 32:X}/{self.lsn_bytes & 0xFFFFFFFF:X} on timeline {self.timeline}"
        )


def lsn_bytes(words: str) -> int | None:
    """From PostgreSQL's own notation; None for anything else."""
    found = LSN.fullmatch(words.strip())
    return None if found is None else (int(found[1], 16) << 32) + int(found[2], 16)


def on_disk(data_dir: Path, run: Run) -> Position | None:
    """The end of the last whole record on disk; None where there is no finished copy to lose.

    Raises AgentError (HoldError for a damaged control file) when it cannot be told.
    """
    if database.system_identifier(data_dir, run=run) is None:
        return None
    control = database.control(data_dir, run=run)
    redo = lsn_bytes(control.get(REDO, ""))
    timelines = [int(v) for name in TIMELINES if (v := control.get(name, "")).isdigit()]
    known = [found for name in POSITIONS if (found := lsn_bytes(control.get(name, ""))) is not None]
    if redo is None or not timelines or not known:
        raise AgentError(f"the control file in {data_dir} does not say how far the copy reaches")
    of_checkpoint, newest = timelines[0], max(*timelines, _newest_timeline(data_dir))
    ends = [
        _end(data_dir, run, ["--timeline", str(of_checkpoint), "--start", control[REDO].strip()])
    ]
    if newest > of_checkpoint:
        ends.append(_end(data_dir, run, [_first_segment(data_dir, newest)]))
    if all(end is None for end in ends):
        raise AgentError(f"the WAL in {data_dir} cannot be read, so how far it reaches is unknown")
    lsn = max(*known, *(end for end in ends if end is not None))
    return Position(timeline=newest, lsn_bytes=lsn)


def _segments(data_dir: Path) -> list[str]:
    return sorted(f.name for f in (data_dir / "pg_wal").iterdir() if SEGMENT.fullmatch(f.name))


def _newest_timeline(data_dir: Path) -> int:
    return max((int(name[:8], 16) for name in _segments(data_dir)), default=0)


def _first_segment(data_dir: Path, timeline: int) -> str:
    """Of a timeline that has one, or the name of one that is not there, which then cannot be read."""
    names = [name for name in _segments(data_dir) if int(name[:8], 16) == timeline]
    return names[0] if names else f"{timeline:08X}{1:016X}"


def _end(data_dir: Path, run: Run, start: list[str]) -> int | None:
    """Where the records from there on end. pg_waldump always fails at that place, after its statistics."""
    program = [str(database.BIN_DIR / "pg_waldump"), "--stats", "--path", str(data_dir / "pg_wal")]
    found = STATISTICS.search(run([*program, *start], ok=(0, 1), timeout_s=READ_S).out)
    return None if found is None else (int(found[1], 16) << 32) + int(found[2], 16)
