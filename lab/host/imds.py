"""Instance metadata, version 2 only, for every machine from this one process.

Each machine's 169.254.169.254 is a socket bound inside its network namespace; the socket says who asks.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lab.host.network import METADATA, namespace
from lab.host.wan import CLONE_NEWNET
from lab.ports import InstanceMetadata, MetadataSource

TOKEN_TTL_MAX_S = 21600


def listen_in(netns: str, address: tuple[str, int]) -> socket.socket:
    """A listening socket in another network namespace. setns is per thread, so a thread makes it."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            fd = os.open(f"/run/netns/{netns}", os.O_RDONLY)
            try:
                if libc.setns(fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns {netns}")
            finally:
                os.close(fd)
            made.append(socket.create_server(address, reuse_port=False))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def tree(m: InstanceMetadata) -> dict[str, Callable[[], str]]:
    """Path below `latest/` → its text, made when asked."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fixed = {
        "instance-id": m.instance_id,
        "local-ipv4": m.address,
        "hostname": m.hostname,
        "local-hostname": m.hostname,
        "ami-id": m.image_id,
        "instance-type": m.instance_type,
        "mac": m.mac,
        "placement/availability-zone": m.zone,
        "placement/region": m.region,
        f"network/interfaces/macs/{m.mac}/device-number": "0",
        f"network/interfaces/macs/{m.mac}/local-ipv4s": m.address,
        **{f"tags/instance/{key}": value for key, value in m.tags.items()},
        **m.extra,
    }
    if m.role_name is not None and m.profile_arn is not None:
        info = {"Code": "Success", "LastUpdated": now, "InstanceProfileArn": m.profile_arn}
        fixed["iam/info"] = json.dumps(info)
    leaves: dict[str, Callable[[], str]] = {
        f"meta-data/{key}": partial(str, value) for key, value in fixed.items()
    }
    if m.role_name is not None and m.credentials is not None:
        give = m.credentials
        leaves[f"meta-data/iam/security-credentials/{m.role_name}"] = lambda: json.dumps(
            {"Code": "Success", "LastUpdated": now, "Type": "AWS-HMAC", **give()}
        )
    identity = {
        "region": m.region,
        "availabilityZone": m.zone,
        "instanceId": m.instance_id,
        "privateIp": m.address,
        "accountId": m.account_id,
    }
    leaves["dynamic/instance-identity/document"] = lambda: json.dumps(identity)
    if m.user_data:
        leaves["user-data"] = m.user_data.decode
    return leaves


def answer(leaves: dict[str, Callable[[], str]], path: str) -> str | None:
    """A leaf's text, a folder's listing, or None."""
    if path in leaves:
        return leaves[path]()
    prefix = f"{path}/" if path else ""
    below = {leaf[len(prefix) :] for leaf in leaves if leaf.startswith(prefix)}
    entries = {name.split("/", 1)[0] + ("/" if "/" in name else "") for name in below}
    return "\n".join(sorted(entries)) or None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the base class's signature
        """Metadata is asked for often; nothing is logged."""

    def _reply(self, status: int, body: str = "", **headers: str) -> None:
        raw = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(raw)

    def do_PUT(self) -> None:
        """A token."""
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path.rstrip("/") != "/latest/api/token":
            self._reply(404)
        elif self.headers.get("X-Forwarded-For"):
            self._reply(403)
        elif not ttl.isdigit() or not 1 <= int(ttl) <= TOKEN_TTL_MAX_S:
            self._reply(400)
        else:
            token = secrets.token_urlsafe(40)
            self.server.tokens[token] = time.monotonic() + int(ttl)
            self._reply(200, token, X_aws_ec2_metadata_token_ttl_seconds=ttl)

    def do_GET(self) -> None:
        """A leaf or a listing, with a token only."""
        token = self.headers.get("X-aws-ec2-metadata-token", "")
        if self.server.tokens.get(token, 0.0) < time.monotonic():
            self._reply(401, "Unauthorized")
            return
        metadata = self.server.ask()
        _, _, path = self.path.split("?")[0].strip("/").partition("/")
        found = None if metadata is None else answer(tree(metadata), path)
        self._reply(404) if found is None else self._reply(200, found)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sock: socket.socket, ask: Callable[[], InstanceMetadata | None]) -> None:
        super().__init__(sock.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.ask = ask
        self.tokens: dict[str, float] = {}


class Metadata:
    """The metadata servers of all machines."""

    def __init__(self, source: MetadataSource) -> None:
        self._source = source
        self._servers: dict[str, _Server] = {}

    def open(self, instance_id: str) -> None:
        """Serve a machine whose namespace exists."""
        if instance_id in self._servers:
            return
        sock = listen_in(namespace(instance_id), (METADATA, 80))
        server = _Server(sock, lambda: self._source.metadata(instance_id))
        self._servers[instance_id] = server
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def close(self, instance_id: str) -> None:
        """Stop serving it."""
        server = self._servers.pop(instance_id, None)
        if server is not None:
            server.shutdown()
            server.server_close()
