"""A node on paper: its clock, its programs, its etcd cluster. Time passes only by sleeping, nothing leaves the test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node_agent.errors import AgentError
from node_agent.inputs import Birth
from node_agent.membership import Voters
from node_agent.node import Node
from node_agent.shell import Result
from node_agent.spec import Spec
from node_agent.waiting import Deadline

EXAMPLES = Path(__file__).resolve().parents[2] / "contract" / "examples"
PASSWORDS = {
    role: f"{role}-secret" for role in ("superuser", "replication", "rewind", "app", "monitor")
}
SYSTEM = "7450000000000000001"
TOKEN = "0123456789abcdef0123456789abcdef"
INITIALIZE = "/service/pgmend/initialize"
LEADER = "/service/pgmend/leader"
START = 1000.0  # when a test's clock begins

# etcd 3.5.16 (Debian 13) through its JSON gateway: 64-bit ids are decimal strings, what is false is left out.
STATUS = {
    "header": {
        "cluster_id": "7374361507836364162",
        "member_id": "15429915573580438332",
        "revision": "1",
        "raft_term": "2",
    },
    "version": "3.5.16",
    "dbSize": "20480",
    "leader": "15429915573580438332",
    "raftIndex": "4",
    "raftTerm": "2",
}
MEMBERS = {
    "members": [
        {"ID": "11408666078021883693", "peerURLs": ["http://10.0.0.2:2380"], "isLearner": True},
        {
            "ID": "15429915573580438332",
            "name": "n1",
            "peerURLs": ["http://10.0.0.1:2380"],
            "clientURLs": ["http://10.0.0.1:2379"],
        },
    ]
}


def example(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EXAMPLES / name).read_text())
    return document


def the_spec(**changes: Any) -> Spec:
    return Spec({**example("spec.json"), **changes})


def a_node(slot: str = "db-euw1-a", **changes: Any) -> Node:
    return Node(
        **{
            "cluster": "pgmend",
            "slot": slot,
            "instance_id": "i-00000000000000303",
            "region": "eu-west-1",
            "hub_region": "eu-central-1",
            "bucket": "pgmend-123456789012-eu-west-1",
            "table": "pgmend",
            "endpoints": {},
            **changes,
        }
    )


def a_birth(**changes: Any) -> Birth:
    born = {"etcd_cluster_id": "cdf818194e3a8c32", "system_identifier": SYSTEM}
    return Birth(
        **{"state": "born", "first_leader": "db-euw1-a", "etcd_token": TOKEN, **born, **changes}
    )


def a_pending_birth(**changes: Any) -> Birth:
    return a_birth(
        **{
            "state": "pending",
            "etcd_cluster_id": None,
            "system_identifier": None,
            "declared_at": START,
            **changes,
        }
    )


class Clock:
    """Seconds that pass only by sleeping."""

    def __init__(self) -> None:
        self.now = START
        self.at: list[tuple[float, Any]] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for due, what in [item for item in self.at if item[0] <= self.now]:
            self.at.remove((due, what))
            what()

    def after(self, seconds: float, what: Any) -> None:
        """Have something happen while somebody waits."""
        self.at.append((self.now + seconds, what))

    def deadline(self, seconds: float = 60.0) -> Deadline:
        return Deadline(seconds, clock=self, sleep=self.sleep)


class Programs:
    """The host's programs: answers by name, and a systemd that remembers what runs."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.answers: dict[str, Result | AgentError] = {}
        self.states: dict[str, str] = {}
        self.exit_codes: dict[str, int] = {}
        self.started: Any = lambda _unit: None

    def __call__(
        self, argv: Sequence[str], *, ok: Sequence[int] = (0,), timeout_s: float = 60.0
    ) -> Result:
        self.calls.append(list(argv))
        if argv[0] == "systemctl":
            return self._systemctl(list(argv[1:]))
        answer = self.answers.get(Path(argv[0]).name, Result(code=0, out=""))
        if isinstance(answer, AgentError):
            raise answer
        if answer.code not in ok:
            raise AgentError(f"{argv[0]} ended with code {answer.code} within {timeout_s} s")
        return answer

    def _systemctl(self, words: list[str]) -> Result:
        plain = [word for word in words if not word.startswith("--")]
        verb, units = plain[0], [unit.removesuffix(".service") for unit in plain[1:]]
        if "--property=LoadState" in words:
            return Result(code=0, out="loaded\n" if units[0] in self.states else "not-found\n")
        if "--property=ExecMainStatus" in words:
            return Result(code=0, out=f"{self.exit_codes.get(units[0], 0)}\n")
        if verb == "show":
            return Result(code=0, out=f"{self.states.get(units[0], 'inactive')}\n")
        for unit in units:
            if verb in {"start", "restart"}:
                self.states[unit] = "active"
                self.started(unit)
            if verb == "stop":
                self.states[unit] = "inactive"
        return Result(code=0, out="")

    def said(self, *words: str) -> bool:
        """Whether a call contained these words, in order and together."""
        return any(" ".join(words) in " ".join(call) for call in self.calls)


