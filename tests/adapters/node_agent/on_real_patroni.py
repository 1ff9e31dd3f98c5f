"""Runs in the nodes' Python: one scenario against the real Patroni and a real etcd. An exit code of 0 is a pass.

    python3 on_real_patroni.py SCENARIO URL=PID URL=PID URL=PID

`stock_…` scenarios run without the guard and show that the holes are there to be seen.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from node_agent.guard import alive, fence, launch, leadership

ME, OTHER = "db-euw1-a", "db-euw1-b"
WAIT_S = 10.0
etcd3: Any = None  # patroni.dcs.etcd3, guarded or not
members: dict[str, int] = {}  # URL -> process id
scope = ""


# -- etcd, as a stranger


def ask(path: str, body: dict[str, Any], *, url: str = "", timeout_s: float = 3.0) -> Any:
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{url or next(iter(members))}/v3/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
        return json.load(answer)


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def the_key() -> tuple[str, str] | None:
    """(name, lease) of the leader key."""
    found = ask("kv/range", {"key": encode(f"/service/{scope}/leader")}).get("kvs")
    return (
        (base64.b64decode(found[0]["value"]).decode(), found[0].get("lease", "0"))
        if found
        else None
    )


def put_key(name: str, lease: str) -> None:
    ask(
        "kv/put", {"key": encode(f"/service/{scope}/leader"), "value": encode(name), "lease": lease}
    )


def delete_key() -> None:
    ask("kv/deleterange", {"key": encode(f"/service/{scope}/leader")})


def grant() -> str:
    return str(ask("lease/grant", {"TTL": 60})["ID"])


def revoke(lease: str) -> None:
    ask("lease/revoke", {"ID": lease})


@contextmanager
def stopped(count: int) -> Iterator[None]:
    """The last members stand still."""
    pids = list(members.values())[-count:]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


# -- Patroni


def patroni(name: str = ME) -> Any:
    """Its connection to etcd, as its main loop has it."""
    config: dict[str, Any] = {"scope": scope, "namespace": "/service/", "name": name}
    config |= {"ttl": 20, "loop_wait": 2, "retry_timeout": 3, "protocol": "http"}
    config["hosts"] = [url.removeprefix("http://") for url in members]
    mpp = import_module("patroni.postgresql.mpp").get_mpp({})
    return etcd3.Etcd3(config, mpp)


def a_leader() -> tuple[Any, Any]:
    """A leader and its view of the key."""
    dcs = patroni()
    assert dcs.acquire_leader_lock()
    view = look(dcs)
    assert update(dcs, view)
    return dcs, view


def look(dcs: Any) -> Any:
    """Patroni's view, through its cache, once it has caught up with the key."""
    end = time.monotonic() + WAIT_S
    while True:
        leader = dcs.get_cluster().leader
        if leader is not None and (leader.name, leader.session) == the_key():
            return leader
        assert time.monotonic() < end, "the cache does not catch up"
        time.sleep(0.05)


def lose(dcs: Any) -> None:
    """The lease ends, and a new cycle begins."""
    revoke(dcs._lease)
    dcs.watch(None, 0)


def update(dcs: Any, view: Any) -> bool:
    """What `Ha.update_lock` calls."""
    return bool(dcs._update_leader(view))


# -- scenarios


def a_key_of_our_own_is_kept_alive_without_a_write() -> None:
    dcs, view = a_leader()
    before = ask("kv/range", {"key": encode(f"/service/{scope}/leader")})["header"]["revision"]
    time.sleep(3.2)
    left = int(ask("lease/timetolive", {"ID": dcs._lease})["TTL"])
    assert update(dcs, view)
    assert int(ask("lease/timetolive", {"ID": dcs._lease})["TTL"]) > left
    after = ask("kv/range", {"key": encode(f"/service/{scope}/leader")})["header"]["revision"]
    assert before == after


def a_revoked_lease_is_a_lost_lock() -> None:
    dcs, view = a_leader()
    revoke(dcs._lease)
    assert not update(dcs, view)
    assert not update(dcs, view)
    assert the_key() is None


def a_thawed_leader_does_not_inherit_from_its_successor() -> None:
    dcs, view = a_leader()
    revoke(dcs._lease)
    successor = patroni(OTHER)
    assert successor.acquire_leader_lock()
    revoke(successor._lease)
    assert not update(dcs, view)
    assert the_key() is None


def a_deleted_key_under_a_living_lease_is_a_lost_lock() -> None:
    dcs, view = a_leader()
    delete_key()
    assert not update(dcs, view)
    assert the_key() is None


def a_key_of_another_is_left_alone() -> None:
    dcs, view = a_leader()
    lease = grant()
    put_key(OTHER, lease)
    assert not update(dcs, view)
    assert the_key() == (OTHER, lease)


def a_foreign_lease_is_a_lost_lock() -> None:
    dcs, view = a_leader()
    lease = grant()
    put_key(ME, lease)
    assert not update(dcs, view)
    assert not update(dcs, look(dcs))
    assert the_key() == (ME, lease)


