"""What the healer tells others: events on the hub bus, metrics in the hub region."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.errors import BusRefusedError, MetricsRefusedError

NAMESPACE = "pgmend"


class Bus:
    """The hub bus."""

    def __init__(self, client: Any, *, bus: str) -> None:  # noqa: ANN401
        self._client, self._bus = client, bus

    def say(self, detail_type: str, detail: Mapping[str, object]) -> None:
        """Put one event. Raises BusRefusedError when the bus does not take it."""
        entry = {
            "EventBusName": self._bus,
            "Source": "pgmend.healer",
            "DetailType": detail_type,
            "Detail": json.dumps({"version": 1, **detail}),
        }
        try:
            answer = self._client.put_events(Entries=[entry])
        except (BotoCoreError, ClientError) as error:
            raise BusRefusedError(f"the hub bus did not take {detail_type!r}: {error}") from error
        if answer.get("FailedEntryCount"):
            raise BusRefusedError(f"the hub bus refused {detail_type!r}: {answer['Entries']}")


class Teller:
    """Says what the healer does. A bus that refuses never stops the healing: the journal has it all the same."""

    def __init__(self, bus: Bus, log: Callable[[str, Mapping[str, object]], None]) -> None:
        self._bus, self._log = bus, log

    def say(self, detail_type: str, detail: Mapping[str, object]) -> None:
        """Tell it, or note that nobody was told."""
        try:
            self._bus.say(detail_type, detail)
        except BusRefusedError as error:
            self._log("nobody was told", {"why": str(error), "detail": dict(detail)})


class Metrics:
    """CloudWatch in the hub region."""

    def __init__(self, client: Any, *, cluster: str) -> None:  # noqa: ANN401
        self._client, self._cluster = client, cluster

    def put(self, values: Mapping[tuple[str, str | None], float]) -> None:
        """(metric, slot or None for the cluster) → value; at most a thousand. Raises MetricsRefusedError."""
        data = []
        for (name, slot), value in values.items():
            dimensions = [{"Name": "Cluster", "Value": self._cluster}]
            if slot is not None:
                dimensions.append({"Name": "Slot", "Value": slot})
            data.append({"MetricName": name, "Dimensions": dimensions, "Value": value})
        if not data:
            return
        try:
            self._client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except (BotoCoreError, ClientError) as error:
            raise MetricsRefusedError(f"CloudWatch did not take the metrics: {error}") from error
