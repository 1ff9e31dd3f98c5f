"""How the guard speaks: before Patroni's own logging, and beside it, there is only the journal."""

from __future__ import annotations

import sys

# journald reads these as priorities.
ERROR, WARNING, INFO = "<3>", "<4>", "<6>"

_lost = [0]  # sentences that nobody took


def say(priority: str, sentence: str) -> None:
    """One line on standard error. A journal that is away must end nobody: the next line says how many it missed."""
    missed = f" ({_lost[0]} lines before this one were lost)" if _lost[0] else ""
    try:
        print(f"{priority}pgmend guard: {sentence}{missed}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # ValueError: it is closed
        _lost[0] += 1
    else:
        _lost[0] = 0
