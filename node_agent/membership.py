"""This node's seat among etcd's voters: kept, taken anew through a healthy majority, or given up.

One change at a time: the old member is removed before the new one is added, the new one starts as a learner and is
promoted once it has caught up. Without a healthy majority nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from node_agent.errors import AgentError, HoldError
from node_agent.probes.etcd import Etcd
from node_agent.probes.http import Http, number, text
from node_agent.spec import Spec
from node_agent.waiting import Deadline

T = TypeVar("T")
ANSWER_S = 1.0
CHANGE_S = 60.0
MAJORITY_S = (
    60.0  # voters that boot together find one another in a few seconds; then a person is asked
)
CLIENT_PORT, PEER_PORT = 2379, 2380


class Endpoint(Protocol):
    """One voter's etcd, as `probes.etcd.Etcd` speaks to it."""

    refusal: str

    def healthy(self) -> bool:
        """Whether it serves linearizable reads."""

    def members(self) -> list[dict[str, Any]] | None:
        """Members as the gateway lists them."""

    def known_to_peers(self) -> list[dict[str, Any]] | None:
        """Members as its peer port lists them; none where no etcd runs, None when the host does not answer."""

    def cluster_id(self) -> str | None:
        """In hexadecimal."""

    def get(self, key: str) -> tuple[bool, str | None]:
        """(answered, value)."""

    def remove(self, member_id: str) -> bool:
        """By decimal id."""

    def add_learner(self, peer_url: str) -> bool:
        """A member that does not vote yet."""

    def promote(self, member_id: str) -> bool:
        """Make a learner a voter."""

    def delete_if_empty(self, key: str) -> bool:
        """Delete a key whose value is empty."""

    def alarms(self) -> list[tuple[str, str]] | None:
        """(decimal member id, alarm) of every alarm in the cluster."""

    def disarm(self, member_id: str, alarm: str) -> bool:
        """Take a member's alarm back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of etcd. A member that has never started has no client URLs."""

    id: str  # decimal
    name: str | None
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Member:
        """From the gateway's list, where what is false or empty is left out."""
        return cls(
            id=str(number(raw.get("ID")) or ""),
            name=text(raw.get("name")),
            peer_urls=tuple(str(url) for url in raw.get("peerURLs") or ()),
            client_urls=tuple(str(url) for url in raw.get("clientURLs") or ()),
            learner=bool(raw.get("isLearner")),
        )


def peer_url(slot: Mapping[str, Any]) -> str:
    """Where a voter's peers find it."""
    return f"http://{slot['address']}:{PEER_PORT}"


def client_address(slot: Mapping[str, Any]) -> str:
    """host:port of a voter for its clients."""
    return f"{slot['address']}:{CLIENT_PORT}"


class Voters:
    """The cluster's voters, all asked at once, so that a dead one costs no time where another answers."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="voter")

    @classmethod
    def of(cls, spec: Spec, *, without: str | None = None) -> Voters:
        """The spec's voters but one."""
        return cls(
            {
                slot["name"]: Etcd(Http(ANSWER_S), f"http://{client_address(slot)}", peer_url(slot))
                for slot in spec.voters
                if slot["name"] != without
            }
        )

    def _each(self, ask: Callable[[Endpoint], T]) -> dict[str, T]:
        asked = {name: self._pool.submit(ask, end) for name, end in self._endpoints.items()}
        return {name: future.result() for name, future in asked.items()}

    def healthy(self) -> tuple[str, ...]:
        """Voters that serve linearizable reads, in a fixed order."""
        return tuple(
            name for name, well in sorted(self._each(lambda e: e.healthy()).items()) if well
        )

    def value(self, key: str) -> tuple[bool, str | None]:
        """(answered, value or None) from any voter; an answer is linearizable, so it needs a majority behind it."""
        answers = [answer for answer in self._each(lambda e: e.get(key)).values() if answer[0]]
        return answers[0] if answers else (False, None)

    def members(self) -> list[Member] | None:
        """As a healthy voter lists them; None when none is healthy."""
        for name in self.healthy():
            found = self._endpoints[name].members()
            if found is not None:
                return [Member.parse(raw) for raw in found]
        return None

    def cluster_id(self) -> str | None:
        """In hexadecimal, from a healthy voter."""
        for name in self.healthy():
            found = self._endpoints[name].cluster_id()
            if found is not None:
                return found
        return None

    def started(self) -> tuple[list[Member], bool]:
        """(members that any voter knows to have started, whether every voter's host answered). Needs no majority."""
        lists = self._each(lambda e: e.known_to_peers()).values()
        members = [Member.parse(raw) for found in lists if found is not None for raw in found]
        return [m for m in members if m.client_urls], all(found is not None for found in lists)

    def change(self, what: str, ask: Callable[[Endpoint], bool], deadline: Deadline) -> None:
        """Have a healthy voter do it; etcd takes one change at a time. Raises AgentError in etcd's own words."""
        if not deadline.until(lambda: self.attempt(ask)):
            words = {end.refusal for end in self._endpoints.values() if end.refusal}
            raise AgentError(
                f"etcd did not {what}: {'; '.join(sorted(words)) or 'no voter is healthy'}"
            )

    def attempt(self, ask: Callable[[Endpoint], bool]) -> bool:
        """Whether a healthy voter did it."""
        return any(ask(self._endpoints[name]) for name in self.healthy())


