"""The parts of a freeze trial: the healer's mode, the way to etcd, the figures, the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError, UsageError
from lab.freeze import main
from lab.freeze.etcd import EtcdMembers, LeaderKey
from lab.freeze.healer import HealerMode
from lab.freeze.main import add_options, plan_of
from lab.freeze.nodes import MARK
from lab.freeze.plan import Guard, Mover, Plan, Variant
from lab.freeze.record import DENIALS, Trial, as_json, broken, table, verdict
from tests.unit.lab_tools.fakes import slots

ROOT = Path(__file__).resolve().parents[3]
LEADER, SUCCESSOR = "db-euw1-a", "db-euw1-b"
PLAN = Plan(trials=1, variants=(Variant.FORCED,), guard=Guard.ON, mover=Mover.OFF)


# -- the healer's mode


class PaperTable:
    def __init__(self, item: dict[str, Any] | None) -> None:
        self.item = item
        self.seen: list[dict[str, Any] | None] = []

    def __call__(self, service: str, region: str) -> PaperTable:
        assert (service, region) == ("dynamodb", "eu-central-1")
        return self

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {} if self.item is None else {"Item": self.item}

    def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:  # noqa: N803
        assert TableName == "pgmend"
        self.item = Item

    def delete_item(self, **_: Any) -> None:
        self.item = None


@pytest.mark.parametrize(
    "before", [None, {"pk": {"S": "CLUSTER"}, "sk": {"S": "mode"}, "mode": {"S": "auto"}}]
)
def test_the_healers_mode_is_put_back_as_it_was(before: dict[str, Any] | None) -> None:
    table_ = PaperTable(before)

    def interrupted() -> None:
        with HealerMode(table_).observing():
            assert table_.item is not None
            assert table_.item["mode"] == {"S": "observe"}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert table_.item == before


# -- etcd, through its gateways


class Gateways:
    """Three voters; only the leader can hand its office over."""

    def __init__(self) -> None:
        self.leader = "db-euw3-a"
        self.silent: set[str] = set()
        self.asked: list[str] = []
        self.by_url = {
            f"http://{s.address}:2379/v3": s.name for s in slots() if s.etcd_voter and s.active
        }

    def __call__(self, url: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        base, _, path = url.partition("/v3")
        slot = self.by_url[f"{base}/v3"]
        self.asked.append(f"{slot} {path}")
        if slot in self.silent:
            return None
        answers: dict[str, Callable[[], Mapping[str, Any]]] = {
            "/maintenance/status": lambda: {
                "header": {"member_id": f"id-{slot}"},
                "leader": f"id-{self.leader}",
            },
            "/maintenance/transfer-leadership": lambda: self._move(slot, body),
            "/kv/range": lambda: {"kvs": [{"value": "ZGItZXV3MS1i", "lease": "77"}]},
            "/lease/revoke": dict,
        }
        return answers[path]()

    def _move(self, slot: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        assert slot == self.leader
        self.leader = str(body["targetID"]).removeprefix("id-")
        return {}


def test_etcds_leader_is_moved_by_the_one_that_leads() -> None:
    gateways = Gateways()
    etcd = EtcdMembers(slots(), gateways)

    assert etcd.leader() == "db-euw3-a"
    etcd.move_leader(LEADER)
    assert etcd.leader() == LEADER


def test_the_leader_key_is_not_asked_of_the_frozen_host() -> None:
    gateways = Gateways()
    etcd = EtcdMembers(slots(), gateways)

    assert etcd.leader_key(without=LEADER) == LeaderKey(name=SUCCESSOR, lease="77")
    etcd.revoke("77", without=LEADER)
    assert not [line for line in gateways.asked if line.startswith(f"{LEADER} ")]


def test_an_etcd_that_does_not_answer_is_said() -> None:
    gateways = Gateways()
    gateways.silent = set(gateways.by_url.values())

    assert EtcdMembers(slots(), gateways).leader() is None
    with pytest.raises(LabError, match="no etcd voter but"):
        EtcdMembers(slots(), gateways).leader_key(without=LEADER)


# -- words and figures


def a_trial(**changes: Any) -> Trial:
    trial = Trial(
        variant=Variant.FORCED,
        guard=Guard.ON,
        frozen=LEADER,
        etcd_leader=LEADER,
        successor=SUCCESSOR,
        leader_after=SUCCESSOR,
        thawed_s=40.2,
        full_s=9.0,
        acked=4000,
        unknown=12,
        lost=0,
        outage_frozen_s=22.0,
        outage_thawed_s=1.5,
        two_writable_s=0.25,
        patroni_stopped_s=0.72,
        said=(),
    )
    return replace(trial, **changes)


def test_with_the_guard_on_a_lost_write_is_a_broken_promise() -> None:
    assert not broken([a_trial()])
    (sentence,) = broken([a_trial(), a_trial(lost=717, leader_after=LEADER)])
    assert sentence == (
        "trial 2 (forced): 717 acknowledged writes are gone, db-euw1-a leads after db-euw1-a was frozen"
    )


def test_with_the_guard_off_a_lost_write_is_what_is_looked_for() -> None:
    trials = [a_trial(guard=Guard.OFF, lost=lost, leader_after=LEADER) for lost in (717, 0, 20)]

    assert not broken(trials)
    (sentence,) = verdict(trials)
    assert sentence == (
        "forced, guard off: 2 of 3 trials lost acknowledged writes, 717 at most;"
        " the thawed host led again in 3"
    )


def test_the_result_says_why_trials_are_missing() -> None:
    plan = replace(PLAN, trials=2)
    trials = [a_trial()]

    found = json.loads(json.dumps(as_json(plan, trials, "interrupted")))
    assert found["ok"] is False
    assert found["stopped_by"] == "interrupted"
    assert found["plan"]["variants"] == ["forced"]
    assert found["trials"][0]["lost"] == 0
    assert found["trials"][0]["retaken"] is False
    assert json.loads(json.dumps(as_json(plan, trials * 2, None)))["ok"] is True


def test_the_table_has_a_row_a_trial() -> None:
    header, row = table([a_trial()])

    assert len(header) == len(row)
    assert row[:6] == ("forced", "on", LEADER, LEADER, SUCCESSOR, SUCCESSOR)


def test_denials_are_counted_in_the_guards_own_words() -> None:
    """The lab imports nothing that ships, so its words are compared with the sources here."""
    sources = "".join(p.read_text("utf-8") for p in (ROOT / "node_agent/guard").glob("*.py"))
    assert all(words in sources for words in (*DENIALS, MARK))
    said = [f"{LEADER}: {MARK} this and {words}" for words in DENIALS]
    assert a_trial(said=(*said, f"{LEADER}: {MARK} on")).denied == 2


def parsed(*words: str) -> Plan:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return plan_of(parser.parse_args(words))


def test_the_command_line_says_what_is_to_be_done() -> None:
    plan = parsed("--trials", "2", "--guard", "off")

    assert plan.order() == (Variant.NATURAL, Variant.FORCED, Variant.NATURAL, Variant.FORCED)
    assert (plan.guard, plan.mover, plan.freeze_s) == (Guard.OFF, Mover.OFF, 40.0)
    assert parsed("--variant", "forced", "--mover", "on").variants == (Variant.FORCED,)


@pytest.mark.parametrize("trials", ["0", "-1", "201"])
def test_a_number_of_trials_that_cannot_be_meant_is_refused(trials: str) -> None:
    with pytest.raises(UsageError):
        parsed("--trials", trials)


class NoLab:
    def alive(self) -> bool:
        return False


def run_without_a_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: BaseException
) -> tuple[int, dict[str, Any]]:
    """`lab freeze` on a computer where setting up a lab ends like this."""

    def set_up(*_: Any) -> None:
        raise failing

    monkeypatch.setattr(main, "ControlClient", NoLab)
    monkeypatch.setattr(main, "new_directory", lambda: tmp_path)
    monkeypatch.setattr(main, "set_up", set_up)
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.set_defaults(size="minimal", durability="region", clock="fast")
    code = main.freeze(parser.parse_args(["--trials", "1"]))
    return code, json.loads((tmp_path / "freeze.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("failing", "code", "words"),
    [(LabError("no disk"), 1, "no disk"), (KeyboardInterrupt(), 130, "interrupted")],
)
def test_a_run_that_cannot_begin_says_why_and_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: BaseException,
    code: int,
    words: str,
) -> None:
    found, written = run_without_a_lab(tmp_path, monkeypatch, failing)

    assert found == code
    assert written["stopped_by"] == words
    assert written["ok"] is False
    assert written["trials"] == []
