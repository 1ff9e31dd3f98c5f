"""Whether a peer's agent has gone away while its host answers, as events. One peer tells of it, so that six do not wake
the healer six times.

The healer goes by how long it has seen nothing newer of the agent, and it may not have looked for a minute: the first
event lets it take the last report down, the second, a while later, lets it find that nothing came after that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node_agent.changes import PEER_UNREACHABLE, Change

Peer = Mapping[str, Any]  # the report's `state` and `for_s`


@dataclass(slots=True)
class _Answered:
    """A peer whose agent has answered, and since how long into its refusing this node has told so."""

    told_at_s: float | None = None
    told_again: bool = False


class Refusals:
    """What this node has to tell of its peers' agents: two events a change at most."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._answered: dict[str, _Answered] = {}

    def changes(self, peers: Mapping[str, Peer], *, patience_s: float) -> list[Change]:
        """Events of one pass. `patience_s`: after how long without a report the healer counts an agent as silent."""
        self._answered = {name: a for name, a in self._answered.items() if name in peers}
        found = (self._of(name, peer, peers, patience_s) for name, peer in peers.items())
        return [change for change in found if change is not None]

    def _of(
        self, name: str, peer: Peer, peers: Mapping[str, Peer], patience_s: float
    ) -> Change | None:
        if peer["state"] == "alive":
            self._answered[name] = _Answered()
            return None
        if peer["state"] != "refused":
            self._answered.pop(name, None)  # a host that is silent is another matter
            return None
        known = self._answered.get(name)
        if known is None or peer["for_s"] <= 0.0:  # once may be an agent that is being restarted
            return None
        if known.told_at_s is None:
            return self._first(name, known, peer["for_s"]) if self._tells(name, peers) else None
        if known.told_again or peer["for_s"] < known.told_at_s + patience_s:
            return None
        known.told_again = True
        return _change(name, "refused")

    def _first(self, name: str, known: _Answered, for_s: float) -> Change:
        known.told_at_s = for_s
        return _change(name, "alive")

    def _tells(self, name: str, peers: Mapping[str, Peer]) -> bool:
        """Whether it is this node's to tell: who comes next after the peer by name, of those that answer."""
        there = [other for other, peer in peers.items() if peer["state"] == "alive"]
        return min((*there, self._own), key=lambda other: (other < name, other)) == self._own


def _change(name: str, before: str) -> Change:
    return Change(detail_type=PEER_UNREACHABLE, subject=name, before=before, after="refused")
