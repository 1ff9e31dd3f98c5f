"""Lambda: the built zip run through AWS's own runtime interface client, with its role's credentials and its limits.

Each container is a process in a root of its own (the nodes' Debian with Python 3.13, the zip at /var/task), speaking
to a runtime API of ours. Asynchronous events are retried and end in the on-failure destination.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaFunction
from moto.awslambda_simple.models import LambdaSimpleBackend, lambda_simple_backends
from moto.utilities.arns import parse_arn

from lab.aws import credentials
from lab.aws.bus import send_to_queue
from lab.aws.context import ACCOUNT, Context, log
from lab.aws.runtime import Cell, Container, Result
from lab.aws.takeover import take_over
from lab.ports import RegionService

RETRY_DELAYS_S = (1.0, 2.0)  # AWS waits one and two minutes
AGE_MAX_S = 21600.0
IDLE_S = 300.0
LIFE_S = 3600.0  # of a container: well below its credentials', as on AWS
END_S = 5.0


class ThrottledError(LambdaClientError):
    """All of the function's reserved places are taken."""

    code = 429

    def __init__(self) -> None:
        super().__init__("TooManyRequestsException", "Rate Exceeded.")


class OutError(LambdaClientError):
    """Lambda does not work in the region."""

    code = 500

    def __init__(self, region: str) -> None:
        super().__init__("ServiceException", f"The AWS Lambda service in {region} is out.")


