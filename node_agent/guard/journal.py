"""How the guard speaks: before Patroni's own logging, and beside it, there is only the journal."""

from __future__ import annotations

import sys

# journald reads these as priorities.
ERROR, WARNING, INFO = "<3>", "<4>", "<6>"


def say(priority: str, sentence: str) -> None:
    """One line on standard error."""
    print(f"{priority}pgmend guard: {sentence}", file=sys.stderr, flush=True)
