"""A region of AWS that is out: what whoever asks it meets, what stands still there, and that it comes back as it was.

And one service of a region that is out while the rest of it works.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

import lab.aws.ssm
from lab.aws.build import LocalAws
from lab.aws.server import _DeadEnd
from lab.ports import LAB_TOOL, OPERATOR_KEY, RegionApi, RegionService
from lambdas.adapters.clients import Clients
from lambdas.adapters.ec2 import Ec2
from lambdas.errors import RegionSilentError
from tests.adapters.local_aws.agents import get
from tests.adapters.local_aws.cloud import Names, Place, a_queue, a_role, a_rule
from tests.adapters.local_aws.functions import Function, alive, lines
from tests.adapters.local_aws.setting import OBSERVER, OTHER_REGION, REGION, Local, free_port
from tests.adapters.local_aws.waiting import consistently, eventually, refused

# Two attempts of two seconds to connect, and what a busy machine takes.
HEALER_WAITS_S = 2 * 2.0 + 3.0


@pytest.fixture
def aws(local: Local) -> Iterator[LocalAws]:
    """With the regions' own listeners; everything answers again afterwards."""
    whole = replace(local.aws, listeners=local.regional)
    yield whole
    for region in (REGION, OTHER_REGION, OBSERVER):
        whole.region_api(region, RegionApi.ANSWERS)
        for service in RegionService:
            whole.region_service(region, service, running=True)


def client(
    service: str,
    region: str,
    endpoint: str,
    *,
    read_s: float = 10.0,
    agent: str = "",
    retries: int = 1,
) -> Any:
    """A client with the healer's kind of patience, or less."""
    session: Any = boto3.Session(
        aws_access_key_id=OPERATOR_KEY,
        aws_secret_access_key=OPERATOR_KEY,
        region_name=region,
    )
    config = Config(
        retries={"total_max_attempts": retries},
        connect_timeout=0.5,
        read_timeout=read_s,
        proxies={},
        user_agent_extra=agent,
    )
    return session.client(service, endpoint_url=endpoint, config=config)


def regional(local: Local, region: str, service: str = "ec2", **more: Any) -> Any:
    return client(service, region, local.endpoint(region), **more)


def by_loopback(local: Local, region: str, service: str = "ec2", **more: Any) -> Any:
    return client(service, region, f"http://127.0.0.1:{local.port}", **more)


# -- what whoever asks meets


@pytest.mark.parametrize(
    ("api", "error"),
    [
        (RegionApi.REFUSED, EndpointConnectionError),
        (RegionApi.SILENT, ConnectTimeoutError),
    ],
)
def test_a_region_that_is_gone_cannot_be_connected_to_and_the_others_can(
    local: Local, aws: LocalAws, api: RegionApi, error: type[Exception]
) -> None:
    aws.region_api(REGION, api)
    for _ in range(3):  # whatever a queue might have room for
        with pytest.raises(error):
            regional(local, REGION).describe_instances()
    regional(local, OTHER_REGION).describe_instances()
    aws.region_api(REGION, RegionApi.ANSWERS)
    regional(local, REGION).describe_instances()


def test_the_answer_to_a_call_that_is_under_way_gets_lost(
    local: Local, aws: LocalAws, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.aws.ssm, "POLL_S", 0.6)
    url = f"{local.endpoint(REGION)}/_lab/ssm/{place.running()}/next"
    with ThreadPoolExecutor() as pool:
        poll = pool.submit(get, url)
        consistently(lambda: not poll.done(), for_s=0.2)
        aws.region_api(REGION, RegionApi.SILENT)
        consistently(lambda: not poll.done(), for_s=1.0)
        aws.region_api(REGION, RegionApi.ANSWERS)
        with pytest.raises(OSError, match=r"."):
            poll.result(timeout=5)


@pytest.mark.parametrize("first", RegionApi)
@pytest.mark.parametrize("then", RegionApi)
def test_every_state_may_follow_every_other_and_come_twice(
    local: Local, aws: LocalAws, first: RegionApi, then: RegionApi
) -> None:
    for api in (first, first, then, then):
        aws.region_api(OBSERVER, api)
    ask = regional(local, OBSERVER).describe_instances
    expected = {
        RegionApi.REFUSED: EndpointConnectionError,
        RegionApi.SILENT: ConnectTimeoutError,
    }
    if then is RegionApi.ANSWERS:
        ask()
    else:
        with pytest.raises(expected[then]):
            ask()


