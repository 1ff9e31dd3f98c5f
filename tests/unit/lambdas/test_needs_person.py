"""A node that says itself that more of the same does not help is held for a person."""

from __future__ import annotations

import pytest

from lambdas.core.actions import Hold, RestartService
from tests.unit.lambdas.builders import a_cluster

REPLICA = "db-euw3-a"


@pytest.mark.parametrize("tries", [1, 5])
def test_a_patroni_that_its_guard_refuses_is_held_and_its_node_left_alone(tries: int) -> None:
    cluster = a_cluster().service(REPLICA, "patroni", "failed")
    long_ago_s = 10.0 if tries < 5 else 4000.0
    cluster.incident(
        REPLICA,
        opened_s_ago=5000,
        rungs={"restart-service:patroni": tries},
        last_exit_code=11,
        last_acted_at=cluster.now - long_ago_s,
    )
    step = cluster.planned(REPLICA)
    assert isinstance(step, Hold)
    assert step.rail == "needs-person"


def test_a_patroni_that_its_guard_refused_is_started_again_after_a_while() -> None:
    cluster = a_cluster().service(REPLICA, "patroni", "failed")
    cluster.incident(
        REPLICA,
        opened_s_ago=5000,
        rungs={"restart-service:patroni": 1},
        last_exit_code=11,
        last_acted_at=cluster.now - 301.0,
    )
    assert isinstance(cluster.planned(REPLICA), RestartService)
