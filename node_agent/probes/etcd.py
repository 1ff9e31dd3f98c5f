"""This node's etcd member, through its JSON gateway; and the few calls that change membership or leadership."""

from __future__ import annotations

import base64
from typing import Any

from node_agent.probes.http import Http, mapping, number, rows, text

CORRUPT, NOSPACE = "CORRUPT", "NOSPACE"
# etcd calls every member unhealthy while any member has an alarm; whether one serves is another question.
ALARMS_ASIDE = f"/health?exclude={NOSPACE}&exclude={CORRUPT}"
LOCAL, LOCAL_PEERS = "http://127.0.0.1:2379", "http://127.0.0.1:2380"


def hexadecimal(value: object) -> str | None:
    """etcd's ids are 64-bit numbers, written as decimal strings by the gateway, as hex by its tools."""
    found = number(value)
    return None if found is None or found == 0 else f"{found:x}"


def well(health: object) -> bool | None:
    """What `/health` says; None when it says nothing."""
    found = mapping(health).get("health")
    return None if found is None else str(found).lower() == "true"


def alarms_of(alarms: object) -> list[tuple[str, str]]:
    """(decimal member id, alarm) of every alarm that is raised."""
    return [
        (str(number(row.get("memberID")) or ""), str(row.get("alarm")))
        for row in rows(mapping(alarms).get("alarms"))
    ]


def parse(health: object, status: object, members: object, alarms: object) -> dict[str, Any]:
    """The report's `etcd`; any part may be missing. Only this member's own alarms are its own."""
    state = mapping(status)
    header = mapping(state.get("header"))
    listed = rows(mapping(members).get("members"))
    me, leader = hexadecimal(header.get("member_id")), hexadecimal(state.get("leader"))
    raised = [alarm for owner, alarm in alarms_of(alarms) if me and hexadecimal(owner) == me]
    return {
        "healthy": False if CORRUPT in raised else well(health),
        "name": next((text(m.get("name")) for m in listed if hexadecimal(m.get("ID")) == me), None),
        "member_id": me,
        "leader_id": leader,
        "cluster_id": hexadecimal(header.get("cluster_id")),
        "is_leader": None if me is None or leader is None else me == leader,
        "term": number(state.get("raftTerm")),
        "db_size_bytes": number(state.get("dbSize")),
        "alarms": raised,
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
    """One endpoint of etcd. `patient` waits for what etcd works at, `http` for all that it only has to say."""

    def __init__(
        self,
        http: Http,
        base: str = LOCAL,
        peers: str = LOCAL_PEERS,
        *,
        patient: Http | None = None,
    ) -> None:
        self._http, self._base, self._peers = http, base, peers
        self._patient = patient or http
        self.refusal = ""  # etcd's own words about the last call it refused

    def _post(
        self, path: str, body: dict[str, Any], *, by: Http | None = None
    ) -> dict[str, Any] | None:
        answer = (by or self._http).post(f"{self._base}/v3/{path}", body)
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
        if well(health[1]) is False:
            health = self._http.get(f"{self._base}{ALARMS_ASIDE}") or health
        return parse(
            health[1],
            self.status(),
            self._post("cluster/member/list", {}),
            self._post("maintenance/alarm", {"action": "GET"}),
        )

    def healthy(self) -> bool:
        """Whether the endpoint serves linearizable reads and is not known to be corrupt.

        Neither another member's alarm nor a lack of space counts: membership can be changed in spite of them.
        """
        answer = self._http.get(f"{self._base}/health")
        if answer is None or well(answer[1]):
            return answer is not None
        aside = self._http.get(f"{self._base}{ALARMS_ASIDE}")
        if aside is None or not well(aside[1]):
            return False
        me, raised = self.own_id(), self.alarms()
        return me is not None and raised is not None and (me, CORRUPT) not in raised

    def status(self) -> dict[str, Any] | None:
        """The endpoint's own state as the gateway shows it."""
        return self._post("maintenance/status", {})

    def leads(self) -> bool:
        """Whether it is known to be etcd's leader."""
        state = mapping(self.status())
        me = number(mapping(state.get("header")).get("member_id"))
        return bool(me) and number(state.get("leader")) == me

    def own_id(self) -> str | None:
        """Its member id, in decimal."""
        found = number(mapping(mapping(self.status()).get("header")).get("member_id"))
        return str(found) if found else None

    def alarms(self) -> list[tuple[str, str]] | None:
        """(decimal member id, alarm) of every alarm in the cluster; None without an answer."""
        answer = self._post("maintenance/alarm", {"action": "GET"})
        return None if answer is None else alarms_of(answer)

    def disarm(self, member_id: str, alarm: str) -> bool:
        """Take a member's alarm back; one that was not raised is as good."""
        body = {"action": "DEACTIVATE", "memberID": member_id, "alarm": alarm}
        return self._post("maintenance/alarm", body) is not None

    def compact(self, revision: int) -> bool:
        """Forget what every key was before this revision, in the whole cluster."""
        body = {"revision": str(revision), "physical": True}
        if self._post("kv/compaction", body, by=self._patient) is not None:
            return True
        return "has been compacted" in self.refusal

    def defragment(self) -> bool:
        """Give this member's free pages back to the disk; it serves nobody meanwhile."""
        return self._post("maintenance/defragment", {}, by=self._patient) is not None

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
