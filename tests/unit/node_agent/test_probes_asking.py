"""The probes ask real sockets and programs: no answer is unknown, and no wait is without a bound."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from node_agent.probes import peers, system
from node_agent.probes.etcd import Etcd
from node_agent.probes.http import Http
from tests.unit.node_agent.builders import MEMBERS, STATUS

# -- units


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "systemctl"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return program


def test_units_are_read_in_one_call_and_what_is_strange_is_unknown(systemctl: Path) -> None:
    systemctl.write_text(
        "#!/bin/sh\nprintf 'Id=etcd.service\\nActiveState=active\\n\\n"
        "Id=patroni.service\\nActiveState=deactivating\\n'\n"
    )
    systemctl.chmod(0o755)
    found = system.units(["etcd", "patroni", "haproxy"])
    assert found == {"etcd": "active", "patroni": "unknown", "haproxy": "unknown"}
    assert system.units([]) == {}


# -- over HTTP


class Server:
    """A small HTTP server with canned answers by path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                outer.asked.append((self.command, self.path, self.rfile.read(length).decode()))
                status, body = outer.answers.get(self.path, (404, "not found"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = answer  # noqa: N815 - the base class's names

            def log_message(self, *_: object) -> None:
                """Nothing to say."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


@pytest.fixture
def http() -> Iterator[Http]:
    found = Http(2.0)
    yield found
    found.close()


def test_nobody_listening_is_no_answer(http: Http) -> None:
    assert http.get("http://127.0.0.1:1/") is None
    assert Etcd(http, "http://127.0.0.1:1").probe()["healthy"] is False


def test_what_is_no_json_is_an_answer_without_a_body(server: Server, http: Http) -> None:
    server.answers["/"] = (503, "<html>")
    assert http.get(server.base + "/") == (503, None)


def test_etcd_is_asked_the_way_its_gateway_wants(server: Server, http: Http) -> None:
    server.answers["/health"] = (200, '{"health":"true"}')
    server.answers["/v3/maintenance/status"] = (200, json.dumps(STATUS))
    server.answers["/v3/cluster/member/list"] = (
        200,
        json.dumps({"header": STATUS["header"], **MEMBERS}),
    )
    server.answers["/v3/kv/range"] = (200, '{"kvs":[{"key":"eA==","value":"NzQ1"}],"count":"1"}')
    server.answers["/v3/cluster/member/add"] = (200, "{}")
    server.answers["/v3/cluster/member/remove"] = (
        404,
        '{"code":5,"message":"etcdserver: member not found"}',
    )
    server.answers["/v3/kv/txn"] = (200, '{"succeeded":true}')
    one = Etcd(http, server.base)
    assert one.healthy()
    assert one.probe()["name"] == "n1"
    assert one.get("x") == (True, "745")
    assert one.cluster_id() == f"{7374361507836364162:x}"
    assert one.add_learner("http://10.0.0.9:2380")
    assert not one.remove("1")
    assert one.refusal == "etcdserver: member not found"
    assert one.delete_if_empty("x")
    sent = {path: json.loads(body) for method, path, body in server.asked if method == "POST"}
    assert sent["/v3/kv/range"] == {"key": "eA=="}
    assert sent["/v3/cluster/member/add"] == {
        "peerURLs": ["http://10.0.0.9:2380"],
        "isLearner": True,
    }
    assert sent["/v3/kv/txn"]["compare"][0]["value"] == ""


OWN = str(STATUS["header"]["member_id"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("alarms", "served", "healthy"),
    [
        ([{"memberID": "1", "alarm": "CORRUPT"}], "true", True),
        ([{"memberID": OWN, "alarm": "NOSPACE"}], "true", True),
        ([{"memberID": OWN, "alarm": "CORRUPT"}], "true", False),
        ([{"memberID": "1", "alarm": "CORRUPT"}], "false", False),
    ],
    ids=["another's", "no space", "corrupt", "serves nobody"],
)
def test_alarms_are_told_from_health(
    server: Server, http: Http, alarms: list[dict[str, str]], served: str, *, healthy: bool
) -> None:
    server.answers["/health"] = (503, '{"health":"false","reason":"ALARM"}')
    server.answers["/health?exclude=NOSPACE&exclude=CORRUPT"] = (
        200,
        json.dumps({"health": served}),
    )
    server.answers["/v3/maintenance/status"] = (200, json.dumps(STATUS))
    server.answers["/v3/maintenance/alarm"] = (200, json.dumps({"alarms": alarms}))
    one = Etcd(http, server.base)
    assert one.healthy() is healthy
    assert one.probe()["healthy"] is healthy


def test_a_member_that_does_not_say_whose_alarm_it_is_counts_as_unhealthy(
    server: Server, http: Http
) -> None:
    server.answers["/health"] = (503, '{"health":"false","reason":"ALARM"}')
    server.answers["/health?exclude=NOSPACE&exclude=CORRUPT"] = (200, '{"health":"true"}')
    assert not Etcd(http, server.base).healthy()


def test_etcd_is_compacted_and_its_alarms_taken_back_the_way_its_gateway_wants(
    server: Server, http: Http
) -> None:
    server.answers["/v3/maintenance/status"] = (200, json.dumps(STATUS))
    server.answers["/v3/maintenance/alarm"] = (200, "{}")
    server.answers["/v3/maintenance/defragment"] = (200, "{}")
    server.answers["/v3/kv/compaction"] = (200, "{}")
    one = Etcd(http, server.base)
    assert (one.own_id(), one.leads(), one.alarms()) == (OWN, True, [])
    assert one.compact(5)
    assert one.defragment()
    assert one.disarm("7", "NOSPACE")
    sent = [json.loads(body) for _, path, body in server.asked if path.endswith("/alarm")]
    assert sent[-1] == {"action": "DEACTIVATE", "memberID": "7", "alarm": "NOSPACE"}
    words = "etcdserver: mvcc: required revision has been compacted"
    server.answers["/v3/kv/compaction"] = (400, json.dumps({"message": words}))
    assert one.compact(5)
    server.answers["/v3/kv/compaction"] = (503, '{"message":"etcdserver: no leader"}')
    assert not one.compact(5)


def test_an_answers_own_words_are_kept(server: Server, http: Http) -> None:
    server.answers["/switchover"] = (412, "candidate name\n  does not match")
    told = http.tell(server.base + "/switchover", {"leader": "a"})
    assert told == (412, "candidate name does not match")
    assert json.loads(server.asked[-1][2]) == {"leader": "a"}
    assert http.tell("http://127.0.0.1:1/", {}) is None


def test_a_key_that_is_not_there_and_one_that_is_empty_are_two_things(
    server: Server, http: Http
) -> None:
    server.answers["/v3/kv/range"] = (200, '{"header":{}}')
    assert Etcd(http, server.base).get("x") == (True, None)
    server.answers["/v3/kv/range"] = (200, '{"kvs":[{"key":"eA=="}],"count":"1"}')
    assert Etcd(http, server.base).get("x") == (True, "")
    server.answers["/v3/kv/range"] = (503, '{"error":"etcdserver: no leader"}')
    assert Etcd(http, server.base).get("x") == (False, None)


def test_members_are_asked_at_the_peer_port_which_answers_without_a_majority(
    server: Server, http: Http
) -> None:
    one = Etcd(http, "http://127.0.0.1:1", server.base)
    member = {"id": 1, "name": "a", "peerURLs": ["http://a"], "clientURLs": ["http://c"]}
    server.answers["/members"] = (200, json.dumps([member]))
    assert one.known_to_peers() == [member]
    for answer in [(503, "[]"), (200, "[]"), (200, "no list"), (200, "{}")]:
        server.answers["/members"] = answer
        assert one.known_to_peers() is None


def test_a_host_that_runs_no_etcd_is_told_from_one_that_does_not_answer(http: Http) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        silent = Http(0.05)
        port = mute.getsockname()[1]
        assert Etcd(http, peers=f"http://127.0.0.1:{port}").known_to_peers() == []
        mute.listen()
        assert Etcd(silent, peers=f"http://127.0.0.1:{port}").known_to_peers() is None
        silent.close()


# -- the app


class Site(Http):
    """An app whose `/readyz` takes its time."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.alive, self.answer = True, threading.Event()
        self.status: int | None = 200

    def get(self, url: str) -> tuple[int, Any] | None:
        if url.endswith("/healthz"):
            return (200, {}) if self.alive else None
        self.answer.wait(10)
        return None if self.status is None else (self.status, {})


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    yield found
    found.answer.set()
    found.close()


def an_app(site: Site, timeout_s: float = 0.02) -> system.App:
    found = system.App(site, timeout_s)
    found._patient = site
    return found


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False), (404, False)])
def test_an_app_says_whether_it_is_ready(site: Site, status: int, *, ready: bool) -> None:
    site.status = status
    site.answer.set()
    assert an_app(site, timeout_s=5.0).probe() == {"up": True, "ready": ready}


