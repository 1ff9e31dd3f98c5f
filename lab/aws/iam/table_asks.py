"""What DynamoDB asks IAM about: the table, and the partition keys a call reads or writes (dynamodb:LeadingKeys)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from moto.dynamodb.models import dynamodb_backends

from lab.aws.context import ACCOUNT
from lab.aws.iam.model import Ask, Call, NotUnderstood, Value

EQUALITY = re.compile(r"(#?[\w.-]+)\s*=\s*(:\w+)")
IN_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


def table_asks(call: Call) -> Iterator[Ask]:
    """Everything a call needs to be allowed. Raises NotUnderstood."""
    make = TABLE.get(call.operation)
    if make is None:
        raise NotUnderstood(f"which resources {call.action} is about")
    yield from make(call)


def _arn(region: str, name: str) -> str:
    return name if name.startswith("arn:") else f"arn:aws:dynamodb:{region}:{ACCOUNT}:table/{name}"


def _partition_key(region: str, name: str) -> str:
    """The name of a table's partition key. Raises NotUnderstood."""
    found = dynamodb_backends[ACCOUNT][region].tables.get(name.rsplit("/", 1)[-1])
    if found is None:
        raise NotUnderstood(f"there is no table {name} in {region}")
    return str(found.hash_key_attr)


def _value(raw: Any) -> str:
    """A key's value as a condition sees it. Raises NotUnderstood."""
    if not isinstance(raw, Mapping) or len(raw) != 1:
        raise NotUnderstood("a DynamoDB call without its partition key")
    return str(next(iter(raw.values())))


def _ask(call: Call, action: str, name: str, leading: list[str], **more: str) -> Ask:
    keys: dict[str, Value] = {f"dynamodb:{key}": value for key, value in more.items()}
    if leading:
        keys["dynamodb:LeadingKeys"] = tuple(dict.fromkeys(leading))
    return Ask(action=f"dynamodb:{action}", resource=_arn(call.region, name), keys=keys, tags=None)


def _item(member: str) -> Callable[[Call], Iterator[Ask]]:
    def make(call: Call) -> Iterator[Ask]:
        name = str(call.get("TableName"))
        key = (call.get(member) or {}).get(_partition_key(call.region, name))
        yield _ask(call, call.operation, name, [_value(key)])

    return make


def _query(call: Call) -> Iterator[Ask]:
    name = str(call.get("TableName"))
    if call.get("IndexName") or call.get("KeyConditions"):
        raise NotUnderstood("a query of an index, or with KeyConditions")
    wanted = _partition_key(call.region, name)
    names = call.get("ExpressionAttributeNames") or {}
    values = call.get("ExpressionAttributeValues") or {}
    found = [
        values.get(placeholder)
        for attribute, placeholder in EQUALITY.findall(str(call.get("KeyConditionExpression")))
        if names.get(attribute, attribute) == wanted
    ]
    yield _ask(call, call.operation, name, [_value(value) for value in found or [None]])


def _whole(call: Call) -> Iterator[Ask]:
    """No leading keys: a scan reads them all, and AWS gives a condition none."""
    if call.get("IndexName"):
        raise NotUnderstood("a scan of an index")
    yield _ask(call, call.operation, str(call.get("TableName")), [])


def _transaction(call: Call) -> Iterator[Ask]:
    for step in call.get("TransactItems") or []:
        for verb, body in step.items():
            name = str(body.get("TableName"))
            source = body.get("Item") if verb == "Put" else body.get("Key")
            key = (source or {}).get(_partition_key(call.region, name))
            action = IN_TRANSACTION[verb]
            yield _ask(call, action, name, [_value(key)], EnclosingOperation=call.operation)


TABLE: Mapping[str, Callable[[Call], Iterator[Ask]]] = {
    "DeleteItem": _item("Key"),
    "DescribeTable": _whole,
    "GetItem": _item("Key"),
    "PutItem": _item("Item"),
    "Query": _query,
    "Scan": _whole,
    "TransactGetItems": _transaction,
    "TransactWriteItems": _transaction,
    "UpdateItem": _item("Key"),
}
