"""The local AWS's listeners: one a region on the region's own address, one for the operator on loopback."""

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
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from lab.aws.context import Context
from lab.aws.dates import too_far
from lab.aws.iam import Guard
from lab.aws.iam.calls import take_body
from lab.ports import OPERATOR_KEY, Region

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
CREDENTIAL = re.compile(r"Credential=([^/,]+)/\d+/([^/]+)/([^/]+)/")
WAITING = frozenset({"lambda", "sqs"})
ANY_REGION = frozenset({"us-east-1", "aws-global"})


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

    def drop(self) -> None:
        """Answer nobody any more, also not on connections that are open."""
        self.shutdown()
        self.server_close()
        for connection in list(self.live):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


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
            path = environ.get("PATH_INFO", "")
            if path.startswith("/_lab/ssm/"):
                return self._lab(region, path, environ, start)
            return self._aws(region, environ, start)

        return serve

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


def refusal(code: str, sentence: str, service: str, start: Callable[..., Any]) -> Iterable[bytes]:
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
    start("403 Forbidden", headers)
    return [body]


def cbor(texts: Mapping[str, str]) -> bytes:
    """A map of a few texts as RFC 8949 writes it."""
    whole = bytes([0xA0 | len(texts)])
    for text in (part for pair in texts.items() for part in pair):
        raw = text.encode()
        whole += b"\x79" + len(raw).to_bytes(2, "big") + raw
    return whole


class Listeners:
    """Starts, cuts and mends the endpoints."""

    def __init__(self, front: Front, regions: Iterable[Region], port: int) -> None:
        self._front, self._port = front, port
        self._regions = {region.name: region for region in regions}
        self._servers: dict[str, _Server] = {}
        logging.getLogger("werkzeug").setLevel(logging.ERROR)

    def start(self, *, regional: bool) -> None:
        """Listen on loopback, and on every region's address when its leg exists."""
        self._listen("operator", "127.0.0.1", None)
        if regional:
            for region in self._regions.values():
                self._listen(region.name, region.host_address, region.name)

    def _listen(self, name: str, address: str, region: str | None) -> None:
        server = _Server(address, self._port, self._front.of(region))
        self._servers[name] = server
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        ).start()

    def cut(self, region: str) -> None:
        """The region's API does not answer any more."""
        server = self._servers.pop(region, None)
        if server is not None:
            server.drop()

    def mend(self, region: str) -> None:
        """It answers again."""
        if region not in self._servers:
            self._listen(region, self._regions[region].host_address, region)

    def stop(self) -> None:
        """Close all."""
        for name in list(self._servers):
            self.cut(name)
