"""Remembers which faults were injected by hand, so that `lab mend` can undo them from another
process.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from lab.errors import LabError
from lab.faults.bench import Bench
from lab.faults.catalogue import Injected, fault_named


class FaultRecord:
    """A small JSON file in the lab's directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "faults.json"

    def open_faults(self) -> tuple[Injected, ...]:
        """Faults injected and not yet undone."""
        if not self._path.exists():
            return ()
        return tuple(Injected(**item) for item in json.loads(self._path.read_text("utf-8")))

    def add(self, done: Injected) -> None:
        """Remember one."""
        self._write((*self.open_faults(), done))

    def heal_all(self, bench: Bench) -> tuple[Injected, ...]:
        """Undo all of them, newest first; returns what was undone.

        What cannot be undone now stays written down. Raises LabError that says so, after all were tried.
        """
        faults = self.open_faults()
        left: list[Injected] = []
        why: list[str] = []
        for done in reversed(faults):
            try:
                fault_named(done.fault).heal(bench, done)
            except LabError as error:
                left.insert(0, done)
                why.append(f"{done.fault} on {done.target} could not be undone: {error}")
        self._write(tuple(left))
        if why:
            raise LabError("; ".join(why))
        return faults

    def _write(self, faults: tuple[Injected, ...]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps([asdict(done) for done in faults], indent=2)
        self._path.write_text(text + "\n", "utf-8")
