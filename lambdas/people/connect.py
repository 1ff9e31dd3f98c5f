"""The way to the hub: boto3's ordinary environment, whether that leads to AWS or to the lab.

It must never guess whom it talks to: every confirmation says where it went.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.utils import is_valid_endpoint_url

from lambdas.core.parse import spec_from_json
from lambdas.core.spec import Role, Spec
from lambdas.errors import MalformedSpecError
from lambdas.people.errors import RefusedError, UnreachableError
from lambdas.people.facts import Facts, Reader
from lambdas.people.orders import Orders, Person

ENDPOINT: Final = "AWS_ENDPOINT_URL"
REGIONS: Final = ("PGMEND_HUB_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
REGION: Final = "eu-central-1"  # where the observer lives unless it was told otherwise
CLOCK_SKEW_S_MAX: Final = 2.0  # the date in an answer of AWS's has no fractions
LOOK: Final = {"source": "pgmend.operator", "detail-type": "Look", "detail": {"version": 1}}

ClientFactory = Callable[[str, str], Any]


def make_client(service: str, region: str) -> Any:  # noqa: ANN401 - boto3 makes clients at run time
    """A client of a person's own, patient enough for a bad line."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        region_name=region,
        config=Config(
            connect_timeout=3,
            read_timeout=15,
            retries={"mode": "standard", "total_max_attempts": 3},
        ),
    )


class Hub:
    """One cluster's hub, as one person reaches it."""

    def __init__(
        self,
        *,
        cluster: str,
        region: str,
        endpoint: str | None,
        factory: ClientFactory = make_client,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.cluster, self.region, self._endpoint = cluster, region, endpoint
        self._client, self._clock = cache(factory), clock
        self._identity: Mapping[str, Any] | None = None
        self._ahead_s = 0.0

    # -- who and where

    def _who(self) -> Mapping[str, Any]:
        """STS's answer, asked once; it also tells how far this machine's clock is off."""
        if self._identity is None:
            with asking("say who you are"):
                answer = self._client("sts", self.region).get_caller_identity()
            date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
            if date is not None:
                ahead_s = self._clock() - parsedate_to_datetime(date).timestamp()
                self._ahead_s = ahead_s if abs(ahead_s) > CLOCK_SKEW_S_MAX else 0.0
            self._identity = answer
        return self._identity

    def person(self) -> Person:
        """Who asks, by the tail of their ARN, and when, by AWS's clock: the healer goes by that, not by a laptop's."""
        by = str(self._who()["Arn"]).split(":")[-1]
        return Person(by=by, now=self._clock() - self._ahead_s)

    def where(self) -> str:
        """Which cluster, for the end of a confirmation."""
        if self._endpoint is not None:
            return f"[{self.cluster} at {self._endpoint}]"
        return f"[{self.cluster} on AWS, account {self._who()['Account']}, {self.region}]"

    # -- what is asked of it

    def reader(self) -> Reader:
        """The hub table for reading."""
        return Reader(self._client("dynamodb", self.region), self.cluster)

    def facts(self) -> Facts:
        """What the cluster's items say now."""
        with self.table():
            return self.reader().facts()

    def orders(self, person: Person, facts: Facts) -> Orders:
        """The hub table for writing."""
        return Orders(self._client("dynamodb", self.region), self.cluster, person, facts)

    @contextmanager
    def table(self) -> Iterator[None]:
        """Turns a failing table into a sentence."""
        hint = f"table {self.cluster} in {self.region}; --cluster and --region choose another"
        with asking(f"use the hub's table ({hint})"):
            yield

    def spec(self) -> Spec:
        """The cluster spec as it lies in the hub's bucket."""
        bucket = f"{self.cluster}-{self._who()['Account']}-{self.region}"
        with asking(f"read the cluster spec in {bucket}"):
            answer = self._client("s3", self.region).get_object(Bucket=bucket, Key="spec.json")
            body = answer["Body"].read()
        try:
            return spec_from_json(body)
        except MalformedSpecError as error:
            raise UnreachableError(str(error)) from error

    def known_slot(self, name: str) -> None:
        """Raises RefusedError when the cluster has no such slot."""
        names = self.spec().by_name
        if name not in names:
            raise RefusedError(f"there is no slot {name!r}; there are {', '.join(sorted(names))}")

    def heir(self, name: str, facts: Facts) -> None:
        """Raises RefusedError when the slot cannot be one that leads."""
        self.known_slot(name)
        if self.spec().by_name[name].role is not Role.DB:
            raise RefusedError(f"{name} is no database, so it cannot lead")
        if facts.strength is not None and facts.strength.leader == name:
            raise RefusedError(f"{name} leads already")
        with self.table():
            occupied = self.reader().occupied(name)
        if not occupied:
            raise RefusedError(f"{name} has never reported: nobody is there who could lead")

    def wake(self) -> str:
        """Have the healer look now. A sentence that says what came of it: the order stands either way."""
        try:
            self._client("lambda", self.region).invoke(
                FunctionName=f"{self.cluster}-healer",
                InvocationType="Event",
                Payload=json.dumps(LOOK).encode(),
            )
        except (BotoCoreError, ClientError) as error:
            return f"The healer could not be woken ({error}); its next tick will see it."
        return "The healer is awake and looks now."


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turns a failing AWS into one sentence."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise UnreachableError(f"AWS did not {what}: {error}") from error


def _is_address(said: str) -> bool:
    return said.startswith(("http://", "https://")) and is_valid_endpoint_url(said)


def hub_of(*, on: str, cluster: str, region: str | None, env: Mapping[str, str]) -> Hub:
    """The hub that options and environment lead to. Raises RefusedError when they contradict each other."""
    endpoint = env.get(ENDPOINT) or None
    if on == "lab" and endpoint is None:
        raise RefusedError(f"--on lab needs {ENDPOINT} and keys, as `python -m lab env` says them")
    if on == "aws" and endpoint is not None:
        raise RefusedError(f"{ENDPOINT} is {endpoint}, which is not AWS: unset it, or say --on lab")
    if endpoint is not None and not _is_address(endpoint):
        raise RefusedError(f"{ENDPOINT} is {endpoint!r}, which is no address")
    chosen = region or next((env[name] for name in REGIONS if env.get(name)), REGION)
    return Hub(cluster=cluster, region=chosen, endpoint=endpoint)
