"""What is told: the healer's events on the hub bus, notices to people, metrics in the hub region."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.adapters.items import as_number, as_text, text
from lambdas.errors import BusRefusedError, MetricsRefusedError, NoticeRefusedError

NAMESPACE = "pgmend"
CLAIM_S = 30.0  # no notifier lives longer than this, so an older claim's holder is gone
KEEP_S = 90 * 24 * 3600
SUBJECT_MAX = 99  # SNS takes less than a hundred characters


class Bus:
    """The hub bus."""

    def __init__(self, client: Any, *, bus: str) -> None:  # noqa: ANN401
        self._client, self._bus = client, bus

    def say(self, detail_type: str, detail: Mapping[str, object]) -> None:
        """Put one event. Raises BusRefusedError when the bus does not take it."""
        entry = {
            "EventBusName": self._bus,
            "Source": "pgmend.healer",
            "DetailType": detail_type,
            "Detail": json.dumps({"version": 1, **detail}),
        }
        try:
            answer = self._client.put_events(Entries=[entry])
        except (BotoCoreError, ClientError) as error:
            raise BusRefusedError(f"the hub bus did not take {detail_type!r}: {error}") from error
        if answer.get("FailedEntryCount"):
            raise BusRefusedError(f"the hub bus refused {detail_type!r}: {answer['Entries']}")


class Teller:
    """Says what the healer does. A bus that refuses never stops the healing: the journal has it all the same."""

    def __init__(self, bus: Bus, log: Callable[[str, Mapping[str, object]], None]) -> None:
        self._bus, self._log = bus, log

    def say(self, detail_type: str, detail: Mapping[str, object]) -> None:
        """Tell it, or note that nobody was told."""
        try:
            self._bus.say(detail_type, detail)
        except BusRefusedError as error:
            self._log("nobody was told", {"why": str(error), "detail": dict(detail)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message to people. `key` is the same for every event that says the same."""

    key: str
    subject: str
    body: str


class Notices:
    """Tells people each notice once, though its event may come twice and a notifier may die at any step.

    The item is claimed, the message published, the item marked as told. A notifier that dies between the last two,
    or gets no answer from SNS, leaves a notice that is told again: better twice than never. Nothing else leads to two.
    """

    def __init__(
        self,
        sns: Any,  # noqa: ANN401 - boto3 makes clients at run time
        dynamodb: Any,  # noqa: ANN401
        *,
        table: str,
        topic_arn: str,
        log: Callable[[str, Mapping[str, object]], None],
    ) -> None:
        self._sns, self._dynamodb, self._table, self._topic = sns, dynamodb, table, topic_arn
        self._log = log

    def tell(self, notice: Notice, *, owner: str, now: float) -> bool:
        """Whether people were told now; False when they had been. `owner` is the same in a retry.

        Raises NoticeRefusedError, for another try, when SNS or the table fails or another notifier is at it.
        """
        try:
            if not self._claim(notice.key, owner, now):
                return False
            self._publish(notice, owner)
        except (BotoCoreError, ClientError) as error:
            raise NoticeRefusedError(f"people were not told {notice.subject!r}: {error}") from error
        try:
            self._mark(notice.key, owner, "told", at=now)
        except (BotoCoreError, ClientError) as error:
            # Another try would tell people again for certain; without one only a second event would.
            self._log("people were told, which could not be noted", {"why": str(error)})
        return True

    def _claim(self, key: str, owner: str, now: float) -> bool:
        """Take the notice for telling; False when it is told."""
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"pk": as_text("NOTICE"), "sk": as_text(key)},
                UpdateExpression="SET #s = :pending, #o = :me, #at = :now, #ttl = :ttl",
                ConditionExpression="attribute_not_exists(pk)"
                " OR (#s = :pending AND (#o = :me OR #at < :old))",
                ExpressionAttributeNames={
                    "#s": "state",
                    "#o": "owner",
                    "#at": "at",
                    "#ttl": "ttl",
                },
                ExpressionAttributeValues={
                    ":pending": as_text("pending"),
                    ":me": as_text(owner),
                    ":now": as_number(now),
                    ":old": as_number(now - CLAIM_S),
                    ":ttl": as_number(int(now) + KEEP_S),
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            response: Mapping[str, Any] = error.response
            if response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            if text(response.get("Item", {}), "state") == "told":
                return False
            raise NoticeRefusedError("another notifier is telling people the same") from error
        return True

    def _publish(self, notice: Notice, owner: str) -> None:
        try:
            self._sns.publish(
                TopicArn=self._topic, Subject=notice.subject[:SUBJECT_MAX], Message=notice.body
            )
        except (BotoCoreError, ClientError):
            # Nobody has to wait for this claim to grow old. When this fails too, it does.
            self._mark(notice.key, owner, "pending", at=0.0)
            raise

    def _mark(self, key: str, owner: str, state: str, *, at: float) -> None:
        """Change an own claim; one that another took over meanwhile is the other's to change."""
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"pk": as_text("NOTICE"), "sk": as_text(key)},
                UpdateExpression="SET #s = :state, #at = :at",
                ConditionExpression="#o = :me",
                ExpressionAttributeNames={"#s": "state", "#o": "owner", "#at": "at"},
                ExpressionAttributeValues={
                    ":state": as_text(state),
                    ":at": as_number(at),
                    ":me": as_text(owner),
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


class Metrics:
    """CloudWatch in the hub region."""

    def __init__(self, client: Any, *, cluster: str) -> None:  # noqa: ANN401
        self._client, self._cluster = client, cluster

    def put(self, values: Mapping[tuple[str, str | None], float]) -> None:
        """(metric, slot or None for the cluster) → value; at most a thousand. Raises MetricsRefusedError."""
        data = []
        for (name, slot), value in values.items():
            dimensions = [{"Name": "Cluster", "Value": self._cluster}]
            if slot is not None:
                dimensions.append({"Name": "Slot", "Value": slot})
            data.append({"MetricName": name, "Dimensions": dimensions, "Value": value})
        if not data:
            return
        try:
            self._client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except (BotoCoreError, ClientError) as error:
            raise MetricsRefusedError(f"CloudWatch did not take the metrics: {error}") from error
