"""Delivers reports, events and metrics from threads of its own, so that a slow AWS never stalls a probe."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from node_agent.aws import Access, Road
from node_agent.changes import Change, used
from node_agent.node import Node
from node_agent.paths import STATE
from node_agent.spool import Spool

BATCH = 10
RETRY_S = 1.0
log = logging.getLogger("pgmend.agent")


class Latest:
    """A mailbox of one: a newer thing replaces an older one that nobody took."""

    def __init__(self) -> None:
        self._thing: Any = None
        self._ready = threading.Condition()

    def put(self, thing: Any) -> None:  # noqa: ANN401 - whatever its one sender sends
        """Leave it."""
        with self._ready:
            self._thing = thing
            self._ready.notify()

    def take(self) -> Any:  # noqa: ANN401 - see put
        """Wait for it."""
        with self._ready:
            while self._thing is None:
                self._ready.wait()
            thing, self._thing = self._thing, None
            return thing


class Sender:
    """Three roads out: reports (newest only), metrics (newest only), events (all, in order)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._access = Access(node)
        self.spool = Spool(STATE / "spool")
        self._reports, self._metrics = Latest(), Latest()
        self._waiting = threading.Event()
        self._waiting.set()
        self.bus: str | None = None
        self._down: set[str] = set()

    def start(self) -> None:
        """Start the threads."""
        for road in (self._send_reports, self._send_metrics, self._send_events):
            threading.Thread(target=road, daemon=True, name=road.__name__).start()

    def report(self, body: dict[str, Any]) -> None:
        """Replace the report that waits."""
        self._reports.put(body)

    def metrics(self, body: dict[str, Any]) -> None:
        """Replace the metrics that wait."""
        self._metrics.put(body)

    def announce(self, body: dict[str, Any], found: list[Change]) -> None:
        """Spool events."""
        for number, change in enumerate(found):
            self._spool(body, change, number)
        if found:
            self._waiting.set()

    def _spool(self, body: dict[str, Any], change: Change, number: int) -> None:
        detail = {
            "version": 1,
            "event_id": f"{body['instance_id']}-{body['sequence']}-{number}",
            "cluster": body["cluster"],
            "slot": body["slot"],
            "instance_id": body["instance_id"],
            "sequence": body["sequence"],
            "subject": change.subject,
            "before": change.before,
            "after": change.after,
        }
        log.info("%s: %s %s -> %s", change.detail_type, change.subject, change.before, change.after)
        if not self.spool.put({"detail_type": change.detail_type, "detail": detail}):
            log.error("the event spool is full; %d events were not taken", self.spool.dropped)

    def _noted(self, what: str, error: Exception | None) -> None:
        """Say once that AWS went away and once that it is back."""
        if error is not None and what not in self._down:
            self._down.add(what)
            log.warning("%s cannot be delivered: %s", what, error)
        if error is None and what in self._down:
            self._down.discard(what)
            log.info("%s are delivered again", what)

    def _send_reports(self) -> None:
        table = Road(self._access, "dynamodb", self._node.hub_region)
        while True:
            body = self._reports.take()
            item = {
                "pk": {"S": "REPORT"},
                "sk": {"S": body["slot"]},
                "instance_id": {"S": body["instance_id"]},
                "sequence": {"N": str(body["sequence"])},
                "body": {"S": json.dumps(body)},
            }
            try:
                table.client.put_item(TableName=self._node.table, Item=item)
            except (BotoCoreError, ClientError) as error:
                table.failed(error)
                self._noted("reports", error)
            else:
                self._noted("reports", None)

    def _send_metrics(self) -> None:
        cloudwatch = Road(self._access, "cloudwatch", self._node.region)
        while True:
            body = self._metrics.take()
            dimensions = [
                {"Name": "Cluster", "Value": body["cluster"]},
                {"Name": "Slot", "Value": body["slot"]},
            ]
            data = [
                {"MetricName": name, "Dimensions": dimensions, "Value": value}
                for name, value in metrics_of(body).items()
            ]
            try:
                cloudwatch.client.put_metric_data(Namespace="pgmend", MetricData=data)
            except (BotoCoreError, ClientError) as error:
                cloudwatch.failed(error)
                self._noted("metrics", error)
            else:
                self._noted("metrics", None)

    def _send_events(self) -> None:
        events = Road(self._access, "events", self._node.region)
        while True:
            self._waiting.wait()
            self._waiting.clear()
            while batch := self.spool.head(BATCH):
                if self.bus is None or not self._put(events, batch):
                    threading.Event().wait(RETRY_S)
                    continue
                self.spool.delivered(len(batch))

    def _put(self, events: Road, batch: list[dict[str, Any]]) -> bool:
        """Whether the whole batch was taken; a part would be sent again, which wakes twice and harms nothing."""
        entries = [
            {
                "EventBusName": self.bus,
                "Source": "pgmend.agent",
                "DetailType": entry["detail_type"],
                "Detail": json.dumps(entry["detail"]),
            }
            for entry in batch
        ]
        try:
            answer = events.client.put_events(Entries=entries)
        except (BotoCoreError, ClientError) as error:
            events.failed(error)
            self._noted("events", error)
            return False
        self._noted("events", None)
        return not answer.get("FailedEntryCount")


def metrics_of(body: dict[str, Any]) -> dict[str, float]:
    """Metric → value from a report; what is unknown is not published."""
    values = {"Heartbeat": 1.0}
    patroni, etcd = body.get("patroni"), body.get("etcd")
    proxy, app, postgres = body.get("haproxy"), body.get("app"), body.get("postgres")
    if patroni is not None:
        values["LeaderVisible"] = float(patroni.get("leader") is not None)
    if etcd is not None and etcd.get("healthy") is not None:
        values["EtcdHealthy"] = float(etcd["healthy"] and not etcd.get("alarms"))
    if proxy is not None and proxy.get("write_backends_up") is not None:
        values["PrimaryBackends"] = float(len(proxy["write_backends_up"]))
    if app is not None and app.get("ready") is not None:
        values["AppReady"] = float(app["ready"])
    share = used(body.get("disk"))
    if share is not None:
        values["DiskUsedPercent"] = share * 100
    lags = [
        row["lag_bytes"]
        for row in (postgres or {}).get("replication") or []
        if row["lag_bytes"] is not None
    ]
    if lags:
        values["ReplicationLagBytes"] = float(max(lags))
    return values
