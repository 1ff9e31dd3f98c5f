"""The local AWS in this process, with machines on paper.

One for all tests of this folder, so every test uses names of its own (`name`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lab.aws.build as the_build
import lab.aws.bus
import lab.aws.functions
import lab.aws.ssm
from lab.aws.server import Listeners
from lab.host import cgroups
from tests.adapters.local_aws.agents import Agent, load
from tests.adapters.local_aws.cloud import Names, Place, a_place
from tests.adapters.local_aws.functions import Function
from tests.adapters.local_aws.hosts import PaperMachines
from tests.adapters.local_aws.moto_state import given_back
from tests.adapters.local_aws.setting import CLOCK, LEGS, REGION, Local, free_port


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
        patch.setattr(lab.aws.ssm, "POLL_S", 0.15)
        port, regional_port = free_port(), free_port()
        evidence = state / "evidence"
        aws = the_build.build(clock=CLOCK, host=machines, state=state, port=port, evidence=evidence)
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
def name() -> Names:
    """Names that no other test uses."""
    number = next(_numbers)
    return lambda word: f"{word}-{number}"


@pytest.fixture(scope="package")
def place(local: Local) -> Place:
    """A subnet and a template that tests share; interfaces, instances and volumes are each test's own."""
    return a_place(local, lambda word: f"{word}-shared")


@pytest.fixture
def agent_of(local: Local, tmp_path: Path) -> Callable[[str], Agent]:
    def make(instance_id: str) -> Agent:
        home = tmp_path / instance_id
        home.mkdir(exist_ok=True)
        base = f"{local.endpoint(REGION)}/_lab/ssm/{instance_id}"
        return Agent(base=base, module=load(home))

    return make


@pytest.fixture
def managed(place: Place, agent_of: Callable[[str], Agent]) -> tuple[str, Agent]:
    """A running instance whose agent has registered."""
    instance_id = place.running()
    agent = agent_of(instance_id)
    assert agent.asks() is None
    return instance_id, agent


@pytest.fixture
def ssm(local: Local) -> Any:
    return local.client("ssm")


@pytest.fixture
def function(local: Local, name: Names) -> Function:
    return Function(local, name("function"))


@pytest.fixture(scope="package")
def warm(local: Local) -> Function:
    """One that tests share which do it no harm."""
    return Function(local, "shared", MemorySize=256, Environment={"Variables": {"STAGE": "test"}})
