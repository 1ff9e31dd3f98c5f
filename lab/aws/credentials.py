"""Temporary credentials of roles, as STS gives them to instances and functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from moto.sts.models import sts_backends

from lab.aws.context import ACCOUNT

HOURS = 6


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
