"""The local AWS in this process, with machines on paper and a clock on which nothing takes long.

One for all tests of this folder, so every test uses names of its own (`name`).
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

import lab.aws.build as the_build
import lab.aws.bus
import lab.aws.functions
import lab.aws.ssm
from lab.aws.build import LocalAws
from lab.aws.server import Listeners
from lab.host import cgroups
from lab.ports import OPERATOR_KEY, Clock, Region
from tests.adapters.local_aws.hosts import PaperMachines
from tests.adapters.local_aws.moto_state import given_back

REGION, OTHER_REGION, OBSERVER = "eu-west-1", "eu-west-3", "eu-central-1"
CLOCK = Clock(
    name="test",
    status_check_interval_s=0.05,
    status_checks_to_impair=2,
    ssm_ping_lost_after_s=0.8,
    alarm_time_scale=0.005,
    alarm_evaluation_interval_s=0.05,
    pending_s=0.05,
    stopping_s=0.05,
    terminating_s=0.05,
    hung_terminating_s=0.6,
    attach_s=0.1,
)
LEGS = tuple(
    Region(name=name, short=short, cidr=cidr, host_address=address)
    for name, short, cidr, address in (
        (REGION, "euw1", "10.10.0.0/16", "127.0.0.11"),
        (OTHER_REGION, "euw3", "10.20.0.0/16", "127.0.0.12"),
        (OBSERVER, "euc1", "10.30.0.0/16", "127.0.0.13"),
    )
)
CONFIG = Config(
    retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60, proxies={}
)


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
        session = boto3.Session(
            aws_access_key_id=OPERATOR_KEY,
            aws_secret_access_key=OPERATOR_KEY,
            region_name=region,
        )
        return session.client(service, endpoint_url=endpoint, config=CONFIG)

    def endpoint(self, region: str) -> str:
        """A region's own listener."""
        leg = next(leg for leg in LEGS if leg.name == region)
        return leg.endpoint(self.regional_port)


@pytest.fixture(scope="package")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """Built once a test process; moto is given back as it was found."""
    state, machines = tmp_path_factory.mktemp("local-aws"), PaperMachines()
    with pytest.MonkeyPatch.context() as patch, given_back():
        for variable in list(os.environ):
            if variable.startswith("AWS_"):
                patch.delenv(variable)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setattr(cgroups, "NAME", f"pgmend-test-{os.getpid()}")
        patch.setattr(lab.aws.bus, "RETRY_S", 0.05)
        patch.setattr(lab.aws.functions, "RETRY_DELAYS_S", (0.05, 0.05))
        patch.setattr(lab.aws.ssm, "POLL_S", 0.5)
        port, regional_port = free_port(), free_port()
        evidence = state / "evidence"
        aws = the_build.build(
            clock=CLOCK, host=machines, state=state, port=port, evidence=evidence
        )
        aws.listeners.start(regional=False)
        regional = Listeners(aws.listeners._front, LEGS, regional_port)
        regional.start(regional=True)
        try:
            yield Local(
                aws=aws,
                machines=machines,
                regional=regional,
                evidence=evidence,
                port=port,
                regional_port=regional_port,
            )
        finally:
            regional.stop()
            aws.stop()
            cgroups.remove()


_numbers = itertools.count(1)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Names that no other test uses."""
    del request
    number = next(_numbers)
    return lambda word: f"{word}-{number}"
