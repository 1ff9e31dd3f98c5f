"""What the agent sends: metrics of what is known, events in order and never lost, reports as fresh as they come."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from node_agent import sender as sending
from node_agent import spool as spooling
from node_agent.changes import Change
from node_agent.sender import Latest, Sender, metrics_of
from node_agent.spool import Spool
from tests.unit.node_agent.builders import a_node, example

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
    unknown = {"app": {"up": True, "ready": None}}
    assert set(metrics_of(unknown)) == {"Heartbeat"}
    assert metrics_of({"app": {"up": False, "ready": False}})["AppReady"] == 0.0


def test_a_member_with_an_alarm_is_published_as_unhealthy() -> None:
    full = {"etcd": {"healthy": True, "alarms": ["NOSPACE"]}}
    assert metrics_of(full)["EtcdHealthy"] == 0.0


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


def test_a_crash_while_the_file_shrinks_skips_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    for entry in entries(1, 2):
        spool.put(entry)
    spool.delivered(1)

    def crash(_: Spool) -> None:
        raise SystemError("no power")

    with monkeypatch.context() as power:
        power.setattr(Spool, "_rewrite", crash)
        with pytest.raises(SystemError, match="no power"):
            spool.delivered(1)
    again = Spool(tmp_path)
    again.put({"n": 3})
    assert again.head(10) == entries(1, 2, 3)


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


class Disk:
    """A root disk that fills up and gets room again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        write = Path.write_text

        def write_text(path: Path, text: str, *args: Any, **kwargs: Any) -> int:
            self._take(path, text)
            return write(path, text, *args, **kwargs)

        monkeypatch.setattr(Path, "write_text", write_text)
        start = Path.open

        def begin(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if mode == "a":
                self._take(path, '{"n": "half a li')
            return start(path, mode, *args, **kwargs)

        monkeypatch.setattr(Path, "open", begin)

    def _take(self, path: Path, text: str) -> None:
        if self.full:
            with path.open("r+" if path.exists() else "w") as file:
                file.seek(0, os.SEEK_END)
                file.write(text[: len(text) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_full_disk_loses_no_event_and_is_told_once(
    tmp_path: Path, root: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path)
    spool.put({"n": 1})
    root.full = True
    for entry in entries(2, 3, 4):
        assert spool.put(entry)
    spool.delivered(1)
    assert spool.head(10) == entries(2, 3, 4)
    assert len([r for r in caplog.records if "cannot be written" in r.message]) == 1
    assert not list(tmp_path.glob("*.new"))


def test_once_the_disk_has_room_again_what_waited_in_memory_survives_a_restart(
    tmp_path: Path, root: Disk
) -> None:
    spool = Spool(tmp_path)
    spool.put({"n": 1})
    root.full = True
    spool.put({"n": 2})
    root.full = False
    spool.put({"n": 3})
    assert Spool(tmp_path).head(10) == entries(1, 2, 3)
    spool.delivered(1)
    spool.put({"n": 4})
    assert Spool(tmp_path).head(10) == entries(2, 3, 4)


def test_a_crash_on_a_full_disk_sends_again_rather_than_skip(tmp_path: Path, root: Disk) -> None:
    spool = Spool(tmp_path)
    for entry in entries(1, 2, 3):
        spool.put(entry)
    root.full = True
    spool.delivered(2)
    assert spool.head(10) == entries(3)
    again = Spool(tmp_path)
    assert again.head(10) == entries(1, 2, 3)
    again.put({"n": 4})
    assert again.head(10) == entries(1, 2, 3, 4)


def test_the_bound_holds_in_memory_too(
    tmp_path: Path, root: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "ENTRIES_MAX", 2)
    spool = Spool(tmp_path)
    root.full = True
    assert [spool.put(entry) for entry in entries(1, 2, 3)] == [True, True, False]


# -- delivering


def test_a_newer_report_replaces_one_that_waits() -> None:
    mailbox = Latest()
    mailbox.put({"sequence": 1})
    mailbox.put({"sequence": 2})
    assert mailbox.take() == {"sequence": 2}


class Bus:
    """EventBridge: takes, takes a part, or is away."""

    def __init__(self, failed: int = 0, *, away: bool = False) -> None:
        self.refused, self.away = failed, away
        self.taken: list[dict[str, Any]] = []
        self.errors: list[Exception] = []

    @property
    def client(self) -> Bus:
        return self

    def failed(self, error: Exception) -> None:
        self.errors.append(error)

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if self.away:
            raise EndpointConnectionError(endpoint_url="http://events")
        self.taken += Entries
        return {"FailedEntryCount": self.refused}


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
    bus: Any = Bus()
    assert sender._put(bus, sender.spool.head(10))
    entry = bus.taken[0]
    assert (entry["EventBusName"], entry["Source"]) == ("pgmend", "pgmend.agent")
    assert json.loads(entry["Detail"])["after"] == "leader"


@pytest.mark.parametrize("bus", [Bus(failed=1), Bus(away=True)], ids=["a part", "away"])
def test_a_batch_that_was_not_taken_whole_is_sent_again(sender: Sender, bus: Any) -> None:
    sender.announce(example("report-leader.json"), [PROMOTED])
    assert not sender._put(bus, sender.spool.head(10))
    assert len(sender.spool.head(10)) == 1
