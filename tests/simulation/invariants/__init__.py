"""What must never happen, each rule by its name and with its reason, judged by the truth the healer may not see.

Where the healer cannot know yet, a rule waits until it must know: `KNOWN_S` after a thing became true and was told.
"""

from __future__ import annotations

from tests.simulation.invariants import bounds, data, lives, people
from tests.simulation.watch import CallCheck, WorldCheck

ON_CALLS: tuple[CallCheck, ...] = (*lives.CALLS, *data.CALLS, *people.CALLS, *bounds.CALLS)
ALWAYS: tuple[WorldCheck, ...] = (*bounds.STATES, *data.STATES)
