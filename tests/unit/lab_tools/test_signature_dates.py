"""The local AWS refuses a signature that is too far from its own time in each client's words, and says the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lab.aws.context import Context
from lab.aws.dates import STAMP, too_far
from lab.aws.evidence import Evidence
from lab.aws.server import Front, _Server
from lab.ports import FAST, OPERATOR_KEY
from node_agent.aws_time import AwsTime

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
HOUR_S = 3600.0


def code(shape: str, off: timedelta) -> str | None:
    found = too_far({"HTTP_X_AMZ_DATE": f"{NOW + off:{STAMP}}"}, shape, NOW)
    return None if found is None else found.code


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("shape", "minutes", "said"),
    [
        ("json", 5, "InvalidSignature"),
        ("cbor", 5, "InvalidSignature"),
        ("lambda", 5, "InvalidSignature"),
        ("monitoring", 5, "SignatureDoesNotMatch"),
        ("sts", 5, "SignatureDoesNotMatch"),
        ("ec2", 5, "RequestExpired"),
        ("s3", 15, "RequestTimeTooSkewed"),
    ],
)
def test_a_signature_is_good_for_minutes_around_now(
    shape: str, minutes: int, said: str, sign: int
) -> None:
    assert code(shape, sign * timedelta(minutes=minutes)) is None
    assert code(shape, sign * timedelta(minutes=minutes, seconds=1)) == said


def test_the_sentence_is_awss_own() -> None:
    early = too_far({"HTTP_X_AMZ_DATE": "20260101T150000Z"}, "json", NOW)
    late = too_far({"HTTP_X_AMZ_DATE": "20260101T090000Z"}, "json", NOW)
    assert early is not None
    assert late is not None
    assert early.sentence == (
        "Signature not yet current: 20260101T150000Z is still later than 20260101T120500Z "
        "(20260101T120000Z + 5 min.)"
    )
    assert late.sentence == (
        "Signature expired: 20260101T090000Z is now earlier than 20260101T115500Z "
        "(20260101T120000Z - 5 min.)"
    )


@pytest.mark.parametrize("environ", [{}, {"HTTP_X_AMZ_DATE": ""}, {"HTTP_X_AMZ_DATE": "today"}])
def test_what_has_no_date_is_not_judged_by_it(environ: dict[str, str]) -> None:
    assert too_far(environ, "json", NOW) is None


# -- over the wire


class Moto:
    """Counts what came through and answers as a service that found nothing to say."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.calls += 1
        cbor = environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor"
        xml = not cbor and not environ.get("HTTP_X_AMZ_TARGET")
        body = b"\xa0" if cbor else b"<R><ListTopicsResult/></R>" if xml else b"{}"
        headers = [("Content-Length", str(len(body)))]
        if cbor:
            headers.append(("smithy-protocol", "rpc-v2-cbor"))
        start("200 OK", headers)
        return [body]


class Lab:
    """A listener of the local AWS, with nothing behind it."""

    def __init__(self) -> None:
        self.moto = Moto()
        nothing: Any = None
        front = Front(Context(clock=FAST, evidence=Evidence(None)), nothing, nothing)
        patched: Any = front
        patched._moto = self.moto
        self._server = _Server("127.0.0.1", 0, front.of(None))
        self.url = f"http://127.0.0.1:{self._server.port}"
        serve = {"poll_interval": 0.01}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs=serve)
        self._thread.start()

    def client(self, service: str) -> Any:
        session: Any = boto3.session.Session(
            aws_access_key_id=OPERATOR_KEY, aws_secret_access_key="operator"
        )
        config = Config(retries={"mode": "standard", "total_max_attempts": 1})
        return session.client(
            service, region_name="eu-west-1", endpoint_url=self.url, config=config
        )

    def close(self) -> None:
        self._server.drop()
        self._thread.join()


@pytest.fixture
def lab() -> Iterator[Lab]:
    found = Lab()
    yield found
    found.close()


CALLS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "dynamodb": ("InvalidSignatureException", lambda c: c.list_tables()),
    "events": ("InvalidSignatureException", lambda c: c.list_rules()),
    "ssm": ("InvalidSignatureException", lambda c: c.list_documents()),
    "secretsmanager": ("InvalidSignatureException", lambda c: c.list_secrets()),
    "cloudwatch": ("InvalidSignatureException", lambda c: c.describe_alarms()),
    "sns": ("SignatureDoesNotMatch", lambda c: c.list_topics()),
    "ec2": ("RequestExpired", lambda c: c.describe_instances()),
    "s3": ("RequestTimeTooSkewed", lambda c: c.list_buckets()),
}


def by_a_clock(client: Any, ahead_s: float) -> Any:
    """A client that signs by a clock that is off and learns nothing."""
    time_of_node = AwsTime(lambda: time.time() + ahead_s)
    time_of_node.hear = lambda _: None  # type: ignore[method-assign,assignment]
    time_of_node.follow(client)
    return client


@pytest.mark.parametrize("ahead_s", [3 * HOUR_S, -3 * HOUR_S])
@pytest.mark.parametrize("service", CALLS)
def test_a_call_that_was_signed_hours_off_is_refused_and_told_the_time(
    lab: Lab, service: str, ahead_s: float
) -> None:
    said, call = CALLS[service]
    with pytest.raises(ClientError) as caught:
        call(by_a_clock(lab.client(service), ahead_s))
    answer = caught.value.response
    assert answer["Error"]["Code"] == said
    told = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert abs(told - datetime.now(UTC)) < timedelta(minutes=1)
    assert lab.moto.calls == 0


@pytest.mark.parametrize("service", CALLS)
def test_the_nodes_own_clients_are_taken_whatever_their_clock_says(lab: Lab, service: str) -> None:
    client = lab.client(service)
    AwsTime(lambda: time.time() + 3 * HOUR_S).follow(client)
    CALLS[service][1](client)
    assert lab.moto.calls == 1


@pytest.mark.parametrize("service", CALLS)
def test_a_call_that_was_signed_now_is_taken(lab: Lab, service: str) -> None:
    CALLS[service][1](lab.client(service))
    assert lab.moto.calls == 1
