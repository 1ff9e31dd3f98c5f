"""How the local AWS puts behaviour of its own in the place of moto's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def take_over(owner: type, name: str, method: Callable[..., Any]) -> None:
    """From now on `method` is called for every object of one of moto's classes, with the object first."""

    def taken_over(this: Any, *args: Any, **kwargs: Any) -> Any:
        return method(this, *args, **kwargs)

    setattr(owner, name, taken_over)


def take_over_property(owner: type, name: str, getter: Callable[[Any], Any]) -> Callable[..., Any]:
    """The same for a property; what gave its value before is returned."""
    before = getattr(owner, name, None)
    setattr(owner, name, property(getter))
    original: Callable[..., Any] = getattr(before, "fget", None) or (lambda _: None)
    return original
