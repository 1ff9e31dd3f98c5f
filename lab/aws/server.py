"""The local AWS's listeners: one a region on the region's own address, one for the operator on loopback.

A region can be out. Whoever asks its listener is refused, or hears nothing, as in `lab.ports.RegionApi`; whoever asks
the operator's for that region finds the connection closed without an answer, at once or after the silence. Only the
lab's own tools, which break things and judge, are answered in any case.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from lab.aws.context import Context
from lab.aws.dates import too_far
from lab.aws.iam import Guard
from lab.aws.iam.calls import take_body
from lab.ports import LAB_TOOL, OPERATOR_KEY, Region, RegionApi, RegionService

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
CREDENTIAL = re.compile(r"Credential=([^/,]+)/\d+/([^/]+)/([^/]+)/")
WAITING = frozenset({"lambda", "sqs"})
FILL_S = 0.5
FREE_S = 5.0
T = TypeVar("T")
ANY_REGION = frozenset({"us-east-1", "aws-global"})
# What a service that is out answers, if its region is there: code and sentence.
OUT = {
    RegionService.EVENTS: ("Internal", "This exception occurs due to unexpected causes."),
    RegionService.LAMBDA: ("Service", "The AWS Lambda service encountered an internal error."),
}


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Head and body leave in one piece. With the body a moment later, the provider's HTTP client now and then closes
    # the connection on the head, asks again, and is told that what it made exists already.
    wbufsize = -1

    def log(self, *_: Any, **__: Any) -> None:
        """Calls are recorded by the application below."""

    timeout = 120  # a keep-alive connection that fell silent is closed
    server: _Server

    def setup(self) -> None:
        """Remember the connection for as long as it lasts."""
        super().setup()
        self.server.live.add(self.connection)

    def finish(self) -> None:
        """And forget it."""
        self.server.live.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()


class _Server(ThreadedWSGIServer):
    daemon_threads = True

    def __init__(self, address: str, port: int, app: Wsgi) -> None:
        super().__init__(address, port, app, handler=_Handler)
        self.live: set[socket.socket] = set()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def leave(self) -> None:
        """Take no more connections; those that are open stay."""
        self.shutdown()
        self.server_close()

    def hang_up(self) -> None:
        """End all connections that are open."""
        for connection in list(self.live):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Answer nobody any more, also not on connections that are open."""
        self.leave()
        self.hang_up()


class _DeadEnd:
    """An address at which connecting times out: the queue is full and nobody takes from it, so SYNs are dropped."""

    def __init__(self, address: str, port: int) -> None:
        with contextlib.ExitStack() as made:
            listening = made.enter_context(socket.socket())
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((address, port))
            listening.listen(0)  # the kernel takes in one
            with contextlib.suppress(TimeoutError):  # somebody who asked was first, and waits there
                made.enter_context(socket.create_connection((address, port), timeout=FILL_S))
            self._filling = made.pop_all()

    def close(self) -> None:
        """Nobody listens there any more."""
        self._filling.close()


def _soon(make: Callable[[], T]) -> T:
    """What `make` makes, once the address is free: a process that is being started holds a copy for a moment."""
    until = time.monotonic() + FREE_S
    while True:
        try:
            return make()
        except (OSError, SystemExit):  # werkzeug exits where an address is in use
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


