"""The healer while AWS misbehaves: no answer is no refusal, and what healing does not need stops nothing."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from lambdas.act import Actor, has_no_room, is_refusal
from lambdas.adapters.ssm import CommandState
from lambdas.adapters.state import State
from lambdas.core.model import Incident, OpenAction
from lambdas.errors import LeaseLostError, MetricsRefusedError, RegionSilentError
from tests.unit.lambdas.world import FakeEc2, FakeSsm, Stage, a_born_cluster

NO_ANSWER = ReadTimeoutError(endpoint_url="https://ec2")


def client_error(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "RunInstances")


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (client_error("InvalidParameterValue", 400), True),
        (client_error("InsufficientInstanceCapacity", 500), False),
        (client_error("UnauthorizedOperation", 403), True),
        (client_error("RequestLimitExceeded", 503), False),
        (client_error("ThrottlingException", 400), False),
        (client_error("InternalError", 500), False),
        (NO_ANSWER, False),
    ],
    ids=["bad", "no capacity", "not allowed", "limit", "throttled", "internal", "no answer"],
)
def test_only_a_no_is_a_refusal(error: Any, refusal: bool) -> None:
    assert is_refusal(error) is refusal


def test_no_room_is_known_by_its_name_whatever_the_status() -> None:
    assert has_no_room(client_error("InsufficientInstanceCapacity", 500))
    assert not has_no_room(client_error("InternalError", 500))
    assert not has_no_room(NO_ANSWER)


def test_a_start_without_room_is_a_start_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise client_error("InsufficientInstanceCapacity", 500)

    stage = a_born_cluster()
    machine = stage.nodes.occupant("db-euw3-a")
    machine.stopped_at = stage.now()
    monkeypatch.setattr(FakeEc2, "start", full)
    stage.nodes.may_end.add("db-euw3-a")
    stage.until_full(within_s=300)  # in vain four times, then a new one
    assert stage.nodes.count("launch", "db-euw3-a") == 1


def answers_too_late(monkeypatch: pytest.MonkeyPatch, method: str) -> list[str]:
    """The call is carried out and its first answer is lost. The action ids it was asked with."""
    original, asked = getattr(FakeEc2, method), []

    def late(self: FakeEc2, slot: Any, *, action_id: str, **more: Any) -> str:
        done = original(self, slot, action_id=action_id, **more)
        asked.append(action_id)
        if len(asked) == 1:
            raise NO_ANSWER
        return str(done)

    monkeypatch.setattr(FakeEc2, method, late)
    return asked


def test_a_launch_whose_answer_was_lost_is_asked_again_with_the_same_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = a_born_cluster()
    asked = answers_too_late(monkeypatch, "launch")
    stage.nodes.terminate_from_outside("db-euw1-b")
    stage.until_full(within_s=40)
    assert len(set(asked)) == 1
    assert stage.nodes.count("launch", "db-euw1-b") == 1


def test_a_disk_whose_answer_was_lost_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    answers_too_late(monkeypatch, "create_volume")
    stage.until_full(within_s=150)
    disks = [disk.slot.name for disk in stage.nodes.disks.values()]
    assert len(disks) == len(set(disks))


def test_metrics_that_are_refused_stop_no_healing() -> None:
    stage = a_born_cluster()

    def refuse(values: object) -> None:
        raise MetricsRefusedError(f"CloudWatch did not take {values}")

    stage.told.put = refuse  # type: ignore[method-assign]
    stage.lose("db-euw3-a")
    stage.until_full(within_s=40)


def test_a_run_that_fails_gives_the_lease_back() -> None:
    stage = a_born_cluster()
    stage.lose("db-euw3-a")

    def fail(*_: object, **__: object) -> None:
        raise client_error("ProvisionedThroughputExceededException", 400)

    stage.table.save_strength = fail  # type: ignore[method-assign]
    with pytest.raises(ClientError):
        stage.wake()
    assert stage.table.lease["expires_at"] == 0.0


def test_a_run_that_lost_its_lease_while_it_looked_leaves_no_trace() -> None:
    """What the next run wrote meanwhile is not overwritten by what this one knew before."""
    stage = a_born_cluster()
    stage.lose("db-euw3-a")
    table, read = stage.table, stage.table.state

    def read_for_long() -> State:
        found = read()
        stage.steal_the_lease()
        return found

    table.state = read_for_long  # type: ignore[method-assign]
    remembered, calls = dict(table.freshness), list(stage.nodes.calls)
    with pytest.raises(LeaseLostError):
        stage.wake()
    assert (table.freshness, table.open, table.actions) == (remembered, {}, {})
    assert stage.nodes.calls == calls
    assert table.lease["owner"] == "thief"


def test_an_ssm_that_does_not_answer_does_not_stop_what_needs_no_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def silent(_: FakeSsm) -> frozenset[str]:
        raise RegionSilentError("SSM did not answer")

    stage = a_born_cluster()
    monkeypatch.setattr(FakeSsm, "online", silent)
    stage.lose("app-euw1-a")
    for _ in range(4):
        stage.wake()
        stage.nodes.sleep(5.0)
    assert stage.nodes.count("launch", "app-euw1-a") == 1
    documents = [said for said in stage.sentences if "configure waits for SSM" in said]
    assert documents
    assert all("which gives no answer (SSM did not answer)" in said for said in documents)
    region = stage.spec.by_name["app-euw1-a"].region
    unknown = f"whom SSM sees in {region} is not known: SSM did not answer"
    assert all(unknown in said for said in stage.sentences)


def test_an_ssm_that_answers_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = a_born_cluster()
    monkeypatch.setattr(FakeSsm, "online", lambda _: frozenset())
    stage.lose("app-euw1-a")
    stage.wake()
    documents = [said for said in stage.sentences if "configure waits for SSM" in said]
    assert documents
    assert all("waits for SSM to see the instance" in said for said in documents)
    assert not any("whom SSM sees" in said for said in stage.sentences)


def test_a_node_that_refuses_has_not_failed() -> None:
    stage = a_born_cluster()
    run = stage.run()
    actor = Actor(run.world, run._teller, token=1)
    incident = Incident(incident_id="x", slot="db-euw3-a", diagnosis="d", opened_at=0.0, wake="w")
    action = OpenAction(action_id="x-1-configure", kind="configure", incident="x", started_at=0.0)
    for exit_code, failures in ((10, 0), (11, 0), (1, 1)):
        state = CommandState(status="Failed", exit_code=exit_code, output="")
        after = actor.finish(action, state, incident, now=stage.now())
        assert after.failures_of("configure") == failures, exit_code


@pytest.mark.parametrize(
    ("status", "exit_code", "said"),
    [
        ("Failed", 1, "Failed (exit 1): no output"),
        ("TimedOut", 137, "TimedOut (exit 137): no output"),
        ("TimedOut", -1, "TimedOut: no output"),
        ("Success", 0, "Success"),
    ],
)
def test_the_journal_says_how_a_document_ended(status: str, exit_code: int, said: str) -> None:
    stage = a_born_cluster()
    run = stage.run()
    actor = Actor(run.world, run._teller, token=1)
    incident = Incident(incident_id="x", slot="db-euw3-a", diagnosis="d", opened_at=0.0, wake="w")
    action = OpenAction(action_id="x-1-reinit", kind="reinit", incident="x", started_at=0.0)
    ended = CommandState(status=status, exit_code=exit_code, output="")
    after = actor.finish(action, ended, incident, now=stage.now())
    assert stage.table.entries[-1][1]["sentence"] == f"reinit on db-euw3-a ended: {said}"
    assert after.failures_of("reinit") == (0 if status == "Success" else 1)