@pytest.mark.parametrize("api", [RegionApi.REFUSED, RegionApi.SILENT])
def test_the_healer_finds_the_region_silent_and_does_not_wait_long(
    local: Local, aws: LocalAws, api: RegionApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OPERATOR_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OPERATOR_KEY)
    settings: Any = SimpleNamespace(
        endpoints={region: local.endpoint(region) for region in (REGION, OTHER_REGION)}
    )
    clients = Clients(settings)
    ec2 = Ec2(clients.get("ec2", REGION), cluster="pgmend", region=REGION)
    other = Ec2(clients.get("ec2", OTHER_REGION), cluster="pgmend", region=OTHER_REGION)
    assert ec2.instances() == ()
    aws.region_api(REGION, api)
    began = time.monotonic()
    with pytest.raises(RegionSilentError, match="EC2 in eu-west-1 did not answer"):
        ec2.instances()
    assert time.monotonic() - began < HEALER_WAITS_S
    assert other.instances() == ()


def test_people_are_not_answered_for_the_region_and_the_labs_own_tools_are(
    local: Local, aws: LocalAws
) -> None:
    aws.region_api(REGION, RegionApi.REFUSED)
    with pytest.raises(ConnectionClosedError):
        by_loopback(local, REGION).describe_instances()
    aws.region_api(REGION, RegionApi.SILENT)
    with pytest.raises(ReadTimeoutError):
        by_loopback(local, REGION, read_s=1.0).describe_instances()
    by_loopback(local, OTHER_REGION).describe_instances()
    by_loopback(local, REGION, agent=LAB_TOOL).describe_instances()


def test_an_address_whose_queue_somebody_else_fills_is_a_dead_end_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, connect = free_port(), socket.create_connection
    others: list[socket.socket] = []

    def second(address: tuple[str, int], timeout: float) -> socket.socket:
        """Somebody else comes between."""
        others.append(connect(address, timeout))
        return connect(address, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "create_connection", second)
        dead_end = _DeadEnd("127.0.0.14", port)
    with pytest.raises(TimeoutError):
        connect(("127.0.0.14", port), 0.3)
    dead_end.close()
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.14", port), 0.3)
    others[0].close()


# -- what stands still


def test_no_rule_of_the_region_matches_and_nothing_is_delivered_into_it(
    local: Local, aws: LocalAws, name: Names
) -> None:
    queue = a_queue(local, name("queue"), OTHER_REGION)
    pattern = {"source": [name("app")]}
    a_rule(local, name("rule"), pattern, {"Arn": queue.arn}, region=OTHER_REGION)
    aws.region_api(OTHER_REGION, RegionApi.REFUSED)
    aws.bus.put_aws_event(OTHER_REGION, name("app"), "lost", {})
    aws.region_api(OTHER_REGION, RegionApi.ANSWERS)
    aws.bus.put_aws_event(OTHER_REGION, name("app"), "heard", {})
    assert [body["detail-type"] for body in queue.gets()] == ["heard"]


def test_what_another_region_sends_there_arrives_when_it_is_back(
    local: Local, aws: LocalAws, name: Names
) -> None:
    queue = a_queue(local, name("queue"), OTHER_REGION)
    a_rule(local, name("rule"), {"source": [name("app")]}, {"Arn": queue.arn})
    aws.region_api(OTHER_REGION, RegionApi.SILENT)
    aws.bus.put_aws_event(REGION, name("app"), "sent", {})
    look = by_loopback(local, OTHER_REGION, "sqs", agent=LAB_TOOL)
    consistently(lambda: "Messages" not in look.receive_message(QueueUrl=queue.url))
    aws.region_api(OTHER_REGION, RegionApi.ANSWERS)
    assert [body["detail-type"] for body in queue.gets()] == ["sent"]


def test_an_event_that_was_taken_in_before_is_delivered_after(
    local: Local, aws: LocalAws, name: Names
) -> None:
    bus, queue = name("hub"), a_queue(local, name("queue"), OBSERVER)
    events = local.client("events", OBSERVER)
    arn = events.create_event_bus(Name=bus)["EventBusArn"]
    a_rule(
        local, name("in"), {"source": [name("app")]}, {"Arn": queue.arn}, region=OBSERVER, bus=bus
    )
    role = a_role(local, name("forward"), "events.amazonaws.com", "events:PutEvents")
    a_rule(local, name("out"), {"source": [name("app")]}, {"Arn": arn, "RoleArn": role})
    aws.region_service(OBSERVER, RegionService.EVENTS, running=False)  # so that it is tried again
    aws.bus.put_aws_event(REGION, name("app"), "kept", {})
    time.sleep(0.1)
    aws.region_api(REGION, RegionApi.REFUSED)
    aws.region_service(OBSERVER, RegionService.EVENTS, running=True)
    consistently(lambda: queue.bodies() == [])
    aws.region_api(REGION, RegionApi.ANSWERS)
    assert [body["detail-type"] for body in queue.gets()] == ["kept"]


