"""Lambda: its reserved places, its second and third try, and its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab.aws.runtime import Cell
from lab.host import cgroups
from tests.adapters.local_aws.cloud import Names, a_queue, a_rule
from tests.adapters.local_aws.functions import CODE, Function, lines, zipped
from tests.adapters.local_aws.setting import Local
from tests.adapters.local_aws.waiting import consistently, eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: control groups")


# -- places


def held(function: Function, go: Path, pool: ThreadPoolExecutor) -> Future[Any]:
    """The function at work until a file is there."""
    note = go.with_suffix(".note")
    work = pool.submit(function.answers, until=str(go), note=str(note))
    eventually(lambda: lines(note))
    return work


def test_a_call_beyond_the_reserved_places_is_throttled(function: Function, tmp_path: Path) -> None:
    function.lambdas.put_function_concurrency(
        FunctionName=function.name, ReservedConcurrentExecutions=1
    )
    with ThreadPoolExecutor() as pool:
        work = held(function, tmp_path / "go", pool)
        try:
            with pytest.raises(ClientError) as caught:
                function.answers()
        finally:
            (tmp_path / "go").touch()
        work.result()
    assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    function.answers()


def test_an_event_beyond_the_reserved_places_waits_for_one(
    function: Function, tmp_path: Path
) -> None:
    function.lambdas.put_function_concurrency(
        FunctionName=function.name, ReservedConcurrentExecutions=1
    )
    later = tmp_path / "later"
    with ThreadPoolExecutor() as pool:
        work = held(function, tmp_path / "go", pool)
        function.is_sent(note=str(later))
        consistently(lambda: not later.exists())
        (tmp_path / "go").touch()
        work.result()
    eventually(lambda: lines(later))


# -- asynchronous events


def test_an_event_that_succeeds_is_handled_once(
    local: Local, function: Function, name: Names, tmp_path: Path
) -> None:
    dead, note = a_queue(local, name("dead")), tmp_path / "note"
    function.on_failure(dead)
    function.is_sent(note=str(note))
    eventually(lambda: lines(note))
    consistently(lambda: len(lines(note)) == 1 and dead.bodies() == [])


def test_an_event_that_fails_is_tried_three_times_and_ends_in_the_destination(
    local: Local, function: Function, name: Names, tmp_path: Path
) -> None:
    dead, note = a_queue(local, name("dead")), tmp_path / "note"
    function.on_failure(dead)
    event = {"note": str(note), "raise": "never"}
    function.is_sent(**event)
    (letter,) = dead.gets()
    tries = [line.split()[0] for line in lines(note)]
    assert len(tries) == 3
    (request_id,) = set(tries)
    assert letter["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{function.arn}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert letter["requestPayload"] == event
    assert letter["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert letter["responsePayload"]["errorMessage"] == "never"


def test_an_event_is_tried_as_often_as_the_function_says(
    local: Local, function: Function, name: Names, tmp_path: Path
) -> None:
    dead, note = a_queue(local, name("dead")), tmp_path / "note"
    function.on_failure(dead, MaximumRetryAttempts=0)
    function.is_sent(**{"note": str(note), "raise": "never"})
    (letter,) = dead.gets()
    assert len(lines(note)) == letter["requestContext"]["approximateInvokeCount"] == 1


def test_a_rule_hands_its_event_to_a_function(local: Local, name: Names, tmp_path: Path) -> None:
    script = CODE.replace('event["note"]', repr(str(tmp_path / "note"))).replace(
        'if "note" in event', "if True"
    )
    function = Function(local, name("function"), Code={"ZipFile": zipped(script)})
    rule = a_rule(local, name("rule"), {"source": [name("app")]}, {"Arn": function.arn})
    function.lambdas.add_permission(
        FunctionName=function.name,
        StatementId="events",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )
    entry = {"Source": name("app"), "DetailType": "Thing", "Detail": "{}"}
    local.client("events").put_events(Entries=[entry])
    eventually(lambda: lines(tmp_path / "note"))


# -- memory


@pytest.mark.root
@as_root
def test_a_function_that_wants_too_much_memory_is_killed(local: Local, name: Names) -> None:
    function = Function(local, name("function"), MemorySize=128)
    assert function.answers(mib=40)["calls"] == 1
    found = function.fails(mib=300)
    assert found["errorType"] == "Runtime.ExitError"
    assert found["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert function.answers()["calls"] == 1


@pytest.mark.root
@as_root
def test_a_functions_process_lies_below_the_labs_group_and_its_group_ends_with_it(
    function: Function,
) -> None:
    before = groups()
    pid = function.answers()["pid"]
    assert pid in cgroups.pids()
    (group,) = groups() - before
    assert cgroups.pids(group) == {pid}
    function.fails(exit=1)
    eventually(lambda: group not in groups())


def groups() -> set[str]:
    return {
        folder.name
        for root in cgroups.hierarchies()
        for folder in (root / cgroups.NAME).glob("function-*")
    }


def test_without_control_groups_the_address_space_is_limited() -> None:
    script = "import sys; block = bytearray(int(sys.argv[1]) << 20)"
    for mib, fits in ((200, True), (4000, False)):
        command = Cell(128, grouped=False).command([sys.executable, "-c", script, str(mib)])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is fits
        assert fits or "MemoryError" in done.stderr
