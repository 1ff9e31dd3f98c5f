"""boto3 clients with short time-outs, one each, made when first used."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from node_agent.node import Node

ERRORS: tuple[type[Exception], ...] = (BotoCoreError, ClientError)
CONFIG = Config(
    connect_timeout=2,
    read_timeout=4,
    retries={"mode": "standard", "total_max_attempts": 1},
    max_pool_connections=2,
    tcp_keepalive=True,
)


def client(node: Node, service: str, region: str) -> Any:  # noqa: ANN401 - boto3 makes clients at run time
    """A client of a service in a region."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        region_name=region,
        endpoint_url=node.endpoints.get(region),
        config=CONFIG,
    )
