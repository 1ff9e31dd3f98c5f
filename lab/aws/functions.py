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
import queue
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.awslambda_simple.models import LambdaSimpleBackend, lambda_simple_backends
from moto.utilities.arns import parse_arn

from lab.aws import credentials
from lab.aws.bus import send_to_queue
from lab.aws.context import ACCOUNT, Context, log

RUNTIME = "/2018-06-01/runtime"
RETRY_DELAYS_S = (1.0, 2.0)  # AWS waits one and two minutes
IDLE_S = 300.0
INIT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one invocation. `error` is AWS's X-Amz-Function-Error or None."""

    body: bytes
    error: str | None
    log: str


@dataclass(kw_only=True)
class Job:
    """One invocation inside a container."""

    request_id: str
    payload: bytes
    deadline: float
    done: threading.Event = field(default_factory=threading.Event)
    body: bytes = b""
    error: str | None = None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Runtime

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the base class's signature
        """The runtime API is not logged."""

    def _reply(self, status: int, body: bytes = b'{"status":"OK"}', **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_GET(self) -> None:
        """The next invocation."""
        if self.path != f"{RUNTIME}/invocation/next":
            self._reply(404)
            return
        container = self.server.container
        container.ready.set()
        job = container.jobs.get()
        if job is None:
            self._reply(500)
            return
        container.current = job
        self._reply(
            200,
            job.payload,
            Lambda_Runtime_Aws_Request_Id=job.request_id,
            Lambda_Runtime_Deadline_Ms=str(int(job.deadline * 1000)),
            Lambda_Runtime_Invoked_Function_Arn=container.arn,
            Lambda_Runtime_Trace_Id=f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}",
        )

    def do_POST(self) -> None:
        """A response or an error."""
        body = self._body()
        container, job = self.server.container, self.server.container.current
        if self.path == f"{RUNTIME}/init/error":
            container.init_error = body
            container.ready.set()
        elif job is not None:
            job.body = body
            job.error = "Unhandled" if self.path.endswith("/error") else None
            container.current = None
            job.done.set()
        self._reply(202)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length")
        if length is not None:
            return self.rfile.read(int(length))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)


class _Runtime(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, container: Container) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.container = container


class Container:
    """One warm process of a function version."""

    def __init__(self, arn: str, command: Callable[[str], subprocess.Popen[str]]) -> None:
        self.arn = arn
        self.jobs: queue.Queue[Job | None] = queue.Queue()
        self.ready = threading.Event()
        self.current: Job | None = None
        self.init_error: bytes | None = None
        self.lines: list[str] = []
        self.used = time.monotonic()
        self._api = _Runtime(self)
        threading.Thread(target=self._api.serve_forever, daemon=True).start()
        self._process = command(f"127.0.0.1:{self._api.server_address[1]}")
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            raise RuntimeError("a function's process has no output")
        self.lines.extend(stream)
        self._process.wait()
        self.ready.set()
        if self.current is not None:
            code = self._process.returncode
            text = "signal: killed" if code == -9 else f"exit status {code}"
            self.current.body = _error("Runtime.ExitError", f"Runtime exited with error: {text}")
            self.current.error = "Unhandled"
            self.current.done.set()

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    def invoke(self, payload: bytes, timeout_s: float) -> Result:
        """One event; a container that timed out or failed to start is dead afterwards."""
        self.used = time.monotonic()
        if not self.ready.wait(INIT_S) or self.init_error is not None or not self.alive:
            body = self.init_error or _error("Runtime.ExitError", "the function did not start")
            text = "".join(self.lines)
            self.kill()
            return Result(body=body, error="Unhandled", log=text)
        start = len(self.lines)
        job = Job(request_id=str(uuid.uuid4()), payload=payload, deadline=time.time() + timeout_s)
        self.jobs.put(job)
        if not job.done.wait(timeout_s):
            self.kill()
            job.error = "Unhandled"
            job.body = _error("Sandbox.Timedout", f"Task timed out after {timeout_s:.2f} seconds")
        time.sleep(0.005)  # what the function printed last is on its way through the pipe
        return Result(body=job.body, error=job.error, log="".join(self.lines[start:]))

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self.jobs.put(None)
        threading.Thread(target=self._close, daemon=True).start()

    def _close(self) -> None:
        self._api.shutdown()
        self._api.server_close()


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


