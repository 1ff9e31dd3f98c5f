"""Where the tests of the local AWS take place: regions, a clock on which nothing takes long, clients."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from lab.aws.build import LocalAws
from lab.aws.server import Listeners
from lab.ports import OPERATOR_KEY, Clock, Region
from tests.adapters.local_aws.hosts import PaperMachines

REGION, OTHER_REGION, OBSERVER = "eu-west-1", "eu-west-3", "eu-central-1"
CLOCK = Clock(
    name="test",
    status_check_interval_s=0.05,
    status_checks_to_impair=2,
    ssm_ping_lost_after_s=1.5,
    alarm_time_scale=0.005,
    told_time_scale=0.01,
    alarm_evaluation_interval_s=0.05,
    pending_s=0.05,
    stopping_s=0.05,
    terminating_s=0.05,
    hung_terminating_s=0.6,
    attach_s=0.1,
    hard_reboot_s=0.2,
    modify_s=0.1,
    optimize_s=0.3,
    modify_again_s=0.8,
)
LEGS = tuple(
    Region(name=name, short=short, cidr=cidr, host_address=address)
    for name, short, cidr, address in (
        (REGION, "euw1", "10.10.0.0/16", "127.0.0.11"),
        (OTHER_REGION, "euw3", "10.20.0.0/16", "127.0.0.12"),
        (OBSERVER, "euc1", "10.30.0.0/16", "127.0.0.13"),
    )
)
CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60, proxies={})


def free_port() -> int:
    """One that is free on every address of this computer."""
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        return int(sock.getsockname()[1])


@dataclass(kw_only=True)
class Local:
    """The local AWS as the operator sees it, and the levers of a test."""

    aws: LocalAws
    machines: PaperMachines
    regional: Listeners
    evidence: Path
    port: int
    regional_port: int
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def client(self, service: str, region: str = REGION) -> Any:
        """A boto3 client of the operator."""
        key = (service, region)
        if key not in self._clients:
            self._clients[key] = self.signed(service, region, f"http://127.0.0.1:{self.port}")
        return self._clients[key]

    @staticmethod
    def signed(service: str, region: str, endpoint: str) -> Any:
        """A boto3 client that signs for a region and speaks to an endpoint."""
        session: Any = boto3.Session(
            aws_access_key_id=OPERATOR_KEY,
            aws_secret_access_key=OPERATOR_KEY,
            region_name=region,
        )
        return session.client(service, endpoint_url=endpoint, config=CONFIG)

    def endpoint(self, region: str) -> str:
        """A region's own listener."""
        leg = next(leg for leg in LEGS if leg.name == region)
        return leg.endpoint(self.regional_port)
