"""The running lab as boto3, the AWS command line and `python -m lambdas.people` find it: their ordinary variables."""

from __future__ import annotations

from collections.abc import Mapping

from lab.operator import ENDPOINT, HUB_REGION
from lab.ports import OPERATOR_KEY


def variables() -> Mapping[str, str]:
    """Endpoint, the operator's keys, and the hub's region."""
    return {
        "AWS_ENDPOINT_URL": ENDPOINT,
        "AWS_ACCESS_KEY_ID": OPERATOR_KEY,
        "AWS_SECRET_ACCESS_KEY": OPERATOR_KEY,
        "AWS_REGION": HUB_REGION,
        "AWS_DEFAULT_REGION": HUB_REGION,
    }
