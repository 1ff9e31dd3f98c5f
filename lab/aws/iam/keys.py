"""The condition keys of one ask. A key that might be there on AWS and is not derived here must never pass as absent."""

from __future__ import annotations

from collections.abc import Mapping

from lab.aws.iam.model import Ask, NotUnderstood, Value

RESOURCE_TAGS = (
    "aws:resourcetag/",
    "ec2:resourcetag/",
    "ssm:resourcetag/",
    "secretsmanager:resourcetag/",
)
DERIVED_PREFIXES = ("aws:requesttag/", "aws:principaltag/")
# Keys that every ask carries where AWS has them: when one is not there, AWS has none either.
DERIVED = frozenset(
    {
        "aws:tagkeys",
        "aws:sourcearn",
        "aws:sourceaccount",
        "aws:sourceowner",
        "aws:username",
        "aws:multifactorauthpresent",
        "aws:multifactorauthage",
        "cloudwatch:namespace",
        "dynamodb:enclosingoperation",
        "dynamodb:leadingkeys",
        "ec2:createaction",
        "ec2:sourceinstancearn",
        "events:detail-type",
        "events:source",
        "iam:passedtoservice",
        "s3:prefix",
        "secretsmanager:secretid",
        "secretsmanager:versionid",
        "secretsmanager:versionstage",
        "ssm:sourceinstancearn",
    }
)


class Keys:
    """Looks up condition keys, whose names know no case."""

    def __init__(self, ask: Ask, principal: Mapping[str, Value]) -> None:
        self._values: dict[str, Value] = {k.lower(): v for k, v in principal.items()}
        self._values |= {k.lower(): v for k, v in ask.keys.items()}
        self._tags = (
            None if ask.tags is None else {key.lower(): value for key, value in ask.tags.items()}
        )

    def get(self, name: str) -> Value | None:
        """A key's value; None where AWS has none. Raises NotUnderstood for a key nobody derived."""
        key = name.lower()
        if key in self._values:
            return self._values[key]
        prefix = next((p for p in RESOURCE_TAGS if key.startswith(p)), None)
        if prefix is not None:
            if self._tags is None:
                raise NotUnderstood(
                    f"the tags of this kind of resource are not known here ({name})"
                )
            return self._tags.get(key.removeprefix(prefix))
        if key in DERIVED or key.startswith(DERIVED_PREFIXES):
            return None
        raise NotUnderstood(f"the condition key {name} is not derived for this call")

    def variable(self, name: str) -> str | None:
        """A key's value in a policy variable."""
        value = self.get(name)
        if isinstance(value, tuple):
            raise NotUnderstood(f"the policy variable {name} has a set of values")
        return value
