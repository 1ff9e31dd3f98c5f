"""The service says honestly whether a write would succeed, and survives what changes under it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import psycopg
import pytest
from moto import mock_aws

from app.config import Address, Config
from app.database import Database
from app.errors import AppError, ConfigError, DatabaseError, SecretError
from app.secret import SecretsManager
from app.service import create_app

CONTENT = {
    "version": 1,
    "cluster": "pgmend",
    "region": "eu-west-1",
    "secret": "pgmend/database",
    "writers": ["10.10.10.21:5432", "10.20.10.21:5432"],
    "readers": ["10.10.10.21:5433", "10.20.10.21:5433"],
    "aws_endpoints": {},
}


class FakePasswords:
    def __init__(self, *passwords: str) -> None:
        self._passwords = list(passwords)
        self.forgotten = 0

    def current(self) -> str:
        return self._passwords[min(self.forgotten, len(self._passwords) - 1)]

    def forget(self) -> None:
        self.forgotten += 1


class FakeConnection:
    """A server that answers the one question, if the password is the right one."""

    def __init__(self, answer: tuple[bool, bool] = (False, False), *, right: str = "new") -> None:
        self.asked: list[dict[str, Any]] = []
        self.info = SimpleNamespace(host="10.10.10.21", port=5432)
        self._answer = answer
        self._right = right

    def __call__(self, **parameters: Any) -> Any:
        self.asked.append(parameters)
        if parameters["password"] != self._right:
            raise psycopg.OperationalError(
                'connection failed: FATAL:  password authentication failed for user "app"'
            )
        return self

    def __enter__(self) -> FakeConnection:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execute(self, _: str) -> FakeConnection:
        return self

    def fetchone(self) -> tuple[bool, bool]:
        return self._answer


def config() -> Config:
    return Config.parse(CONTENT)


def ready(connect: Any, passwords: FakePasswords | None = None) -> tuple[int, dict[str, Any]]:
    database = Database(config(), passwords or FakePasswords("new"), connect=connect)
    answer = create_app(config(), database).test_client().get("/readyz")
    return answer.status_code, answer.get_json()


def test_ready_means_a_primary_answered_that_takes_writes() -> None:
    status, body = ready(FakeConnection())

    assert status == 200
    assert body["code"] == "ok"
    assert body["through"] == "10.10.10.21:5432"


def test_all_proxies_are_tried_own_region_first_with_short_limits() -> None:
    connect = FakeConnection()

    ready(connect)

    (asked,) = connect.asked
    assert asked["host"] == "10.10.10.21,10.20.10.21"
    assert asked["port"] == "5432,5432"
    assert asked["target_session_attrs"] == "read-write"
    assert asked["connect_timeout"] <= 2


class Proxies:
    """psycopg's walk over the hosts it is given: the first that lives is connected."""

    def __init__(self, *alive: str) -> None:
        self.alive = set(alive)
        self.asked: list[str] = []

    def __call__(self, **parameters: Any) -> Any:
        self.asked.append(parameters["host"])
        ways = zip(parameters["host"].split(","), parameters["port"].split(","), strict=True)
        for host, port in ways:
            if host in self.alive:
                connection = FakeConnection()
                connection.info = SimpleNamespace(host=host, port=int(port))
                return connection
        raise psycopg.OperationalError("nobody")


NEAR, FAR = "10.10.10.21", "10.20.10.21"


def test_the_proxy_that_answered_last_is_asked_first_and_the_others_after_it() -> None:
    proxies = Proxies(FAR)
    database = Database(config(), FakePasswords("new"), connect=proxies)
    assert database.writable().host == FAR
    assert database.writable().host == FAR
    assert proxies.asked == [f"{NEAR},{FAR}", f"{FAR},{NEAR}"]
    proxies.alive = {NEAR}
    assert database.writable().host == NEAR
    database.writable()
    assert proxies.asked[2:] == [f"{FAR},{NEAR}", f"{NEAR},{FAR}"]


def test_nobody_answering_forgets_no_proxy_and_needs_no_restart() -> None:
    proxies = Proxies(FAR)
    database = Database(config(), FakePasswords("new"), connect=proxies)
    database.writable()
    proxies.alive = set()
    with pytest.raises(DatabaseError):
        database.writable()
    proxies.alive = {NEAR, FAR}
    assert database.writable().host == FAR


