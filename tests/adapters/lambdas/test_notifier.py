"""The notifier from event to inbox, on moto: each notice once, and none lost on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError, ReadTimeoutError

from lambdas.act import NO_ANSWER
from lambdas.adapters.notices import Notice, Notices
from lambdas.errors import MalformedEventError, NoticeRefusedError
from lambdas.handlers import notifier
from tests.adapters.lambdas.desk import REGION

NOW = 1_800_000_000.0
KINDS = [
    "Incident Opened",
    "Action Taken",
    "Action Refused",
    "Incident Healed",
    "Held",
    "Breaker Opened",
]
NOTICE = Notice(key="k", subject="[pgmend] Held: db-euw3-a", body="holding\n")


def told(kind: str, **detail: Any) -> dict[str, Any]:
    known = {
        "version": 1,
        "cluster": "pgmend",
        "incident": "20270115T080000-db-euw3-a",
        "slot": "db-euw3-a",
        "sentence": "ended i-1",
    }
    return {"source": "pgmend.healer", "detail-type": kind, "detail": {**known, **detail}}


class Inbox:
    """What people got."""

    def __init__(self) -> None:
        self._sqs = boto3.client("sqs", region_name=REGION)
        sns = boto3.client("sns", region_name=REGION)
        self.topic = sns.create_topic(Name="pgmend-notices")["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName="inbox")["QueueUrl"]
        asked = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        arn = asked["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def read(self) -> list[dict[str, Any]]:
        found = []
        while batch := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            found += [json.loads(message["Body"]) for message in batch]
            for message in batch:
                handle = message["ReceiptHandle"]
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=handle)
        return found


@pytest.fixture
def inbox(table_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    found = Inbox()
    for name, value in {
        "PGMEND_CLUSTER": "pgmend",
        "PGMEND_HUB_REGION": REGION,
        "PGMEND_TABLE": table_name,
        "PGMEND_SPEC_BUCKET": "specs",
        "PGMEND_SPEC_KEY": "spec.json",
        "PGMEND_BUS": "pgmend",
        "PGMEND_TOPIC_ARN": found.topic,
    }.items():
        monkeypatch.setenv(name, value)
    notifier.deployment.cache_clear()
    yield found
    notifier.deployment.cache_clear()


def handle(event: dict[str, Any], request: str = "r-1") -> Any:
    return notifier.handler(event, cast("LambdaContext", SimpleNamespace(aws_request_id=request)))


# -- what is said


@pytest.mark.parametrize("kind", KINDS)
def test_people_are_told_in_words_and_in_json(inbox: Inbox, kind: str) -> None:
    assert handle(told(kind)) == {"version": 1, "ok": True, "told": True}
    (message,) = inbox.read()
    assert message["Subject"] == f"[pgmend] {kind}: db-euw3-a"
    words, document = message["Message"].split("\n\n")
    assert words.startswith("ended i-1")
    assert json.loads(document) == {"kind": kind, **told(kind)["detail"]}


@pytest.mark.parametrize("kind", ["Held", "Breaker Opened"])
def test_a_notice_that_waits_for_a_person_says_how_to_answer(kind: str) -> None:
    assert "make heal-ack" in notifier.read(told(kind)).body


def test_a_refusal_says_that_it_is_told_once() -> None:
    assert "told no more for the same reason" in notifier.read(told("Action Refused")).body


def test_the_breaker_is_the_clusters_and_not_a_slots() -> None:
    opened = told("Breaker Opened", slot=None, incident=None, opened_at=NOW)
    assert notifier.read(opened).subject == "[pgmend] Breaker Opened"


def test_what_aws_gave_no_answer_to_is_not_called_refused() -> None:
    refused = told("Action Refused", error="Full")
    assert notifier.read(refused).subject.startswith("[pgmend] Action Refused")
    unknown = told("Action Refused", error=NO_ANSWER)
    assert notifier.read(unknown).subject.startswith("[pgmend] No Answer")


def test_a_subject_is_one_that_sns_takes(inbox: Inbox) -> None:
    handle(told("Held", slot="Zürich\n" + "x" * 200))
    (message,) = inbox.read()
    assert message["Subject"].isascii()
    assert message["Subject"].startswith("[pgmend] Held: Z?rich?x")
    assert len(message["Subject"]) == 99


@pytest.mark.parametrize(
    "event",
    [
        {},
        told("Reconcile Unfinished"),
        told("Held", version=2),
        {"detail-type": "Held"},
        {"detail-type": ["Held"], "detail": {}},
        told("Held", sentence=None),
        told("Held", incident=None),
    ],
    ids=str,
)
def test_people_are_told_nothing_else(event: dict[str, Any]) -> None:
    with pytest.raises(MalformedEventError):
        notifier.read(event)


# -- once


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_that_comes_twice_is_told_once(inbox: Inbox, kind: str) -> None:
    assert handle(told(kind), "r-1")["told"] is True
    assert handle(told(kind), "r-2")["told"] is False
    assert len(inbox.read()) == 1


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Action Taken", {"action": "x-1-launch", "token": 7}),
        ("Action Refused", {"step": "launch", "error": "Full", "action": "x-1-launch", "token": 7}),
        ("Held", {"rail": "quorum", "token": 7}),
        ("Incident Opened", {"token": 7}),
        ("Incident Healed", {"token": 7}),
        ("Breaker Opened", {"opened_at": NOW, "token": 7}),
    ],
)
def test_what_a_healer_says_again_after_a_crash_is_told_once(
    inbox: Inbox, kind: str, more: dict[str, Any]
) -> None:
    """Its next run has another token, and perhaps other words."""
    handle(told(kind, **more))
    handle(told(kind, **{**more, "token": 8, "sentence": "again"}))
    assert len(inbox.read()) == 1


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("Action Taken", {"action": "x-1-launch"}, {"action": "x-2-launch"}),
        ("Action Taken", {}, {"sentence": "another"}),
        (
            "Action Refused",
            {"step": "launch", "error": "Full"},
            {"step": "launch", "error": "Forbidden"},
        ),
        (
            "Action Refused",
            {"step": "launch", "error": "Full"},
            {"step": "start", "error": "Full"},
        ),
        (
            "Action Refused",
            {"step": "launch", "error": "Full"},
            {"step": "launch", "error": "Full", "incident": "another"},
        ),
        ("Held", {"rail": "quorum"}, {"rail": "ladder"}),
        ("Held", {"rail": "quorum"}, {"rail": "quorum", "acknowledged": NOW}),
        ("Held", {"rail": "quorum"}, {"rail": "quorum", "incident": "another"}),
        ("Held", {}, {"sentence": "another"}),
        ("Breaker Opened", {"opened_at": NOW}, {"opened_at": NOW + 60}),
        ("Breaker Opened", {"token": 7}, {"token": 8}),
        ("Incident Opened", {}, {"incident": "another"}),
    ],
)
def test_another_occasion_is_told_too(
    inbox: Inbox, kind: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    handle(told(kind, **first))
    handle(told(kind, **second))
    assert len(inbox.read()) == 2


def test_tries_that_aws_refuses_for_one_reason_are_one_notice(inbox: Inbox) -> None:
    for number in range(1, 6):
        refused = {"step": "launch", "error": "Full", "action": f"x-{number}-launch"}
        handle(told("Action Refused", **refused, sentence=f"refused, request {number}"))
    assert len(inbox.read()) == 1


# -- and not lost


class Sns:
    """A topic that fails as often as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.published = list(failures), 0

    def publish(self, **_request: Any) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.published += 1


