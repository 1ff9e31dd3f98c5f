"""A look whose calls took long is made again before anything is disturbed on its word.

What the hub table said is as old as the look: an agent that was silent then may have spoken since. So the step waits,
and is carried out when the next look wants the very same. That look may be as slow: what two looks in a row want is
no moment's matter, and where EC2 answers slowly for an hour, waiting for a quick look would be healing nothing.

It must never put off what harms nobody, nor the same step twice in a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lambdas.core.actions import DISTURBING, Step


@dataclass(kw_only=True)
class SecondLook:
    """One run's memory of what the last look put off. `limit_s` is how old a look may grow."""

    limit_s: float
    _before: Mapping[str, Step] = field(default_factory=dict)  # slot → step
    _now: dict[str, Step] = field(default_factory=dict)

    def begin(self) -> None:
        """A look begins; what the one before put off is no longer new."""
        self._before, self._now = self._now, {}

    def puts_off(self, step: Step, *, age_s: float) -> str | None:
        """Why the step waits for the next look, `age_s` after the present one began; None when it is carried out."""
        if step.kind not in DISTURBING or age_s <= self.limit_s:
            return None
        if self._before.get(step.slot) == step:
            return None
        self._now[step.slot] = step
        return f"looked for {age_s:.0f} s, looks again before {step.kind} on {step.slot}"
