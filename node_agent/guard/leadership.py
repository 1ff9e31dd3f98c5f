"""How the guarded Patroni holds its leader key in etcd: it proves at every renewal that the key is still its own.

Patroni's own way renews the lease and believes its view of the key, and makes the key anew when it is gone. Here a key
that is gone, or is another's, is a lost lock: nothing is created, and Patroni demotes. An etcd that does not answer is
no lost lock: it raises what Patroni's own method raises, through the same calls.

Who acquires the key also signs a second one that has no lease: who held it last. A running primary takes an absent key
only where the last signature is its own (`election` says who is asked for it).
"""
# It stands in for methods of Patroni's classes: it has their signatures and uses what they use.
# ruff: noqa: ANN401, FBT001, FBT002, FBT003, SLF001

from __future__ import annotations

import base64
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

from node_agent.guard.fence import now

OWN_LEASES_MAX = 8
NO_LEASE = "0"
LAST_LEADER = "last_leader"
log = logging.getLogger("pgmend.guard")


class Leader(Protocol):
    """Patroni's view of the leader key."""

    session: str | None


class Client(Protocol):
    """The part of `PatroniEtcd3Client` used here."""

    _etcd3: Dcs

    def call_rpc(self, method: str, fields: dict[str, Any], retry: Any) -> dict[str, Any]:
        """One request, on another etcd member when the first does not answer."""

    def handle_auth_errors(self, func: Callable[..., Any], *args: Any, retry: Any) -> Any:
        """Call it; log in to etcd again when it says so."""

    def _restart_watcher(self) -> None: ...


class Dcs(Protocol):
    """The part of `Etcd3` used here."""

    leader_path: str
    ttl: int
    loop_wait: int
    _name: str
    _lease: str | None
    _last_lease_refresh: float
    _retry: Any
    _client: Client

    def client_path(self, path: str) -> str:
        """A key below the cluster's."""

    def _do_refresh_lease(self, force: bool, retry: Any = None) -> bool: ...

    def _run_and_handle_exceptions(
        self, method: Callable[..., Any], *args: Any, retry: Any
    ) -> Any: ...


@dataclass(slots=True)
class Standing:
    """What this process knows of its own: the leases it was granted, whether it ever held the key, and whether it runs
    a primary while it asks for the key.
    """

    leases: deque[str] = field(default_factory=lambda: deque(maxlen=OWN_LEASES_MAX))
    proved: bool = False
    primary: bool = False
    renewed_at: float = field(default_factory=now)  # before etcd was asked to: its ttl began later

    @classmethod
    def of(cls, dcs: Dcs) -> Standing:
        """The one that belongs to this connection to etcd."""
        found: Standing = vars(dcs).setdefault("_pgmend_standing", cls())
        return found

    def may_move_from(self, lease: str) -> bool:
        """Whether a key with our name under this lease is ours to move to a new one.

        A changed ttl leaves the key under a lease this process was granted before. A Patroni that was restarted finds
        it under its predecessor's; that is accepted until the first proof and never after, so that a second process
        with our name loses. Ids of leases are not used twice: such a key was ours all the time.
        """
        return lease in self.leases or not self.proved


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The leader key as etcd has it."""

    name: str
    lease: str

    def __str__(self) -> str:
        return f"names {self.name} under lease {self.lease}"


def install(etcd3: ModuleType) -> None:
    """Put the guard's methods in the place of `patroni.dcs.etcd3`'s."""
    stock, client, error = etcd3.Etcd3, etcd3.PatroniEtcd3Client, etcd3.Etcd3Error

    def guarded(dcs: Dcs, leader: Leader) -> bool:
        return update_leader(dcs, leader, error=error)

    stock._do_refresh_lease = remembering(stock._do_refresh_lease)
    stock._update_leader = etcd3.catch_return_false_exception(guarded)
    client.put = signing(client.put)


def remembering(refresh: Callable[..., bool]) -> Callable[..., bool]:
    """Patroni's `_do_refresh_lease`; the lease it ends with is known as our own, and since when it is good."""

    def refresh_and_remember(dcs: Dcs, force: bool = False, retry: Any = None) -> bool:
        at, before = now(), dcs._last_lease_refresh
        granted = refresh(dcs, force, retry=retry)
        standing = Standing.of(dcs)
        if dcs._last_lease_refresh != before:  # else the last one is young enough for Patroni
            standing.renewed_at = at
        if dcs._lease and dcs._lease not in standing.leases:
            standing.leases.append(dcs._lease)
        return granted

    return refresh_and_remember


def signing(put: Callable[..., Any]) -> Callable[..., Any]:
    """Patroni's `put`, which signs when it creates the leader key."""

    def put_and_sign(
        client: Client,
        key: str,
        value: str,
        lease: str | None = None,
        create_revision: str | None = None,
        mod_revision: str | None = None,
        *,
        retry: Any = None,
    ) -> Any:
        dcs = client._etcd3
        if key != dcs.leader_path or create_revision != "0" or lease is None:
            return put(client, key, value, lease, create_revision, mod_revision, retry=retry)
        answer = _transact(client, acquisition(dcs, lease), retry=retry)
        if answer.get("succeeded", False):
            return answer
        if Standing.of(dcs).primary:
            log.warning(
                "pgmend guard: this primary (%s) may not take the leader key: it is there, or another held it last",
                dcs._name,
            )
        client._restart_watcher()
        return {}

    return put_and_sign