class Breaks:
    """A table that breaks at one call, counted from zero."""

    def __init__(self, client: Any, at: int, error: BaseException) -> None:
        self._client, self._at, self._error, self._calls = client, at, error, -1

    def update_item(self, **request: Any) -> Any:
        self._calls += 1
        if self._calls == self._at:
            raise self._error
        return self._client.update_item(**request)


class Death(BaseException):
    """The function's process is gone."""


LOST = ReadTimeoutError(endpoint_url="http://sns")
THROTTLED = ClientError({"Error": {"Code": "Throttling", "Message": "slow"}}, "Publish")


@pytest.fixture
def dynamodb(table_name: str) -> Any:
    assert table_name
    return boto3.client("dynamodb", region_name=REGION)


def notices(sns: Sns, dynamodb: Any, logged: list[str] | None = None) -> Notices:
    lines = [] if logged is None else logged
    return Notices(
        sns, dynamodb, table="pgmend", topic_arn="t", log=lambda text, _: lines.append(text)
    )


def tell(found: Notices, owner: str = "r-1", at: float = 0.0) -> bool:
    return found.tell(NOTICE, owner=owner, now=NOW + at)


@pytest.mark.parametrize("error", [LOST, THROTTLED], ids=["no answer", "throttled"])
@pytest.mark.parametrize("owner", ["r-1", "r-2"], ids=["the retry", "another event"])
def test_what_sns_did_not_take_is_told_at_the_next_try(
    dynamodb: Any, error: Exception, owner: str
) -> None:
    sns = Sns(error)
    with pytest.raises(NoticeRefusedError, match="were not told"):
        tell(notices(sns, dynamodb))
    assert tell(notices(sns, dynamodb), owner, at=1.0) is True
    assert sns.published == 1


