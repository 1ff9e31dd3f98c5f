"""The hub table's promises, on moto's DynamoDB."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lambdas.adapters.table import Table
from lambdas.core.model import Birth, Incident, Mode, OpenAction
from lambdas.errors import LeaseLostError
from tests.adapters.lambdas.desk import REGION, a_runs_table

NOW = 1_800_000_000.0


@pytest.fixture
def client() -> Any:
    return boto3.client("dynamodb", region_name=REGION)


@pytest.fixture
def table(client: Any, table_name: str) -> Table:
    return Table(client, table_name)


@pytest.fixture
def held(client: Any, table_name: str) -> Table:
    return a_runs_table(client, table_name)


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


# -- what is written under it

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
ACTION = OpenAction(
    action_id="a-1",
    kind="configure",
    incident=INCIDENT.incident_id,
    started_at=NOW,
    instance_id="i-1",
    command_id="c-1",
)
BIRTH = Birth(state="pending", first_leader="db-euw1-a", etcd_token="one")
WRITES: Mapping[str, Callable[[Table], object]] = {
    "declare_birth": lambda t: t.declare_birth(BIRTH),
    "declare_born": lambda t: t.declare_born(etcd_cluster_id="c", system_identifier="7"),
    "save_freshness": lambda t: t.save_freshness({}),
    "save_strength": lambda t: t.save_strength(
        full=True, missing=(), leader=None, sentence="s", at=NOW
    ),
    "open_breaker": lambda t: t.open_breaker(why="w", now=NOW),
    "finish_planned": lambda t: t.finish_planned("p", state="done"),
    "save_incident": lambda t: t.save_incident(INCIDENT),
    "heal_incident": lambda t: t.heal_incident(INCIDENT, at=NOW, sentence="s"),
    "save_action": lambda t: t.save_action("db-euw3-a", ACTION, token=1),
    "clear_action": lambda t: t.clear_action("db-euw3-a"),
    "journal": lambda t: t.journal(at_iso="2027", action_id="a", entry={}, token=1, at=NOW),
}
WITHOUT_LEASE = {"set_closed", "forget_birth"}  # the lifecycle function's


def lying(client: Any) -> list[Mapping[str, Any]]:
    """All items but the lease."""
    found: list[Mapping[str, Any]] = client.scan(TableName="pgmend")["Items"]
    return sorted((i for i in found if i["sk"]["S"] != "lease"), key=str)


@pytest.mark.parametrize("name", WRITES)
def test_what_a_run_writes_is_refused_once_the_lease_is_anothers(
    table: Table, client: Any, name: str
) -> None:
    """The first looked for so long that its lease ran out; the second took it, and wrote."""
    planned = {"plan_id": {"S": "p"}, "state": {"S": "open"}}
    key = {"pk": {"S": "CLUSTER"}, "sk": {"S": "planned"}}
    client.put_item(TableName="pgmend", Item={**key, **planned})
    take(table, "first")
    second = Table(client, "pgmend")
    take(second, "second", NOW + 31)
    if name != "declare_birth":
        second.declare_birth(BIRTH)
    if name != "save_action":  # where the next run has written nothing yet, as well
        second.save_action("db-euw3-a", replace(ACTION, command_id="c-2"), token=2)
        second.save_incident(replace(INCIDENT, steps=3))
    before = lying(client)
    with pytest.raises(LeaseLostError, match="took the lease over"):
        WRITES[name](table)
    assert lying(client) == before
    WRITES[name](second)  # and what is refused to the first is the second's to do
    assert lying(client) != before


def test_every_write_but_the_lifecycle_functions_is_among_them() -> None:
    reads = {"state", "journal_since", "take_lease", "renew_lease", "release_lease"}
    public = {name for name in vars(Table) if not name.startswith("_")}
    assert public - reads - WITHOUT_LEASE == WRITES.keys()


def test_who_never_took_the_lease_writes_nothing(table: Table, client: Any) -> None:
    with pytest.raises(LeaseLostError, match="has not taken it"):
        table.save_incident(INCIDENT)
    take(Table(client, "pgmend"), "first")
    assert take(table, "second") is None
    with pytest.raises(LeaseLostError, match="has not taken it"):
        table.save_incident(INCIDENT)
    assert lying(client) == []


def test_a_lease_that_ran_out_and_that_nobody_took_still_lets_its_run_write(table: Table) -> None:
    take(table, "first")
    assert renew(table, "first", 1, NOW + 31) == (False, False)
    table.save_incident(INCIDENT)
    assert table.state().incidents == {"db-euw3-a": INCIDENT}


def test_the_same_owner_under_a_newer_token_is_another_run(table: Table, client: Any) -> None:
    take(table, "first")
    take(Table(client, "pgmend"), "first", NOW + 31)
    with pytest.raises(LeaseLostError):
        table.clear_action("db-euw3-a")


class Contended:
    """DynamoDB, where another's write to the same item is under way so many times."""

    def __init__(self, client: Any, error: ClientError, times: int) -> None:
        self._client, self._error, self.times = client, error, times

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name not in ("transact_write_items", "update_item", "delete_item"):
            return real

        def ask(**request: Any) -> Any:
            if self.times:
                self.times -= 1
                raise self._error
            return real(**request)

        return ask


def cancelled(*codes: str) -> ClientError:
    """A transaction, refused for this in each of its parts."""
    answer: Any = {
        "Error": {"Code": "TransactionCanceledException"},
        "CancellationReasons": [{"Code": code} for code in codes],
    }
    return ClientError(answer, "TransactWriteItems")


