"""The agent: who it is, what it reports, and where it wants etcd's leader."""

from __future__ import annotations

import copy
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from node_agent import daemon
from node_agent.daemon import etcd_target, notify
from node_agent.errors import AgentError, HoldError
from node_agent.node import whoami
from node_agent.phase import CONFIGURED, enter
from node_agent.report import Reporter, Sequence, volume_id
from node_agent.spec import Spec
from tests.unit.node_agent.builders import Clock, a_node, example, the_spec
from tests.unit.node_agent.conftest import Home

# -- who this node is


class Metadata:
    """Instance metadata version 2: no token, no answer."""

    def __init__(self) -> None:
        self.tags: dict[str, str] | None = {"pgmend:slot": "db-euw3-a"}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self._answer(200, "token")

            def do_GET(self) -> None:
                path = self.path.removeprefix("/latest/meta-data/")
                if self.headers.get("X-aws-ec2-metadata-token") != "token":
                    self._answer(401, "")
                elif path == "instance-id":
                    self._answer(200, "i-1")
                elif path == "tags/instance/pgmend:slot" and outer.tags is not None:
                    self._answer(200, outer.tags["pgmend:slot"])
                else:
                    self._answer(404, "")

            def _answer(self, status: int, body: str) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Nothing to say."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/latest"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    found = Metadata()
    yield found
    found.close()


@pytest.fixture
def node_file(tmp_path: Path) -> Path:
    file = tmp_path / "node.json"
    content = {
        "version": 1,
        "cluster": "pgmend",
        "region": "eu-west-3",
        "hub_region": "eu-central-1",
        "bucket": "b",
        "table": "t",
        "aws_endpoints": {"eu-west-3": "http://10.20.255.1:4566"},
    }
    file.write_text(json.dumps(content))
    return file


def test_a_node_knows_its_slot_from_its_tags(metadata: Metadata, node_file: Path) -> None:
    node = whoami(node_file, metadata.url)
    assert (node.slot, node.role, node.instance_id) == ("db-euw3-a", "db", "i-1")
    assert node.endpoints == {"eu-west-3": "http://10.20.255.1:4566"}


def test_a_node_without_its_tag_says_so(metadata: Metadata, node_file: Path) -> None:
    metadata.tags = None
    with pytest.raises(AgentError, match="metadata"):
        whoami(node_file, metadata.url)


def test_a_node_whose_user_data_has_not_finished_says_so(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="user data"):
        whoami(tmp_path / "node.json", "http://127.0.0.1:1")


def test_metadata_that_does_not_answer_is_an_error(node_file: Path) -> None:
    with pytest.raises(AgentError, match="metadata"):
        whoami(node_file, "http://127.0.0.1:1")


# -- the spec


def test_a_spec_of_another_version_is_a_hold() -> None:
    with pytest.raises(HoldError, match="version 2"):
        Spec.parse(json.dumps({**example("spec.json"), "version": 2}))


def test_a_node_that_was_never_configured_has_no_spec(home: Home) -> None:
    assert not home.spec.exists()
    assert Spec.kept() is None


def test_voters_and_roles_are_found_spare_slots_too() -> None:
    spec = the_spec()
    assert [v["name"] for v in spec.voters] == ["db-euw1-a", "db-euw3-a", "witness-euc1-a"]
    assert len(spec.of_role("db")) == 6
    assert spec.bus == "pgmend"


# -- reports


def test_the_sequence_rises_over_restarts(tmp_path: Path) -> None:
    file = tmp_path / "sequence"
    numbers = []
    for _ in range(3):
        sequence = Sequence(file)
        numbers += [sequence.next() for _ in range(150)]
    assert numbers == sorted(set(numbers))


def used(file: Path, *, passes: int, since_s: float = 1000.0) -> list[int]:
    """The numbers of one life of the agent."""
    sequence = Sequence(file, lambda: since_s)
    return [sequence.next() for _ in range(passes)]


@pytest.mark.parametrize("text", ["", "\x00", "x"], ids=["emptied", "zeros", "garbage"])
def test_a_sequence_file_that_a_crash_spoiled_never_makes_it_go_back(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "sequence"
    before = used(file, passes=150)
    file.write_text(text)
    assert used(file, passes=1, since_s=1152.0)[0] > before[-1]


def test_a_disk_that_takes_nothing_does_not_stop_the_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "full").touch()  # no folder can be made here
    file = tmp_path / "full" / "sequence"
    before = used(file, passes=150)
    assert before == sorted(set(before))
    assert used(file, passes=1, since_s=1152.0)[0] > before[-1]
    warnings = [r for r in caplog.records if "cannot be saved" in r.message]
    assert len(warnings) == 2  # one a life


def test_a_clock_that_was_put_back_does_not_put_the_numbers_back(tmp_path: Path) -> None:
    file = tmp_path / "sequence"
    before = used(file, passes=150, since_s=5000.0)
    assert used(file, passes=1, since_s=10.0)[0] > before[-1]


def test_the_sequence_is_written_over_itself_because_a_full_disk_has_no_room_for_another(
    tmp_path: Path,
) -> None:
    file = tmp_path / "sequence"
    used(file, passes=1)
    before = file.stat()
    used(file, passes=1)
    after = file.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)


# -- the process

DYING = """
import threading, time
from node_agent import daemon
daemon.whoami = lambda: (_ for _ in ()).throw(SystemError("this test has no node"))
try:
    daemon.main()
except SystemError:
    pass
threading.Thread(target=lambda: 1 / 0, daemon=True, name="events").start()
time.sleep(20)
"""


