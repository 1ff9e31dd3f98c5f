"""The agent: who it is, what it reports, what it spools and delivers, and where it wants etcd's leader."""

from __future__ import annotations

import copy
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from node_agent import sender as sending
from node_agent import spool as spooling
from node_agent.changes import Change
from node_agent.daemon import etcd_target, notify
from node_agent.errors import AgentError, HoldError
from node_agent.node import whoami
from node_agent.phase import CONFIGURED, enter
from node_agent.report import Reporter, Sequence, volume_id
from node_agent.sender import Latest, Sender, metrics_of
from node_agent.spec import Spec
from node_agent.spool import Spool
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


def test_a_sequence_file_that_a_crash_emptied_does_not_stop_the_agent(tmp_path: Path) -> None:
    file = tmp_path / "sequence"
    file.write_text("")
    assert Sequence(file).next() == 1


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
    assert reporter.units() == []
    home.spec.write_text(json.dumps(on_nobodys_addresses().raw))
    reporter.reload()
    assert reporter.units() == ["etcd"]


def test_a_probe_that_the_host_breaks_does_not_silence_the_others(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home.root))  # no systemctl there
    report = a_reporter(home, "db-euw1-a").make()
    assert report["services"] == {}
    assert report["sequence"] == 1


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"volume_id": 5}'])
def test_a_disk_record_that_cannot_be_read_is_an_unknown_volume(tmp_path: Path, text: str) -> None:
    file = tmp_path / "disk.json"
    file.write_text(text)
    assert volume_id(file) is None
    assert volume_id(tmp_path / "none") is None


# -- metrics


def test_a_leaders_metrics() -> None:
    found = metrics_of(example("report-leader.json"))
    assert found == {
        "Heartbeat": 1.0,
        "LeaderVisible": 1.0,
        "EtcdHealthy": 1.0,
        "DiskUsedPercent": pytest.approx(5.0),
        "ReplicationLagBytes": 0.0,
    }


def test_what_is_not_known_is_not_published() -> None:
    report = example("report-leader.json")
    report["etcd"]["healthy"] = None
    report["disk"]["used_bytes"] = None
    report["postgres"]["replication"] = [{"name": "b", "lag_bytes": None}]
    assert set(metrics_of(report)) == {"Heartbeat", "LeaderVisible"}


def test_a_proxys_and_an_apps_metrics() -> None:
    assert metrics_of(example("report-haproxy.json"))["PrimaryBackends"] == 1.0
    assert metrics_of(example("report-app.json"))["AppReady"] == 1.0
    assert metrics_of(example("report-idle.json")) == {"Heartbeat": 1.0}


# -- the spool


def entries(*numbers: int) -> list[dict[str, Any]]:
    return [{"n": number} for number in numbers]


def test_events_leave_in_the_order_they_came(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for entry in entries(1, 2, 3):
        assert spool.put(entry)
    assert spool.head(2) == entries(1, 2)
    spool.delivered(2)
    assert spool.head(10) == entries(3)


def test_what_was_not_delivered_survives_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for entry in entries(1, 2, 3):
        spool.put(entry)
    spool.delivered(1)
    assert Spool(tmp_path).head(10) == entries(2, 3)


def test_a_line_cut_off_by_a_crash_swallows_no_other(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put({"n": 1})
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"n": 2, "det')
    again = Spool(tmp_path)
    again.put({"n": 3})
    assert Spool(tmp_path).head(10) == entries(1, 3)


@pytest.mark.parametrize("cursor", ["7", "", "x"])
def test_a_cursor_that_fits_nothing_sends_again_rather_than_skip(
    tmp_path: Path, cursor: str
) -> None:
    spool = Spool(tmp_path)
    spool.put({"n": 1})
    (tmp_path / "cursor").write_text(cursor)
    again = Spool(tmp_path)
    assert again.head(10) == entries(1)
    again.put({"n": 2})
    assert Spool(tmp_path).head(10) == entries(1, 2)


def test_a_full_spool_counts_what_it_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "ENTRIES_MAX", 2)
    spool = Spool(tmp_path)
    assert [spool.put(entry) for entry in entries(1, 2, 3)] == [True, True, False]
    assert spool.dropped == 1
    spool.delivered(1)
    assert spool.put({"n": 4})


@given(st.lists(st.integers(min_value=1, max_value=4), max_size=12))
def test_no_order_of_putting_delivering_and_restarting_loses_an_event(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool, put, taken = Spool(folder), 0, []
    for step in steps:
        if step == 4:
            spool = Spool(folder)
        elif step == 3:
            head = spool.head(2)
            taken += [entry["n"] for entry in head]
            spool.delivered(len(head))
        else:
            spool.put({"n": put})
            put += 1
    taken += [entry["n"] for entry in spool.head(1000)]
    assert taken == list(range(put))


def test_a_long_life_does_not_make_the_file_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "COMPACT_AFTER", 10)
    spool = Spool(tmp_path)
    spool.put({"n": 0})
    for number in range(1, 200):
        spool.put({"n": number})
        spool.delivered(1)
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) < 20
    assert Spool(tmp_path).head(5) == entries(199)


# -- delivering


def test_a_newer_report_replaces_one_that_waits() -> None:
    mailbox = Latest()
    mailbox.put({"sequence": 1})
    mailbox.put({"sequence": 2})
    assert mailbox.take() == {"sequence": 2}


class Bus:
    """EventBridge: takes, takes a part, or is away."""

    def __init__(self, failed: int = 0, *, away: bool = False) -> None:
        self.failed, self.away = failed, away
        self.taken: list[dict[str, Any]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        if self.away:
            raise EndpointConnectionError(endpoint_url="http://events")
        self.taken += Entries
        return {"FailedEntryCount": self.failed}


@pytest.fixture
def sender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sender:
    monkeypatch.setattr(sending, "STATE", tmp_path)
    found = Sender(a_node())
    found.bus = "pgmend"
    return found


PROMOTED = Change(
    detail_type="Patroni Role Changed", subject="role", before="replica", after="leader"
)


def test_an_event_carries_who_saw_what_and_an_id_of_its_own(sender: Sender) -> None:
    sender.announce(example("report-leader.json"), [PROMOTED, PROMOTED])
    found = sender.spool.head(10)
    assert [entry["detail"]["event_id"] for entry in found] == [
        "i-00000000000000303-4711-0",
        "i-00000000000000303-4711-1",
    ]
    assert found[0]["detail_type"] == "Patroni Role Changed"


def test_a_batch_goes_to_the_nodes_own_bus(sender: Sender) -> None:
    sender.announce(example("report-leader.json"), [PROMOTED])
    bus = Bus()
    assert sender._put(bus, sender.spool.head(10))
    entry = bus.taken[0]
    assert (entry["EventBusName"], entry["Source"]) == ("pgmend", "pgmend.agent")
    assert json.loads(entry["Detail"])["after"] == "leader"


@pytest.mark.parametrize("bus", [Bus(failed=1), Bus(away=True)], ids=["a part", "away"])
def test_a_batch_that_was_not_taken_whole_is_sent_again(sender: Sender, bus: Bus) -> None:
    sender.announce(example("report-leader.json"), [PROMOTED])
    assert not sender._put(bus, sender.spool.head(10))
    assert len(sender.spool.head(10)) == 1


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