def a_lost_lock_is_taken_again_only_by_acquiring_it() -> None:
    dcs, view = a_leader()
    revoke(dcs._lease)
    assert not update(dcs, view)
    assert dcs.acquire_leader_lock()
    assert update(dcs, look(dcs))


def a_changed_ttl_moves_the_key() -> None:
    dcs, view = a_leader()
    before = dcs._lease
    dcs.set_ttl(25)
    assert update(dcs, view)
    assert the_key() == (ME, dcs._lease)
    assert dcs._lease != before
    assert update(dcs, view)  # the view from before the move
    assert update(dcs, look(dcs))


def a_restarted_patroni_takes_over_and_its_predecessor_loses() -> None:
    first, view = a_leader()
    second = patroni()
    assert update(second, look(second))
    assert the_key() == (ME, second._lease)
    assert not update(first, view)
    assert not update(first, look(first))
    assert update(second, look(second))


def a_first_key_taken_at_birth_is_kept() -> None:
    dcs = patroni()
    assert dcs.take_leader()
    assert update(dcs, look(dcs))


def a_primary_takes_an_absent_key_only_if_nobody_held_it_since() -> None:
    dcs, _ = a_leader()
    leadership.Standing.of(dcs).primary = True
    lose(dcs)
    assert dcs.acquire_leader_lock()
    assert update(dcs, look(dcs))
    lose(dcs)
    successor = patroni(OTHER)
    assert successor.acquire_leader_lock()
    revoke(successor._lease)
    assert not dcs.acquire_leader_lock()
    assert the_key() is None
    leadership.Standing.of(dcs).primary = False
    assert dcs.acquire_leader_lock()
    assert the_key() == (ME, dcs._lease)


def a_candidate_defers_to_a_newer_timeline() -> None:
    assert not healthiest(timeline=2, wal_position=90)
    assert not healthiest(timeline=2, wal_position=110)
    assert not healthiest(timeline=1, wal_position=110)
    assert healthiest(timeline=1, wal_position=90)


