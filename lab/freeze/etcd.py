"""The cluster's etcd, asked from this computer through its members' own addresses: its leader, and the leader key."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import requests

from lab.errors import LabError
from lab.operator import CLUSTER, Slot

TIMEOUT_S: Final = 2.0
MOVE_S: Final = 10.0
LEADER_KEY: Final = f"/service/{CLUSTER}/leader"
Post = Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderKey:
    """Patroni's leader key."""

    name: str
    lease: str


class Etcd(Protocol):
    """What a trial asks of etcd."""

    @property
    def voters(self) -> frozenset[str]:
        """The slots that can lead etcd."""

    def leader(self) -> str | None:
        """The slot of etcd's leader."""

    def move_leader(self, slot: str) -> None:
        """Have this slot lead etcd."""

    def leader_key(self, *, without: str) -> LeaderKey | None:
        """The leader key, asked of others than this slot."""

    def revoke(self, lease: str, *, without: str) -> None:
        """End a lease and delete its keys, through others than this slot."""


class EtcdMembers:
    """The voters' JSON gateways."""

    def __init__(self, slots: Sequence[Slot], post: Post | None = None) -> None:
        self._urls = {
            s.name: f"http://{s.address}:2379/v3" for s in slots if s.etcd_voter and s.active
        }
        self._post: Post = post or _Http()

    @property
    def voters(self) -> frozenset[str]:
        """The slots that can lead etcd."""
        return frozenset(self._urls)

    def leader(self) -> str | None:
        """The slot of etcd's leader; None when nobody knows."""
        states = self._states()
        by_member = {state["header"]["member_id"]: slot for slot, state in states.items()}
        for state in states.values():
            found = by_member.get(state.get("leader"))
            if found is not None:
                return found
        return None

    def move_leader(self, slot: str) -> None:
        """Raises LabError when etcd does not do it in time."""
        end = time.monotonic() + MOVE_S
        while (now := self.leader()) != slot:
            member = self._states().get(slot, {}).get("header", {}).get("member_id")
            if now is not None and member is not None:
                body = {"targetID": member}
                self._post(f"{self._urls[now]}/maintenance/transfer-leadership", body)
            if time.monotonic() > end:
                raise LabError(
                    f"etcd's leader could not be moved to {slot}; {now or 'nobody'} leads"
                )
            time.sleep(0.1)

    def leader_key(self, *, without: str) -> LeaderKey | None:
        """None when there is none. Raises LabError when nobody answers."""
        answer = self._ask("kv/range", {"key": _encode(LEADER_KEY)}, without=without)
        found = answer.get("kvs")
        if not found:
            return None
        name = base64.b64decode(found[0]["value"]).decode()
        return LeaderKey(name=name, lease=str(found[0].get("lease", "0")))

    def revoke(self, lease: str, *, without: str) -> None:
        """Raises LabError when nobody does it."""
        self._ask("lease/revoke", {"ID": lease}, without=without)

    def _states(self) -> dict[str, Mapping[str, Any]]:
        found = {
            slot: self._post(f"{url}/maintenance/status", {}) for slot, url in self._urls.items()
        }
        return {slot: state for slot, state in found.items() if state is not None}

    def _ask(self, path: str, body: Mapping[str, Any], *, without: str) -> Mapping[str, Any]:
        for slot, url in self._urls.items():
            if slot != without:
                answer = self._post(f"{url}/{path}", body)
                if answer is not None:
                    return answer
        raise LabError(f"no etcd voter but {without} answered '{path}'")


class _Http:
    """None for anything but an answer."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False

    def __call__(self, url: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        try:
            answer = self._session.post(url, json=body, timeout=TIMEOUT_S)
            found = answer.json()
        except (requests.RequestException, ValueError):
            return None
        return found if answer.ok and isinstance(found, dict) else None


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
