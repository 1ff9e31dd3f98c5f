"""Lambda: the zip run by AWS's own runtime client, with its role, its limits and its second and third try."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.awslambda_simple.models import lambda_simple_backends

from lab.aws.functions import Functions
from lab.aws.runtime import Cell
from lab.host import cgroups
from tests.adapters.local_aws.cloud import ACCOUNT, Names, Queue, a_queue, a_role, a_rule
from tests.adapters.local_aws.setting import REGION, Local
from tests.adapters.local_aws.waiting import consistently, eventually

CODE = Path(__file__).with_name("code_in_zip.py").read_text()
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: control groups")


def zipped(source: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("code_in_zip.py", source)
    return made.getvalue()


class Function:
    """A function of the local AWS."""

    def __init__(self, local: Local, name: str, **more: Any) -> None:
        self.name, self.lambdas = name, local.client("lambda")
        self.arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        self.lambdas.create_function(
            **{
                "FunctionName": name,
                "Role": a_role(local, f"role-of-{name}", "lambda.amazonaws.com"),
                "Runtime": "python3.13",
                "Handler": "code_in_zip.handler",
                "Code": {"ZipFile": zipped(CODE)},
                "Timeout": 20,
                **more,
            }
        )

    def answers(self, **event: Any) -> Any:
        """What it returns."""
        answer = self.lambdas.invoke(FunctionName=self.name, Payload=json.dumps(event))
        assert "FunctionError" not in answer, answer["Payload"].read()
        return json.loads(answer["Payload"].read())

    def fails(self, **event: Any) -> dict[str, Any]:
        """The error's payload."""
        answer = self.lambdas.invoke(FunctionName=self.name, Payload=json.dumps(event))
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        return dict(json.loads(answer["Payload"].read()))

    def is_sent(self, **event: Any) -> None:
        """An asynchronous event."""
        answer = self.lambdas.invoke(
            FunctionName=self.name, InvocationType="Event", Payload=json.dumps(event)
        )
        assert answer["StatusCode"] == 202

    def on_failure(self, queue: Queue, **more: Any) -> None:
        self.lambdas.put_function_event_invoke_config(
            FunctionName=self.name,
            DestinationConfig={"OnFailure": {"Destination": queue.arn}},
            **more,
        )


@pytest.fixture
def function(local: Local, name: Names) -> Function:
    return Function(local, name("function"))


@pytest.fixture(scope="package")
def warm(local: Local) -> Function:
    """One that tests share which do it no harm."""
    return Function(local, "shared", MemorySize=256, Environment={"Variables": {"STAGE": "test"}})


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# -- answers


def test_a_function_answers_and_knows_itself(warm: Function) -> None:
    found = warm.answers(word="hello")
    assert found["event"] == {"word": "hello"}
    assert (found["name"], found["arn"]) == (warm.name, warm.arn)
    assert int(found["memory"]) == 256
    assert 0 < found["left_ms"] <= 20_000


def test_a_function_has_its_environment_and_that_of_lambda(warm: Function) -> None:
    found = warm.answers()["environment"]
    assert found["STAGE"] == "test"
    assert (found["AWS_REGION"], found["AWS_LAMBDA_FUNCTION_NAME"]) == (REGION, warm.name)
    assert found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert found["_HANDLER"] == "code_in_zip.handler"
    assert "VIRTUAL_ENV" not in found


def test_a_function_acts_as_its_role(local: Local, warm: Function) -> None:
    given = warm.answers()["environment"]
    sts: Any = boto3.Session(
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=given["AWS_SESSION_TOKEN"],
        region_name=given["AWS_DEFAULT_REGION"],
    )
    client = sts.client("sts", endpoint_url=f"http://127.0.0.1:{local.port}")
    arn = client.get_caller_identity()["Arn"]
    assert arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/role-of-{warm.name}/{warm.name}"


def test_an_error_has_awss_shape(warm: Function) -> None:
    found = warm.fails(**{"raise": "no such thing"})
    assert (found["errorType"], found["errorMessage"]) == ("ValueError", "no such thing")
    assert any("code_in_zip.py" in line for line in found["stackTrace"])


def test_a_function_survives_its_own_error(warm: Function) -> None:
    pid = warm.answers()["pid"]
    warm.fails(**{"raise": "x"})
    assert warm.answers()["pid"] == pid


def test_what_a_function_prints_is_in_the_tail_of_its_log(warm: Function) -> None:
    answer = warm.lambdas.invoke(
        FunctionName=warm.name, LogType="Tail", Payload=json.dumps({"say": "a word"})
    )
    assert "a word\n" in base64.b64decode(answer["LogResult"]).decode()


