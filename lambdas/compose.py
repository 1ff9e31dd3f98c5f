"""The composition root: settings in, adapters out. The only place that knows which adapter serves which port."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from lambdas.adapters.clients import Clients
from lambdas.adapters.ec2 import Ec2
from lambdas.adapters.notices import Bus, Metrics, Notices
from lambdas.adapters.ssm import Ssm
from lambdas.adapters.table import Table
from lambdas.core.model import Spec
from lambdas.core.parse import spec_from_json
from lambdas.errors import WrongClusterError
from lambdas.observe import World
from lambdas.settings import Settings


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Epoch seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def iso(at: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, with milliseconds, sortable as text."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Deployment:
    """One function's adapters, made once a container and reused while it is warm."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clients = Clients(settings)

    @classmethod
    def from_env(cls) -> Deployment:
        """From the process environment."""
        return cls(Settings.from_env(os.environ))

    def spec(self) -> Spec:
        """The cluster spec as it lies in the hub's bucket now."""
        s = self.settings
        client = self.clients.get("s3", s.hub_region)
        body = client.get_object(Bucket=s.spec_bucket, Key=s.spec_key)["Body"].read()
        spec = spec_from_json(body)
        if spec.cluster != s.cluster:
            raise WrongClusterError(f"the spec is {spec.cluster}'s, this function is {s.cluster}'s")
        return spec

    def table(self) -> Table:
        """The hub table."""
        return Table(self.clients.get("dynamodb", self.settings.hub_region), self.settings.table)

    def world(self) -> World:
        """Everything the healer reads and changes."""
        spec = self.spec()
        get = self.clients.get
        return World(
            spec=spec,
            ec2={r: Ec2(get("ec2", r), cluster=spec.cluster, region=r) for r in spec.regions},
            ssm={r: Ssm(get("ssm", r), cluster=spec.cluster, region=r) for r in spec.regions},
            table=self.table(),
            iso=iso,
        )

    def bus(self) -> Bus:
        """The hub bus."""
        return Bus(self.clients.get("events", self.settings.hub_region), bus=self.settings.bus)

    def metrics(self) -> Metrics:
        """CloudWatch in the hub region."""
        client = self.clients.get("cloudwatch", self.settings.hub_region)
        return Metrics(client, cluster=self.settings.cluster)

    def notices(self, log: Callable[[str, Mapping[str, object]], None]) -> Notices:
        """The topic people listen to, and the notices that were told."""
        get, s = self.clients.get, self.settings
        return Notices(
            get("sns", s.hub_region),
            get("dynamodb", s.hub_region),
            table=s.table,
            topic_arn=s.topic_arn,
            log=log,
        )