class Functions:
    """Every function of the local AWS."""

    def __init__(
        self, context: Context, folder: Path, root: Path | None, runtime_client: Path | None
    ) -> None:
        self._context, self._folder = context, folder
        self._root, self._runtime_client = root, runtime_client
        self._idle: dict[str, list[Container]] = {}
        self._busy: dict[str, int] = {}
        self._lock = threading.RLock()
        self.stopped: set[str] = set()

    def install(self) -> None:
        """Replace moto's canned answer."""
        functions = self

        def invoke(
            backend: LambdaSimpleBackend,
            function_name: str,
            qualifier: str | None,
            body: Any,  # noqa: ANN401
            headers: Any,  # noqa: ANN401
            response_headers: dict[str, str],
        ) -> bytes:
            function = backend.get_function(function_name, qualifier)
            payload = body.encode() if isinstance(body, str) else (body or b"{}")
            kind = {k.lower(): v for k, v in dict(headers or {}).items()}.get(
                "x-amz-invocation-type"
            )
            if kind == "Event":
                functions.invoke_async(function.function_arn, payload)
                return b""
            result = functions.run(function, payload)
            response_headers["x-amz-log-result"] = base64.b64encode(
                result.log.encode()[-4096:]
            ).decode()
            if result.error is not None:
                response_headers["x-amz-function-error"] = result.error
            return result.body

        LambdaSimpleBackend.invoke = invoke

    def invoke_async(self, arn: str, payload: bytes) -> None:
        """Queue an event; raises LookupError when there is no such function or its region's service is down."""
        region = parse_arn(arn).region
        if region in self.stopped:
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
        result = None
        for attempt in range(tries):
            while not self._take(function):
                if self._context.down.wait(0.2):
                    return
            result = self._run_taken(function, payload)
            if result.error is None:
                return
            if attempt < tries - 1 and self._context.down.wait(RETRY_DELAYS_S[min(attempt, 1)]):
                return
        if result is not None:
            self._failed(function, payload, result, config, tries)

    def _failed(
        self,
        function: LambdaFunction,
        payload: bytes,
        result: Result,
        config: dict[str, Any],
        tries: int,
    ) -> None:
        target = ((config.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
        if target is None or ":sqs:" not in target:
            log.warning("an event for %s failed for good: %s", function.function_name, result.body)
            return
        message = {
            "version": "1.0",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "requestContext": {
                "functionArn": function.function_arn,
                "condition": "RetriesExhausted",
                "approximateInvokeCount": tries,
            },
            "requestPayload": _json(payload),
            "responseContext": {"statusCode": 200, "functionError": result.error},
            "responsePayload": _json(result.body),
        }
        send_to_queue(target, json.dumps(message), {})

    def _take(self, function: LambdaFunction) -> bool:
        """One of the reserved places, if one is free."""
        limit = function.reserved_concurrency
        with self._lock:
            busy = self._busy.get(function.function_name, 0)
            if limit is not None and busy >= int(limit):
                return False
            self._busy[function.function_name] = busy + 1
            return True

    def run(self, function: LambdaFunction, payload: bytes) -> Result:
        """A synchronous invocation."""
        if not self._take(function):
            return Result(
                body=_error("TooManyRequestsException", "Rate Exceeded."), error="Throttled", log=""
            )
        return self._run_taken(function, payload)

    def _run_taken(self, function: LambdaFunction, payload: bytes) -> Result:
        key = f"{function.function_arn}:{function.code_sha_256}"
        began = time.monotonic()
        try:
            with self._lock:
                idle = self._idle.setdefault(key, [])
                container = next(
                    (idle.pop() for _ in range(len(idle)) if idle[-1].alive or not idle.pop()), None
                )
            cold = container is None
            if container is None:
                container = Container(function.function_arn, lambda api: self._start(function, api))
            result = container.invoke(payload, float(function.timeout))
            if container.alive:
                with self._lock:
                    idle.append(container)
        finally:
            with self._lock:
                self._busy[function.function_name] -= 1
        self._context.evidence.add(
            "functions",
            function=function.function_name,
            region=function.region,
            cold=cold,
            seconds=round(time.monotonic() - began, 3),
            error=result.error,
            event=_json(payload),
            answer=_json(result.body),
            log=result.log[-8000:],
        )
        return result

    def _start(self, function: LambdaFunction, api: str) -> subprocess.Popen[str]:
        home = self._unpacked(function)
        role = credentials.of_role(function.role, function.function_name)
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "HOME": "/tmp",  # noqa: S108 - as on Lambda
            "_HANDLER": function.handler,
            "AWS_LAMBDA_RUNTIME_API": api,
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
                ["chroot", str(home), "/usr/bin/env", "-C", "/var/task", "/usr/bin/python3"],
                "/",
            )
        return subprocess.Popen(
            ["/bin/sh", "-c", f'ulimit -v {_address_space_kib(function)}; exec "$@"', "sh"]
            + [*command, "-m", "awslambdaric", function.handler],
            cwd=where,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

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

    def reap(self) -> None:
        """End containers that have been idle for long."""
        with self._lock:
            for idle in self._idle.values():
                for container in [c for c in idle if time.monotonic() - c.used > IDLE_S]:
                    idle.remove(container)
                    container.kill()

    def stop(self) -> None:
        """End every container."""
        with self._lock:
            for idle in self._idle.values():
                for container in idle:
                    container.kill()
            self._idle.clear()


def _address_space_kib(function: LambdaFunction) -> int:
    """Lambda limits resident memory; address space is the nearest a process can be held to here, with room for threads' stacks."""
    return (int(function.memory_size) * 4 + 1024) * 1024


def _json(raw: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")
