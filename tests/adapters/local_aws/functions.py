"""Functions of the local AWS, whose code is the file beside this one."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from tests.adapters.local_aws.cloud import ACCOUNT, Queue, a_role
from tests.adapters.local_aws.setting import REGION, Local

CODE = Path(__file__).with_name("code_in_zip.py").read_text()


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


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
