"""Credentials that AWS refuses are read anew from instance metadata, by an agent that goes on running."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from node_agent import aws
from node_agent import sender as sending
from node_agent.aws import Access, Road, refuses_credentials
from node_agent.changes import Change
from node_agent.sender import Sender
from tests.unit.node_agent.builders import Clock, a_node, example


class Amazon:
    """Instance metadata that hands keys out, and services that take the newest key alone."""

    def __init__(self) -> None:
        self.key: str | None = "AKOLD"  # what metadata says
        self.taken = "AKOLD"  # what the services take
        self.handed_out = 0
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
                self._answer(*outer.service(self.headers.get("Authorization", ""), body))

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
        ends = datetime.now(UTC) + timedelta(hours=6)  # by its own date it is good for hours
        found = {
            "Code": "Success",
            "AccessKeyId": self.key,
            "SecretAccessKey": "secret",
            "Token": "token",
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return 200, json.dumps(found)

    def service(self, authorization: str, body: bytes) -> tuple[int, str]:
        if f"Credential={self.taken}/" not in authorization:
            return 400, '{"__type": "ExpiredTokenException", "message": "expired"}'
        self.events += json.loads(body)["Entries"]
        return 200, '{"FailedEntryCount": 0}'

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Amazon]:
    found = Amazon()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", found.url)
    monkeypatch.setattr(sending, "STATE", tmp_path)
    yield found
    found.close()


PROMOTED = Change(
    detail_type="Patroni Role Changed", subject="role", before="replica", after="leader"
)


class Agent:
    """The sender of a node, on a clock of the test's own."""

    def __init__(self, amazon: Amazon) -> None:
        self.clock = Clock()
        node = a_node(endpoints={"eu-west-1": amazon.url, "eu-central-1": amazon.url})
        self.sender = Sender(node)
        self.sender.bus = "pgmend"
        self.sender._access = Access(node, self.clock)
        self.road = Road(self.sender._access, "events", "eu-west-1")
        self.sender.announce(example("report-leader.json"), [PROMOTED])

    def send(self) -> bool:
        return self.sender._put(self.road, self.sender.spool.head(10))


def test_an_agent_whose_credentials_were_refused_goes_on_with_new_ones(amazon: Amazon) -> None:
    agent = Agent(amazon)
    assert agent.send()
    amazon.taken = "AKNEW"
    assert not agent.send()
    assert not agent.send()
    assert len(agent.sender.spool.head(10)) == 1  # nothing is lost meanwhile
    amazon.key = "AKNEW"
    agent.clock.sleep(aws.RENEW_EVERY_S)
    assert not agent.send()  # this refusal makes it read again
    assert agent.send()
    assert len(amazon.events) == 2


def test_an_agent_that_started_before_it_had_credentials_finds_them(amazon: Amazon) -> None:
    amazon.key = None
    agent = Agent(amazon)
    assert not agent.send()
    amazon.key = "AKOLD"
    assert agent.send()


def test_metadata_is_not_asked_at_every_pass_while_credentials_are_refused(amazon: Amazon) -> None:
    amazon.taken = "AKNEW"
    agent = Agent(amazon)
    for _ in range(20):
        agent.send()
    assert amazon.handed_out <= 3


def test_one_refusal_is_enough_for_all_roads(amazon: Amazon) -> None:
    agent = Agent(amazon)
    other = Road(agent.sender._access, "events", "eu-west-1")
    assert agent.send()
    assert agent.sender._put(other, agent.sender.spool.head(10))
    amazon.key = amazon.taken = "AKNEW"
    assert not agent.send()
    assert not agent.sender._put(other, agent.sender.spool.head(10))  # the first has renewed it
    handed_out = amazon.handed_out
    assert agent.send()
    assert agent.sender._put(other, agent.sender.spool.head(10))
    assert amazon.handed_out <= handed_out + 1


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "PutEvents")


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (refusal("ExpiredToken"), True),
        (refusal("ExpiredTokenException"), True),
        (refusal("UnrecognizedClientException"), True),
        (refusal("AccessDeniedException"), False),
        (refusal("ThrottlingException"), False),
        (ClientError({}, "PutEvents"), False),
        (NoCredentialsError(), True),
        (EndpointConnectionError(endpoint_url="http://events"), False),
    ],
    ids=repr,
)
def test_only_words_about_who_we_are_make_new_credentials(error: Exception, refused: bool) -> None:
    assert refuses_credentials(error) is refused
