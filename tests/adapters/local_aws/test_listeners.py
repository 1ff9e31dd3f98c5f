"""Endpoints: one a region, which answers only what is signed for it, and which can be cut off and mended."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

import lab.aws.ssm
from lab.aws.context import Context
from lab.aws.evidence import Evidence
from lab.ports import OPERATOR_KEY, RegionApi
from tests.adapters.local_aws.agents import get
from tests.adapters.local_aws.cloud import Place
from tests.adapters.local_aws.setting import CLOCK, OBSERVER, OTHER_REGION, REGION, Local
from tests.adapters.local_aws.waiting import consistently, eventually

CALLS = {
    "ec2": lambda client: client.describe_instances(),
    "sqs": lambda client: client.list_queues(),
    "sns": lambda client: client.list_topics(),
    "cloudwatch": lambda client: client.describe_alarms(),
    "dynamodb": lambda client: client.list_tables(),
    "events": lambda client: client.list_rules(),
    "ssm": lambda client: client.list_documents(),
    "lambda": lambda client: client.list_functions(),
    "s3": lambda client: client.list_buckets(),
}


@pytest.mark.parametrize("service", CALLS)
def test_a_regions_listener_answers_what_is_signed_for_it(local: Local, service: str) -> None:
    client = local.signed(service, REGION, local.endpoint(REGION))
    assert CALLS[service](client)["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("service", CALLS)
def test_a_signature_for_another_region_is_refused(local: Local, service: str) -> None:
    client = local.signed(service, OTHER_REGION, local.endpoint(REGION))
    with pytest.raises(ClientError) as caught:
        CALLS[service](client)
    error = caught.value.response["Error"]
    assert str(error["Code"]).startswith("SignatureDoesNotMatch")
    assert OTHER_REGION in str(error["Message"])
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize("region", [REGION, OTHER_REGION, OBSERVER])
def test_the_operators_listener_answers_for_every_region(local: Local, region: str) -> None:
    zones = local.client("ec2", region).describe_availability_zones()["AvailabilityZones"]
    assert {zone["RegionName"] for zone in zones} == {region}


def test_every_listener_shows_the_same_aws(local: Local, place: Place) -> None:
    instance_id = place.running()
    regional = local.signed("ec2", REGION, local.endpoint(REGION))
    found = regional.describe_instances(InstanceIds=[instance_id])["Reservations"]
    assert found[0]["Instances"][0]["InstanceId"] == instance_id


def test_a_cut_region_does_not_answer_until_it_is_mended(local: Local) -> None:
    clients = {
        region: local.signed("ec2", region, local.endpoint(region))
        for region in (REGION, OTHER_REGION)
    }
    clients[REGION].describe_instances()
    local.regional.become(REGION, RegionApi.REFUSED)
    try:
        with pytest.raises(EndpointConnectionError):
            clients[REGION].describe_instances()
        clients[OTHER_REGION].describe_instances()
    finally:
        local.regional.become(REGION, RegionApi.ANSWERS)
    clients[REGION].describe_instances()


def test_a_cut_ends_what_is_being_answered(
    local: Local, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.aws.ssm, "POLL_S", 10.0)
    url = f"{local.endpoint(REGION)}/_lab/ssm/{place.running()}/next"
    with ThreadPoolExecutor() as pool:
        poll = pool.submit(get, url)
        consistently(lambda: not poll.done(), for_s=0.2)
        local.regional.become(REGION, RegionApi.REFUSED)
        try:
            with pytest.raises(OSError, match=r"."):
                poll.result(timeout=5)
        finally:
            local.regional.become(REGION, RegionApi.ANSWERS)


def test_cutting_and_mending_twice_is_no_error(local: Local) -> None:
    for _ in range(2):
        local.regional.become(OBSERVER, RegionApi.REFUSED)
    for _ in range(2):
        local.regional.become(OBSERVER, RegionApi.ANSWERS)
    local.signed("ec2", OBSERVER, local.endpoint(OBSERVER)).describe_instances()


@pytest.mark.parametrize("then", [RegionApi.ANSWERS, RegionApi.SILENT])
def test_a_copy_of_the_socket_in_a_process_that_starts_delays_and_does_no_harm(
    local: Local, then: RegionApi
) -> None:
    copy = local.regional._servers[OBSERVER].socket.dup()
    gone = threading.Timer(0.3, copy.close)
    gone.start()
    local.regional.become(OBSERVER, RegionApi.REFUSED)
    local.regional.become(OBSERVER, then)
    assert gone.finished.is_set()
    local.regional.become(OBSERVER, RegionApi.ANSWERS)
    local.signed("ec2", OBSERVER, local.endpoint(OBSERVER)).describe_instances()


def test_the_labs_own_path_wants_an_instance_and_a_verb(local: Local) -> None:
    for path in ("nobody", "nobody/next"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(f"{local.endpoint(REGION)}/_lab/ssm/{path}")
        caught.value.close()
        assert caught.value.code in (403, 404)


# -- evidence


def records(local: Local, kind: str) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (local.evidence / f"{kind}.jsonl").read_text().splitlines()]


def test_every_call_leaves_a_line(local: Local) -> None:
    before = len(records(local, "api"))
    local.client("sqs", OBSERVER).list_queues()
    eventually(lambda: len(records(local, "api")) > before)
    line = records(local, "api")[-1]
    assert (line["region"], line["service"], line["status"]) == (OBSERVER, "sqs", "200")
    assert line["action"] == "AmazonSQS.ListQueues"
    assert OPERATOR_KEY.endswith(line["key"])
    assert line["ms"] >= 0
    assert line["at"] > 1_700_000_000


def test_every_state_of_an_instance_leaves_a_line(local: Local, place: Place) -> None:
    instance_id = place.running(tags={"pgmend:slot": "db-euw1-a"})
    lines = [r for r in records(local, "ec2") if r["instance"] == instance_id]
    assert [r["state"] for r in lines] == ["pending", "running"]
    assert lines[-1]["tags"]["pgmend:slot"] == "db-euw1-a"


def test_work_that_fails_in_the_background_leaves_a_line(local: Local) -> None:
    def fail() -> None:
        raise ValueError("of no use")

    local.aws.context.guarded(fail, "a test's work")
    line = records(local, "errors")[-1]
    assert (line["what"], line["error"]) == ("a test's work", "ValueError('of no use')")


def test_without_a_folder_nothing_is_written() -> None:
    context = Context(clock=CLOCK, evidence=Evidence(None))
    context.evidence.add("api", anything=1)
