"""boto3 clients, one a service and region, kept warm between runs. Nothing else is kept."""

from __future__ import annotations

import threading
from typing import Any

import boto3
from botocore.config import Config

from lambdas.settings import Settings

# Short: a silent region must not use up the run. One retry for what is lost on the way.
CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 2},
    tcp_keepalive=True,
)


class Clients:
    """Makes clients on first use; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def get(self, service: str, region: str) -> Any:  # noqa: ANN401 - boto3 makes clients at run time
        """The client of a service in a region."""
        with self._lock:
            key = (service, region)
            if key not in self._made:
                self._made[key] = boto3.client(
                    service,  # type: ignore[call-overload]
                    region_name=region,
                    endpoint_url=self._settings.endpoints.get(region),
                    config=CONFIG,
                )
            return self._made[key]
