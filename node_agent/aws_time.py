"""AWS's time, by which requests are signed: AWS refuses a signature that is more than five minutes off its own clock.

botocore signs by the node's clock alone, so a clock that is hours off would silence the agent that should tell of it.
Here the `Date` of every answer is kept, that of a refusal too, and goes on with the monotonic clock: a step of the
node's clock changes nothing. This must never set a clock, nor be used for what the report says of the node's own.
"""

from __future__ import annotations

import calendar
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth, SigV4Auth

STAMP = "%Y%m%dT%H%M%SZ"  # how a signature writes its time
SIGN_AT = "pgmend_sign_at"  # the stamp in a request's context
REFUSED_BEYOND_S = 240.0  # AWS's five minutes, less what a slow answer takes
WORTH_SAYING_S = 60.0
log = logging.getLogger("pgmend.agent")


class _StampedV4(SigV4Auth):
    """botocore's signer; the time is the request's own where it has one."""

    def _modify_request_before_signing(self, request: Any) -> None:  # noqa: ANN401 - botocore's
        context = request.context
        context["timestamp"] = context.get(SIGN_AT, context["timestamp"])
        super()._modify_request_before_signing(request)  # type: ignore[misc] # not in the stubs


class _StampedS3V4(_StampedV4, S3SigV4Auth):
    """The same for S3, which signs the body in another way."""


class AwsTime:
    """What AWS's clock says now; the node's own until AWS has said so for the first time. Thread-safe."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._lock = threading.Lock()
        self._ahead_s: float | None = None  # of the monotonic clock
        self._said = False

    def now(self) -> float:
        """Epoch seconds."""
        ahead_s = self._ahead_s
        return self._wall() if ahead_s is None else self._monotonic() + ahead_s

    def hear(self, date: str | None) -> float | None:
        """An answer's `Date`, in epoch seconds; None, and nothing is learned, when it says no time."""
        told = _epoch_s(date)
        if told is None:
            return None
        with self._lock:
            self._ahead_s = told - self._monotonic()
            off_s = self._wall() - told
            if (abs(off_s) > WORTH_SAYING_S) is not self._said:
                self._said = not self._said
                log.warning("this node's clock is %+.0f s off AWS's; requests go by AWS's", off_s)
        return told

    def follow(self, client: Any) -> None:  # noqa: ANN401 - boto3 makes clients at run time
        """Let a client sign by AWS's time and learn it from its answers."""
        AUTH_TYPE_MAPS.update({"v4": _StampedV4, "s3v4": _StampedS3V4})
        client.meta.events.register("before-sign", self._stamp)
        client.meta.events.register("needs-retry", self._learn)

    def _stamp(self, request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        request.context[SIGN_AT] = datetime.fromtimestamp(self.now(), UTC).strftime(STAMP)

    def _learn(
        self,
        response: tuple[Any, Any] | None,
        attempts: int,
        request_dict: Mapping[str, Any],
        **_: object,
    ) -> int | None:
        """After every answer. 0, which asks again at once, for the first that was refused for its time."""
        if response is None:
            return None
        answer = response[0]
        told = self.hear(answer.headers.get("Date"))
        signed = request_dict["context"].get("timestamp")
        if told is None or signed is None or not 400 <= answer.status_code < 500:
            return None
        late_s = told - calendar.timegm(time.strptime(signed, STAMP))
        return 0 if attempts == 1 and abs(late_s) > REFUSED_BEYOND_S else None


def _epoch_s(date: str | None) -> float | None:
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