def test_a_notifier_that_died_before_it_told_is_followed_by_its_retry(dynamodb: Any) -> None:
    sns = Sns(cast("Exception", Death()))
    with pytest.raises(Death):
        tell(notices(sns, dynamodb))
    assert tell(notices(sns, dynamodb), "r-1", at=1.0) is True
    assert sns.published == 1


def test_what_another_notifier_is_at_is_left_to_it_until_it_cannot_live_any_more(
    dynamodb: Any,
) -> None:
    sns = Sns(cast("Exception", Death()))
    with pytest.raises(Death):
        tell(notices(sns, dynamodb))
    with pytest.raises(NoticeRefusedError, match="another notifier"):
        tell(notices(sns, dynamodb), "r-2", at=29.0)
    assert tell(notices(sns, dynamodb), "r-2", at=31.0) is True
    assert sns.published == 1


def test_a_table_that_fails_first_costs_nothing_but_a_try(dynamodb: Any) -> None:
    sns = Sns()
    with pytest.raises(NoticeRefusedError):
        tell(notices(sns, Breaks(dynamodb, 0, THROTTLED)))
    assert sns.published == 0
    assert tell(notices(sns, dynamodb)) is True


def test_what_was_told_is_not_told_again_because_it_could_not_be_noted(dynamodb: Any) -> None:
    sns, logged = Sns(), list[str]()
    assert tell(notices(sns, Breaks(dynamodb, 1, THROTTLED), logged)) is True
    assert logged == ["people were told, which could not be noted"]
    with pytest.raises(NoticeRefusedError):
        tell(notices(sns, dynamodb), "r-2", at=1.0)
    assert sns.published == 1


def test_when_nothing_works_the_claim_grows_old_by_itself(dynamodb: Any) -> None:
    sns = Sns(LOST)
    with pytest.raises(NoticeRefusedError):
        tell(notices(sns, Breaks(dynamodb, 1, THROTTLED)))
    assert tell(notices(sns, dynamodb), "r-2", at=31.0) is True


def test_a_claim_that_another_took_over_is_not_marked_by_the_first(dynamodb: Any) -> None:
    """Slow beyond its life: the second tells, and the item stays the second's."""

    class Slow(Sns):
        def publish(self, **_request: Any) -> None:
            tell(notices(second, dynamodb), "r-2", at=31.0)
            self.published += 1

    second, slow = Sns(), Slow()
    assert tell(notices(slow, dynamodb)) is True
    key = {"pk": {"S": "NOTICE"}, "sk": {"S": "k"}}
    item = dynamodb.get_item(TableName="pgmend", Key=key)["Item"]
    assert (item["owner"], item["state"]) == ({"S": "r-2"}, {"S": "told"})


def test_a_notice_is_forgotten_in_time(dynamodb: Any) -> None:
    tell(notices(Sns(), dynamodb))
    key = {"pk": {"S": "NOTICE"}, "sk": {"S": "k"}}
    item = dynamodb.get_item(TableName="pgmend", Key=key)["Item"]
    assert float(item["ttl"]["N"]) > NOW + 30 * 86400