def test_an_app_that_lives_and_takes_its_time_is_unknown_and_holds_nobody_up(site: Site) -> None:
    app = an_app(site)
    assert app.probe() == {"up": True, "ready": None}
    site.answer.set()
    assert an_app(site, timeout_s=5.0).probe()["ready"] is True


def test_while_an_app_takes_its_time_its_last_word_counts(site: Site) -> None:
    app = an_app(site)
    site.answer.set()
    app._timeout_s = 5.0
    assert app.probe()["ready"] is True
    site.answer.clear()
    app._timeout_s = 0.02
    assert [app.probe()["ready"], app.probe()["ready"]] == [True, True]
    site.status = None
    site.answer.set()
    app._timeout_s = 5.0
    assert app.probe() == {"up": True, "ready": None}


def test_an_app_that_does_not_answer_is_down_and_its_last_word_is_forgotten(site: Site) -> None:
    app = an_app(site, timeout_s=5.0)
    site.answer.set()
    app.probe()
    site.alive = False
    assert app.probe() == {"up": False, "ready": False}
    site.alive = True
    site.answer.clear()
    app._timeout_s = 0.02
    assert app.probe() == {"up": True, "ready": None}


def test_readiness_has_a_longer_time_than_two_proxies_take(http: Http) -> None:
    assert system.READY_S >= 2 * 2.0
    found = system.App(http, 1.0)
    assert found._patient._timeout_s == system.READY_S


