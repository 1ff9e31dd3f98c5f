"""Events on their way out, on disk: order kept, nothing lost while AWS is away, and a bound on how much.

At the bound the newest are not taken and counted. A crash may deliver an event twice, which wakes twice and harms
nothing; it must never skip one.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

ENTRIES_MAX = 10000
COMPACT_AFTER = 1000


class Spool:
    """A file of JSON lines with a cursor."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._cursor = folder / "events.jsonl", folder / "cursor"
        self._lock = threading.Lock()
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        self._entries: list[dict[str, Any]] = [entry for line in lines if (entry := _parsed(line))]
        known = self._cursor.read_text() if self._cursor.exists() else ""
        self._done = int(known) if known.isdigit() and int(known) <= len(self._entries) else 0
        self._save_cursor(self._done)
        if lines and len(lines) != len(self._entries):
            self._rewrite()  # half a line at the end would swallow the next entry
        self.dropped = 0

    def put(self, entry: dict[str, Any]) -> bool:
        """Take one in; False when the spool is full."""
        with self._lock:
            if len(self._entries) - self._done >= ENTRIES_MAX:
                self.dropped += 1
                return False
            with self._file.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            self._entries.append(entry)
            return True

    def head(self, count: int) -> list[dict[str, Any]]:
        """The oldest that are not delivered."""
        with self._lock:
            return self._entries[self._done : self._done + count]

    def delivered(self, count: int) -> None:
        """Forget the oldest."""
        with self._lock:
            self._done += count
            if self._done < len(self._entries) and self._done < COMPACT_AFTER:
                self._save_cursor(self._done)
                return
            self._entries, self._done = self._entries[self._done :], 0
            # The cursor goes back before the file shrinks: a crash between the two must not skip anything.
            self._save_cursor(0)
            self._rewrite()

    def _save_cursor(self, done: int) -> None:
        scratch = self._cursor.with_suffix(".new")
        scratch.write_text(str(done))
        scratch.replace(self._cursor)

    def _rewrite(self) -> None:
        scratch = self._file.with_suffix(".new")
        scratch.write_text("".join(json.dumps(entry) + "\n" for entry in self._entries))
        scratch.replace(self._file)


def _parsed(line: str) -> dict[str, Any] | None:
    """A line cut off by a crash is no entry."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