def test_a_thread_that_ends_by_surprise_ends_the_agent() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", DYING], capture_output=True, text=True, timeout=15, check=False
    )
    assert ended.returncode == 1
    assert "the thread events ended" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr


@pytest.fixture
def quiet_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "systemctl"
    program.write_text("#!/bin/sh\nprintf 'Id=patroni.service\\nActiveState=active\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def a_reporter(home: Home, slot: str) -> Reporter:
    return Reporter(a_node(slot), clock=Clock(), sequence=Sequence(home.state / "sequence"))


def on_nobodys_addresses() -> Spec:
    """A spec whose nodes nobody answers for, at once."""
    spec = example("spec.json")
    for slot in spec["slots"]:
        slot["address"] = "127.0.0.7"
    spec["timings"]["probe_timeout_s"] = 1
    return Spec(spec)


@pytest.mark.usefixtures("quiet_units")
def test_an_idle_node_reports_itself_and_nothing_it_does_not_know(home: Home) -> None:
    report = a_reporter(home, "db-euw3-b").make()
    assert report["phase"] == "idle"
    assert report["services"] == {"patroni": "active"}
    assert report["peers"] == {}
    parts = ("postgres", "patroni", "etcd", "haproxy", "app", "disk", "volume_id")
    assert all(report[part] is None for part in parts)


@pytest.mark.usefixtures("quiet_units")
@pytest.mark.parametrize(
    ("slot", "parts"),
    [
        ("db-euw1-a", {"patroni", "postgres", "etcd", "disk"}),
        ("db-euw1-c", {"patroni", "postgres", "disk"}),
        ("witness-euc1-a", {"etcd", "disk"}),
        ("haproxy-euw1-a", {"haproxy"}),
        ("app-euw1-a", {"app"}),
    ],
)
def test_a_configured_node_reports_what_its_role_has(
    home: Home, slot: str, parts: set[str]
) -> None:
    home.spec.write_text(json.dumps(on_nobodys_addresses().raw))
    home.monitor.write_text('{"monitor": "x"}')
    enter(CONFIGURED)
    report = a_reporter(home, slot).make()
    everything = ("postgres", "patroni", "etcd", "haproxy", "app", "disk")
    assert {part for part in everything if report[part] is not None} == parts
    assert report["phase"] == "configured"
    assert slot not in report["peers"]
    assert set(report["peers"]) <= {s["name"] for s in example("spec.json")["slots"] if s["active"]}


@pytest.mark.usefixtures("quiet_units")
def test_an_agent_takes_its_spec_up_when_it_is_configured(home: Home) -> None:
    reporter = a_reporter(home, "witness-euc1-a")
    assert reporter.units() == ()
    home.spec.write_text(json.dumps(on_nobodys_addresses().raw))
    reporter.reload()
    assert reporter.units() == ("etcd",)


def test_a_probe_that_the_host_breaks_does_not_silence_the_others(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home.root))  # no systemctl there
    report = a_reporter(home, "db-euw1-a").make()
    assert report["services"] == {}
    assert report["sequence"] > 0


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"volume_id": 5}'])
def test_a_disk_record_that_cannot_be_read_is_an_unknown_volume(tmp_path: Path, text: str) -> None:
    file = tmp_path / "disk.json"
    file.write_text(text)
    assert volume_id(file) is None
    assert volume_id(tmp_path / "none") is None


# -- where etcd's leader may stay

VOTERS = ["db-euw1-a", "db-euw3-a", "witness-euc1-a"]


def a_leader_of_both() -> dict[str, Any]:
    report = copy.deepcopy(example("report-leader.json"))
    report["etcd"]["is_leader"] = True
    report["etcd"]["leader_id"] = report["etcd"]["member_id"]
    return report


def test_etcds_leader_leaves_the_database_leaders_host_for_the_witness() -> None:
    assert etcd_target(a_leader_of_both(), VOTERS) == str(int("91bc3c398fb3c146", 16))


def test_without_a_witness_that_answers_another_voter_takes_it() -> None:
    report = a_leader_of_both()
    report["peers"]["witness-euc1-a"]["state"] = "silent"
    assert etcd_target(report, VOTERS) == str(int("fd422379fda50e48", 16))


def test_it_stays_where_nobody_else_is_known_to_live() -> None:
    report = a_leader_of_both()
    report["peers"] = {}
    assert etcd_target(report, VOTERS) is None


def test_a_learner_or_a_stranger_is_no_leader() -> None:
    report = a_leader_of_both()
    for member in report["etcd"]["members"]:
        member["learner"] = True
    assert etcd_target(report, VOTERS) is None
    assert etcd_target(a_leader_of_both(), []) is None


@pytest.mark.parametrize(
    "change",
    [
        {"etcd": None},
        {"patroni": None},
        {"patroni": {"role": "replica"}},
        {"etcd": {"is_leader": None}},
        {"etcd": {"is_leader": False}},
    ],
    ids=str,
)
def test_a_node_that_does_not_lead_both_moves_nothing(change: dict[str, Any]) -> None:
    assert etcd_target({**a_leader_of_both(), **change}, VOTERS) is None


def test_systemd_is_told_only_when_it_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")  # nobody there: it returns


def test_systemd_hears_what_it_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        notify("WATCHDOG=1")
        assert systemd.recv(100) == b"WATCHDOG=1"


def test_a_systemd_that_does_not_read_keeps_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "notify"
    monkeypatch.setattr(daemon, "NOTIFY_S", 0.1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        for _ in range(10_000):
            notify("WATCHDOG=1")
            if caplog.records:
                break

    assert "systemd was not told WATCHDOG=1" in caplog.text
