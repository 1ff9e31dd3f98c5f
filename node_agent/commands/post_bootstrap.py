"""`post-bootstrap`: the application's role and database and the monitor role, made once, right after initdb.

Patroni calls it as the operating system's postgres user and itself makes the replication and rewind roles. It may be
called again: what is there already is left alone. Passwords travel as SCRAM verifiers, so no server log ever has one.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from node_agent.errors import AgentError
from node_agent.render.patroni import APP, MONITOR
from node_agent.setup.patroni import ROLES

ALGORITHM = "scram-sha-256"


def run(args: Namespace) -> str:
    """What Patroni calls."""
    return make_all(args.conninfo, ROLES)


def make_all(conninfo: str, file: Path) -> str:
    """Connect as Patroni says and make what is missing."""
    try:
        passwords = json.loads(file.read_text())
        with psycopg.connect(conninfo, autocommit=True) as connection:
            make(connection, passwords)
    except (OSError, ValueError, psycopg.Error) as error:
        raise AgentError(f"roles could not be made: {error}") from error
    return "roles and database are made"


def make(connection: psycopg.Connection[Any], passwords: dict[str, str]) -> None:
    """The roles, then the database that one of them owns."""
    for role in (APP, MONITOR):
        _role(connection, role, passwords[role])
    _execute(connection, "GRANT pg_monitor TO {}", MONITOR)
    known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [APP]).fetchone()
    if known is None:
        _execute(connection, "CREATE DATABASE {} OWNER {}", APP, APP)
    _execute(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", APP)


def _role(connection: psycopg.Connection[Any], role: str, password: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    verifier = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), ALGORITHM.encode()
    ).decode()
    verb = "ALTER" if known else "CREATE"
    statement = sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))


def _execute(connection: psycopg.Connection[Any], statement: str, *names: str) -> None:
    found = sql.SQL(statement)
    connection.execute(found.format(*(sql.Identifier(name) for name in names)))