class Cluster:
    """An etcd cluster as its voters' gateways show it."""

    def __init__(self, *voters: str) -> None:
        spec = the_spec()
        self.addresses = {voter["name"]: voter["address"] for voter in spec.voters}
        self.members: list[dict[str, Any]] = []
        self.silent: set[str] = set()
        self.keys: dict[str, str] = {}
        self.calls: list[str] = []
        self.refusals: list[str] = []
        self.catch_up_after = 0
        self.alarms: list[tuple[str, str]] = []
        for number, name in enumerate(voters or self.addresses, start=1):
            self.members.append(self._member(name, str(number)))

    def _member(self, name: str, member_id: str) -> dict[str, Any]:
        address = self.addresses[name]
        return {
            "ID": member_id,
            "name": name,
            "peerURLs": [f"http://{address}:2380"],
            "clientURLs": [f"http://{address}:2379"],
        }

    def without_answer_from(self, *names: str) -> Cluster:
        self.silent |= set(names)
        return self

    def holding(self, key: str, value: str) -> Cluster:
        self.keys[key] = value
        return self

    def unstarted(self, name: str) -> Cluster:
        """Its members' list names it, and it has never run."""
        for member in self.members:
            if member["name"] == name:
                del member["clientURLs"]
        return self

    def has_majority(self) -> bool:
        voting = [m for m in self.members if not m.get("isLearner")]
        alive = [m for m in voting if m.get("name") not in self.silent and m.get("clientURLs")]
        return len(alive) > len(voting) // 2

    def voters(self, *, without: str | None = None) -> Voters:
        ends = {name: Endpoint(self, name) for name in self.addresses if name != without}
        return Voters(ends)

    def names(self) -> list[str]:
        return [str(m.get("name", "")) for m in self.members]

    def member_at(self, name: str) -> dict[str, Any]:
        url = f"http://{self.addresses[name]}:2380"
        return next(m for m in self.members if url in m["peerURLs"])

    def start(self, name: str) -> None:
        """The voter's etcd comes up under the seat it was given."""
        member = self.member_at(name)
        member["name"], member["clientURLs"] = name, [f"http://{self.addresses[name]}:2379"]
        self.silent.discard(name)


class Endpoint:
    """One voter of a `Cluster`."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster, self._name = cluster, name
        self.refusal = ""

    def _answers(self) -> bool:
        member = [m for m in self._cluster.members if m.get("name") == self._name]
        return (
            self._name not in self._cluster.silent
            and bool(member)
            and bool(member[0].get("clientURLs"))
        )

    def healthy(self) -> bool:
        return self._answers() and self._cluster.has_majority()

    def members(self) -> list[dict[str, Any]] | None:
        return [dict(m) for m in self._cluster.members] if self._answers() else None

    def known_to_peers(self) -> list[dict[str, Any]] | None:
        if self._name in self._cluster.silent:
            return None
        return self.members() or []

    def cluster_id(self) -> str | None:
        return "cdf818194e3a8c32" if self._answers() else None

    def get(self, key: str) -> tuple[bool, str | None]:
        return (True, self._cluster.keys.get(key)) if self.healthy() else (False, None)

    def _change(self, what: str) -> bool:
        self._cluster.calls.append(what)
        if self._cluster.refusals:
            self.refusal = self._cluster.refusals.pop(0)
            return False
        return True

    def remove(self, member_id: str) -> bool:
        if not self._change(f"remove {member_id}"):
            return False
        kept = [m for m in self._cluster.members if m["ID"] != member_id]
        found = len(kept) < len(self._cluster.members)
        self._cluster.members = kept
        self.refusal = "" if found else "etcdserver: member not found"
        return found

    def add_learner(self, peer_url: str) -> bool:
        if not self._change(f"add {peer_url}"):
            return False
        new = {"ID": "99", "peerURLs": [peer_url], "isLearner": True}
        self._cluster.members.append(new)
        return True

    def promote(self, member_id: str) -> bool:
        if not self._change(f"promote {member_id}"):
            return False
        if self._cluster.catch_up_after > 0:
            self._cluster.catch_up_after -= 1
            self.refusal = "etcdserver: can only promote a learner member which is in sync"
            return False
        for member in self._cluster.members:
            if member["ID"] == member_id:
                member.pop("isLearner", None)
        return True

    def alarms(self) -> list[tuple[str, str]] | None:
        return list(self._cluster.alarms) if self._answers() else None

    def disarm(self, member_id: str, alarm: str) -> bool:
        if not self._change(f"disarm {alarm} of {member_id}"):
            return False
        self._cluster.alarms = [a for a in self._cluster.alarms if a != (member_id, alarm)]
        return True

    def delete_if_empty(self, key: str) -> bool:
        if self._cluster.keys.get(key) != "":
            return False
        self._cluster.calls.append(f"delete {key}")
        del self._cluster.keys[key]
        return True


def an_etcd_log(member_id: int, cluster_id: int) -> bytes:
    """The head of a write-ahead log as etcd 3.5.16 wrote it, with the ids put in."""
    metadata = b"\x08" + _varint(member_id) + b"\x10" + _varint(cluster_id)
    record = b"\x08\x01\x10\xd1\xd4\xd7\xe9\x06\x1a" + _varint(len(metadata)) + metadata
    first = bytes.fromhex("04000000000000840804100000000000")
    padding = -len(record) % 8
    length = len(record) | ((0x80 | padding) << 56 if padding else 0)
    return first + length.to_bytes(8, "little") + record + bytes(padding) + bytes(512)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def an_etcd_directory(folder: Path, member_id: int, cluster_id: int = 7) -> None:
    """A directory that a member has written."""
    wal = folder / "member" / "wal"
    wal.mkdir(parents=True)
    (wal / "0000000000000000-0000000000000000.wal").write_bytes(an_etcd_log(member_id, cluster_id))
