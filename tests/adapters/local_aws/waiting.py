"""Waiting for what comes about in its own time: with a deadline, never for luck. And being refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError

T = TypeVar("T")
DEADLINE_S = 15.0


def eventually(look: Callable[[], T], *, deadline_s: float = DEADLINE_S) -> T:
    """What `look` returns once it is true; an AssertionError of its own counts as not yet."""
    until, last = time.monotonic() + deadline_s, "it was never true"
    while time.monotonic() < until:
        try:
            found = look()
        except AssertionError as error:
            last = str(error)
        else:
            if found:
                return found
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s} s: {last}")


def consistently(look: Callable[[], object], *, for_s: float = 0.4) -> None:
    """`look` stays true for a while."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        assert look()
        time.sleep(0.02)


def refused(call: Callable[..., object], *args: Any, **kwargs: Any) -> str:
    """The code with which AWS refuses a call."""
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return str(caught.value.response["Error"]["Code"])