def test_who_meets_anothers_write_asks_again(table_name: str, client: Any) -> None:
    pauses: list[float] = []
    busy = Contended(client, cancelled("TransactionConflict", "None"), 3)
    table = Table(busy, table_name, pauses.append)
    busy.times = 0
    take(table, "first")
    busy.times = 3
    table.save_incident(INCIDENT)
    assert table.state().incidents == {"db-euw3-a": INCIDENT}
    assert pauses == [0.02, 0.04, 0.08]


@pytest.mark.parametrize(
    "ask", [take, lambda t, _: renew(t, "first", 1), lambda t, _: t.forget_birth()]
)
def test_single_writes_wait_for_a_transaction(
    table_name: str, client: Any, ask: Callable[[Table, str], object]
) -> None:
    answer: Any = {"Error": {"Code": "TransactionConflictException"}}
    busy = Contended(client, ClientError(answer, "UpdateItem"), 2)
    pauses: list[float] = []
    ask(Table(busy, table_name, pauses.append), "first")
    assert pauses == [0.02, 0.04]


def test_a_conflict_without_end_ends_the_run(table_name: str, client: Any) -> None:
    busy = Contended(client, cancelled("TransactionConflict"), 100)
    pauses: list[float] = []
    table = Table(busy, table_name, pauses.append)
    times, busy.times = busy.times, 0
    take(table, "first")
    busy.times = times
    with pytest.raises(ClientError):
        table.clear_action("db-euw3-a")
    assert times - busy.times == 7
    assert sum(pauses) == pytest.approx(1.26)


# -- the birth


def test_a_cluster_is_born_once(held: Table) -> None:
    birth = Birth(state="pending", first_leader="db-euw1-a", etcd_token="one")
    assert held.declare_birth(birth)
    assert not held.declare_birth(replace(birth, etcd_token="two"))
    assert held.state().birth == birth


def test_a_birth_is_closed_once(held: Table) -> None:
    held.declare_birth(Birth(state="pending", first_leader="db-euw1-a", etcd_token="one"))
    held.declare_born(etcd_cluster_id="cdf8", system_identifier="745")
    born = held.state().birth
    assert born is not None
    assert (born.state, born.etcd_cluster_id, born.system_identifier) == ("born", "cdf8", "745")
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        held.declare_born(etcd_cluster_id="other", system_identifier="other")


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


def test_an_incident_is_read_back_as_it_was_written(held: Table) -> None:
    held.save_incident(INCIDENT)
    assert held.state().incidents == {"db-euw3-a": INCIDENT}


def test_a_healed_incident_leaves_the_loop_and_stays_in_the_history(
    held: Table, client: Any
) -> None:
    held.save_incident(INCIDENT)
    held.heal_incident(INCIDENT, at=NOW + 40, sentence="healed after 40 s")
    assert held.state().incidents == {}
    key = {"pk": {"S": "INCIDENT"}, "sk": {"S": INCIDENT.incident_id}}
    item = client.get_item(TableName="pgmend", Key=key)["Item"]
    assert item["state"] == {"S": "healed"}
    assert float(item["healed_at"]["N"]) == NOW + 40
    assert item["wake"] == {"S": "alarm:heartbeat"}


def test_an_action_under_way_is_read_back_and_cleared(held: Table) -> None:
    held.save_action("db-euw3-a", ACTION, token=7)
    assert held.state().open_actions == {"db-euw3-a": ACTION}
    held.clear_action("db-euw3-a")
    assert held.state().open_actions == {}


def test_the_journal_is_read_from_a_moment_on_oldest_first(held: Table) -> None:
    for hour in ("08", "09", "10"):
        held.journal(
            at_iso=f"2027-01-15T{hour}:00:00.000Z",
            action_id=f"a-{hour}",
            entry={"kind": "terminate", "outcome": "done"},
            token=1,
            at=NOW,
        )
    read = held.journal_since("2027-01-15T09:00:00.000Z")
    assert [row["sk"] for row in read] == [
        "2027-01-15T09:00:00.000Z#a-09",
        "2027-01-15T10:00:00.000Z#a-10",
    ]


def test_reports_and_freshness_are_read(held: Table, client: Any) -> None:
    item = {"pk": {"S": "REPORT"}, "sk": {"S": "db-euw3-a"}, "body": {"S": "{}"}}
    client.put_item(TableName="pgmend", Item=item)
    held.save_freshness({"db-euw3-a": {"instance_id": "i-1", "sequence": 4, "at": NOW}})
    state = held.state()
    assert [(r.slot, r.body) for r in state.reports] == [("db-euw3-a", "{}")]
    assert state.freshness["db-euw3-a"]["sequence"] == 4


def test_the_verdict_is_kept_for_people(held: Table, client: Any) -> None:
    held.save_strength(full=False, missing=("x",), leader=None, sentence="s", at=NOW)
    key = {"pk": {"S": "CLUSTER"}, "sk": {"S": "strength"}}
    item = client.get_item(TableName="pgmend", Key=key)["Item"]
    assert item["full"] == {"BOOL": False}
    assert item["missing"] == {"S": '["x"]'}


def test_after_the_last_disk_the_next_apply_is_a_new_birth(held: Table) -> None:
    held.declare_birth(Birth(state="pending", first_leader="db-euw1-a", etcd_token="one"))
    held.forget_birth()
    assert held.state().birth is None
