"""The credentials of an instance: the same ones at every request, and refused once they are taken for expired."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import pytest

from tests.adapters.local_aws.agents import Agent
from tests.adapters.local_aws.cloud import Place
from tests.adapters.local_aws.setting import CONFIG, REGION
from tests.adapters.local_aws.waiting import eventually, refused


def keys(place: Place, instance_id: str) -> Mapping[str, str]:
    """What instance metadata answers."""
    found = place.local.aws.ec2.metadata(instance_id)
    assert found is not None
    assert found.credentials is not None
    return found.credentials()


def client(place: Place, service: str, given: Mapping[str, str]) -> Any:
    session: Any = boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["Token"],
        region_name=REGION,
    )
    return session.client(service, endpoint_url=place.local.endpoint(REGION), config=CONFIG)


@pytest.fixture
def expired(place: Place) -> Iterator[Callable[..., None]]:
    """Makes an instance's credentials expired or valid; valid again afterwards."""
    guard, touched = place.local.aws.guard, set[str]()

    def change(instance_id: str, *, expired: bool = True) -> None:
        touched.add(instance_id)
        guard.expire(instance_id, expired=expired)

    yield change
    for instance_id in touched:
        guard.expire(instance_id, expired=False)


def test_metadata_gives_the_same_credentials_every_time(place: Place) -> None:
    one, other = place.running(), place.running()
    assert keys(place, one) == keys(place, one)
    assert keys(place, one)["AccessKeyId"] != keys(place, other)["AccessKeyId"]


def test_expired_credentials_are_refused_and_metadata_gives_no_others(
    place: Place, expired: Callable[..., None]
) -> None:
    instance_id = place.running()
    given = keys(place, instance_id)
    client(place, "ec2", given).describe_instances()
    expired(instance_id)
    table = client(place, "dynamodb", given)
    assert refused(table.put_item, TableName="t", Item={}) == "ExpiredTokenException"
    assert refused(client(place, "ec2", given).describe_instances) == "RequestExpired"
    assert keys(place, instance_id) == given
    expired(instance_id, expired=False)
    client(place, "ec2", given).describe_instances()


def test_another_instances_credentials_stay_valid(
    place: Place, expired: Callable[..., None]
) -> None:
    one, other = place.running(), place.running()
    expired(one)
    client(place, "ec2", keys(place, other)).describe_instances()


def test_the_ssm_agent_is_refused_too(
    managed: tuple[str, Agent], expired: Callable[..., None]
) -> None:
    instance_id, agent = managed
    expired(instance_id)
    with pytest.raises(OSError, match="403"):
        agent.asks()
    expired(instance_id, expired=False)
    eventually(lambda: agent.asks() is None)