def test_an_alarm_of_the_region_keeps_its_state_until_it_is_back(
    local: Local, aws: LocalAws, name: Names
) -> None:
    watch = by_loopback(local, REGION, "cloudwatch", agent=LAB_TOOL)

    def state() -> str:
        found = watch.describe_alarms(AlarmNames=[name("silent")])
        return str(found["MetricAlarms"][0]["StateValue"])

    aws.region_api(REGION, RegionApi.REFUSED)
    watch.put_metric_alarm(
        AlarmName=name("silent"),
        Namespace="pgmend",
        MetricName=name("Heard"),
        Statistic="Sum",
        ComparisonOperator="LessThanThreshold",
        Threshold=1.0,
        Period=60,
        EvaluationPeriods=1,
        TreatMissingData="breaching",
    )
    consistently(lambda: state() == "INSUFFICIENT_DATA", for_s=0.8)
    aws.region_api(REGION, RegionApi.ANSWERS)
    eventually(lambda: state() == "ALARM")


def test_a_function_of_the_region_dies_and_its_event_is_tried_again_when_it_is_back(
    aws: LocalAws, function: Function, tmp_path: Path
) -> None:
    note, go = tmp_path / "note", tmp_path / "go"
    function.is_sent(note=str(note), until=str(go))
    eventually(lambda: lines(note))
    pid = int(lines(note)[0].split()[1])
    aws.region_api(REGION, RegionApi.SILENT)
    eventually(lambda: not alive(pid))
    go.touch()
    consistently(lambda: len(lines(note)) == 1)
    aws.region_api(REGION, RegionApi.ANSWERS)
    eventually(lambda: len(lines(note)) == 2)


def test_a_warm_function_begins_anew_after_the_outage(aws: LocalAws, function: Function) -> None:
    pid = function.answers()["pid"]
    aws.region_api(REGION, RegionApi.REFUSED)
    eventually(lambda: not alive(pid))
    aws.region_api(REGION, RegionApi.ANSWERS)
    assert function.answers()["pid"] != pid


# -- one service


def test_eventbridge_that_is_out_refuses_events_as_its_own_fault(
    local: Local, aws: LocalAws, name: Names
) -> None:
    queue = a_queue(local, name("queue"))
    a_rule(local, name("rule"), {"source": [name("app")]}, {"Arn": queue.arn})
    entry = {"Source": name("app"), "DetailType": "x", "Detail": "{}"}
    events = regional(local, REGION, "events")
    aws.region_service(REGION, RegionService.EVENTS, running=False)
    with pytest.raises(ClientError) as caught:
        events.put_events(Entries=[entry])
    assert caught.value.response["Error"]["Code"] == "InternalException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    regional(local, OTHER_REGION, "events").list_rules()
    regional(local, REGION).describe_instances()
    aws.region_service(REGION, RegionService.EVENTS, running=True)
    events.put_events(Entries=[entry])
    assert len(queue.gets()) == 1


def test_lambda_that_is_out_runs_nothing_and_runs_what_was_sent_to_it_afterwards(
    local: Local, aws: LocalAws, function: Function, name: Names, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    rule = a_rule(
        local,
        name("rule"),
        {"source": [name("app")]},
        {"Arn": function.arn, "Input": json.dumps({"note": str(note)})},
    )
    function.lambdas.add_permission(
        FunctionName=function.name,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )
    aws.region_service(REGION, RegionService.LAMBDA, running=False)
    tool = by_loopback(local, REGION, "lambda", agent=LAB_TOOL)
    for asked in (function.lambdas, tool):
        code = refused(asked.invoke, FunctionName=function.name, Payload=b"{}")
        assert code == "ServiceException"
    aws.bus.put_aws_event(REGION, name("app"), "x", {})
    consistently(lambda: lines(note) == [])
    aws.region_service(REGION, RegionService.LAMBDA, running=True)
    eventually(lambda: lines(note))


def test_what_is_out_is_said(aws: LocalAws) -> None:
    assert aws.outages() == []
    aws.region_api(REGION, RegionApi.SILENT)
    aws.region_api(OTHER_REGION, RegionApi.REFUSED)
    aws.region_service(OBSERVER, RegionService.LAMBDA, running=False)
    assert aws.outages() == [
        "AWS's endpoints in eu-west-1 are silent",
        "AWS's endpoints in eu-west-3 are gone: connections are refused",
        "Lambda in eu-central-1 is stopped",
    ]
