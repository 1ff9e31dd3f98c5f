"""The database password from Secrets Manager, by the instance's role. Kept in memory until told
that it is stale.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Protocol

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from app.errors import SecretError

if TYPE_CHECKING:
    from app.config import Config

ROLE = "app"


class Passwords(Protocol):
    """Where the password comes from."""

    def current(self) -> str:
        """The password as last read. Raises SecretError."""

    def forget(self) -> None:
        """The server refused it: read it again next time."""


class SecretsManager:
    """`Passwords` from AWS. Thread-safe."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._password: str | None = None

    def current(self) -> str:
        """The password, read on first use."""
        with self._lock:
            if self._password is None:
                self._password = self._read()
            return self._password

    def forget(self) -> None:
        """Read it again next time."""
        with self._lock:
            self._password = None

    def _read(self) -> str:
        region = self._config.region
        try:
            # A client a read: reads are rare, and so nothing grows old between them.
            client = boto3.session.Session().client(
                "secretsmanager",
                region_name=region,
                endpoint_url=self._config.aws_endpoints.get(region),
                config=BotoConfig(
                    connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2}
                ),
            )
            answer = client.get_secret_value(SecretId=self._config.secret)
            return str(json.loads(answer["SecretString"])[ROLE])
        except (BotoCoreError, ClientError) as error:
            raise SecretError(
                f"the secret {self._config.secret} could not be read: {error}"
            ) from error
        except (KeyError, ValueError) as error:
            raise SecretError(
                f"the secret {self._config.secret} holds no password for '{ROLE}'"
            ) from error
