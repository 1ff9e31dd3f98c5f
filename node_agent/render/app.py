"""/etc/pgmend/app.json, the service's configuration. It holds no secret: everybody on the host may read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from node_agent.render.haproxy import READS_PORT, WRITES_PORT
from node_agent.spec import Spec

VERSION = 1


def configuration(spec: Spec, slot: Mapping[str, Any], endpoints: Mapping[str, str]) -> str:
    """Proxies of the slot's own region first. Spare ones stay out: a closed address costs a connect time-out."""
    active = [proxy for proxy in spec.of_role("haproxy") if proxy["active"]]
    proxies = sorted(active, key=lambda proxy: bool(proxy["region"] != slot["region"]))
    content = {
        "version": VERSION,
        "cluster": spec.raw["cluster"],
        "region": slot["region"],
        "secret": spec.raw["secret"],
        "writers": [f"{proxy['address']}:{WRITES_PORT}" for proxy in proxies],
        "readers": [f"{proxy['address']}:{READS_PORT}" for proxy in proxies],
        "aws_endpoints": dict(endpoints),
    }
    return json.dumps(content, indent=2) + "\n"
