"""How the local AWS puts behaviour of its own in the place of moto's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def take_over(owner: type, name: str, method: Callable[..., Any]) -> None:
    """From now on `method` is called for every object of one of moto's classes, with the object first."""

    def taken_over(this: Any, *args: Any, **kwargs: Any) -> Any:
        return method(this, *args, **kwargs)

    setattr(owner, name, taken_over)
