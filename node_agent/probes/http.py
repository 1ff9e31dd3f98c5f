"""JSON over HTTP from this node's own services, with one session and a bound on time."""

from __future__ import annotations

import re
import socket
from typing import Any
from urllib.parse import urlsplit

import requests

WORDS_MAX = 300
INTEGER = re.compile(r"-?[0-9]{1,40}")


class Http:
    """One keep-alive session; a bound on every call."""

    def __init__(self, timeout_s: float) -> None:
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies between a node and itself
        self._timeout_s = timeout_s

    def get(self, url: str) -> tuple[int, Any] | None:
        """(status, JSON or None); None when nobody answered."""
        return self._ask("GET", url, None)

    def post(self, url: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        """The same, with a body."""
        return self._ask("POST", url, body)

    def tell(self, url: str, body: dict[str, Any]) -> tuple[int, str] | None:
        """Post; (status, the answer's own words), None when nobody answered in time."""
        try:
            answer = self._session.post(url, json=body, timeout=self._timeout_s)
        except requests.RequestException:
            return None
        return answer.status_code, " ".join(answer.text.split())[:WORDS_MAX]

    def refused(self, url: str) -> bool:
        """Whether the host is there and nobody listens; false too when nothing is known of it."""
        at = urlsplit(url)
        try:
            with socket.create_connection((at.hostname, at.port), self._timeout_s):
                return False
        except ConnectionRefusedError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Let go of its sockets."""
        self._session.close()

    def _ask(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[int, Any] | None:
        try:
            answer = self._session.request(method, url, json=body, timeout=self._timeout_s)
        except requests.RequestException:
            return None
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None


def text(value: object) -> str | None:
    """A non-empty string, else unknown."""
    return value if isinstance(value, str) and value else None


def number(value: object) -> int | None:
    """An integer, also one written as a string (etcd's gateway does); else unknown."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and INTEGER.fullmatch(value) else None


def flag(value: object) -> bool | None:
    """True or false, else unknown."""
    return value if isinstance(value, bool) else None


def mapping(value: object) -> dict[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[dict[str, Any]]:
    """The objects in a list; none in anything else."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
