"""A moto AWS for each test: no network, no real credentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.adapters.lambdas.desk import ACCOUNT, REGION, Desk

EXAMPLES = Path(__file__).parents[2] / "contract" / "examples"


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    with mock_aws():
        yield


@pytest.fixture
def table_name() -> str:
    boto3.client("dynamodb", region_name=REGION).create_table(
        TableName="pgmend",
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return "pgmend"


@pytest.fixture
def desk(table_name: str, capsys: pytest.CaptureFixture[str]) -> Desk:
    assert table_name
    s3: Any = boto3.client("s3", region_name=REGION)
    bucket = f"pgmend-{ACCOUNT}-{REGION}"
    where = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    s3.put_object(Bucket=bucket, Key="spec.json", Body=(EXAMPLES / "spec.json").read_bytes())
    return Desk(capsys)
