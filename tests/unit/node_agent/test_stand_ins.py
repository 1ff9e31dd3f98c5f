"""A spare slot is a peer while somebody is in it, and an empty one holds nobody up."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from node_agent.phase import CONFIGURED, enter
from node_agent.probes import peers
from node_agent.probes.stand_ins import FORGET_S, StandIns
from node_agent.report import Reporter, Sequence
from tests.unit.node_agent.builders import a_node, example
from tests.unit.node_agent.conftest import Home

SPARES = {"db-euw1-c": "10.10.12.11", "db-euw3-b": "10.20.11.11"}


class Doors:
    """Who answers at which address; `shut` keeps everybody who knocks waiting."""

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.open = threading.Event()
        self.open.set()
        self.knocks = 0

    def ask(self, address: str, _timeout_s: float) -> str:
        assert self.open.wait(10)
        self.knocks += 1
        return "alive" if address in self.alive else "silent"


@pytest.fixture
def doors() -> Iterator[Doors]:
    found = Doors()
    yield found
    found.open.set()


def settled(stand_ins: StandIns, now: float) -> dict[str, str]:
    """After a round that began no earlier than now: the one under way may have begun before, and ends first."""
    for _ in range(3):
        stand_ins.open(now)
        round_ = stand_ins._round._asked
        if round_ is not None:
            round_.result(10)
    return stand_ins.open(now)


def test_who_answers_in_a_spare_slot_is_found(doors: Doors) -> None:
    stand_ins = StandIns(SPARES, 1.0, doors.ask)
    assert settled(stand_ins, 0.0) == {}
    doors.alive.add("10.20.11.11")
    assert settled(stand_ins, 10.0) == {"db-euw3-b": "10.20.11.11"}


def test_one_that_falls_silent_is_a_peer_for_a_while_and_then_no_more(doors: Doors) -> None:
    stand_ins = StandIns(SPARES, 1.0, doors.ask)
    doors.alive.add("10.10.12.11")
    assert settled(stand_ins, 0.0) == {"db-euw1-c": "10.10.12.11"}
    doors.alive.clear()
    assert settled(stand_ins, 0.0) == {"db-euw1-c": "10.10.12.11"}
    assert settled(stand_ins, FORGET_S - 1.0) == {"db-euw1-c": "10.10.12.11"}
    assert settled(stand_ins, FORGET_S) == {}


def test_one_that_goes_on_answering_is_never_forgotten(doors: Doors) -> None:
    stand_ins = StandIns(SPARES, 1.0, doors.ask)
    doors.alive.add("10.10.12.11")
    for now in (0.0, FORGET_S - 1.0, 2 * FORGET_S - 2.0):
        assert settled(stand_ins, now) == {"db-euw1-c": "10.10.12.11"}


def test_nobody_waits_while_an_empty_slot_says_nothing(doors: Doors) -> None:
    doors.open.clear()
    stand_ins = StandIns(SPARES, 1.0, doors.ask)
    for _ in range(50):
        assert stand_ins.open(0.0) == {}
    doors.open.set()
    settled(stand_ins, 0.0)
    assert doors.knocks <= 3 * len(SPARES)  # one round at a time, however many passes


def test_a_cluster_without_spare_slots_asks_nobody() -> None:
    stand_ins = StandIns({}, 1.0)
    assert stand_ins.open(0.0) == {}
    assert not stand_ins._round.pending


def test_a_report_names_the_stand_in_that_answers_and_no_empty_slot(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = example("spec.json")
    for slot in spec["slots"]:
        slot["address"] = "127.0.0.9" if slot["name"] == "db-euw3-b" else "127.0.0.7"
    spec["timings"]["probe_timeout_s"] = 1
    home.spec.write_text(json.dumps(spec))
    enter(CONFIGURED)
    with socket.socket() as free:
        free.bind(("127.0.0.9", 0))
        monkeypatch.setattr(peers, "PORT", free.getsockname()[1])
    reporter = Reporter(a_node("app-euw1-a"), sequence=Sequence(home.state / "sequence"))
    with peers.Responder("127.0.0.9", "db-euw3-b", "i-2") as responder:
        responder.start()
        settled(reporter._stand_ins, reporter._clock())
        found = reporter.make()["peers"]
        responder.shutdown()
    active = {s["name"] for s in spec["slots"] if s["active"]} - {"app-euw1-a"}
    assert set(found) == active | {"db-euw3-b"}
    assert found["db-euw3-b"]["state"] == "alive"
    assert {found[name]["state"] for name in active} == {"refused"}
