"""One warm process of a Lambda function: AWS's runtime interface client on its side, a runtime API of ours on this one.

A container takes one event at a time. Whatever ends it (a time-out, its own exit, too much memory), there is an answer
in AWS's shape and nothing is left of it: no process, no control group, no listening socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import signal
import subprocess
import termios
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lab.host import cgroups

RUNTIME = "/2018-06-01/runtime"
INIT_S = 20.0
LOG_S = 0.2
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one invocation. `error` is AWS's X-Amz-Function-Error or None."""

    body: bytes
    error: str | None
    log: str


@dataclass(kw_only=True)
class Job:
    """One invocation inside a container. What ends it first counts."""

    request_id: str
    payload: bytes
    deadline: float
    done: threading.Event = field(default_factory=threading.Event)
    body: bytes = b""
    error: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def finish(self, body: bytes, error: str | None) -> None:
        """It has come to an end."""
        with self._lock:
            if not self.done.is_set():
                self.body, self.error = body, error
                self.done.set()

    def fail(self, kind: str, message: str) -> None:
        """It ends with an error that is not the function's own."""
        text = f"RequestId: {self.request_id} Error: {message}"
        body = json.dumps({"errorType": kind, "errorMessage": text})
        self.finish(body.encode(), "Unhandled")


class Cell:
    """What one function's process may use: a control group of its own, or a limited address space."""

    def __init__(self, memory_mib: int, *, grouped: bool) -> None:
        self._group = f"function-{uuid.uuid4().hex[:12]}" if grouped else None
        self._limits = ""
        if self._group is not None:
            folders = cgroups.make(self._group)
            self._limits = "".join(f"echo $$ > {folder}/cgroup.procs; " for folder in folders)
            if cgroups.limit_memory(self._group, memory_mib * MIB):
                return
        # Lambda limits resident memory; address space is the next best, with room for threads' stacks.
        self._limits += f"ulimit -v {(memory_mib * 4 + 1024) * 1024}; "

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs something inside."""
        return ["/bin/sh", "-c", f'{self._limits}exec "$@"', "sh", *argv]

    def end(self, session: int) -> None:
        """Whatever the function left behind is ended, and the group is removed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session, signal.SIGKILL)
        if self._group is not None:
            cgroups.kill(self._group)
            cgroups.remove(self._group)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Runtime

    def log_message(self, *_: Any) -> None:
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
        if not container.ready.is_set():
            container.init_s = round(time.monotonic() - container.born, 3)
        container.ready.set()
        job = container.jobs.get()
        if job is None:
            self.close_connection = True
            return
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
        container, job = self.server.container, self.server.container.job
        if self.path == f"{RUNTIME}/init/error":
            container.init_error = body
            container.ready.set()
        elif job is not None and f"/{job.request_id}/" in self.path:
            job.finish(body, "Unhandled" if self.path.endswith("/error") else None)
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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A function that is killed leaves its connection in the middle of a word."""


class Container:
    """One warm process of a function version."""

    def __init__(
        self,
        *,
        arn: str,
        version: str,
        cell: Cell,
        argv: Sequence[str],
        environment: Mapping[str, str],
        where: str,
    ) -> None:
        self.arn, self.version, self._cell = arn, version, cell
        self.jobs: queue.Queue[Job | None] = queue.Queue()
        self.ready = threading.Event()
        self.over = threading.Event()  # nothing is left of it
        self.job: Job | None = None
        self.init_error: bytes | None = None
        self.born = self.used = time.monotonic()
        self.init_s: float | None = (
            None  # from the process's start to its first question for an event
        )
        self._dying = threading.Event()
        self._lines: list[str] = []
        self._api = _Runtime(self)
        threading.Thread(target=self._api.serve_forever, args=(0.1,), daemon=True).start()
        self._process = subprocess.Popen(
            cell.command(argv),
            cwd=where,
            env={**environment, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_port}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _read(self) -> None:
        if self._process.stdout is None:
            raise RuntimeError("a function's process has no output")
        with self._process.stdout as stream:
            self._lines.extend(stream)

    def _watch(self) -> None:
        """Waits for the process's end, answers for it and clears away what it leaves."""
        code = self._process.wait()
        self._dying.set()
        self._cell.end(self._process.pid)
        self._reader.join(LOG_S)
        self.ready.set()
        job = self.job
        if job is not None:
            job.fail("Runtime.ExitError", _exit(code))
        self.jobs.put(None)
        self._api.shutdown()
        self._api.server_close()
        self.over.set()

    @property
    def alive(self) -> bool:
        """Whether it can take another event."""
        return not self._dying.is_set() and self._process.poll() is None

    def invoke(self, request_id: str, payload: bytes, timeout_s: float) -> Result:
        """One event; a container that timed out or failed to start is dead afterwards."""
        self.used = time.monotonic()
        start = len(self._lines)
        job = Job(request_id=request_id, payload=payload, deadline=time.time() + timeout_s)
        if not self.ready.wait(INIT_S):
            job.fail("Sandbox.Timedout", f"the function did not start within {INIT_S:.0f} seconds")
            self.kill()
        elif self.init_error is not None:
            job.finish(self.init_error, "Unhandled")
            self.kill()
        else:
            self._run(job, timeout_s)
        self._settle()
        return Result(body=job.body, error=job.error, log="".join(self._lines[start:]))

    def _run(self, job: Job, timeout_s: float) -> None:
        job.deadline = time.time() + timeout_s
        self.job = job
        if self._dying.is_set():
            job.fail("Runtime.ExitError", _exit(self._process.wait()))
        self.jobs.put(job)
        if not job.done.wait(timeout_s):
            job.fail("Sandbox.Timedout", f"Task timed out after {timeout_s:.2f} seconds")
            self.kill()
        self.job = None

    def _settle(self) -> None:
        """What the function printed last is on its way through the pipe."""
        stream, until = self._process.stdout, time.monotonic() + LOG_S
        with contextlib.suppress(OSError, ValueError):
            while stream is not None and time.monotonic() < until:
                waiting = fcntl.ioctl(stream.fileno(), termios.FIONREAD, bytes(4))
                if waiting == bytes(4):
                    break
                time.sleep(0.001)
            time.sleep(0.005)

    def kill(self) -> None:
        """End it."""
        self._dying.set()
        self._process.kill()


def _exit(code: int) -> str:
    if code == 0:
        return "Runtime exited without providing a reason"
    how = f"exit status {code}" if code > 0 else f"signal: {signal.strsignal(-code)}".lower()
    return f"Runtime exited with error: {how}"
