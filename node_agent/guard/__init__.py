"""Patroni behind a guard: a leader that was frozen and thawed must not win, and one whose Patroni hangs must not take
writes past its lease. Why and how: docs/patroni-guard.md.

It must never guess: a Patroni it was not written against is not started. It imports nothing of the node agent, because
Patroni's process carries it.
"""

REFUSED = (
    78  # EX_CONFIG: the launcher's exit code for a Patroni it does not know. It is not tried again.
)
