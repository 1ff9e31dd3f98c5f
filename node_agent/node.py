"""Who this node is: the file user data wrote, and instance metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.errors import AgentError
from node_agent.paths import NODE_FILE

METADATA = "http://169.254.169.254/latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """This node's identity. `endpoints` maps region to URL and is empty on AWS."""

    cluster: str
    slot: str
    instance_id: str
    region: str
    hub_region: str
    bucket: str
    table: str
    endpoints: Mapping[str, str]

    @property
    def role(self) -> str:
        """db, haproxy, app or witness, from the slot's name."""
        return self.slot.split("-", 1)[0]


def whoami(file: Path = NODE_FILE, metadata: str = METADATA) -> Node:
    """Read the file, ask instance metadata (version 2). Raises AgentError."""
    import requests  # noqa: PLC0415 - takes longer than all of `mount`, which does without

    try:
        raw: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise AgentError(f"{file} cannot be read: {error}; user data has not finished") from error
    with requests.Session() as session:
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
        try:
            token = session.put(f"{metadata}/api/token", headers=ttl, timeout=5)
            token.raise_for_status()
            session.headers["X-aws-ec2-metadata-token"] = token.text
            found = [
                session.get(f"{metadata}/meta-data/{path}", timeout=5)
                for path in ("instance-id", "tags/instance/pgmend:slot")
            ]
            for answer in found:
                answer.raise_for_status()
        except requests.RequestException as error:
            raise AgentError(f"instance metadata does not answer: {error}") from error
    return Node(
        cluster=raw["cluster"],
        slot=found[1].text,
        instance_id=found[0].text,
        region=raw["region"],
        hub_region=raw["hub_region"],
        bucket=raw["bucket"],
        table=raw["table"],
        endpoints=raw["aws_endpoints"],
    )