def test_requests_at_once_all_find_a_way_whichever_proxy_lives() -> None:
    proxies = Proxies(NEAR)
    database = Database(config(), FakePasswords("new"), connect=proxies)

    def ask(number: int) -> bool:
        proxies.alive = {NEAR, FAR} - {(NEAR, FAR)[number % 2]}
        return database.writable().host in {NEAR, FAR}

    with ThreadPoolExecutor(max_workers=8) as pool:
        assert all(pool.map(ask, range(200)))
    assert set(proxies.asked) <= {f"{NEAR},{FAR}", f"{FAR},{NEAR}"}


def test_a_replica_behind_the_proxy_is_not_ready() -> None:
    status, body = ready(FakeConnection((True, True)))

    assert status == 503
    assert body["code"] == "primary-unreachable"


def test_nobody_behind_any_proxy_is_not_ready_and_one_line_says_why() -> None:
    def refuse(**_: Any) -> Any:
        raise psycopg.OperationalError("connection refused\nmore lines")

    status, body = ready(refuse)

    assert (status, body["code"], body["message"]) == (
        503,
        "primary-unreachable",
        "connection refused",
    )


def test_a_changed_password_is_read_again_once() -> None:
    passwords = FakePasswords("old", "new")

    status, _ = ready(FakeConnection(), passwords)

    assert status == 200
    assert passwords.forgotten == 1


def test_a_wrong_password_is_not_tried_for_ever() -> None:
    connect = FakeConnection()

    status, body = ready(connect, FakePasswords("old"))

    assert status == 503
    assert len(connect.asked) == 2
    assert "old" not in json.dumps(body)


def test_a_secret_out_of_reach_is_not_ready_with_its_own_code() -> None:
    class NoSecret(FakePasswords):
        def current(self) -> str:
            raise SecretError("the secret could not be read")

    status, body = ready(FakeConnection(), NoSecret())

    assert (status, body["code"]) == (503, "secret-unavailable")


def test_alive_says_nothing_about_the_database() -> None:
    class Nobody(Database):
        def writable(self) -> Any:
            raise AppError("never asked")

    client = create_app(config(), Nobody(config(), FakePasswords("x"))).test_client()

    assert client.get("/healthz").status_code == 200
    assert client.get("/healthz").get_json()["code"] == "ok"


def test_unknown_paths_and_methods_answer_json_with_a_code() -> None:
    client = create_app(config(), Database(config(), FakePasswords("x"))).test_client()

    assert client.get("/nothing").get_json() == {"code": "not-found"}
    assert client.post("/readyz").get_json() == {"code": "method-not-allowed"}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"writers": []},
        {"writers": ["10.10.10.21"]},
        {"writers": None},
        {"region": ""},
        {"secret": None},
    ],
    ids=str,
)
def test_a_wrong_configuration_is_refused_at_start(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Config.parse({**CONTENT, **change})


def test_unknown_fields_of_the_configuration_are_left_alone() -> None:
    assert Config.parse({**CONTENT, "later": 1}).writers[0] == Address(
        host="10.10.10.21", port=5432
    )


def test_the_configuration_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "app.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.load(file)
    file.write_text("{", "utf-8")
    with pytest.raises(ConfigError, match="not JSON"):
        Config.load(file)
    file.write_text(json.dumps(CONTENT), "utf-8")
    assert Config.load(file) == config()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.client("secretsmanager", region_name="eu-west-1")


def test_the_password_is_kept_until_it_is_told_to_be_stale(aws: Any) -> None:
    aws.create_secret(Name="pgmend/database", SecretString='{"app": "first"}')
    passwords = SecretsManager(config())
    assert passwords.current() == "first"

    aws.put_secret_value(SecretId="pgmend/database", SecretString='{"app": "second"}')

    assert passwords.current() == "first"
    passwords.forget()
    assert passwords.current() == "second"


@pytest.mark.usefixtures("aws")
def test_a_missing_secret_is_a_sentence() -> None:
    with pytest.raises(SecretError, match="could not be read"):
        SecretsManager(config()).current()


def test_a_secret_without_the_role_is_a_sentence(aws: Any) -> None:
    aws.create_secret(Name="other", SecretString="{}")

    with pytest.raises(SecretError, match="no password for 'app'"):
        SecretsManager(replace(config(), secret="other")).current()
