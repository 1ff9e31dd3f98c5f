"""One person's terminal before moto's AWS, with the healer and STS stood in for."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from lambdas.adapters.table import Table
from lambdas.core.incident import Incident
from lambdas.people.cli import main
from lambdas.people.connect import Hub

REGION = "eu-west-3"
ACCOUNT = "123456789012"
NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
ANN = "arn:aws:sts::123456789012:assumed-role/OnCall/ann"


def a_runs_table(client: Any, name: str = "pgmend") -> Table:
    """The table of a run that took the lease; the lease ran out since, and nobody else has taken it."""
    table = Table(client, name)
    assert table.take_lease(owner="a run", now=NOW - 3600, lease_s=30.0) is not None
    return table


class Waker:
    """As much of Lambda as waking the healer takes."""

    def __init__(self) -> None:
        self.woken: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    def invoke(self, **request: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.woken.append(request)


class Sts:
    """Who asks, and AWS's clock."""

    def __init__(self) -> None:
        self.arn, self.date = ANN, "Fri, 15 Jan 2027 08:00:00 GMT"

    def get_caller_identity(self) -> dict[str, Any]:
        headers = {"date": self.date}
        return {
            "Arn": self.arn,
            "Account": ACCOUNT,
            "ResponseMetadata": {"HTTPHeaders": headers},
        }


class Desk:
    """One person's terminal: the commands, and what came of them."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.waker, self.sts, self.clock = Waker(), Sts(), NOW
        self.dynamodb: Failing | None = None
        self.table = a_runs_table(boto3.client("dynamodb", region_name=REGION))

    def hub(self, cluster: str = "pgmend") -> Hub:
        return Hub(
            cluster=cluster,
            region=REGION,
            endpoint=None,
            factory=self._client,
            clock=lambda: self.clock,
        )

    def _client(self, service: str, region: str) -> Any:
        fakes: dict[str, Any] = {"lambda": self.waker, "sts": self.sts, "dynamodb": self.dynamodb}
        return fakes.get(service) or boto3.client(service, region_name=region)  # type: ignore[call-overload]

    def says(self, *words: str) -> str:
        """A confirmation."""
        code = main(words, hub=self.hub())
        read = self._capsys.readouterr()
        assert (code, read.err) == (0, "")
        return read.out

    def is_refused(self, *words: str) -> str:
        """One sentence, and nothing written."""
        before = self.items()
        code = main(words, hub=self.hub())
        read = self._capsys.readouterr()
        assert (code, read.out) == (2, "")
        assert self.items() == before
        assert self.waker.woken == []
        assert read.err.startswith("refused: ")
        assert read.err.count("\n") == 1
        return read.err

    def items(self) -> list[dict[str, Any]]:
        client = boto3.client("dynamodb", region_name=REGION)
        return client.scan(TableName="pgmend")["Items"]


class Failing:
    """DynamoDB behind a line that fails: at the order itself, or at all that comes after it."""

    def __init__(self, error: Exception, *, at_the_order: bool) -> None:
        self._client: Any = boto3.client("dynamodb", region_name=REGION)
        self._error, self._at_the_order, self._ordered = error, at_the_order, False

    def transact_write_items(self, **request: Any) -> Any:
        if self._at_the_order:
            raise self._error
        self._ordered = True
        return self._client.transact_write_items(**request)

    def get_paginator(self, name: str) -> Any:
        if self._ordered:
            raise self._error
        return self._client.get_paginator(name)


def report(slot: str, body: str = "{}", instance_id: str = "i-1") -> None:
    item: Any = {"pk": {"S": "REPORT"}, "sk": {"S": slot}, "body": {"S": body}}
    item["instance_id"] = {"S": instance_id}
    boto3.client("dynamodb", region_name=REGION).put_item(TableName="pgmend", Item=item)


def an_incident(**more: Any) -> Incident:
    known: dict[str, Any] = {"incident_id": "20270115T075900-db-euw3-a", "slot": "db-euw3-a"}
    return Incident(**known, diagnosis="gone", opened_at=NOW - 60, wake="tick", **more)
