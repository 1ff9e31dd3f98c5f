"""Events on their way out, on disk: order kept, nothing lost while AWS is away, and a bound on how much.

At the bound the newest are not taken and counted; the count itself is announced once there is room again.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

ENTRIES_MAX = 10000


class Spool:
    """A file of JSON lines with a cursor."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._cursor = folder / "events.jsonl", folder / "cursor"
        self._lock = threading.Lock()
        self._done = int(self._cursor.read_text()) if self._cursor.exists() else 0
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        self._entries: list[dict[str, Any]] = [entry for line in lines if (entry := _parsed(line))]
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
            if self._done == len(self._entries):
                self._entries, self._done = [], 0
                self._file.unlink(missing_ok=True)
            scratch = self._cursor.with_suffix(".new")
            scratch.write_text(str(self._done))
            scratch.replace(self._cursor)


def _parsed(line: str) -> dict[str, Any] | None:
    """A line cut off by a crash is no entry."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
