"""Amazon on paper: instance metadata that hands keys out, and services with a clock of their own."""

from __future__ import annotations

import json
import threading
import time
from calendar import timegm
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

OFF_MAX_S = 300.0


class Amazon:
    """Its services take the newest key alone, and signatures of five minutes around their own time."""

    def __init__(self) -> None:
        self.key: str | None = "AKOLD"  # what metadata says
        self.taken = "AKOLD"  # what the services take
        self.lasts_s = 6 * 3600.0  # the keys that metadata hands out, from the node's time on
        self.ahead_s = 0.0  # of the node's clock
        self.dated = True  # whether the services' answers say when
        self.handed_out = 0
        self.late = 0  # calls that were refused for their time
        self.events: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                self._answer(200, "token")

            def do_GET(self) -> None:
                self._answer(*outer.metadata(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._answer(*outer.service(self.headers, body))

            def date_time_string(self, _: float | None = None) -> str:
                return super().date_time_string(time.time() + outer.ahead_s)

            def send_header(self, keyword: str, value: str) -> None:
                if outer.dated or keyword != "Date":
                    super().send_header(keyword, value)

            def _answer(self, status: int, body: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Nothing to say."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def metadata(self, path: str) -> tuple[int, str]:
        if self.key is None:
            return 404, ""
        if path.endswith("/security-credentials/"):
            return 200, "node"
        self.handed_out += 1
        ends = datetime.now(UTC) + timedelta(seconds=self.lasts_s)
        found = {
            "Code": "Success",
            "AccessKeyId": self.key,
            "SecretAccessKey": "secret",
            "Token": "token",
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return 200, json.dumps(found)

    def service(self, headers: Message, body: bytes) -> tuple[int, str]:
        signed = timegm(time.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
        if abs(time.time() + self.ahead_s - signed) > OFF_MAX_S:
            self.late += 1
            return 400, '{"__type": "InvalidSignatureException", "message": "Signature expired"}'
        if f"Credential={self.taken}/" not in headers["Authorization"]:
            return 400, '{"__type": "ExpiredTokenException", "message": "expired"}'
        self.events += json.loads(body)["Entries"]
        return 200, '{"FailedEntryCount": 0}'

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def as_only_source_of_keys(amazon: Amazon, patch: pytest.MonkeyPatch, folder: Path) -> None:
    """What this computer itself has of keys is not there."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        patch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        patch.setenv(name, str(folder / "none"))
    patch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    patch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", amazon.url)
