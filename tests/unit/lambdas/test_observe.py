"""What the healer remembers between looks, who led last and who lags, and which reports it sets aside."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from lambdas.adapters.ssm import CommandState
from lambdas.adapters.table import RawReport, State
from lambdas.core.actions import Hold, Wait
from lambdas.core.model import Lag, Mode, OpenAction
from lambdas.documents import LONGEST_S, overdue_after_s
from lambdas.errors import RegionSilentError
from lambdas.observe import (
    World,
    _command,
    _remember_lags,
    _remember_mute_patronis,
    _remember_stalled_disks,
    _remember_who_leads,
    _reports,
)
from tests.unit.lambdas.builders import (
    EXAMPLES,
    NOW,
    Cluster,
    a_cluster,
    follower_of,
    instance_id,
)

LEADER, HEIR, REPLICA = "db-euw1-a", "db-euw1-b", "db-euw3-a"


def _state(freshness: dict[str, Any], reports: tuple[RawReport, ...] = ()) -> State:
    return State(
        reports=reports,
        birth=None,
        closed=False,
        mode=Mode.AUTO,
        freshness=freshness,
        open_actions={},
        incidents={},
    )


def remembered(cluster: Cluster, before: dict[str, Any] | None = None) -> set[str]:
    """Whom a look at the cluster marks, when those in `before` were marked."""
    memory = {
        name: {
            "instance_id": seen.report.instance_id,
            "sequence": 1,
            "at": cluster.now - seen.age_s,
        }
        for name, seen in cluster.reports.items()
    }
    _remember_who_leads(memory, cluster.reports, _state(before or {}), 20.0)
    return {slot for slot, entry in memory.items() if entry.get("led_at")}


def led(slot: str, *, instance: str | None = None, at: float = NOW - 30.0) -> dict[str, Any]:
    return {slot: {"instance_id": instance or instance_id(slot), "led_at": at}}


def silent(*slots: str) -> Cluster:
    cluster = a_cluster()
    for slot in slots:
        cluster.silent(slot)
    return cluster


def test_who_leads_is_remembered() -> None:
    assert remembered(a_cluster()) == {LEADER}


def test_one_whom_another_names_is_remembered_before_it_speaks_itself() -> None:
    cluster = silent(LEADER, HEIR).says(REPLICA, patroni=follower_of(HEIR, timeline=3))
    assert HEIR in remembered(cluster, led(LEADER))


def test_the_last_word_of_the_dead_does_not_take_the_mark_from_who_led_after_it() -> None:
    """The heir's own last word still names the old leader; the one that named the heir says nothing now."""
    cluster = silent(LEADER, REPLICA).silent(HEIR, for_s=16.0)
    cluster.says(HEIR, patroni=follower_of(LEADER, timeline=2))
    assert HEIR in remembered(cluster, led(HEIR, at=NOW - 5.0))


def test_a_leader_that_speaks_takes_the_mark_from_who_led_before_it() -> None:
    assert remembered(a_cluster(), led(HEIR)) == {LEADER}


def test_who_led_last_stays_remembered_while_nobody_says_who_leads() -> None:
    cluster = silent(LEADER, HEIR, REPLICA)
    assert remembered(cluster, led(HEIR)) == {HEIR}


def test_a_new_occupant_of_the_slot_is_not_the_one_that_led() -> None:
    cluster = silent(LEADER, HEIR, REPLICA)
    assert remembered(cluster, led(HEIR, instance="i-before")) == set()


def test_while_words_differ_all_who_are_named_are_remembered() -> None:
    cluster = a_cluster().says(REPLICA, patroni=follower_of(HEIR, timeline=3))
    assert remembered(cluster) == {LEADER, HEIR}


# -- a Patroni that hangs


def mute(cluster: Cluster, before: dict[str, Any] | None = None) -> dict[str, float]:
    """What a look remembers of Patronis without an answer, when `before` was remembered."""
    memory = {name: {"instance_id": instance_id(name), "at": NOW} for name in cluster.reports}
    return _remember_mute_patronis(memory, cluster.reports, _state(before or {}))


