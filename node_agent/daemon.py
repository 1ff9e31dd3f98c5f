"""The agent's loop: look, report, announce, keep etcd's leader away from the database leader, let go of replication
slots that are lost. Nothing here decides about another node.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from node_agent import replication_slots, shell
from node_agent.changes import Change, changes
from node_agent.errors import AgentError
from node_agent.guard import alive
from node_agent.node import Node, whoami
from node_agent.phase import phase
from node_agent.probes import patroni
from node_agent.probes.etcd import Etcd
from node_agent.probes.http import Http
from node_agent.probes.peers import Responder
from node_agent.refusals import Refusals
from node_agent.report import Reporter
from node_agent.sender import Sender

IDLE_INTERVAL_S = 1.0
LOST_LOOKS, LOST_LOOK_S = 5, 0.3
NOTIFY_S = 2.0
log = logging.getLogger("pgmend.agent")


def notify(message: str) -> None:
    """Tell systemd; nothing when it did not ask."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        alive.to_systemd(address, patience_s=NOTIFY_S)(message)
    except OSError as error:
        # systemd ends an agent that it hears nothing of for long.
        log.warning("systemd was not told %s: %s", message, error)


def etcd_target(report: dict[str, Any], voters: list[str]) -> str | None:
    """The decimal id of the member that should lead etcd instead of this node, or None.

    The etcd leader never stays on the database leader's host: a frozen and thawed host that held both can take the
    database back with a stale view. The witness first, then any other voter.
    """
    etcd, patroni = report.get("etcd"), report.get("patroni")
    if (
        not etcd
        or not patroni
        or patroni.get("role") != "leader"
        or etcd.get("is_leader") is not True
    ):
        return None
    others = [
        m
        for m in etcd.get("members") or []
        if m["id"] != etcd["member_id"] and not m["learner"] and m["name"] in voters
    ]
    others.sort(key=lambda m: (not str(m["name"]).startswith("witness"), m["name"]))
    reachable = [
        m for m in others if (report["peers"].get(m["name"]) or {}).get("state") == "alive"
    ]
    return str(int(reachable[0]["id"], 16)) if reachable else None


class Daemon:
    """One pass after another at a steady pace."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._reporter = Reporter(node)
        self._sender = Sender(node)
        self._last: dict[str, Any] = {}
        self._refusals = Refusals(node.slot)
        self._phase = phase()
        self._metrics_at = 0.0
        self._etcd = Etcd(Http(2.0))
        self._state_at = partial(patroni.state_at, Http(1.0))

    def run(self) -> None:
        """For ever. systemd's watchdog ends an agent that hangs."""
        Responder("0.0.0.0", self._node.slot, self._node.instance_id).start()
        self._sender.start()
        notify("READY=1")
        due = time.monotonic()
        while True:
            self.look()
            notify("WATCHDOG=1")
            spec = self._reporter.spec
            interval_s = (
                IDLE_INTERVAL_S if spec is None else float(spec.timings["report_interval_s"])
            )
            due = max(due + interval_s, time.monotonic() - interval_s)
            time.sleep(max(0.0, due - time.monotonic()))

    def look(self) -> None:
        """One pass."""
        if phase() != self._phase:
            self._phase = phase()
            self._reporter.reload()
        report = self._reporter.make()
        self._sender.report(report)
        spec = self._reporter.spec
        if spec is None:
            return
        self._sender.bus = spec.bus
        self._sender.announce(report, self._news(report, spec.timings))
        self._last = report
        if time.monotonic() - self._metrics_at >= float(spec.timings["metric_interval_s"]):
            self._metrics_at = time.monotonic()
            self._sender.metrics(report)
        self._move_etcds_leader(report, [voter["name"] for voter in spec.voters])
        self._drop_lost(report, {s["name"]: str(s["address"]) for s in spec.of_role("db")})

    def _move_etcds_leader(self, report: dict[str, Any], voters: list[str]) -> None:
        target = etcd_target(report, voters)
        if target is not None:
            moved = self._etcd.move_leader(target)
            log.info(
                "etcd's leader moves off the database leader's host: %s",
                "done" if moved else "refused",
            )

    def _drop_lost(self, report: dict[str, Any], addresses: Mapping[str, str]) -> None:
        """Looks a few times while there is one to let go of: a small copy is cloned within a second or two."""
        for _ in range(LOST_LOOKS if replication_slots.lost(report) else 0):
            names = replication_slots.outlived(report, addresses, self._state_at)
            if names:
                self._drop(names)
                return
            time.sleep(LOST_LOOK_S)

    def _drop(self, names: list[str]) -> None:
        for name in names:
            try:
                replication_slots.drop(name, shell.run, only_lost=True)
            except AgentError as error:
                log.warning("the lost replication slot %s stays: %s", name, error)
                return  # to the next pass: this one has waited long enough
            log.info("the lost replication slot %s is dropped; its copy is being cloned", name)

    def _news(self, report: dict[str, Any], timings: Mapping[str, float]) -> list[Change]:
        """What of this pass is worth an event."""
        silent_s = float(timings["peer_silent_after_s"])
        # A pass more than the healer's own patience: how long an event takes on its way is not always the same.
        patience_s = float(timings["agent_silent_after_s"]) + float(timings["report_interval_s"])
        news = self._refusals.changes(report["peers"], patience_s=patience_s)
        if self._last:
            news += changes(self._last, report, peer_silent_after_s=silent_s)
        return news


def end_process(ended: threading.ExceptHookArgs) -> None:
    """A thread that ends by surprise takes the agent with it: systemd restarts a dead agent, and the watchdog would go
    on feeding one that lost its way to AWS.
    """
    name = ended.thread.name if ended.thread else "unknown"
    log.critical("the thread %s ended, so the agent ends", name, exc_info=ended.exc_value)
    os._exit(1)


def main() -> None:
    """Entry point of the unit."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    threading.excepthook = end_process
    node = whoami()
    log.info("this is %s, %s", node.slot, node.instance_id)
    Daemon(node).run()
