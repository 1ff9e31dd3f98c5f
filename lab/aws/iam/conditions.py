"""Condition operators. Pure. An operator that is not here raises NotUnderstood."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.aws.iam.keys import Keys
from lab.aws.iam.model import NotUnderstood
from lab.aws.iam.wildcards import Lookup, fits, resolved

Compare = Callable[[str, str, Lookup | None], bool]


def _equals(wanted: str, have: str, lookup: Lookup | None) -> bool:
    return resolved(wanted, lookup) == have


def _equals_any_case(wanted: str, have: str, lookup: Lookup | None) -> bool:
    found = resolved(wanted, lookup)
    return found is not None and found.lower() == have.lower()


def _arn_like(wanted: str, have: str, lookup: Lookup | None) -> bool:
    return fits(wanted, have, lookup, arn=True)


def _numeric(compare: Callable[[float, float], bool]) -> Compare:
    def numbers(wanted: str, have: str, lookup: Lookup | None) -> bool:
        try:
            return compare(float(have), float(resolved(wanted, lookup) or "none"))
        except ValueError as error:
            raise NotUnderstood(f"no number in a numeric condition: {error}") from error

    return numbers


OPERATORS: Mapping[str, Compare] = {
    "StringEquals": _equals,
    "StringEqualsIgnoreCase": _equals_any_case,
    "StringLike": fits,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": _equals_any_case,
    "NumericEquals": _numeric(operator.eq),
    "NumericLessThan": _numeric(operator.lt),
    "NumericLessThanEquals": _numeric(operator.le),
    "NumericGreaterThan": _numeric(operator.gt),
    "NumericGreaterThanEquals": _numeric(operator.ge),
}
NEGATED: Mapping[str, str] = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One operator, one key, the values any of which will do. `variables`: whether the policy's version has them."""

    operator: str
    key: str
    values: tuple[str, ...]
    variables: bool

    def holds(self, keys: Keys) -> bool:
        """Whether it holds for an ask. Raises NotUnderstood."""
        quantifier, _, name = self.operator.rpartition(":")
        name, if_exists = name.removesuffix("IfExists"), name.endswith("IfExists")
        if name == "Null" and not quantifier and not if_exists:
            return self._null(keys)
        if name not in OPERATORS and name not in NEGATED:
            raise NotUnderstood(f"the condition operator {self.operator} is not known here")
        have = keys.get(self.key)
        if have is None and if_exists:
            return True
        one = self._one(name, keys)
        match quantifier:
            case "ForAllValues":
                return all(one(value) for value in _several(have))
            case "ForAnyValue":
                return any(one(value) for value in _several(have))
            case "":
                return self._single(name, have, one)
            case _:
                raise NotUnderstood(f"the condition operator {self.operator} is not known here")

    def _null(self, keys: Keys) -> bool:
        absent = not keys.get(self.key)
        return any(value.lower() == str(absent).lower() for value in self.values)

    def _one(self, name: str, keys: Keys) -> Callable[[str], bool]:
        """Whether one value of the request suits the policy's values."""
        negated = name in NEGATED
        compare = OPERATORS[NEGATED.get(name, name)]
        lookup = keys.variable if self.variables else None
        if negated and any(resolved(value, lookup) is None for value in self.values):
            raise NotUnderstood(f"a negated condition on {self.key} with a variable without value")
        return lambda have: any(compare(v, have, lookup) for v in self.values) is not negated

    def _single(
        self, name: str, have: str | tuple[str, ...] | None, one: Callable[[str], bool]
    ) -> bool:
        found = _several(have)
        if len(found) > 1:
            raise NotUnderstood(
                f"{self.key} has several values, {self.operator} compares one: use ForAllValues or ForAnyValue"
            )
        return one(found[0]) if found else name in NEGATED


def _several(have: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if have is None:
        return ()
    return (have,) if isinstance(have, str) else have
