"""The healer's lease, and writing under it: what a run writes is refused once the lease is another's.

A run may be held up between two calls for longer than its lease lasts, so looking at the lease before a write proves
nothing of the moment of the write. Every write of a run is therefore one transaction with a check of the lease item:
owner and token must still be the run's own. A token kept in each written item would be cheaper (half the write units)
and not enough: an item that the next run has not written yet, or has removed, has no token to compare with, and that is
where a late write does harm. What it costs: a transaction takes two write units where a write takes one, and two more
for the check. A look writes twice when nothing happens, so that a run of a few looks a minute comes to about a million
units a month.

A lease that ran out and that nobody has taken is still the run's own: its writes harm nobody, and the next renewal
ends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError

from lambdas.adapters.attributes import as_number, as_text
from lambdas.errors import LeaseLostError

T = TypeVar("T")
CLOCKS_S: Final = 300.0  # AWS takes no signature of a clock that is further off
CONDITION_FAILED: Final = frozenset({"ConditionalCheckFailedException", "ConditionalCheckFailed"})
# Another's write to the same item was under way: DynamoDB orders nobody, so whoever was refused asks again.
BUSY: Final = frozenset(
    {
        "TransactionConflictException",
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
    }
)
TRIES: Final = 7
FIRST_PAUSE_S: Final = 0.02  # doubled each time: 1.3 s in all


def words_of(error: ClientError) -> frozenset[str]:
    """Why DynamoDB refused: the error's code, or for a transaction what each of its parts was refused for."""
    reasons = error.response.get("CancellationReasons")
    if not reasons:
        return frozenset({error.response["Error"]["Code"]})
    return frozenset(str(reason.get("Code")) for reason in reasons) - {"None"}


def patiently(ask: Callable[[], T], pause: Callable[[float], None]) -> T:
    """Ask again while another's write is under way. Raises ClientError: what else was refused, or the last refusal."""
    for attempt in range(TRIES - 1):
        try:
            return ask()
        except ClientError as error:
            if not words_of(error) <= BUSY:
                raise
        pause(FIRST_PAUSE_S * 2**attempt)
    return ask()


