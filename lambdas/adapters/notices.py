"""What the healer tells others: events on the hub bus, metrics in the hub region."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

NAMESPACE = "pgmend"


class Bus:
    """The hub bus."""

    def __init__(self, client: Any, *, bus: str) -> None:  # noqa: ANN401
        self._client, self._bus = client, bus

    def say(self, detail_type: str, detail: Mapping[str, object]) -> None:
        """Put one event; raises when the bus refuses it."""
        answer = self._client.put_events(
            Entries=[
                {
                    "EventBusName": self._bus,
                    "Source": "pgmend.healer",
                    "DetailType": detail_type,
                    "Detail": json.dumps({"version": 1, **detail}),
                }
            ]
        )
        if answer.get("FailedEntryCount"):
            raise RuntimeError(f"the hub bus refused an event: {answer['Entries']}")


class Metrics:
    """CloudWatch in the hub region."""

    def __init__(self, client: Any, *, cluster: str) -> None:  # noqa: ANN401
        self._client, self._cluster = client, cluster

    def put(self, values: Mapping[tuple[str, str | None], float]) -> None:
        """(metric, slot or None for the cluster) → value; at most a thousand."""
        data = []
        for (name, slot), value in values.items():
            dimensions = [{"Name": "Cluster", "Value": self._cluster}]
            if slot is not None:
                dimensions.append({"Name": "Slot", "Value": slot})
            data.append({"MetricName": name, "Dimensions": dimensions, "Value": value})
        if data:
            self._client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
