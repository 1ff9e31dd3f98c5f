"""The live timeline: one line an event, a moving status line on a terminal, plain lines anywhere
else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

STYLES: Final = {
    "setup": "cyan",
    "fault": "bold red",
    "healer": "magenta",
    "strength": "yellow",
    "leader": "blue",
    "healed": "bold green",
    "broken": "bold white on red",
    "note": "dim",
}
STILL_EVERY_S: Final = 15.0


class Timeline:
    """Writes to one console. Not thread-safe by intent: the demo speaks from one thread."""

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console(
            file=sys.stdout, highlight=False, soft_wrap=True, emoji=False
        )
        self._clock = clock
        self._started = clock()
        self._status: Status | None = None
        self._last_still = clock()

    def say(self, kind: str, text: str) -> None:
        """One event."""
        style = STYLES.get(kind, "")
        stamp = format_elapsed(self._clock() - self._started)
        self._console.print(f"[dim]{stamp}[/]  [{style}]{kind:<8}[/]  {escape(text)}")
        self._last_still = self._clock()

    def still(self, text: str) -> None:
        """What is going on right now: the status line on a terminal, else a line now and then."""
        if self._status is not None:
            self._status.update(escape(text))
        elif self._clock() - self._last_still >= STILL_EVERY_S:
            self.say("note", f"still: {text}")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A long step: announced, shown while it runs, and its time told at its end."""
        began = self._clock()
        self.say("setup", f"{text} ...")
        with self.watching(text):
            yield
        self.say("setup", f"{text}: done in {self._clock() - began:.0f} s")

    @contextmanager
    def watching(self, text: str) -> Iterator[None]:
        """A status line while something is waited for."""
        if not self._console.is_terminal or self._status is not None:
            yield
            return
        with self._console.status(escape(text)) as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None

    def heading(self, text: str) -> None:
        """A part of the run begins."""
        if self._console.is_terminal:
            self._console.rule(escape(text), align="left")
        else:
            self._console.print(f"\n== {escape(text)}")

    def table(self, rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
        """A table; the first row is the header."""
        header, *body = rows
        if not self._console.is_terminal:
            self._plain_table(rows, title)
            return
        shown = Table(title=title, title_justify="left", header_style="bold")
        for name in header:
            shown.add_column(name, overflow="fold")
        for row in body:
            shown.add_row(*(escape(cell) for cell in row))
        self._console.print(shown)

    def _plain_table(self, rows: Sequence[Sequence[str]], title: str | None) -> None:
        if title:
            self._console.print(escape(title))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._console.print(escape("  ".join(cells).rstrip()))


def format_elapsed(seconds: float) -> str:
    """mm:ss.t since the run began."""
    minutes, rest = divmod(max(0.0, seconds), 60)
    return f"{int(minutes):02d}:{rest:04.1f}"
