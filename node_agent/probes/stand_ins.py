"""Which spare slots are occupied. No document tells the nodes, so they knock: at one address after another, beside the
passes, because a slot that is empty takes a whole time-out to say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from node_agent.probes import peers
from node_agent.probes.beside import Beside

FORGET_S = 900.0  # longer than the healer needs to make up its mind about one that fell silent


class StandIns:
    """Spare slots whose agent has answered, for as long as it does and a while beyond."""

    def __init__(
        self,
        addresses: Mapping[str, str],
        timeout_s: float,
        ask: Callable[[str, float], str] = peers.ask,
    ) -> None:
        self._addresses, self._timeout_s, self._ask = addresses, timeout_s, ask
        self._answered_at: dict[str, float] = {}
        self._round = Beside("spares", self._knock)

    def open(self, now: float) -> dict[str, str]:
        """Slot → address. `now` by a clock that never goes back."""
        found = self._round.answer(0.0) if self._addresses else None
        if found is not None:
            self._answered_at |= dict.fromkeys(found[0], now)
        self._answered_at = {
            name: at for name, at in self._answered_at.items() if now - at < FORGET_S
        }
        return {name: self._addresses[name] for name in self._answered_at}

    def _knock(self) -> list[str]:
        asked = self._addresses.items()
        return [name for name, address in asked if self._ask(address, self._timeout_s) == "alive"]