class Front:
    """What every listener serves: the lab's own paths, then moto, with a record of each call."""

    def __init__(self, context: Context, ssm: Any, guard: Guard) -> None:
        self._context, self._ssm, self._guard = context, ssm, guard
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def _turn(self, service: str) -> contextlib.AbstractContextManager[object]:
        """One call of a service at a time: moto reads and then writes without a lock of its own.

        Calls that wait for something (a function's answer, a queue's message) take no turn.
        """
        return contextlib.nullcontext() if service in WAITING else self._turns[service]

    def of(self, region: str | None) -> Wsgi:
        """The application of one region's listener; None is the operator's."""

        def serve(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            whose = region or _asked_of(environ)
            self._be_there(whose, environ)
            path = environ.get("PATH_INFO", "")
            if path.startswith("/_lab/ssm/"):
                answer = self._lab(region, path, environ, start)
            else:
                answer = self._aws(region, environ, start)
            self._be_there(whose, environ)  # what was done is done; the answer gets lost
            return answer

        return serve

    def _be_there(self, region: str | None, environ: dict[str, Any]) -> None:
        """Return when the region answers; else break off, at once or when its silence is over."""
        outages = self._context.outages
        if region is None or not outages.gone(region) or _by_the_lab(environ):
            return
        outages.outlast_silence(region, self._context.down)
        with contextlib.suppress(OSError):  # the listener may have closed it already
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError(f"nothing of AWS answers in {region}")

    def _out(self, region: str, service: str) -> tuple[str, str] | None:
        """Code and sentence of a service that is out there; None of one that works."""
        known = next((one for one in RegionService if one == service), None)
        if known is None or not self._context.outages.out(region, known):
            return None
        return OUT[known]

    def _lab(
        self, region: str | None, path: str, environ: dict[str, Any], start: Callable[..., Any]
    ) -> Iterable[bytes]:
        instance_id, _, verb = path.removeprefix("/_lab/ssm/").partition("/")
        try:
            answer = self._agent(region, instance_id, verb, environ)
            status, body = "200 OK", json.dumps(answer).encode()
        except LookupError as error:
            status, body = "403 Forbidden", json.dumps({"error": str(error)}).encode()
        start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _agent(
        self, region: str | None, instance_id: str, verb: str, environ: dict[str, Any]
    ) -> Any:
        """What the agent stand-in of a node is answered. Raises LookupError.

        It has no keys of its own to sign with; AWS's agent uses the instance's, so it is refused when they are.
        """
        if self._guard.expired(instance_id):
            raise LookupError(f"the credentials of {instance_id} are expired")
        if verb == "next":
            return self._ssm.poll(region, instance_id)
        if verb == "ping":
            return self._ssm.ping(region, instance_id)
        if verb != "result":
            raise LookupError(f"an agent does not ask for {verb!r}")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        return self._ssm.report(instance_id, json.loads(environ["wsgi.input"].read(length)))

    def _aws(
        self, region: str | None, environ: dict[str, Any], start: Callable[..., Any]
    ) -> Iterable[bytes]:
        began = time.monotonic()
        asked = take_body(
            environ
        )  # in full, or what is left of it would be read as the next request
        found = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        key, signed_for, service = found.groups() if found else ("", "", "")
        statuses: list[str] = []

        def remember(status: str, *rest: Any) -> Any:
            statuses.append(status)
            return start(status, *rest)

        if region is not None and signed_for not in ANY_REGION | {region, ""}:
            sentence = f"Credential should be scoped to a valid region, not '{signed_for}'."
            return refusal("SignatureDoesNotMatch", sentence, _shape(environ, service), start)
        denied = too_far(environ, _shape(environ, service), datetime.now(UTC)) if found else None
        if denied is None and key != OPERATOR_KEY:
            denied = self._guard.check(environ, key, signed_for, service)
        if denied is not None:
            self._context.evidence.add(
                "denied", region=signed_for, service=service, sentence=denied.sentence
            )
            return refusal(denied.code, denied.sentence, _shape(environ, service), start)
        out = self._out(signed_for, service)
        if out is not None:
            return refusal(*out, _shape(environ, service), start, status="500 Server Error")
        with self._turn(service):
            body = list(self._moto(environ, remember))
        status = (statuses or ["?"])[-1][:3]
        self._context.evidence.add(
            "api",
            region=signed_for,
            service=service,
            action=_action(environ, asked),
            key=key[-6:],
            status=status,
            said=b"".join(body)[:300].decode(errors="replace") if status >= "400" else None,
            ms=round((time.monotonic() - began) * 1000, 1),
        )
        return body


def _asked_of(environ: dict[str, Any]) -> str | None:
    """The region that a call to the operator's listener is signed for."""
    found = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    return found.group(2) if found else None


def _by_the_lab(environ: dict[str, Any]) -> bool:
    return LAB_TOOL in environ.get("HTTP_USER_AGENT", "")


def _shape(environ: dict[str, Any], service: str) -> str:
    """How a client that asks in this way reads errors."""
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return "cbor"
    return "json" if environ.get("HTTP_X_AMZ_TARGET") else service


def _action(environ: dict[str, Any], asked: bytes) -> str:
    """What the call is about: the target header, the form's action, or the path."""
    form = parse_qs(asked[:4096].decode(errors="replace"))
    found = environ.get("HTTP_X_AMZ_TARGET") or (form.get("Action") or [""])[0]
    return str(found or f"{environ.get('REQUEST_METHOD')} {environ.get('PATH_INFO')}")


def refusal(
    code: str,
    sentence: str,
    service: str,
    start: Callable[..., Any],
    *,
    status: str = "403 Forbidden",
) -> Iterable[bytes]:
    """An error in the shape the service's clients read."""
    safe = escape(sentence)
    if service in ("ec2", "sns", "sqs", "monitoring", "sts", "iam"):
        text = (
            f"<Response><Errors><Error><Code>{code}</Code><Message>{safe}</Message></Error></Errors>"
            "<RequestID>0</RequestID></Response>"
            if service == "ec2"
            else f"<ErrorResponse><Error><Code>{code}</Code><Message>{safe}</Message></Error></ErrorResponse>"
        )
        kind = "text/xml"
    elif service == "s3":
        text = f"<Error><Code>{code}</Code><Message>{safe}</Message></Error>"
        kind = "application/xml"
    else:
        text, kind = (
            json.dumps({"__type": f"{code}Exception", "message": sentence}),
            "application/x-amz-json-1.1",
        )
    body = text.encode()
    if service == "cbor":
        body = cbor({"__type": f"{code}Exception", "message": sentence})
        kind = "application/cbor"
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    if service == "cbor":
        headers.append(("smithy-protocol", "rpc-v2-cbor"))
    start(status, headers)
    return [body]


def cbor(texts: Mapping[str, str]) -> bytes:
    """A map of a few texts as RFC 8949 writes it."""
    whole = bytes([0xA0 | len(texts)])
    for text in (part for pair in texts.items() for part in pair):
        raw = text.encode()
        whole += b"\x79" + len(raw).to_bytes(2, "big") + raw
    return whole


class Listeners:
    """Starts the endpoints, and makes those of a region refuse, keep silent and answer again. Thread-safe."""

    def __init__(self, front: Front, regions: Iterable[Region], port: int) -> None:
        self._front, self._port = front, port
        self._regions = {region.name: region for region in regions}
        self._servers: dict[str, _Server] = {}
        self._left: dict[
            str, _Server
        ] = {}  # listen no more; their connections are open, and silent
        self._dead_ends: dict[str, _DeadEnd] = {}
        self._regional = False
        self._lock = threading.Lock()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)

    def start(self, *, regional: bool) -> None:
        """Listen on loopback, and on every region's address when its leg exists."""
        self._listen("operator", "127.0.0.1", None)
        self._regional = regional
        if regional:
            for region in self._regions.values():
                self._listen(region.name, region.host_address, region.name)

    def _listen(self, name: str, address: str, region: str | None) -> None:
        server = _soon(lambda: _Server(address, self._port, self._front.of(region)))
        self._servers[name] = server
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        ).start()

    def become(self, region: str, api: RegionApi) -> None:
        """From now on the region's address does this with whoever asks. Harmless when it does so already."""
        if not self._regional:
            return
        with self._lock:
            match api:
                case RegionApi.ANSWERS if region not in self._servers:
                    self._close(region)
                    self._listen(region, self._regions[region].host_address, region)
                case RegionApi.REFUSED:
                    self._close(region)
                case RegionApi.SILENT if region not in self._dead_ends:
                    server = self._servers.pop(region, None)
                    if server is not None:
                        server.leave()
                        self._left[region] = server
                    address = self._regions[region].host_address
                    self._dead_ends[region] = _soon(lambda: _DeadEnd(address, self._port))

    def _close(self, name: str) -> None:
        """Nobody listens at that address any more, and no connection to it is open."""
        dead_end = self._dead_ends.pop(name, None)
        if dead_end is not None:
            dead_end.close()
        server = self._servers.pop(name, None)
        if server is not None:
            server.drop()
        left = self._left.pop(name, None)
        if left is not None:
            left.hang_up()

    def stop(self) -> None:
        """Close all."""
        with self._lock:
            for name in {*self._servers, *self._left, *self._dead_ends}:
                self._close(name)
