"""What is wrong with the world right now: named conditions, each at a place and until a time."""

from __future__ import annotations

from tests.simulation.timeline import Timeline


class Weather:
    """Conditions by name and place."""

    def __init__(self, time: Timeline) -> None:
        self._time = time
        self._until: dict[tuple[str, str], float] = {}
        self._amounts: dict[tuple[str, str], float] = {}
        self._words: dict[tuple[str, str], str] = {}

    def begin(
        self, name: str, where: str, until: float, *, amount: float = 0.0, word: str = ""
    ) -> None:
        """From now until then; the longer of two wins."""
        key = (name, where)
        self._until[key] = max(until, self._until.get(key, 0.0))
        self._amounts[key], self._words[key] = amount, word

    def on(self, name: str, where: str = "") -> bool:
        """Whether it is so here and now."""
        until = self._until.get((name, where))
        return until is not None and self._time.now < until

    def amount(self, name: str, where: str = "") -> float:
        """How much, 0 when it is not so."""
        return self._amounts[name, where] if self.on(name, where) else 0.0

    def word(self, name: str, where: str = "") -> str:
        """What goes with it."""
        return self._words.get((name, where), "")

    def use_up(self, name: str, where: str = "") -> bool:
        """Whether it is so; once used it is over."""
        was = self.on(name, where)
        if was:
            self._until[name, where] = self._time.now
        return was

    def clear(self) -> None:
        """Everything is fine again."""
        self._until.clear()
