"""The healer looks and does not act while a host is frozen: it would end the host before it can be thawed.

Through the hub table, as a person would do it; what was there before is put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from lab.errors import LabError
from lab.operator import CLUSTER, HUB_REGION, ClientFactory, make_client

OBSERVE: Final = "observe"
KEY: Final = {"pk": {"S": "CLUSTER"}, "sk": {"S": "mode"}}


class HealerMode:
    """The item `CLUSTER` / `mode` (docs/contracts.md)."""

    def __init__(
        self,
        factory: ClientFactory = make_client,
        *,
        cluster: str = CLUSTER,
        hub_region: str = HUB_REGION,
    ) -> None:
        self._factory, self._table, self._region = factory, cluster, hub_region

    @contextmanager
    def observing(self) -> Iterator[None]:
        """The healer only watches, inside. Raises LabError when the table cannot be written."""
        table = self._factory("dynamodb", self._region)
        before = _done(lambda: table.get_item(TableName=self._table, Key=KEY, ConsistentRead=True))
        item = {**KEY, "mode": {"S": OBSERVE}}
        _done(lambda: table.put_item(TableName=self._table, Item=item))
        try:
            yield
        finally:
            if "Item" in before:
                _done(lambda: table.put_item(TableName=self._table, Item=before["Item"]))
            else:
                _done(lambda: table.delete_item(TableName=self._table, Key=KEY))


def _done(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - boto3's answers
    try:
        return call()
    except (BotoCoreError, ClientError) as error:
        raise LabError(f"the healer's mode could not be read or set: {error}") from error