# -- peers


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
    monkeypatch.setattr(peers, "PORT", found)
    return found


def test_an_agent_that_answers_is_alive_and_says_who_it_is(port: int) -> None:
    with peers.Responder("127.0.0.1", "db-euw1-a", "i-1") as responder:
        responder.start()
        assert peers.ask("127.0.0.1", 2.0) == "alive"
        with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            assert client.recv(100) == b"pgmend 1 db-euw1-a i-1\n"
        responder.shutdown()


def test_a_host_without_its_agent_refuses(port: int) -> None:
    assert port
    assert peers.ask("127.0.0.1", 2.0) == "refused"


def test_a_host_that_accepts_and_stays_mute_is_silent(port: int) -> None:
    with socket.socket() as frozen:
        frozen.bind(("127.0.0.1", port))
        frozen.listen()
        assert peers.ask("127.0.0.1", 0.05) == "silent"


def test_a_peers_state_is_counted_from_its_last_change() -> None:
    found = peers.Peers(1.0)
    assert found.note("a", "alive", 10.0) == {"state": "alive", "for_s": 0.0}
    assert found.note("a", "alive", 15.0) == {"state": "alive", "for_s": 5.0}
    assert found.note("a", "silent", 20.0) == {"state": "silent", "for_s": 0.0}
    assert found.note("a", "alive", 21.0) == {"state": "alive", "for_s": 0.0}
