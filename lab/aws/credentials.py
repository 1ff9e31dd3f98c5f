"""Temporary credentials of roles, as STS gives them to instances and functions."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from moto.sts.models import sts_backends

from lab.aws.context import ACCOUNT

HOURS = 6
RENEW_BEFORE_S = 3600.0


def of_role(role_arn: str, session: str) -> dict[str, str]:
    """AccessKeyId, SecretAccessKey, Token and Expiration for a role."""
    role = sts_backends[ACCOUNT]["aws"].assume_role(
        "us-east-1", session, role_arn, "", HOURS * 3600, ""
    )
    until = datetime.now(UTC) + timedelta(hours=HOURS)
    return {
        "AccessKeyId": role.access_key_id,
        "SecretAccessKey": role.secret_access_key,
        "Token": role.session_token,
        "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Credentials that were given to an instance; `until` is on the monotonic clock."""

    role_arn: str
    keys: dict[str, str]
    until: float


class OfInstances:
    """The credentials of instances: the same ones at every request until they are near their end."""

    def __init__(self) -> None:
        self._given: dict[str, Given] = {}
        self._lock = threading.Lock()

    def of(self, instance_id: str, role_arn: str) -> dict[str, str]:
        """What instance metadata answers now."""
        now = time.monotonic()
        with self._lock:
            given = self._given.get(instance_id)
            if given is None or given.role_arn != role_arn or given.until <= now:
                keys = of_role(role_arn, instance_id)
                until = now + HOURS * 3600 - RENEW_BEFORE_S
                given = Given(role_arn=role_arn, keys=keys, until=until)
                self._given[instance_id] = given
        return dict(given.keys)

    def forget(self, instance_id: str) -> None:
        """The instance is gone."""
        with self._lock:
            self._given.pop(instance_id, None)