class Functions:
    """Every function of the local AWS."""

    def __init__(
        self,
        context: Context,
        folder: Path,
        root: Path | None,
        runtime_client: Path | None,
        *,
        grouped: bool,
    ) -> None:
        self._context, self._folder, self._grouped = context, folder, grouped
        self._root, self._runtime_client = root, runtime_client
        self._containers: set[Container] = set()
        self._idle: dict[str, list[Container]] = {}
        self._busy: dict[tuple[str, str], int] = {}
        self._lock = threading.RLock()

    def install(self) -> None:
        """Replace moto's canned answer."""
        take_over(LambdaSimpleBackend, "invoke", self._invoke)

    def _invoke(
        self,
        backend: LambdaSimpleBackend,
        name: str,
        qualifier: str | None,
        body: Any,
        headers: Any,
        response_headers: dict[str, str],
    ) -> bytes:
        if self._out(backend.region_name):
            raise OutError(backend.region_name)
        function = backend.get_function(name, qualifier)
        payload = body.encode() if isinstance(body, str) else (body or b"{}")
        kind = {k.lower(): v for k, v in dict(headers or {}).items()}.get("x-amz-invocation-type")
        if kind == "DryRun":
            return b""
        if kind == "Event":
            self.invoke_async(function.function_arn, payload)
            return b""
        result = self.run(function, payload)
        tail = base64.b64encode(result.log.encode()[-4096:])
        response_headers["x-amz-log-result"] = tail.decode()
        if result.error is not None:
            response_headers["x-amz-function-error"] = result.error
        return result.body

    def invoke_async(self, arn: str, payload: bytes) -> None:
        """Queue an event; raises LookupError when there is no such function or its region's service is down."""
        region = parse_arn(arn).region
        if self._out(region):
            raise LookupError(f"Lambda in {region} does not answer")
        function = lambda_simple_backends[ACCOUNT][region].get_function(arn)
        threading.Thread(
            target=self._context.guarded,
            args=(lambda: self._attempts(function, payload), f"event for {function.function_name}"),
            daemon=True,
        ).start()

    def _attempts(self, function: LambdaFunction, payload: bytes) -> None:
        configs = function.event_invoke_config
        config: dict[str, Any] = configs[-1].config if configs else {}
        tries = int(config.get("MaximumRetryAttempts", 2)) + 1
        until = time.monotonic() + float(config.get("MaximumEventAgeInSeconds", AGE_MAX_S))
        request_id, result, made = str(uuid.uuid4()), None, 0
        while made < tries and time.monotonic() < until:
            if self._out(function.region) or not self._take(function):
                if self._context.down.wait(0.2):
                    return
                continue
            result = self._run_taken(function, request_id, payload)
            made += 1
            if result.error is None:
                return
            delay_s = RETRY_DELAYS_S[min(made, len(RETRY_DELAYS_S)) - 1]
            if made < tries and self._context.down.wait(delay_s):
                return
        condition = "RetriesExhausted" if made == tries else "EventAgeExceeded"
        about = {"requestId": request_id, "condition": condition, "approximateInvokeCount": made}
        self._failed(function, payload, result, config, about)

    def _failed(
        self,
        function: LambdaFunction,
        payload: bytes,
        result: Result | None,
        config: Mapping[str, Any],
        about: Mapping[str, object],
    ) -> None:
        target = ((config.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
        if target is None or ":sqs:" not in target:
            log.warning("an event for %s failed for good: %s", function.function_name, result)
            return
        message: dict[str, Any] = {
            "version": "1.0",
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "requestContext": {"functionArn": f"{function.function_arn}:$LATEST", **about},
            "requestPayload": _json(payload),
        }
        if result is not None:
            message["responseContext"] = {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": result.error,
            }
            message["responsePayload"] = _json(result.body)
        send_to_queue(target, json.dumps(message), {})

    def _take(self, function: LambdaFunction) -> bool:
        """One of the reserved places, if one is free."""
        limit, key = function.reserved_concurrency, (function.region, function.function_name)
        with self._lock:
            busy = self._busy.get(key, 0)
            if limit is not None and busy >= int(limit):
                return False
            self._busy[key] = busy + 1
            return True

    def run(self, function: LambdaFunction, payload: bytes) -> Result:
        """A synchronous invocation. Raises ThrottledError."""
        if not self._take(function):
            raise ThrottledError
        return self._run_taken(function, str(uuid.uuid4()), payload)

    def _run_taken(self, function: LambdaFunction, request_id: str, payload: bytes) -> Result:
        began, version = time.monotonic(), _version(function)
        try:
            container = self._warm(function.function_arn, version)
            cold = container is None
            if container is None:
                container = self._start(function, version)
            result = container.invoke(request_id, payload, float(function.timeout))
            if container.alive:
                with self._lock:
                    self._idle.setdefault(container.arn, []).append(container)
        finally:
            with self._lock:
                self._busy[function.region, function.function_name] -= 1
        self._context.evidence.add(
            "functions",
            function=function.function_name,
            region=function.region,
            cold=cold,
            init_s=container.init_s if cold else None,
            seconds=round(time.monotonic() - began, 3),
            error=result.error,
            event=_json(payload),
            answer=_json(result.body),
            log=result.log[-8000:],
        )
        return result

    def _warm(self, arn: str, version: str) -> Container | None:
        """An idle process of this very code and configuration; those of earlier ones end."""
        with self._lock:
            idle = self._idle.get(arn, [])
            while idle:
                container = idle.pop()
                young = time.monotonic() - container.born < LIFE_S
                if container.version == version and container.alive and young:
                    return container
                container.kill()
        return None

    def _start(self, function: LambdaFunction, version: str) -> Container:
        home = self._unpacked(function)
        role = credentials.of_role(function.role, function.function_name)
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "HOME": "/tmp",  # noqa: S108 - as on Lambda
            "_HANDLER": function.handler,
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.function_name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": uuid.uuid4().hex,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_REGION": function.region,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_ACCESS_KEY_ID": role["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": role["SecretAccessKey"],
            "AWS_SESSION_TOKEN": role["Token"],
            **function.environment_vars,
        }
        if self._root is None:
            environment["LAMBDA_TASK_ROOT"] = str(home)
            environment["PYTHONPATH"] = str(home)
            command, where = [sys.executable], str(home)
        else:
            environment["LAMBDA_TASK_ROOT"] = "/var/task"
            environment["PYTHONPATH"] = "/var/task:/opt/ric"
            command, where = (
                [
                    "/usr/sbin/chroot",
                    str(home),
                    "/usr/bin/env",
                    "-C",
                    "/var/task",
                    "/usr/bin/python3",
                ],
                "/",
            )
        container = Container(
            arn=function.function_arn,
            version=version,
            cell=Cell(int(function.memory_size), grouped=self._grouped),
            argv=[*command, "-m", "awslambdaric", str(function.handler)],
            environment=environment,
            where=where,
        )
        with self._lock:
            self._containers = {c for c in self._containers if not c.over.is_set()} | {container}
        if self._context.outages.gone(function.region):  # lost while this one started
            container.kill()
        return container

    def _unpacked(self, function: LambdaFunction) -> Path:
        """The function's root: its zip in a folder, or an overlay of the nodes' Debian with it."""
        digest = hashlib.sha256(function.code_bytes).hexdigest()[:16]
        with self._lock:
            home = self._folder / digest
            task = home if self._root is None else home / "upper/var/task"
            if not task.exists():
                task.mkdir(parents=True)
                zipfile.ZipFile(io.BytesIO(function.code_bytes)).extractall(task)
            if self._root is None:
                return home
            root = home / "root"
            if not os.path.ismount(root):
                self._mount(home, root)
            return root

    def _mount(self, home: Path, root: Path) -> None:
        for name in ("root", "work", "upper/opt"):
            (home / name).mkdir(parents=True, exist_ok=True)
        ric = home / "upper/opt/ric"
        if self._runtime_client is not None and not ric.exists():
            subprocess.run(["cp", "-r", str(self._runtime_client), str(ric)], check=True)
        options = f"lowerdir={self._root},upperdir={home / 'upper'},workdir={home / 'work'}"
        subprocess.run(
            ["mount", "-t", "overlay", "pgmend-lab", "-o", options, str(root)], check=True
        )

    def _out(self, region: str) -> bool:
        return self._context.outages.out(region, RegionService.LAMBDA)

    def lose(self, region: str) -> None:
        """Every container of the region is killed, also in the middle of an event."""
        with self._lock:
            lost = [c for c in self._containers if parse_arn(c.arn).region == region]
        for container in lost:
            container.kill()

    def reap(self) -> None:
        """End containers that have been idle for long."""
        with self._lock:
            for idle in self._idle.values():
                for container in [c for c in idle if time.monotonic() - c.used > IDLE_S]:
                    idle.remove(container)
                    container.kill()

    def stop(self) -> None:
        """End every container, and wait until nothing is left of them."""
        with self._lock:
            containers = list(self._containers)
            self._idle.clear()
        for container in containers:
            container.kill()
        until = time.monotonic() + END_S
        for container in containers:
            container.over.wait(max(0.0, until - time.monotonic()))


def _version(function: LambdaFunction) -> str:
    """Changes with the code and with everything a running process has taken in of its configuration."""
    taken_in = (function.handler, function.memory_size, function.role, function.environment_vars)
    return f"{function.code_sha_256} {json.dumps(taken_in, sort_keys=True)}"


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")
