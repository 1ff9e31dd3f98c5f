"""Events on their way out, on disk: order kept, nothing lost while AWS is away, and a bound on how much.

At the bound the newest are not taken and counted. A crash may deliver an event twice, which wakes twice and harms
nothing; it must never skip one. While the disk does not take the events (it is full) they are kept in memory alone, to
the same bound, and written down once it does.
"""

from __future__ import annotations

import json
import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

ENTRIES_MAX = 10000
COMPACT_AFTER = 1000
log = logging.getLogger("pgmend.agent")


class Spool:
    """A file of JSON lines with a cursor."""

    def __init__(self, folder: Path) -> None:
        self._file, self._cursor = folder / "events.jsonl", folder / "cursor"
        self._lock = threading.Lock()
        self._on_disk = True  # file and cursor say what memory says
        self.dropped = 0
        lines = _read(self._file).splitlines()
        self._entries: list[dict[str, Any]] = [entry for line in lines if (entry := _parsed(line))]
        known = _read(self._cursor)
        self._done = int(known) if known.isdecimal() and int(known) <= len(self._entries) else 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._save_cursor(self._done)
            if len(lines) != len(self._entries):
                self._rewrite()  # half a line at the end would swallow the next entry
        except OSError as error:
            self._lost_disk(error)

    def put(self, entry: dict[str, Any]) -> bool:
        """Take one in; False when the spool is full."""
        with self._lock:
            if len(self._entries) - self._done >= ENTRIES_MAX:
                self.dropped += 1
                return False
            self._entries.append(entry)
            try:
                self._write_down(entry)
            except OSError as error:
                self._lost_disk(error)
            return True

    def head(self, count: int) -> list[dict[str, Any]]:
        """The oldest that are not delivered."""
        with self._lock:
            return self._entries[self._done : self._done + count]

    def delivered(self, count: int) -> None:
        """Forget the oldest."""
        with self._lock:
            self._done += count
            try:
                self._forget()
            except OSError as error:
                self._lost_disk(error)

    def _write_down(self, entry: dict[str, Any]) -> None:
        if not self._on_disk:
            self._compact()
            return
        with self._file.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def _forget(self) -> None:
        some_wait = self._done < len(self._entries)
        if self._on_disk and some_wait and self._done < COMPACT_AFTER:
            self._save_cursor(self._done)
        else:
            self._compact()

    def _compact(self) -> None:
        """Make file and cursor anew from memory."""
        self._entries, self._done = self._entries[self._done :], 0
        # The cursor goes back before the file shrinks: a crash between the two must not skip anything.
        self._save_cursor(0)
        self._rewrite()
        if not self._on_disk:
            log.info("events are on disk again")
        self._on_disk = True

    def _lost_disk(self, error: OSError) -> None:
        """A write that failed may have left half a line, so nothing is added to the file before it is made anew."""
        if self._on_disk:
            log.warning("events cannot be written: %s; they wait in memory, free some space", error)
        self._on_disk = False

    def _save_cursor(self, done: int) -> None:
        _replace(self._cursor, str(done))

    def _rewrite(self) -> None:
        _replace(self._file, "".join(json.dumps(entry) + "\n" for entry in self._entries))


def _replace(file: Path, text: str) -> None:
    scratch = file.with_suffix(".new")
    try:
        scratch.write_text(text)
    except OSError:
        with suppress(OSError):
            scratch.unlink()  # half a file only keeps the disk full
        raise
    scratch.replace(file)


def _read(file: Path) -> str:
    """Empty for what is not there; what cannot be read is as good as not there."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _parsed(line: str) -> dict[str, Any] | None:
    """A line cut off by a crash is no entry."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