def acquisition(dcs: Dcs, lease: str) -> dict[str, Any]:
    """One transaction: create the leader key if it is absent, and sign; a primary only if it signed last."""
    compare = [{"key": encode(dcs.leader_path), "target": "CREATE", "create_revision": "0"}]
    if Standing.of(dcs).primary:
        last = encode(dcs.client_path(LAST_LEADER))
        compare.append({"key": last, "target": "VALUE", "value": encode(dcs._name)})
    return {"compare": compare, "success": [_held(dcs, lease), _signature(dcs)]}


def _held(dcs: Dcs, lease: str) -> dict[str, Any]:
    """Patroni's cache of etcd takes the first operation of a transaction for the one that counts: it is this one."""
    key, name = encode(dcs.leader_path), encode(dcs._name)
    return {"request_put": {"key": key, "value": name, "lease": lease}}


def _signature(dcs: Dcs) -> dict[str, Any]:
    key, name = encode(dcs.client_path(LAST_LEADER)), encode(dcs._name)
    return {"request_put": {"key": key, "value": name}}


def update_leader(dcs: Dcs, leader: Leader, *, error: type[Exception]) -> bool:
    """Renew the lease, then have etcd say that the key is ours under it. False is a lost lock.

    In this order, so that the answer holds for at least the ttl that was just renewed, less the time it took. Raises
    what Patroni's own method raises: `error` (a DCSError) when etcd does not answer in time.
    """
    retry = dcs._retry.copy()
    _run(dcs, retry, dcs._do_refresh_lease, True)
    lease = dcs._lease
    if not lease:
        return False
    if dcs.loop_wait + 3 * retry.deadline > dcs.ttl:
        # Where the ttl has no room for a third wait for etcd, both steps share one, as in Patroni.
        retry.ensure_deadline(1, error("update_leader timeout"))
    standing = Standing.of(dcs)
    seen = leader.session or NO_LEASE
    expected = seen if standing.may_move_from(seen) else lease
    asked = question(dcs, expected=expected, lease=lease, sign=not standing.proved)
    answer = _run(dcs, retry, _transact, dcs._client, asked)
    if answer.get("succeeded", False):
        standing.proved = True
        if expected != lease:
            log.info(
                "pgmend guard: the leader key moves from this member's lease %s to %s", seen, lease
            )
        return True
    found = key_of(answer)
    if found == Key(name=dcs._name, lease=lease):
        return True  # moved a moment ago: the view is late, or the first of two tries had succeeded
    _deny(dcs, found, lease)
    return False


def question(dcs: Dcs, *, expected: str, lease: str, sign: bool) -> dict[str, Any]:
    """One transaction: is the key our name under `expected`? Then it is read, or put under `lease` if that differs, and
    signed if it may not be yet.

    Without a write in it etcd takes it for a read, which a full etcd still answers, and which waits for a majority
    because its ranges do: a transaction without any would be answered from one member's own view.
    """
    key, name = encode(dcs.leader_path), encode(dcs._name)
    look = {"request_range": {"key": key}}
    put = sign or expected != lease
    return {
        "compare": [
            {"key": key, "target": "VALUE", "value": name},
            {"key": key, "target": "LEASE", "lease": expected},
        ],
        "success": [_held(dcs, lease), *([_signature(dcs)] if sign else [])] if put else [look],
        "failure": [look],
    }


def key_of(answer: dict[str, Any]) -> Key | None:
    """The key that a failed comparison found; None when there is none."""
    responses = answer.get("responses") or [{}]
    found = (responses[0].get("response_range") or {}).get("kvs") or []
    if not found:
        return None
    return Key(
        name=base64.b64decode(found[0].get("value", "")).decode(errors="replace"),
        lease=str(found[0].get("lease") or NO_LEASE),
    )


def encode(text: str) -> str:
    """As etcd's JSON gateway wants keys and values."""
    return base64.b64encode(text.encode()).decode()


def _transact(client: Client, fields: dict[str, Any], *, retry: Any) -> dict[str, Any]:
    def transaction(client: Client, *, retry: Any) -> dict[str, Any]:
        return client.call_rpc("/kv/txn", dict(fields), retry)

    answer: dict[str, Any] = client.handle_auth_errors(transaction, retry=retry)
    return answer


def _run(dcs: Dcs, retry: Any, method: Callable[..., Any], *args: Any) -> Any:
    """Within one span of retries, with Patroni's own reading of errors."""

    def within(method: Callable[..., Any], *args: Any) -> Any:
        return retry(method, *args, retry=retry)

    return dcs._run_and_handle_exceptions(method, *args, retry=within)


def _deny(dcs: Dcs, found: Key | None, lease: str) -> None:
    log.warning(
        "pgmend guard: the leader key %s, this member (%s) has lease %s: the lock is lost and is not taken back",
        found or "is absent",
        dcs._name,
        lease,
    )
    # The view that led here is behind; it is built anew, as after any failed transaction of Patroni's.
    dcs._client._restart_watcher()
