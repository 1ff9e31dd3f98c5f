"""An etcd of keys and leases that speaks the JSON of its gateway, and the part of Patroni that the guard stands on.

Time passes only when told. The pieces of Patroni 4.0.7 return and raise what its sources do; the same questions are
asked of the real ones in tests/adapters/node_agent.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

LEADER_PATH, LAST_PATH = "/service/pgmend/leader", "/service/pgmend/last_leader"
ME, OTHER = "db-euw1-a", "db-euw1-b"


class ConnectionFailedError(Exception):
    """`etcd.EtcdConnectionFailed`: nobody answered."""


class RefusedByEtcdError(Exception):
    """`etcd.EtcdException`: etcd answered with an error."""


class ReturnFalseError(Exception):
    """Patroni's `ReturnFalseException`."""


class DcsError(Exception):
    """Patroni's `Etcd3Error`, a DCSError."""


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass
class Stored:
    """One key."""

    value: str
    lease: str
    create_revision: int
    mod_revision: int


@dataclass
class Etcd:
    """One healthy cluster, until told otherwise."""

    now: float = 0.0
    revision: int = 1
    keys: dict[str, Stored] = field(default_factory=dict)
    leases: dict[str, float] = field(default_factory=dict)
    full: bool = False
    asked: list[str] = field(default_factory=list)

    # what happens to it

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for lease in [name for name, end in self.leases.items() if end <= self.now]:
            self.revoke(lease)

    def grant(self, ttl: float) -> str:
        lease = str(7587880000000000000 + len(self.asked) + self.revision)
        self.revision += 1
        self.leases[lease] = self.now + ttl
        return lease

    def revoke(self, lease: str) -> None:
        self.leases.pop(lease, None)
        for key in [name for name, stored in self.keys.items() if stored.lease == lease]:
            del self.keys[key]
            self.revision += 1

    def put(self, key: str, value: str, lease: str) -> None:
        self.revision += 1
        before = self.keys.get(key)
        created = before.create_revision if before else self.revision
        self.keys[key] = Stored(value, lease, created, self.revision)

    # the JSON gateway

    def call(self, method: str, fields: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(method)
        if method == "/lease/grant":
            return {"ID": self.grant(fields["TTL"])}
        if method == "/lease/keepalive":
            return self._keepalive(fields["ID"])
        assert method == "/kv/txn", method
        return self._txn(fields)

    def _keepalive(self, lease: str) -> dict[str, Any]:
        if lease not in self.leases:
            return {"result": {"ID": lease}}
        self.leases[lease] = self.now + 20
        return {"result": {"ID": lease, "TTL": "20"}}

    def _txn(self, fields: dict[str, Any]) -> dict[str, Any]:
        assert set(fields) <= {"compare", "success", "failure"}
        succeeded = all(self._holds(compare) for compare in fields["compare"])
        operations = fields["success"] if succeeded else fields.get("failure", [])
        answer: dict[str, Any] = {"header": {}, "responses": [self._do(o) for o in operations]}
        answer["header"]["revision"] = str(self.revision)
        return {**answer, "succeeded": True} if succeeded else answer

    def _holds(self, compare: dict[str, Any]) -> bool:
        stored = self.keys.get(base64.b64decode(compare["key"]).decode())
        match compare["target"]:
            case "VALUE":  # a key that is not there has no value, not an empty one
                return stored is not None and encode(stored.value) == str(compare["value"])
            case "LEASE":
                return (stored.lease if stored else "0") == str(compare["lease"])
            case "CREATE":
                found = stored.create_revision if stored else 0
                return str(found) == str(compare["create_revision"])
            case other:
                raise AssertionError(other)

    def _do(self, operation: dict[str, Any]) -> dict[str, Any]:
        ((kind, what),) = operation.items()
        if kind == "request_range":
            key = base64.b64decode(what["key"]).decode()
            return {"response_range": self._range(key)}
        assert kind == "request_put", kind
        if self.full:
            raise RefusedByEtcdError("etcdserver: mvcc: database space exceeded")
        lease = what.get("lease", "0")
        if lease != "0" and lease not in self.leases:
            raise RefusedByEtcdError("etcdserver: requested lease not found")
        key = base64.b64decode(what["key"]).decode()
        self.put(key, base64.b64decode(what["value"]).decode(), lease)
        return {"response_put": {}}

    def _range(self, key: str) -> dict[str, Any]:
        stored = self.keys.get(key)
        if stored is None:
            return {}
        found = {"key": encode(key), "value": encode(stored.value)}
        if stored.lease != "0":
            found["lease"] = stored.lease
        return {"kvs": [found], "count": "1"}


@dataclass
class Retry:
    """Patroni's, for a world in which nothing is worth a second try."""

    deadline: float = 3.0
    too_late: bool = False

    def copy(self) -> Retry:
        return self

    def ensure_deadline(self, _timeout: float, raise_ex: Exception) -> bool:
        if self.too_late:
            raise raise_ex
        return True

    def __call__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)