def test_a_function_that_does_not_exist_is_not_found(local: Local) -> None:
    with pytest.raises(ClientError) as caught:
        local.client("lambda").invoke(FunctionName="nothing", Payload="{}")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


# -- ends


def test_a_function_that_takes_too_long_is_ended(local: Local, name: Names, tmp_path: Path) -> None:
    function, note = Function(local, name("function"), Timeout=1), tmp_path / "note"
    found = function.fails(note=str(note), sleep=60)
    (line,) = lines(note)
    request_id, pid = line.split()
    assert found == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds",
    }
    eventually(lambda: not alive(int(pid)))
    assert function.answers()["calls"] == 1


def test_a_function_that_exits_has_failed(function: Function) -> None:
    found = function.fails(exit=3)
    assert found["errorType"] == "Runtime.ExitError"
    assert found["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
    assert function.answers()["calls"] == 1


def test_a_function_that_just_leaves_has_failed(function: Function) -> None:
    message = function.fails(exit=0)["errorMessage"]
    assert message.endswith("Error: Runtime exited without providing a reason")


@pytest.mark.parametrize(
    ("source", "handler", "kind"),
    [
        ("raise OSError('no')", "code_in_zip.handler", "OSError"),
        ("def handler(", "code_in_zip.handler", "Runtime.UserCodeSyntaxError"),
        (CODE, "code_in_zip.other", "Runtime.HandlerNotFound"),
        (CODE, "missing.handler", "Runtime.ImportModuleError"),
    ],
)
def test_a_function_that_does_not_start_says_why(
    local: Local, name: Names, source: str, handler: str, kind: str
) -> None:
    function = Function(local, name("function"), Code={"ZipFile": zipped(source)}, Handler=handler)
    assert function.fails()["errorType"] == kind


def test_what_a_function_started_ends_with_it(function: Function, tmp_path: Path) -> None:
    child = tmp_path / "child"
    function.fails(child=str(child), exit=1)
    eventually(lambda: not alive(int(child.read_text())))


# -- processes


def test_a_warm_process_is_used_again(function: Function) -> None:
    first, second = function.answers(), function.answers()
    assert first["pid"] == second["pid"]
    assert (first["calls"], second["calls"]) == (1, 2)


def test_events_at_the_same_time_have_a_process_each(function: Function, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with ThreadPoolExecutor() as pool:
        both = [
            pool.submit(function.answers, until=str(go), note=str(tmp_path / "n")) for _ in "ab"
        ]
        eventually(lambda: len(lines(tmp_path / "n")) == 2)
        go.touch()
        pids = {found.result()["pid"] for found in both}
    assert len(pids) == 2


def test_new_code_starts_a_new_process(function: Function) -> None:
    old = function.answers()
    function.lambdas.update_function_code(
        FunctionName=function.name, ZipFile=zipped(CODE.replace("count(1)", "count(101)"))
    )
    assert function.answers()["calls"] == 101
    eventually(lambda: not alive(old["pid"]))


def test_new_configuration_starts_a_new_process(function: Function) -> None:
    function.answers()
    function.lambdas.update_function_configuration(
        FunctionName=function.name, Environment={"Variables": {"STAGE": "next"}}
    )
    found = function.answers()
    assert (found["environment"]["STAGE"], found["calls"]) == ("next", 1)


def test_cold_and_warm_runs_are_in_the_evidence(local: Local, function: Function) -> None:
    function.answers(n=1)
    function.answers(n=2)
    text = (local.evidence / "functions.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in text if function.name in line]
    assert [(r["cold"], r["event"], r["error"]) for r in records] == [
        (True, {"n": 1}, None),
        (False, {"n": 2}, None),
    ]


def test_a_stopped_lambda_leaves_no_process(
    local: Local, function: Function, tmp_path: Path
) -> None:
    own = Functions(local.aws.context, tmp_path, None, None, grouped=False)
    record = lambda_simple_backends[ACCOUNT][REGION].get_function(function.name)
    pid = json.loads(own.run(record, b"{}").body)["pid"]
    assert alive(pid)
    own.stop()
    assert not alive(pid)


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


@as_root
def test_a_function_that_wants_too_much_memory_is_killed(local: Local, name: Names) -> None:
    function = Function(local, name("function"), MemorySize=128)
    assert function.answers(mib=40)["calls"] == 1
    found = function.fails(mib=300)
    assert found["errorType"] == "Runtime.ExitError"
    assert found["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert function.answers()["calls"] == 1


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