def a_leaders_cycles_are_told_to_the_keeper() -> None:
    dcs, _ = a_leader()
    keeper, ha = a_told_ha(dcs)
    keepalive = etcd3.Etcd3Client.lease_keepalive
    asked: list[float] = []

    def noted(client: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(fence.now())
        try:
            return keepalive(client, *args, **kwargs)
        finally:
            time.sleep(0.5)

    etcd3.Etcd3Client.lease_keepalive = noted
    before = fence.now()
    assert ha.update_lock()
    first = keeper._lease
    assert before + dcs.ttl <= first.ends <= asked[0] + dcs.ttl < fence.now() + dcs.ttl - 0.4
    assert keeper._slow_s == 2 + 3 * 3
    time.sleep(0.1)
    assert ha.update_lock()
    assert keeper._lease.ends > first.ends
    assert keeper._renewals == 2
    lose(dcs)
    assert not ha.update_lock()
    assert keeper._renewals == 0
    assert keeper._lease.ends > first.ends


def a_pause_is_told_to_the_keeper() -> None:
    dcs, _ = a_leader()
    keeper, ha = a_told_ha(dcs)
    assert ha.update_lock()
    assert not keeper.paused()
    assert keeper._lease is not None
    import_module("patroni.global_config").update(None, {"pause": True})
    assert keeper.paused()
    keeper.tick()
    assert keeper._lease is None
    assert ha.update_lock()
    assert keeper._lease is None


def a_view_without_our_lock_is_told_to_the_keeper() -> None:
    dcs, _ = a_leader()
    keeper, ha = a_told_ha(dcs)
    assert ha.update_lock()
    delete_key()
    put_key(OTHER, grant())
    look(dcs)
    ha.load_cluster_from_dcs()
    assert keeper._renewals == 0


def a_leader_that_stops_postgres_is_told_to_the_keeper() -> None:
    dcs, _ = a_leader()
    keeper, ha = a_told_ha(dcs)
    seen: list[int] = []

    def stop(*_: Any, **__: Any) -> None:
        seen.append(keeper._stopping)
        raise InterruptedError

    ha.state_handler.stop = stop
    ha._rewind = SimpleNamespace(trigger_check_diverged_lsn=lambda: None)
    ha.primary_stop_timeout = lambda: None
    for mode in ("offline", "graceful", "immediate", "immediate-nolock"):
        try:
            ha.demote(mode)
        except InterruptedError:
            continue
        raise AssertionError(f"{mode} stopped nothing")
    assert seen == [1, 1, 1, 1]
    assert keeper._stopping == 0


def a_told_ha(dcs: Any) -> tuple[Any, Any]:
    """A keeper, and the `Ha` of this connection to etcd that tells it; the class is changed for good."""
    ha_module = import_module("patroni.ha")
    keeper = alive.Keeper(lambda _: None, None)
    alive.install(ha_module, keeper)
    import_module("patroni.global_config").update(None, {"synchronous_mode": "quorum"})
    ha = object.__new__(ha_module.Ha)
    ha.dcs, ha.cluster = dcs, dcs.get_cluster()
    ha.old_cluster = ha.cluster
    ha._leader_expiry_lock = threading.RLock()
    ha.watchdog = SimpleNamespace(keepalive=lambda: None, is_running=False)
    ha.state_handler = SimpleNamespace(name=ME, data_dir="/")
    return keeper, ha


def stock_compares_positions_without_timelines() -> None:
    assert healthiest(timeline=2, wal_position=90)


def healthiest(*, timeline: int, wal_position: int) -> bool:
    """Whether `Ha` of a copy at timeline 1, position 100, would lead, with this answer of the other voter."""
    ha_module, dcs_module = import_module("patroni.ha"), import_module("patroni.dcs")
    member = dcs_module.Member.from_node(
        "1", OTHER, "1", '{"api_url":"http://127.0.0.1:1/patroni"}'
    )
    sync = dcs_module.SyncState.from_node(
        "1", json.dumps({"leader": ME, "sync_standby": OTHER, "quorum": 1})
    )
    config = dcs_module.ClusterConfig.from_node("1", json.dumps({"synchronous_mode": "quorum"}))
    cluster = dcs_module.Cluster(
        "1", config, None, dcs_module.Status.empty(), [member], None, sync, None, None
    )
    import_module("patroni.global_config").update(cluster)
    ha = object.__new__(ha_module.Ha)
    ha.cluster = cluster
    ha.state_handler = SimpleNamespace(
        name=ME,
        supports_multiple_sync=True,
        last_operation=lambda: 100,
        replica_cached_timeline=lambda _: 1,
    )
    ha.patroni = SimpleNamespace(failover_priority=1)
    answer = {"role": "replica", "xlog": {"received_location": wal_position}, "timeline": timeline}
    status = ha_module._MemberStatus.from_api_response(member, answer)
    ha.fetch_node_status = lambda _: status
    return bool(ha._is_healthiest_node([member]))


def an_etcd_that_does_not_answer_raises_as_ever() -> None:
    dcs, view = a_leader()
    with stopped(3):
        must_raise(dcs, view)
    assert update(dcs, view)


def a_member_without_a_majority_is_no_proof() -> None:
    dcs, view = a_leader()
    with stopped(2):
        must_raise(dcs, view)
    deadline = time.monotonic() + WAIT_S
    while not update(dcs, view):
        assert time.monotonic() < deadline


def a_question_without_ranges_would_need_no_majority() -> None:
    a_leader()
    compare = {"key": encode(f"/service/{scope}/leader"), "target": "VALUE", "value": encode(ME)}
    looking = {"request_range": {"key": compare["key"]}}
    with stopped(2):
        time.sleep(3)  # the one that is left has noticed
        assert ask("kv/txn", {"compare": [compare]})["succeeded"]
        try:
            ask("kv/txn", {"compare": [compare], "success": [looking], "failure": [looking]})
        except (urllib.error.URLError, TimeoutError):
            return
        raise AssertionError("answered without a majority")


def must_raise(dcs: Any, view: Any) -> None:
    began = time.monotonic()
    try:
        update(dcs, view)
    except etcd3.Etcd3Error:
        took_s = time.monotonic() - began
        assert took_s < 12, f"{took_s:.1f} s"
        print(f"Etcd3Error after {took_s:.1f} s")
        return
    raise AssertionError("an etcd that does not answer was taken for an answer")


def stock_makes_the_key_anew() -> None:
    dcs, view = a_leader()
    revoke(dcs._lease)
    successor = patroni(OTHER)
    assert successor.acquire_leader_lock()
    revoke(successor._lease)
    assert update(dcs, view)
    assert the_key() == (ME, dcs._lease)


def stock_does_not_look_at_the_key() -> None:
    dcs, view = a_leader()
    lease = grant()
    put_key(OTHER, lease)
    assert update(dcs, view)
    assert the_key() == (OTHER, lease)


def stock_raises_when_etcd_does_not_answer() -> None:
    dcs, view = a_leader()
    with stopped(3):
        must_raise(dcs, view)


HELPERS = {"a_leader", "a_told_ha"}
SCENARIOS: dict[str, Callable[[], None]] = {
    name: function
    for name, function in list(globals().items())
    if name.startswith(("a_", "an_", "stock_")) and name != "a_leader"
}


def main(name: str, *words: str) -> None:
    global etcd3, scope  # noqa: PLW0603 - a program of one scenario
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    scope = name
    members.update((url, int(pid)) for url, _, pid in (word.rpartition("=") for word in words))
    launch.guard(launch.OFF if name.startswith("stock_") else launch.ON)
    etcd3 = import_module("patroni.dcs.etcd3")
    SCENARIOS[name]()
    # Patroni's threads and connections are not worth an orderly end.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