def test_a_patroni_is_mute_since_the_first_report_that_had_no_answer() -> None:
    hangs = a_cluster().patroni_says(REPLICA, up=False)
    assert mute(hangs) == {REPLICA: NOW}
    before = {REPLICA: {"instance_id": instance_id(REPLICA), "mute_since": NOW - 90}}
    assert mute(hangs, before) == {REPLICA: NOW - 90}
    assert mute(a_cluster(), before) == {}
    another = {REPLICA: {"instance_id": "i-before", "mute_since": NOW - 90}}
    assert mute(hangs, another) == {REPLICA: NOW}


def test_a_patroni_that_starts_and_never_answers_is_mute() -> None:
    starts = a_cluster().patroni_says(REPLICA, up=False).service(REPLICA, "patroni", "activating")
    assert mute(starts) == {REPLICA: NOW}


def test_a_patroni_that_does_not_run_is_down_and_not_mute() -> None:
    assert (
        mute(a_cluster().patroni_says(REPLICA, up=False).service(REPLICA, "patroni", "failed"))
        == {}
    )


# -- a disk that hangs


def stalled(cluster: Cluster, before: dict[str, Any] | None = None) -> dict[str, float]:
    """What a look remembers of disks that answer neither yes nor no, when `before` was remembered."""
    memory = {name: {"instance_id": instance_id(name), "at": NOW} for name in cluster.reports}
    found = _remember_stalled_disks(memory, cluster.reports, _state(before or {}))
    assert found == {s: e["stalled_since"] for s, e in memory.items() if "stalled_since" in e}
    return found


@pytest.mark.parametrize("says", [{"writable": None}, {"mounted": None, "writable": None}], ids=str)
def test_a_disk_hangs_since_the_first_report_that_said_neither_yes_nor_no(
    says: dict[str, None],
) -> None:
    hangs = a_cluster().disk_says(REPLICA, **says)
    assert stalled(hangs) == {REPLICA: NOW}
    before = {REPLICA: {"instance_id": instance_id(REPLICA), "stalled_since": NOW - 90}}
    assert stalled(hangs, before) == {REPLICA: NOW - 90}
    assert stalled(a_cluster().disk_says(REPLICA), before) == {}


@pytest.mark.parametrize(
    "says", [{"writable": False}, {"mounted": False, "writable": None}], ids=str
)
def test_a_disk_that_refuses_or_is_not_there_does_not_hang(says: dict[str, bool | None]) -> None:
    assert stalled(a_cluster().disk_says(REPLICA, **says)) == {}


# -- lags


MIB = 1024 * 1024


