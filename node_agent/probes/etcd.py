"""This node's etcd member, through its JSON gateway; and the few calls that change membership or leadership."""

from __future__ import annotations

import base64
from typing import Any

from node_agent.probes.http import Http, mapping, number, rows, text

LOCAL, LOCAL_PEERS = "http://127.0.0.1:2379", "http://127.0.0.1:2380"


def hexadecimal(value: object) -> str | None:
    """etcd's ids are 64-bit numbers, written as decimal strings by the gateway, as hex by its tools."""
    found = number(value)
    return None if found is None or found == 0 else f"{found:x}"


def parse(health: object, status: object, members: object, alarms: object) -> dict[str, Any]:
    """The report's `etcd`; any part may be missing."""
    state = mapping(status)
    header = mapping(state.get("header"))
    listed = rows(mapping(members).get("members"))
    me, leader = hexadecimal(header.get("member_id")), hexadecimal(state.get("leader"))
    healthy = mapping(health).get("health")
    return {
        "healthy": None if healthy is None else str(healthy).lower() == "true",
        "name": next((text(m.get("name")) for m in listed if hexadecimal(m.get("ID")) == me), None),
        "member_id": me,
        "leader_id": leader,
        "cluster_id": hexadecimal(header.get("cluster_id")),
        "is_leader": None if me is None or leader is None else me == leader,
        "term": number(state.get("raftTerm")),
        "db_size_bytes": number(state.get("dbSize")),
        "alarms": [str(a.get("alarm")) for a in rows(mapping(alarms).get("alarms"))],
        "members": [
            {
                "id": hexadecimal(m.get("ID")),
                "name": text(m.get("name")),
                "learner": bool(m.get("isLearner")),
            }
            for m in listed
        ],
    }


class Etcd:
    """One endpoint of etcd."""

    def __init__(self, http: Http, base: str = LOCAL, peers: str = LOCAL_PEERS) -> None:
        self._http, self._base, self._peers = http, base, peers
        self.refusal = ""  # etcd's own words about the last call it refused

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        answer = self._http.post(f"{self._base}/v3/{path}", body)
        if answer is None:
            self.refusal = "no answer"
            return None
        if answer[0] != 200:
            words = mapping(answer[1])
            self.refusal = text(words.get("message") or words.get("error")) or f"HTTP {answer[0]}"
            return None
        return mapping(answer[1])

    def probe(self) -> dict[str, Any]:
        """The report's `etcd`."""
        health = self._http.get(f"{self._base}/health")
        if health is None:
            return {**parse(None, None, None, None), "healthy": False}
        return parse(
            health[1],
            self._post("maintenance/status", {}),
            self._post("cluster/member/list", {}),
            self._post("maintenance/alarm", {"action": "GET"}),
        )

    def healthy(self) -> bool:
        """Whether the endpoint serves linearizable reads."""
        answer = self._http.get(f"{self._base}/health")
        return answer is not None and str(mapping(answer[1]).get("health")).lower() == "true"

    def members(self) -> list[dict[str, Any]] | None:
        """Members as the gateway lists them; None without an answer."""
        answer = self._post("cluster/member/list", {})
        return None if answer is None else rows(answer.get("members"))

    def known_to_peers(self) -> list[dict[str, Any]] | None:
        """Members as its peer port lists them, which it does without a majority too; none where the host runs no etcd.

        None when nothing is known: no answer, or none that is a list.
        """
        answer = self._http.get(f"{self._peers}/members")
        if answer is None:
            return [] if self._http.refused(self._peers) else None
        return (rows(answer[1]) or None) if answer[0] == 200 else None

    def cluster_id(self) -> str | None:
        """The cluster's id in hexadecimal."""
        answer = self._post("cluster/member/list", {})
        return (
            None if answer is None else hexadecimal(mapping(answer.get("header")).get("cluster_id"))
        )

    def remove(self, member_id: str) -> bool:
        """Remove a member by its decimal id."""
        return self._post("cluster/member/remove", {"ID": member_id}) is not None

    def add_learner(self, peer_url: str) -> bool:
        """Add a member that does not vote yet."""
        body = {"peerURLs": [peer_url], "isLearner": True}
        return self._post("cluster/member/add", body) is not None

    def promote(self, member_id: str) -> bool:
        """Make a learner a voter; false while it lags."""
        return self._post("cluster/member/promote", {"ID": member_id}) is not None

    def move_leader(self, member_id: str) -> bool:
        """Hand etcd's leadership to another member (decimal id); only its leader can."""
        return self._post("maintenance/transfer-leadership", {"targetID": member_id}) is not None

    def delete_if_empty(self, key: str) -> bool:
        """Delete a key whose value is the empty string, in one transaction; false when it was not so."""
        encoded = base64.b64encode(key.encode()).decode()
        body = {
            "compare": [{"key": encoded, "target": "VALUE", "result": "EQUAL", "value": ""}],
            "success": [{"requestDeleteRange": {"key": encoded}}],
        }
        answer = self._post("kv/txn", body)
        return answer is not None and answer.get("succeeded") is True

    def get(self, key: str) -> tuple[bool, str | None]:
        """(answered, value or None) of a key, read linearizably."""
        encoded = base64.b64encode(key.encode()).decode()
        answer = self._post("kv/range", {"key": encoded})
        if answer is None:
            return False, None
        found = rows(answer.get("kvs"))
        return True, base64.b64decode(found[0].get("value", "")).decode() if found else None
