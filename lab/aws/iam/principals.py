"""Who calls: temporary credentials that STS gave to a role, and that role's policies as they stand now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.iam.models import iam_backends
from moto.sts.models import AssumedRole, sts_backends

from lab.aws.context import ACCOUNT
from lab.aws.iam import ec2_records
from lab.aws.iam.model import NotUnderstood, Value
from lab.aws.iam.policies import Statement, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A role's session."""

    role_arn: str
    session: str
    token: str
    expires: datetime
    instance_arn: str | None

    @property
    def arn(self) -> str:
        """As AWS names it in its sentences."""
        return (
            f"arn:aws:sts::{ACCOUNT}:assumed-role/{self.role_arn.rsplit('/', 1)[-1]}/{self.session}"
        )


class Sessions:
    """Finds the session of an access key; what was found once is remembered, since a session never changes."""

    def __init__(self) -> None:
        self._known: dict[str, Principal] = {}

    def find(self, key: str) -> Principal | None:
        """The session, or None for a key that STS never gave out. Raises NotUnderstood."""
        if key not in self._known:
            for role in sts_backends[ACCOUNT]["aws"].assumed_roles:
                if role.access_key_id == key:
                    self._known[key] = _principal(role)
        return self._known.get(key)


def _principal(role: AssumedRole) -> Principal:
    if role.policy:
        raise NotUnderstood("a session with a policy of its own")
    session, expires = str(role.session_name), role.expiration
    region = ec2_records.region_of(session) if session.startswith("i-") else None
    return Principal(
        role_arn=str(role.role_arn),
        session=session,
        token=str(role.session_token),
        expires=expires if expires.tzinfo else expires.replace(tzinfo=UTC),
        instance_arn=None if region is None else ec2_records.arn(region, "instance", session),
    )


def role_by_arn(arn: str) -> Any | None:
    """moto's role."""
    return next((r for r in iam_backends[ACCOUNT]["aws"].get_roles() if r.arn == arn), None)


def policies_of(role: Any) -> tuple[Statement, ...]:
    """All statements of a role's inline and managed policies. Raises NotUnderstood."""
    if role.permissions_boundary_arn:
        raise NotUnderstood("a role with a permissions boundary")
    documents = list(role.policies.values())
    for policy in role.managed_policies.values():
        documents += [version.document for version in policy.versions if version.is_default]
    return tuple(statement for document in documents for statement in parse(document))


def keys_of(principal: Principal, role: Any, region: str) -> Mapping[str, Value]:
    """The condition keys that tell who calls, and from where."""
    keys: dict[str, Value] = {
        "aws:PrincipalArn": principal.role_arn,
        "aws:PrincipalAccount": ACCOUNT,
        "aws:PrincipalType": "AssumedRole",
        "aws:userid": f"{role.id}:{principal.session}",
        "aws:RequestedRegion": region,
        "aws:SecureTransport": "true",  # on AWS every one of these calls is made over TLS
        "aws:ViaAWSService": "false",
    }
    if principal.instance_arn is not None:
        keys["ec2:SourceInstanceARN"] = principal.instance_arn
        keys["ssm:SourceInstanceARN"] = principal.instance_arn
    for tag in _tags(role):
        keys[f"aws:PrincipalTag/{tag['Key']}"] = tag["Value"]
    return keys


def _tags(role: Any) -> list[dict[str, str]]:
    return list(role.tags.values() if isinstance(role.tags, dict) else role.tags or [])
