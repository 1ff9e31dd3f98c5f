"""What the functions are told through their environment, read once and checked at start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from lambdas.errors import FatalError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One function's settings. `endpoints` maps region to URL and is empty on AWS."""

    cluster: str
    hub_region: str
    table: str
    spec_bucket: str
    spec_key: str
    bus: str
    topic_arn: str
    endpoints: Mapping[str, str]

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Raises FatalError with the name of what is missing."""
        try:
            return cls(
                cluster=env["PGMEND_CLUSTER"],
                hub_region=env["PGMEND_HUB_REGION"],
                table=env["PGMEND_TABLE"],
                spec_bucket=env["PGMEND_SPEC_BUCKET"],
                spec_key=env["PGMEND_SPEC_KEY"],
                bus=env["PGMEND_BUS"],
                topic_arn=env["PGMEND_TOPIC_ARN"],
                endpoints=json.loads(env.get("PGMEND_AWS_ENDPOINTS") or "{}"),
            )
        except KeyError as error:
            raise FatalError(
                f"environment variable {error} is missing; apply tofu/ again"
            ) from error
        except ValueError as error:
            raise FatalError(f"PGMEND_AWS_ENDPOINTS is not JSON: {error}") from error
