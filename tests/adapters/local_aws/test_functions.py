"""Lambda: the zip run by AWS's own runtime client, with its role; how it answers, fails and ends."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.awslambda_simple.models import lambda_simple_backends

from lab.aws.functions import Functions
from tests.adapters.local_aws.cloud import ACCOUNT, Names
from tests.adapters.local_aws.functions import CODE, Function, alive, lines, zipped
from tests.adapters.local_aws.setting import REGION, Local
from tests.adapters.local_aws.waiting import eventually

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