class StockClient:
    """`PatroniEtcd3Client`."""

    def __init__(self, etcd: Etcd, dcs: Any) -> None:
        self.etcd, self._etcd3 = etcd, dcs
        self.put_as_ever: list[tuple[Any, ...]] = []
        self.unreachable: set[str] = set()
        self.answer_lost = False
        self.watchers_restarted = 0

    def call_rpc(self, method: str, fields: dict[str, Any], retry: Any = None) -> dict[str, Any]:
        # Without a span of retries the real one raises what is taken for a lost lock.
        assert retry is not None
        if method in self.unreachable:
            raise ConnectionFailedError("No more machines in the cluster")
        answer = self.etcd.call(method, fields)
        if method == "/kv/txn" and self.answer_lost:
            self.answer_lost = False
            answer = self.etcd.call(method, fields)
        return answer

    def handle_auth_errors(self, func: Callable[..., Any], *args: Any, retry: Any) -> Any:
        return func(self, *args, retry=retry)

    def put(
        self,
        key: str,
        value: str,
        lease: str | None = None,
        create_revision: str | None = None,
        mod_revision: str | None = None,
        *,
        retry: Any = None,
    ) -> Any:
        self.put_as_ever.append((key, value, lease, create_revision, mod_revision, retry))
        return {"header": {}}

    def _restart_watcher(self) -> None:
        self.watchers_restarted += 1


@dataclass
class Leader:
    """Patroni's view of the key."""

    session: str | None


class StockEtcd3:
    """`Etcd3`, as far as it goes."""

    client_class = StockClient

    def __init__(self, etcd: Etcd, name: str = ME) -> None:
        self.leader_path, self._name = LEADER_PATH, name
        self.ttl, self.loop_wait = 20, 2
        self._client = self.client_class(etcd, self)
        self._retry = Retry()
        self._lease: str | None = None
        self._last_lease_refresh, self._young = 0.0, False
        self._do_refresh_lease(force=True, retry=self._retry)

    def _do_refresh_lease(self, force: bool = False, retry: Any = None) -> bool:  # noqa: FBT002
        if not force and self._young:
            return False
        if self._lease:
            answer = self._client.call_rpc("/lease/keepalive", {"ID": self._lease}, retry)
            if not answer.get("result", {}).get("TTL"):
                self._lease = None
        granted = not self._lease
        if granted:
            answer = self._client.call_rpc("/lease/grant", {"TTL": self.ttl}, retry)
            self._lease = answer["ID"]
        self._last_lease_refresh += 1.0
        return granted

    def client_path(self, path: str) -> str:
        return f"/service/pgmend/{path}"

    def attempt_to_acquire_leader(self) -> bool:
        put = self._client.put
        answer = self._retry(
            put, LEADER_PATH, self._name, self._lease, create_revision="0", retry=self._retry
        )
        return bool(answer)

    def _run_and_handle_exceptions(self, method: Callable[..., Any], *args: Any, retry: Any) -> Any:
        try:
            return retry(method, *args)
        except ConnectionFailedError as error:
            raise DcsError(error) from error
        except RefusedByEtcdError as error:
            raise ReturnFalseError from error

    def _update_leader(self, leader: Leader) -> bool:
        raise AssertionError(f"Patroni's own method, with {leader}")


def catch_return_false_exception(func: Callable[..., Any]) -> Callable[..., Any]:
    """Patroni's decorator."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except ReturnFalseError:
            return False

    return wrapper


def a_module() -> ModuleType:
    """`patroni.dcs.etcd3`. Fresh, because the guard changes it."""
    module = ModuleType("etcd3_on_paper")
    client = type("PatroniEtcd3Client", (StockClient,), {})
    vars(module).update(
        Etcd3=type("Etcd3", (StockEtcd3,), {"client_class": client}),
        PatroniEtcd3Client=client,
        Etcd3Error=DcsError,
        catch_return_false_exception=catch_return_false_exception,
    )
    return module
