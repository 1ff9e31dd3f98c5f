"""moto is one for the whole process: what the local AWS takes over of it is given back, and its records are emptied."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import moto.core.config as moto_config
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data

BEHAVIOUR = (FunctionType, property, classmethod, staticmethod)


@contextmanager
def given_back() -> Iterator[None]:
    """moto behaves afterwards as it did before, and forgets what it was told meanwhile."""
    before = {owner: dict(vars(owner)) for owner in _owners()}
    settings = copy.deepcopy(moto_config.default_user_config)
    _forget()
    try:
        yield
    finally:
        for owner, members in before.items():
            _restore(owner, members)
        moto_config.default_user_config.clear()  # type: ignore[attr-defined]
        moto_config.default_user_config.update(settings)
        _forget()


def _owners() -> list[Any]:
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("moto.")]
    classes = {
        member
        for module in modules
        for member in list(vars(module).values())
        if isinstance(member, type) and member.__module__.startswith("moto.")
    }
    return [*modules, *classes]


def _restore(owner: Any, members: dict[str, Any]) -> None:
    for name, now in list(vars(owner).items()):
        then = members.get(name)
        if now is then or not isinstance(now, BEHAVIOUR):
            continue
        if name in members:
            setattr(owner, name, then)
        elif isinstance(owner, type):
            delattr(owner, name)


def _forget() -> None:
    BackendDict.reset()
    reset_model_data()
