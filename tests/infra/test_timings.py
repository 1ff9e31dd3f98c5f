"""Time limits that must stand in an order: each is shorter than what waits for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from lab.ports import AWS
from tests.infra.planned import Plan

DOCUMENTS = sorted((Path(__file__).resolve().parents[2] / "ssm_documents").glob("*.yaml"))


@pytest.fixture
def shipped(plans: Mapping[str, Plan]) -> Plan:
    """The plan with the timings that ship."""
    return plans["standard"]


def test_a_run_of_the_healer_ends_by_itself_before_lambda_ends_it(plan: Plan) -> None:
    timings = plan.spec["timings"]
    function = plan.one("aws_lambda_function", "healer").values
    assert timings["run_budget_s"] + 30 <= function["timeout"]
    assert 3 * timings["look_interval_s"] < timings["lease_s"] < timings["run_budget_s"]


def test_silence_is_longer_than_what_a_healthy_node_is_silent_for(plan: Plan) -> None:
    t = plan.spec["timings"]
    assert t["probe_timeout_s"] < t["report_interval_s"] < t["peer_silent_after_s"]
    assert 2 * t["report_interval_s"] < t["agent_silent_after_s"] < t["boot_grace_s"]


def test_a_node_is_called_unreachable_long_after_it_is_called_silent(plan: Plan) -> None:
    t = plan.spec["timings"]
    assert t["agent_silent_after_s"] < t["unreachable_after_s"]
    assert t["peer_silent_after_s"] < t["unreachable_after_s"]


def test_a_host_is_drained_before_its_date_with_time_to_spare(plan: Plan) -> None:
    assert plan.spec["timings"]["drain_before_s"] >= 3600


def test_a_disk_may_grow_as_often_as_ec2_lets_it(plan: Plan) -> None:
    rests_a_day = 86400 / AWS.modify_again_s
    growths = plan.spec["budget"]["disk_growths_per_day"]
    assert growths == (rests_a_day if plan.size == "standard" else 8)  # the fast clock's


def test_a_wake_is_never_delivered_after_it_has_become_stale(plan: Plan) -> None:
    stale_s = plan.spec["timings"]["wake_stale_after_s"]
    for target in plan.resources("aws_cloudwatch_event_target"):
        if target.values["target_id"] == "healer":
            (policy,) = target.values["retry_policy"]
            assert policy["maximum_event_age_in_seconds"] <= stale_s, target.address
    kept = plan.one("aws_lambda_function_event_invoke_config", "healer").values
    assert kept["maximum_event_age_in_seconds"] <= stale_s


def test_a_tick_that_is_late_is_dropped_since_the_next_one_comes(plan: Plan) -> None:
    (policy,) = plan.one("aws_cloudwatch_event_target", "tick").values["retry_policy"]
    assert policy == {"maximum_event_age_in_seconds": 60, "maximum_retry_attempts": 0}


def test_one_wake_while_a_run_is_under_way_finds_a_free_place(plan: Plan) -> None:
    places = plan.one("aws_lambda_function", "healer").values["reserved_concurrent_executions"]
    assert places >= 2


def test_heartbeats_come_more_often_than_their_alarm_looks(shipped: Plan) -> None:
    every_s = shipped.spec["timings"]["metric_interval_s"]
    for alarm in shipped.resources("aws_cloudwatch_metric_alarm"):
        if alarm.values["metric_name"] == "Heartbeat":
            assert every_s * 2 <= alarm.values["period"]


def test_destroying_has_time_for_hosts_that_hang(plan: Plan) -> None:
    assert plan.one("aws_lambda_function", "lifecycle").values["timeout"] >= 2 * 180


def test_patroni_keeps_its_own_order(plan: Plan) -> None:
    patroni = plan.spec["patroni"]
    assert patroni["loop_wait"] + 2 * patroni["retry_timeout"] <= patroni["ttl"]
    assert patroni["wal_sender_timeout_s"] < patroni["ttl"]


def test_configuring_fails_on_the_node_before_the_healer_stops_waiting(shipped: Plan) -> None:
    limit_s = shipped.spec["timings"]["configure_timeout_s"]
    (found,) = (d for d in DOCUMENTS if d.stem == "pgmend-configure-node")
    (step,) = yaml.safe_load(found.read_text())["mainSteps"]
    assert int(step["inputs"]["timeoutSeconds"]) < limit_s


def test_the_functions_limit_is_the_one_the_variables_are_checked_against(plan: Plan) -> None:
    text = (Path(__file__).resolve().parents[2] / "tofu/variables.tf").read_text()
    (limit,) = set(re.findall(r"run_budget_s < (\d+)", text))
    assert int(limit) == plan.one("aws_lambda_function", "healer").values["timeout"]
