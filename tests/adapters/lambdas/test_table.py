"""The hub table's promises, on moto's DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import boto3
import pytest

from lambdas.adapters.table import Table
from lambdas.core.model import Birth, Incident, Mode, OpenAction
from tests.adapters.lambdas.desk import REGION

NOW = 1_800_000_000.0


@pytest.fixture
def client() -> Any:
    return boto3.client("dynamodb", region_name=REGION)


@pytest.fixture
def table(client: Any, table_name: str) -> Table:
    return Table(client, table_name)


def test_an_empty_table_is_an_unborn_open_cluster_in_auto(table: Table) -> None:
    state = table.state()
    assert state.birth is None
    assert not state.closed
    assert state.mode is Mode.AUTO
    assert (state.reports, state.open_actions, state.incidents) == ((), {}, {})


# -- the lease


def take(table: Table, owner: str, now: float = NOW) -> int | None:
    return table.take_lease(owner=owner, now=now, lease_s=30.0)


def renew(table: Table, owner: str, token: int, now: float = NOW) -> tuple[bool, bool]:
    return table.renew_lease(owner=owner, token=token, now=now, lease_s=30.0)


def test_only_one_run_holds_the_lease(table: Table) -> None:
    assert take(table, "first") == 1
    assert take(table, "second") is None


def test_the_token_rises_with_every_lease(table: Table) -> None:
    assert take(table, "first") == 1
    assert table.release_lease(owner="first", token=1)
    assert take(table, "second") == 2


def test_a_lease_that_ran_out_can_be_taken_and_its_holder_cannot_renew(table: Table) -> None:
    assert take(table, "first") == 1
    assert take(table, "second", NOW + 31) == 2
    assert renew(table, "first", 1, NOW + 32) == (False, False)


def test_a_lease_that_ran_out_is_not_renewed_even_if_nobody_took_it(table: Table) -> None:
    assert take(table, "first") == 1
    assert renew(table, "first", 1, NOW + 31) == (False, False)


def test_a_renewed_lease_lives_on(table: Table) -> None:
    assert take(table, "first") == 1
    assert renew(table, "first", 1, NOW + 20) == (True, False)
    assert take(table, "second", NOW + 40) is None


def test_a_wake_while_the_lease_is_held_reaches_the_holder_once(table: Table) -> None:
    take(table, "first")
    take(table, "second")
    assert renew(table, "first", 1) == (True, True)
    assert renew(table, "first", 1) == (True, False)


def test_a_lease_is_not_given_back_over_a_pending_wake(table: Table) -> None:
    take(table, "first")
    take(table, "second")
    assert not table.release_lease(owner="first", token=1)
    renew(table, "first", 1)
    assert table.release_lease(owner="first", token=1)


def test_nobody_gives_back_the_lease_of_another(table: Table) -> None:
    take(table, "first")
    assert not table.release_lease(owner="second", token=1)
    assert not table.release_lease(owner="first", token=2)


def test_a_lease_given_back_can_be_taken_at_once(table: Table) -> None:
    take(table, "first")
    table.release_lease(owner="first", token=1)
    assert take(table, "second") == 2


def test_a_wake_that_meets_a_lease_just_given_back_takes_it(table: Table, client: Any) -> None:
    """Else its mark would lie on a lease that nobody holds, and nobody would look."""
    take(table, "first")
    update = client.update_item

    def refused_then_given_back(**request: Any) -> Any:
        client.update_item = update
        try:
            return update(**request)
        finally:
            table.release_lease(owner="first", token=1)

    client.update_item = refused_then_given_back
    assert take(table, "second") == 2


# -- the birth


def test_a_cluster_is_born_once(table: Table) -> None:
    birth = Birth(state="pending", first_leader="db-euw1-a", etcd_token="one")
    assert table.declare_birth(birth)
    assert not table.declare_birth(replace(birth, etcd_token="two"))
    assert table.state().birth == birth


def test_a_birth_is_closed_once(table: Table, client: Any) -> None:
    table.declare_birth(Birth(state="pending", first_leader="db-euw1-a", etcd_token="one"))
    table.declare_born(etcd_cluster_id="cdf8", system_identifier="745")
    born = table.state().birth
    assert born is not None
    assert (born.state, born.etcd_cluster_id, born.system_identifier) == ("born", "cdf8", "745")
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        table.declare_born(etcd_cluster_id="other", system_identifier="other")


def test_the_closed_mark_is_written_and_lifted(table: Table) -> None:
    table.set_closed(closed=True)
    table.set_closed(closed=True)
    assert table.state().closed
    table.set_closed(closed=False)
    assert not table.state().closed


@pytest.mark.parametrize("mode", list(Mode))
def test_the_mode_is_read(table: Table, client: Any, mode: Mode) -> None:
    item = {"pk": {"S": "CLUSTER"}, "sk": {"S": "mode"}, "mode": {"S": mode.value}}
    client.put_item(TableName="pgmend", Item=item)
    assert table.state().mode is mode


def test_a_mode_nobody_knows_lets_nothing_be_touched(table: Table, client: Any) -> None:
    item = {"pk": {"S": "CLUSTER"}, "sk": {"S": "mode"}, "mode": {"S": "obserev"}}
    client.put_item(TableName="pgmend", Item=item)
    assert table.state().mode is Mode.OBSERVE


# -- incidents, actions, journal

INCIDENT = Incident(
    incident_id="20270115T080000-db-euw3-a",
    slot="db-euw3-a",
    diagnosis="presumed-dead",
    opened_at=NOW,
    wake="alarm:heartbeat",
    steps=2,
    failures=1,
    last_exit_code=11,
    last_acted_at=NOW + 1.5,
    held="quorum",
)


def test_an_incident_is_read_back_as_it_was_written(table: Table) -> None:
    table.save_incident(INCIDENT)
    assert table.state().incidents == {"db-euw3-a": INCIDENT}


def test_a_healed_incident_leaves_the_loop_and_stays_in_the_history(
    table: Table, client: Any
) -> None:
    table.save_incident(INCIDENT)
    table.heal_incident(INCIDENT, at=NOW + 40, sentence="healed after 40 s")
    assert table.state().incidents == {}
    key = {"pk": {"S": "INCIDENT"}, "sk": {"S": INCIDENT.incident_id}}
    item = client.get_item(TableName="pgmend", Key=key)["Item"]
    assert item["state"] == {"S": "healed"}
    assert float(item["healed_at"]["N"]) == NOW + 40
    assert item["wake"] == {"S": "alarm:heartbeat"}


def test_an_action_under_way_is_read_back_and_cleared(table: Table) -> None:
    action = OpenAction(
        action_id="a-1",
        kind="configure",
        incident=INCIDENT.incident_id,
        started_at=NOW,
        instance_id="i-1",
        command_id="c-1",
    )
    table.save_action("db-euw3-a", action, token=7)
    assert table.state().open_actions == {"db-euw3-a": action}
    table.clear_action("db-euw3-a")
    assert table.state().open_actions == {}


def test_the_journal_is_read_from_a_moment_on_oldest_first(table: Table) -> None:
    for hour in ("08", "09", "10"):
        table.journal(
            at_iso=f"2027-01-15T{hour}:00:00.000Z",
            action_id=f"a-{hour}",
            entry={"kind": "terminate", "outcome": "done"},
            token=1,
            at=NOW,
        )
    read = table.journal_since("2027-01-15T09:00:00.000Z")
    assert [row["sk"] for row in read] == [
        "2027-01-15T09:00:00.000Z#a-09",
        "2027-01-15T10:00:00.000Z#a-10",
    ]


def test_reports_and_freshness_are_read(table: Table, client: Any) -> None:
    item = {"pk": {"S": "REPORT"}, "sk": {"S": "db-euw3-a"}, "body": {"S": "{}"}}
    client.put_item(TableName="pgmend", Item=item)
    table.save_freshness({"db-euw3-a": {"instance_id": "i-1", "sequence": 4, "at": NOW}})
    state = table.state()
    assert [(r.slot, r.body) for r in state.reports] == [("db-euw3-a", "{}")]
    assert state.freshness["db-euw3-a"]["sequence"] == 4


def test_the_verdict_is_kept_for_people(table: Table, client: Any) -> None:
    table.save_strength(full=False, missing=("x",), leader=None, sentence="s", at=NOW)
    key = {"pk": {"S": "CLUSTER"}, "sk": {"S": "strength"}}
    item = client.get_item(TableName="pgmend", Key=key)["Item"]
    assert item["full"] == {"BOOL": False}
    assert item["missing"] == {"S": '["x"]'}


def test_after_the_last_disk_the_next_apply_is_a_new_birth(table: Table) -> None:
    table.declare_birth(Birth(state="pending", first_leader="db-euw1-a", etcd_token="one"))
    table.forget_birth()
    assert table.state().birth is None
