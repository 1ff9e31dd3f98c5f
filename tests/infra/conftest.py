"""One plan a size for all tests of this folder, also when several workers run them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.deploy import Deployment, find_command, find_mirror
from lab.errors import LabError
from tests.infra.local_cloud import local_cloud
from tests.infra.planned import Plan

# Each size with the other clock's timings: what ships, and what the lab uses.
CLOCKS = {"minimal": "fast", "standard": "aws"}


HERE = Path(__file__).parent
PLANS_S = (
    400  # a worker may have to wait for the one that plans, on a computer that is busy with the lab
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Plans take longer than a test of this project usually may."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(PLANS_S))


@pytest.fixture(scope="session")
def command() -> str:
    """OpenTofu or Terraform; tests are skipped where there is neither."""
    try:
        return find_command()
    except LabError as error:
        pytest.skip(str(error))


def _planned(deployment: Deployment, size: str) -> Mapping[str, Any]:
    try:
        return deployment.plan(size=size, durability="region", clock=CLOCKS[size])
    except LabError as error:
        if find_mirror(os.environ) is None and " init' failed" in str(error):
            pytest.skip(f"the AWS provider is neither on this computer nor to be had: {error}")
        raise


@pytest.fixture(scope="session")
def plans(tmp_path_factory: pytest.TempPathFactory, command: str) -> Mapping[str, Plan]:
    """Fresh plans by size, made once by whichever worker comes first."""
    assert command
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    kept = shared / "plans.json"
    with (shared / "plans.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _write(kept, base / "cloud")
    found = json.loads(kept.read_text())
    return {size: Plan(size=size, raw=raw) for size, raw in found.items()}


def _write(kept: Path, state: Path) -> None:
    with local_cloud(state) as cloud:
        deployment = cloud.deployment()
        found = {size: _planned(deployment, size) for size in CLOCKS}
    scratch = kept.with_suffix(".new")
    scratch.write_text(json.dumps(found))
    scratch.rename(kept)


@pytest.fixture(params=list(CLOCKS))
def plan(request: pytest.FixtureRequest, plans: Mapping[str, Plan]) -> Plan:
    """The plan of each size."""
    return plans[request.param]
