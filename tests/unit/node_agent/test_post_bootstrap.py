"""Roles and database are made once, right after initdb; no server log ever sees a password."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from node_agent.commands.post_bootstrap import make, make_all
from node_agent.errors import AgentError

PASSWORDS = {"app": "app-secret", "monitor": "monitor-secret"}


class Connection:
    """A server that notes what it is told and knows some roles and databases already."""

    def __init__(self, *known: str) -> None:
        self.known, self.said = set(known), list[str]()
        self.pgconn = self

    def encrypt_password(self, password: bytes, user: bytes, algorithm: bytes) -> bytes:
        assert password
        return b"SCRAM-SHA-256$of " + user + b" by " + algorithm

    def execute(self, query: str | sql.Composed, parameters: Any = None) -> Connection:
        if isinstance(query, str):
            self._answer = parameters[0]
        else:
            self.said.append(query.as_string(None))
        return self

    def fetchone(self) -> tuple[int] | None:
        return (1,) if self._answer in self.known else None


def told(*known: str) -> list[str]:
    connection: Any = Connection(*known)
    make(connection, PASSWORDS)
    said: list[str] = connection.said
    return said


def test_a_new_server_gets_roles_and_the_database_one_of_them_owns() -> None:
    assert told() == [
        """CREATE ROLE "app" LOGIN PASSWORD 'SCRAM-SHA-256$of app by scram-sha-256'""",
        """CREATE ROLE "monitor" LOGIN PASSWORD 'SCRAM-SHA-256$of monitor by scram-sha-256'""",
        'GRANT pg_monitor TO "monitor"',
        'CREATE DATABASE "app" OWNER "app"',
        'REVOKE ALL ON DATABASE "app" FROM PUBLIC',
    ]


def test_what_is_there_already_is_kept() -> None:
    said = told("app", "monitor")
    assert not any(statement.startswith("CREATE") for statement in said)
    assert sum(statement.startswith("ALTER ROLE") for statement in said) == 2


def test_no_statement_carries_a_password() -> None:
    assert not any(word in statement for statement in told() for word in PASSWORDS.values())


def test_no_role_is_a_superuser() -> None:
    assert not any("SUPERUSER" in statement for statement in told())


def test_a_server_that_is_not_there_is_a_failure_patroni_sees(tmp_path: Path) -> None:
    roles = tmp_path / "roles.json"
    roles.write_text(json.dumps(PASSWORDS))
    with pytest.raises(AgentError, match="roles could not be made"):
        make_all("host=127.0.0.1 port=1 connect_timeout=1", roles)


def test_missing_passwords_are_a_failure_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: Any, **__: Any) -> None:
        raise AssertionError("it connected")

    monkeypatch.setattr(psycopg, "connect", connect)
    with pytest.raises(AgentError, match="roles could not be made"):
        make_all("host=x", tmp_path / "none")
