"""The guard in the nodes' own Patroni, against the nodes' own etcd: three members on loopback."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from node_agent.guard.known import FUNCTIONS, KNOWN
from tests.adapters.node_agent.conftest import Cluster, Debian

PROGRAM = Path(__file__).with_name("on_real_patroni.py")
SCENARIOS = [
    node.name
    for node in ast.parse(PROGRAM.read_text("utf-8")).body
    if isinstance(node, ast.FunctionDef)
    and node.name.startswith(("a_", "an_", "stock_"))
    and node.name not in {"a_leader", "a_told_ha"}
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_on_real_patroni_and_etcd(debian: Debian, cluster: Cluster, scenario: str) -> None:
    cluster.wait()
    words = [f"{member.url}={member.process.pid}" for member in cluster.members]

    found = debian.python(str(PROGRAM), scenario, *words)

    assert found.returncode == 0, f"{found.stdout}\n{found.stderr}"


def test_the_nodes_patroni_is_the_one_the_guard_knows(debian: Debian) -> None:
    found = debian.python("-m", "node_agent.guard", "--digests")

    printed = json.loads(found.stdout)
    (version,) = printed
    assert printed[version] == KNOWN[version]
    assert set(printed[version]) == set(FUNCTIONS)


def test_the_guarded_patroni_starts(debian: Debian) -> None:
    found = debian.python("-m", "node_agent.guard", "--version")

    assert found.stdout.startswith("patroni 4.0.7")
    assert found.stderr.startswith("<6>pgmend guard: on, Patroni 4.0.7")
