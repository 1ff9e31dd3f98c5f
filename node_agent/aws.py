"""boto3 clients with short time-outs that sign by AWS's clock, and a way back when the node's credentials are refused.

botocore reads new credentials from instance metadata shortly before the old ones end by their own date. It would keep
those that AWS refuses earlier, and the lack of any when a client was made before there were some. By a clock that is
far ahead, what metadata hands out looks ended; botocore takes it for good for another quarter of an hour. By one that
is far behind it would not read new ones in time, and does once AWS has refused the old.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)

from node_agent.aws_time import AwsTime
from node_agent.node import Node

TIME = AwsTime()  # one for all clients of the process: what one learns, all sign by
ERRORS: tuple[type[Exception], ...] = (BotoCoreError, ClientError)
CONFIG = Config(
    connect_timeout=2,
    read_timeout=4,
    retries={"mode": "standard", "total_max_attempts": 1},
    max_pool_connections=2,
    tcp_keepalive=True,
)
RENEW_EVERY_S = 30.0  # making a session again costs a few tenths of a second of work
NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
# What the services say of credentials that have ended, were revoked, or are not known to them.
REFUSED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
log = logging.getLogger("pgmend.agent")


def client(node: Node, service: str, region: str, session: Any = boto3) -> Any:  # noqa: ANN401 - boto3 makes clients at run time
    """A client of a service in a region, of this session or of boto3's own."""
    made = session.client(
        service,
        region_name=region,
        endpoint_url=node.endpoints.get(region),
        config=CONFIG,
    )
    TIME.follow(made)
    return made


def refuses_credentials(error: Exception) -> bool:
    """Whether the error is about who we are, and not about what we may do or about the way there."""
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code") in REFUSED
    return isinstance(error, NO_CREDENTIALS)


class Access:
    """The session that all threads share, with its credentials; made anew when AWS refuses them."""

    def __init__(self, node: Node, clock: Callable[[], float] = time.monotonic) -> None:
        self._node, self._clock = node, clock
        self._lock = threading.Lock()
        self._session, self._number = boto3.session.Session(), 0
        self._renew_after = clock()

    def client(self, service: str, region: str) -> tuple[int, Any]:
        """(the number of the session in use, a client of it)."""
        with self._lock:  # sessions are not made for several threads, clients are
            return self._number, client(self._node, service, region, self._session)

    def renewed(self, number: int) -> bool:
        """Whether another session is in use than this one, whose credentials AWS refuses: by now, or since before."""
        with self._lock:
            if number == self._number and self._clock() >= self._renew_after:
                self._renew_after = self._clock() + RENEW_EVERY_S
                self._session, self._number = boto3.session.Session(), number + 1
                log.warning("AWS refuses this node's credentials; they are read again")
            return number != self._number


class Road:
    """A client of one service that outlives the credentials it was made with."""

    def __init__(self, access: Access, service: str, region: str) -> None:
        self._access, self._service, self._region = access, service, region
        self._made: tuple[int, Any] | None = None

    @property
    def client(self) -> Any:  # noqa: ANN401 - see `client`
        """The client of the session that is in use."""
        if self._made is None:
            self._made = self._access.client(self._service, self._region)
        return self._made[1]

    def failed(self, error: Exception) -> None:
        """Tell it what a call of its client raised."""
        if self._made is None or not refuses_credentials(error):
            return
        if self._access.renewed(self._made[0]):
            self._made = None