def lags(cluster: Cluster, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a look remembers of lags, when `before` was remembered."""
    memory: dict[str, Any] = {name: {} for name in cluster.reports}
    _remember_lags(memory, cluster.reports, _state(before or {}), cluster.now)
    return {slot: entry["lag"] for slot, entry in memory.items() if "lag" in entry}


def test_a_lag_is_remembered_at_its_least() -> None:
    behind = a_cluster().lagging(REPLICA, lag_bytes=5 * MIB)
    assert lags(behind) == {REPLICA: [5 * MIB, NOW]}
    less, more = {REPLICA: {"lag": [4 * MIB, NOW - 60]}}, {REPLICA: {"lag": [9 * MIB, NOW - 60]}}
    assert lags(behind, less) == {REPLICA: [4 * MIB, NOW - 60]}
    assert lags(behind, more) == {REPLICA: [5 * MIB, NOW]}


def test_since_when_a_copy_is_behind_is_remembered_however_little_it_is() -> None:
    behind = a_cluster().lagging(REPLICA, lag_bytes=5 * MIB)
    before = {REPLICA: {"lag": [9 * MIB, NOW - 5], "lag_since": NOW - 60}}
    memory: dict[str, Any] = {REPLICA: {}}
    found = _remember_lags(memory, behind.reports, _state(before), NOW)
    assert found[REPLICA] == Lag(least_bytes=5 * MIB, at=NOW, since=NOW - 60)
    assert memory[REPLICA]["lag_since"] == NOW - 60
    assert lags_since(behind, {REPLICA: {"lag": [9 * MIB, NOW - 5]}}) == {REPLICA: NOW - 5}
    assert lags_since(a_cluster(), before) == {}


def lags_since(cluster: Cluster, before: dict[str, Any]) -> dict[str, float]:
    """Since when each copy is behind, by the memory after a look."""
    memory = {name: {"lag_since": entry.get("lag_since")} for name, entry in before.items()}
    _remember_lags(memory, cluster.reports, _state(before), cluster.now)
    return {slot: entry["lag_since"] for slot, entry in memory.items() if "lag_since" in entry}


def test_a_lag_that_is_over_is_forgotten() -> None:
    assert lags(a_cluster(), {REPLICA: {"lag": [4 * MIB, NOW - 60]}}) == {}


def test_an_unknown_lag_is_none() -> None:
    assert lags(a_cluster().lagging(REPLICA, lag_bytes=None)) == {}


def test_a_lag_that_grows_for_long_is_told_and_one_that_shrinks_is_not() -> None:
    cluster = a_cluster().lagging(REPLICA, lag_bytes=90 * MIB)
    cluster.was_behind(REPLICA, least_bytes=50 * MIB, ago_s=601)
    held = cluster.planned(REPLICA)
    assert isinstance(held, Hold)
    assert "does not catch up" in held.because
    assert isinstance(
        cluster.was_behind(REPLICA, least_bytes=50 * MIB, ago_s=500).planned(REPLICA), Wait
    )
    assert isinstance(
        cluster.was_behind(REPLICA, least_bytes=90 * MIB, ago_s=900).planned(REPLICA), Wait
    )


# -- reports that are set aside


def test_a_report_from_days_ahead_is_set_aside_and_one_from_hours_ahead_is_a_clock() -> None:
    spec = a_cluster().spec
    body = json.loads((EXAMPLES / "report-replica.json").read_text())

    def look(ahead_s: float) -> tuple[Any, Any]:
        body["observed_at"] = datetime.fromtimestamp(NOW + ahead_s, UTC).isoformat()
        raw = RawReport(slot="db-euw1-b", body=json.dumps(body))
        reports, _, refused = _reports(spec, _state({}, reports=(raw,)), NOW)
        return reports, refused

    reports, refused = look(3 * 86_400.0)
    assert reports == {}
    assert "3 days after now" in refused["db-euw1-b"]
    reports, refused = look(7200.0)
    assert refused == {}
    assert reports["db-euw1-b"].clock_off_s == 7200.0


def test_a_report_that_came_while_nobody_looked_may_be_that_much_older() -> None:
    spec = a_cluster().spec
    body = json.loads((EXAMPLES / "report-replica.json").read_text())
    body["observed_at"] = None

    def look(before: dict[str, Any], sequence: int, at: float) -> tuple[float, dict[str, Any]]:
        body["sequence"] = sequence
        raw = RawReport(slot="db-euw1-b", body=json.dumps(body))
        reports, memory, _ = _reports(spec, _state(before, reports=(raw,)), at)
        return reports["db-euw1-b"].late_s, memory

    late_s, memory = look({}, 1, NOW)
    assert late_s == 0.0
    late_s, memory = look(memory, 2, NOW + 60)  # the first look of another run
    assert late_s == 60.0
    late_s, memory = look(memory, 2, NOW + 63)  # still the same word
    assert late_s == 60.0
    late_s, _ = look(memory, 3, NOW + 66)
    assert late_s == 6.0


def test_a_word_is_overtaken_until_a_newer_one_comes() -> None:
    """A sequence never falls within an instance's life, so what lies there was said before what came first."""
    spec = a_cluster().spec
    body = json.loads((EXAMPLES / "report-replica.json").read_text())
    body["observed_at"] = None

    def look(
        before: dict[str, Any], sequence: int, at: float, instance: str = "i-1"
    ) -> tuple[bool, dict[str, Any]]:
        body.update(sequence=sequence, instance_id=instance)
        raw = RawReport(slot="db-euw1-b", body=json.dumps(body))
        reports, memory, _ = _reports(spec, _state(before, reports=(raw,)), at)
        return reports["db-euw1-b"].overtaken, memory

    overtaken, memory = look({}, 7, NOW)
    assert not overtaken
    overtaken, memory = look(memory, 7, NOW + 4)
    assert not overtaken
    overtaken, memory = look(memory, 5, NOW + 8)
    assert overtaken
    assert look(memory, 5, NOW + 12)[0]  # still the same word
    overtaken, memory = look(memory, 6, NOW + 12)
    assert overtaken  # younger than the last one, and no newer than the first
    assert not look(memory, 8, NOW + 16)[0]
    assert not look(memory, 1, NOW + 12, "i-2")[0]  # its successor's


def test_the_look_before_is_no_pause() -> None:
    spec = a_cluster().spec
    body = json.loads((EXAMPLES / "report-replica.json").read_text())
    body["observed_at"] = None

    def look(
        before: dict[str, Any], sequence: int, at: float, looked_for_s: float
    ) -> tuple[tuple[float, float, float | None], dict[str, Any]]:
        body["sequence"] = sequence
        raw = RawReport(slot="db-euw1-b", body=json.dumps(body))
        reports, memory, _ = _reports(spec, _state(before, reports=(raw,)), at, looked_for_s)
        seen = reports["db-euw1-b"]
        return (seen.late_s, seen.looked_for_s, seen.late_since), memory

    _, memory = look({}, 1, NOW, 0.0)
    said, memory = look(memory, 2, NOW + 60, 0.0)  # the first look of another run
    assert said == (60.0, 0.0, NOW + 60)
    said, memory = look(memory, 2, NOW + 63, 50.0)  # still the same word
    assert said == (60.0, 0.0, NOW + 60)
    said, memory = look(memory, 3, NOW + 120, 0.0)
    assert said == (60.0, 0.0, NOW + 60)  # late again
    said, memory = look(memory, 4, NOW + 145, 24.0)
    assert said == (25.0, 24.0, None)
    said, _ = look(memory, 5, NOW + 146, 24.0)
    assert said == (1.0, 1.0, None)


# -- documents of which SSM does not speak

SSM_DOCUMENTS = Path(__file__).parents[3] / "ssm_documents"
IN_PROGRESS = CommandState(status="InProgress", exit_code=-1, output="")
DONE = CommandState(status="Success", exit_code=0, output="")


def asked(answer: CommandState | RegionSilentError | None, *, s_ago: float) -> CommandState | None:
    """What the healer takes for the state of a document that was sent so long ago."""
    spec = a_cluster().spec

    def state(**_: str) -> CommandState | None:
        if isinstance(answer, RegionSilentError):
            raise answer
        return answer

    ssm = {region: SimpleNamespace(state=state) for region in spec.regions}
    world = cast("World", SimpleNamespace(spec=spec, ssm=ssm))
    action = OpenAction(
        action_id="x-1-reinit",
        kind="reinit",
        incident="x",
        started_at=NOW - s_ago,
        instance_id=instance_id(REPLICA),
        command_id="c",
    )
    return _command(world, REPLICA, action, NOW)


LIMIT_S = overdue_after_s(a_cluster().spec.timings)
SILENT = RegionSilentError("no answer")


@pytest.mark.parametrize(
    "answer", [IN_PROGRESS, None, SILENT], ids=["goes-on", "unknown", "silent"]
)
def test_a_document_that_ssm_does_not_end_is_over_when_its_time_is(
    answer: CommandState | RegionSilentError | None,
) -> None:
    over = asked(answer, s_ago=LIMIT_S + 1.0)
    assert over is not None
    assert over.finished
    assert (over.status, over.exit_code) == ("TimedOut", -1)
    before = asked(answer, s_ago=LIMIT_S - 1.0)
    assert before is None or not before.finished


def test_a_document_that_ended_late_ended_as_ssm_says() -> None:
    assert asked(DONE, s_ago=LIMIT_S + 1.0) is DONE


def test_no_document_may_run_for_longer_than_the_healer_waits() -> None:
    for path in SSM_DOCUMENTS.glob("*.yaml"):
        (step,) = yaml.safe_load(path.read_text())["mainSteps"]
        assert int(step["inputs"]["timeoutSeconds"]) <= LONGEST_S, path.name
