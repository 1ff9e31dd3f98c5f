"""The service's configuration, written by the node agent to /etc/pgmend/app.json. Read once, at
start.

It must never hold a password: that comes from Secrets Manager.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from app.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH: Final = Path("/etc/pgmend/app.json")
VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the service needs to know."""

    cluster: str
    region: str
    secret: str
    writers: tuple[Address, ...]  # proxies that lead to the primary, own region first
    readers: tuple[Address, ...]
    aws_endpoints: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path = PATH) -> Self:
        """Read the file. Raises ConfigError with a sentence."""
        try:
            content = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{path} is not JSON: {error}") from error
        return cls.parse(content)

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self:
        """Check the content. Raises ConfigError naming what is wrong."""
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise ConfigError(f"the configuration is not of version {VERSION}")
        try:
            return cls(
                cluster=_text(content, "cluster"),
                region=_text(content, "region"),
                secret=_text(content, "secret"),
                writers=_addresses(content, "writers"),
                readers=_addresses(content, "readers"),
                aws_endpoints=dict(content.get("aws_endpoints") or {}),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the configuration is wrong or incomplete: {error}") from error


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"'{name}' must be a text")
    return value


def _addresses(content: Mapping[str, Any], name: str) -> tuple[Address, ...]:
    found = tuple(_address(item) for item in content[name])
    if not found:
        raise ValueError(f"'{name}' names nobody")
    return found


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"'{text}' is not host:port")
    return Address(host=host, port=int(port))