class Lease:
    """The item CLUSTER/lease, and transactions on the condition that it is still the run's own."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401
        table: str,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._table, self._pause = client, table, pause
        self._held: tuple[str, int] | None = None  # owner and token, as taken last

    # -- writing under it

    def write(self, *changes: Mapping[str, Any]) -> bool:
        """All the changes (each `{"Put": ...}`, `{"Update": ...}` or `{"Delete": ...}`) at once, or none.

        False when a change's own condition did not hold. Raises LeaseLostError when the lease is no longer the one that
        was taken here, or none ever was.
        """
        try:
            self.must_write(*changes)
        except ClientError as error:
            if words_of(error) <= CONDITION_FAILED:
                return False
            raise
        return True

    def must_write(self, *changes: Mapping[str, Any]) -> None:
        """As `write`; a condition of the changes' own that does not hold is DynamoDB's error."""
        steps = [{"ConditionCheck": self._check()}, *changes]
        try:
            patiently(lambda: self._client.transact_write_items(TransactItems=steps), self._pause)
        except ClientError as error:
            reasons = error.response.get("CancellationReasons") or [{}]
            if reasons[0].get("Code") in CONDITION_FAILED:
                raise LeaseLostError(
                    "another run took the lease over; what this one would have written is refused"
                ) from error
            raise

    def _check(self) -> Mapping[str, Any]:
        if self._held is None:
            raise LeaseLostError(
                "nothing is written without the lease, and this run has not taken it"
            )
        owner, token = self._held
        return {
            "TableName": self._table,
            "Key": {"pk": as_text("CLUSTER"), "sk": as_text("lease")},
            "ConditionExpression": "#o = :owner AND #t = :token",
            "ExpressionAttributeNames": {"#o": "owner", "#t": "token"},
            "ExpressionAttributeValues": {":owner": as_text(owner), ":token": as_number(token)},
        }

    # -- taking it and giving it back

    def take(self, *, owner: str, now: float, lease_s: float) -> int | None:
        """The new token, under which is written from now on; None when another holds the lease and was told to look.

        Raises LeaseLostError for a lease that cannot be read: from now on it is held, by whoever it was, and runs out.
        """
        for _ in range(3):
            token = self._take_free(owner=owner, now=now, lease_s=lease_s)
            if token is not None:
                self._held = (owner, token)
                return token
            if self._mend(now=now, lease_s=lease_s):
                raise LeaseLostError(
                    "the item CLUSTER/lease of the hub table cannot be read: it is taken as held,"
                    f" and runs out in {lease_s:.0f} s"
                )
            if self._mark_held(now=now):
                return None
            # It was given back between the two calls: the mark would lie where nobody looks.
        return None

    def _mend(self, *, now: float, lease_s: float) -> bool:
        """Write anew a lease that cannot be read, or that would never run out; False when it is none.

        The token is the time then: higher than any count, so whoever held the lease has lost it.
        """
        return self._change(
            UpdateExpression="SET expires_at = :until, #t = :token",
            ConditionExpression="attribute_exists(pk) AND (NOT attribute_type(expires_at, :number)"
            " OR NOT attribute_type(#t, :number) OR expires_at > :beyond)",
            ExpressionAttributeNames={"#t": "token"},
            ExpressionAttributeValues={
                ":until": as_number(now + lease_s),
                ":token": as_number(int(now)),
                ":number": as_text("N"),
                ":beyond": as_number(now + lease_s + CLOCKS_S),
            },
        )

    def _take_free(self, *, owner: str, now: float, lease_s: float) -> int | None:
        try:
            answer = self._update(
                UpdateExpression="SET #o = :owner, taken_at = :now, expires_at = :until, wake_pending = :no"
                " ADD #t :one",
                ConditionExpression="attribute_not_exists(pk)"
                " OR (attribute_type(expires_at, :number) AND attribute_type(#t, :number)"
                " AND expires_at < :now)",
                ExpressionAttributeNames={"#o": "owner", "#t": "token"},
                ExpressionAttributeValues={
                    ":owner": as_text(owner),
                    ":until": as_number(now + lease_s),
                    ":now": as_number(now),
                    ":no": {"BOOL": False},
                    ":one": as_number(1),
                    ":number": as_text("N"),
                },
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if words_of(error) <= CONDITION_FAILED:
                return None
            raise
        return int(answer["Attributes"]["token"]["N"])

    def _mark_held(self, *, now: float) -> bool:
        """Leave word for the holder; False when nobody holds the lease any more."""
        return self._change(
            UpdateExpression="SET wake_pending = :yes",
            ConditionExpression="expires_at >= :now",
            ExpressionAttributeValues={":yes": {"BOOL": True}, ":now": as_number(now)},
        )

    def renew(self, *, owner: str, token: int, now: float, lease_s: float) -> tuple[bool, bool]:
        """(still ours, a wake came meanwhile). Takes note of the wake."""
        try:
            answer = self._update(
                UpdateExpression="SET expires_at = :until, wake_pending = :no",
                ConditionExpression="#o = :owner AND #t = :token AND expires_at >= :now",
                ExpressionAttributeNames={"#o": "owner", "#t": "token"},
                ExpressionAttributeValues={
                    ":owner": as_text(owner),
                    ":token": as_number(token),
                    ":until": as_number(now + lease_s),
                    ":now": as_number(now),
                    ":no": {"BOOL": False},
                },
                ReturnValues="UPDATED_OLD",
            )
        except ClientError as error:
            if words_of(error) <= CONDITION_FAILED:
                return False, False
            raise
        pending = answer.get("Attributes", {}).get("wake_pending", {}).get("BOOL", False)
        return True, bool(pending)

    def release(self, *, owner: str, token: int) -> bool:
        """Give the lease back unless a wake is pending; False means look once more (or that it is not ours)."""
        return self._change(
            UpdateExpression="SET expires_at = :zero",
            ConditionExpression="#o = :owner AND #t = :token AND wake_pending = :no",
            ExpressionAttributeNames={"#o": "owner", "#t": "token"},
            ExpressionAttributeValues={
                ":owner": as_text(owner),
                ":token": as_number(token),
                ":zero": as_number(0),
                ":no": {"BOOL": False},
            },
        )

    def _change(self, **expressions: Any) -> bool:  # noqa: ANN401 - as DynamoDB takes them
        """Update the item; False when the condition did not hold."""
        try:
            self._update(**expressions)
        except ClientError as error:
            if words_of(error) <= CONDITION_FAILED:
                return False
            raise
        return True

    def _update(self, **expressions: Any) -> Mapping[str, Any]:  # noqa: ANN401
        key = {"pk": as_text("CLUSTER"), "sk": as_text("lease")}
        answer: Mapping[str, Any] = patiently(
            lambda: self._client.update_item(TableName=self._table, Key=key, **expressions),
            self._pause,
        )
        return answer
