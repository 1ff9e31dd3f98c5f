"""Tags in requests: what is asked to be tagged, and the second permission that tagging at creation needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lab.aws.iam import ec2_records as records
from lab.aws.iam.model import Ask, Call, Value


def tags_for(kind: str, specifications: Any) -> dict[str, str]:
    """The tags that a request's or a template's specifications want on a kind of resource."""
    return {
        tag["Key"]: tag.get("Value", "")
        for specification in specifications or []
        if specification.get("ResourceType") == kind
        for tag in specification.get("Tags") or []
    }


def request_tags(tags: Mapping[str, str]) -> dict[str, Value]:
    """The condition keys of tags in a request; none when there are none."""
    if not tags:
        return {}
    return {**{f"aws:RequestTag/{k}": v for k, v in tags.items()}, "aws:TagKeys": tuple(tags)}


def creation_tags(call: Call, wanted: Mapping[str, Mapping[str, str]]) -> Iterator[Ask]:
    """Kind → tags: each kind that is tagged when it is made asks for ec2:CreateTags with ec2:CreateAction."""
    for kind, tags in wanted.items():
        if tags:
            yield Ask(
                action="ec2:CreateTags",
                resource=records.arn(call.region, kind, "*"),
                keys={
                    "ec2:Region": call.region,
                    "ec2:CreateAction": call.operation,
                    **request_tags(tags),
                },
            )
