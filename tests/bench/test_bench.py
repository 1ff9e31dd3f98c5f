"""What one look and one pass cost beside the reading and writing of JSON that both must do anyway.

Ratios within one run: machines are shared, so a time by itself says little. Run by `make bench`; nothing fails here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lambdas.core.diagnose import diagnose
from lambdas.core.parse import report_from_json
from lambdas.core.plan import plan
from node_agent.changes import changes
from node_agent.probes.patroni import parse
from tests.unit.lambdas.builders import a_cluster

EXAMPLES = Path(__file__).parents[1] / "contract" / "examples"
ROUNDS = 7


def best_us(work: Callable[[], object], *, times: int) -> float:
    """Microseconds a call, the best of several rounds: the least disturbed one."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            work()
        found.append((time.perf_counter() - began) / times * 1e6)
    return min(found)


def show(what: str, us: float, beside: str, other_us: float) -> None:
    print(f"{what}: {us:.0f} µs, {us / other_us:.1f} times {beside} ({other_us:.0f} µs)")


@pytest.mark.parametrize("dead", [False, True], ids=["quiet", "a replica is dead"])
def test_deciding_beside_parsing(dead: bool) -> None:
    cluster = a_cluster().dead("db-euw3-a") if dead else a_cluster()
    observation = cluster.observation()
    text = (EXAMPLES / "report-leader.json").read_text()
    active = sum(slot.active for slot in observation.spec.slots)

    def parsing() -> None:
        for _ in range(active):
            report_from_json(text, cluster="pgmend", slot="db-euw1-a")

    deciding_us = best_us(lambda: plan(observation, diagnose(observation)), times=20)
    show(
        f"diagnose and plan, {len(observation.spec.slots)} slots",
        deciding_us,
        f"parsing {active} reports",
        best_us(parsing, times=20),
    )


def test_an_agents_comparison_beside_writing_its_report() -> None:
    report = json.loads((EXAMPLES / "report-leader.json").read_text())
    other = {**report, "patroni": {**report["patroni"], "role": "replica"}}
    comparing_us = best_us(lambda: changes(report, other, peer_silent_after_s=10.0), times=500)
    show(
        "comparing two reports",
        comparing_us,
        "writing one as JSON",
        best_us(lambda: json.dumps(report), times=500),
    )


def test_reading_patroni_beside_reading_its_json() -> None:
    members = [
        {"name": f"db-euw1-{letter}", "role": "replica", "state": "streaming", "lag": 0}
        for letter in "abc"
    ]
    own, cluster = {"role": "primary", "state": "running", "timeline": 3}, {"members": members}
    text = json.dumps([own, cluster])
    show(
        "reading Patroni's answers",
        best_us(lambda: parse(own, cluster), times=2000),
        "reading their JSON",
        best_us(lambda: json.loads(text), times=2000),
    )