def majority_of(members: Sequence[Member]) -> int:
    """How many voting members decide."""
    return sum(1 for m in members if not m.learner) // 2 + 1


def may_lose(members: Sequence[Member], healthy: Sequence[str], slot: str) -> str | None:
    """Why this member may not stop or go now, or None. It does not count itself."""
    others = [m for m in members if m.name in healthy and m.name != slot and not m.learner]
    needed = majority_of(members)
    if len(others) >= needed:
        return None
    return (
        f"only {len(others)} other etcd voters are healthy and {needed} are needed for a majority"
    )


def holds_seat(members: Sequence[Member], url: str, member_id: str | None) -> bool:
    """Whether the member that wrote our directory is still listed at our address."""
    return any(url in m.peer_urls and m.id == member_id for m in members)


def majority_without(voters: Voters, slot: str) -> tuple[list[Member] | None, str]:
    """(members, "") when a majority is healthy without us, else (None, why not)."""
    members = voters.members()
    if members is None:
        return None, "no etcd voter answers"
    refusal = may_lose(members, voters.healthy(), slot)
    return (members, "") if refusal is None else (None, refusal)


def require_majority(voters: Voters, slot: str, deadline: Deadline) -> list[Member]:
    """Members, once a majority is healthy without us. Raises HoldError with nothing changed when it does not come."""
    refusal = ""

    def ask() -> list[Member] | None:
        nonlocal refusal
        members, refusal = majority_without(voters, slot)
        return members

    members = deadline.within(MAJORITY_S).until(ask)
    if members is None:
        raise HoldError(
            f"{refusal}; joining etcd needs a healthy majority, and nothing was changed"
        )
    return members


def vacate(
    voters: Voters, slot: str, url: str, members: Sequence[Member], deadline: Deadline
) -> None:
    """Remove whoever sits at this address or under this name, with the alarms that it leaves behind."""
    for old in [m for m in members if url in m.peer_urls or m.name == slot]:
        voters.change(f"remove the old member of {slot}", _Remove(old.id), deadline)
        voters.change(f"forget the alarms of {slot}'s old member", _Forget(old.id), deadline)


def take_seat(
    voters: Voters, slot: str, url: str, members: Sequence[Member], deadline: Deadline
) -> list[Member]:
    """Remove whoever sits at this address or under this name, add a learner there; the members afterwards."""
    soon = deadline.within(CHANGE_S)
    vacate(voters, slot, url, members, soon)
    voters.change(f"add {slot} as a learner", lambda end: end.add_learner(url), soon)

    def listed() -> list[Member] | None:
        after = voters.members()
        return after if any(url in m.peer_urls for m in after or ()) else None

    found = soon.until(listed)
    if found is None:
        raise AgentError(f"etcd lost sight of {slot} just after it was added; try again")
    return found


@dataclass(frozen=True, slots=True)
class _Remove:
    """Ask an endpoint to remove a member; one that is gone already is as good."""

    member_id: str

    def __call__(self, end: Endpoint) -> bool:
        return end.remove(self.member_id) or "not found" in end.refusal


@dataclass(frozen=True, slots=True)
class _Forget:
    """Have an endpoint take back what a removed member had raised: nobody else would, and etcd refuses writes."""

    member_id: str

    def __call__(self, end: Endpoint) -> bool:
        raised = end.alarms()
        own = [alarm for owner, alarm in raised or () if owner == self.member_id]
        return raised is not None and all(end.disarm(self.member_id, alarm) for alarm in own)


def promote(voters: Voters, url: str, deadline: Deadline) -> None:
    """Make the learner at this address a voter once it has caught up. Raises AgentError when it does not."""

    def ask() -> bool:
        mine = [m for m in voters.members() or [] if url in m.peer_urls]
        if not mine:
            return False
        return not mine[0].learner or voters.attempt(lambda e: e.promote(mine[0].id))

    if not deadline.until(ask):
        raise AgentError("the new etcd member did not catch up in time; it stays a learner for now")


def initial_cluster(
    members: Sequence[Member], slot: str, url: str, names: Mapping[str, str]
) -> str:
    """`name=url,…` of all members; one that has not started yet is named by its address in the spec."""
    parts = []
    for member in members:
        for address in member.peer_urls:
            name = (
                slot if address == url else member.name or names.get(address, f"member-{member.id}")
            )
            parts.append(f"{name}={address}")
    return ",".join(sorted(parts))
