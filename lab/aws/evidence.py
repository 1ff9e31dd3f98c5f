"""Append-only records of what the local AWS did, one JSON object a line, for the runs' evidence."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path


class Evidence:
    """One file a kind: api, events, functions, alarms, ec2, ssm."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, kind: str, **fields: object) -> None:
        """Append one record with the time."""
        if self._folder is None:
            return
        line = json.dumps({"at": round(time.time(), 3), **fields}, default=str)
        with self._lock, (self._folder / f"{kind}.jsonl").open("a") as file:
            file.write(line + "\n")
