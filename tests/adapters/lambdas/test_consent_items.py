"""What people allow, as it lies in the hub table: written by their orders, read by the healer, on moto's DynamoDB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest

from lambdas.adapters.table import Table
from lambdas.core.consent import Breaker, Planned, PlannedKind, Window
from lambdas.core.incident import Incident
from lambdas.core.model import Mode
from lambdas.people.errors import RefusedError
from lambdas.people.facts import Reader
from lambdas.people.orders import Orders, Person
from tests.adapters.lambdas.desk import REGION, a_runs_table

NOW = 1_800_000_000.0
HOUR = 3600.0


@pytest.fixture
def client() -> Any:
    return boto3.client("dynamodb", region_name=REGION)


@pytest.fixture
def table(client: Any, table_name: str) -> Table:
    return a_runs_table(client, table_name)


class People:
    """Persons at their terminals: each orders by what was read when they looked."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name

    def looks(self, by: str = "user/ann", now: float = NOW) -> Orders:
        facts = Reader(self._client, self._name).facts()
        return Orders(self._client, self._name, Person(by=by, now=now), facts)

    def orders(self) -> list[tuple[str, str]]:
        found = Reader(self._client, self._name).orders("1970")
        return [(order.by, order.sentence) for order in found]


@pytest.fixture
def people(client: Any, table_name: str) -> People:
    return People(client, table_name)


def put(client: Any, sk: str, **attributes: dict[str, str]) -> None:
    item = {"pk": {"S": "CLUSTER"}, "sk": {"S": sk}, **attributes}
    client.put_item(TableName="pgmend", Item=item)


def an_incident(**more: Any) -> Incident:
    known: dict[str, Any] = {"incident_id": "20270115T080000-db-euw3-a", "slot": "db-euw3-a"}
    return Incident(**known, diagnosis="gone", opened_at=NOW - 60, wake="tick", **more)


def test_where_nobody_said_anything_the_healer_may_act(table: Table) -> None:
    state = table.state()
    assert (state.windows, state.breaker, state.planned) == ((), None, None)
    assert state.mode_at(NOW) is Mode.AUTO


# -- modes


def pause(orders: Orders, mode: Mode = Mode.OBSERVE, **more: Any) -> str:
    known: dict[str, Any] = {"until": None, "why": "new disks", "replace": False, **more}
    return orders.pause(mode, **known)


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.OFF])
def test_a_pause_is_read_and_ends_by_the_healers_clock(
    table: Table, people: People, mode: Mode
) -> None:
    pause(people.looks(), mode, until=NOW + HOUR)
    state = table.state()
    assert [state.mode_at(NOW + t) for t in (0.0, HOUR - 1, HOUR)] == [mode, mode, Mode.AUTO]


def test_a_pause_without_an_end_lasts_until_resume(table: Table, people: People) -> None:
    pause(people.looks())
    assert table.state().mode_at(NOW + 1000 * HOUR) is Mode.OBSERVE
    assert "new disks" in people.looks("user/bob").resume()
    assert table.state().mode_at(NOW) is Mode.AUTO


def test_a_pause_that_is_over_is_nobodys(people: People, table: Table) -> None:
    pause(people.looks(), until=NOW + HOUR)
    with pytest.raises(RefusedError, match="no pause to end"):
        people.looks(now=NOW + 2 * HOUR).resume()
    pause(people.looks("user/bob", NOW + 2 * HOUR))
    assert table.state().mode_at(NOW + 3 * HOUR) is Mode.OBSERVE


def test_a_pause_after_one_with_an_end_has_none_of_its_own(people: People, table: Table) -> None:
    pause(people.looks(), until=NOW + HOUR)
    pause(people.looks())
    assert table.state().mode_until is None


def test_the_pause_of_another_is_replaced_only_when_asked_to(people: People, table: Table) -> None:
    pause(people.looks())
    with pytest.raises(RefusedError, match=r"user/ann had set it to observe .*--replace"):
        pause(people.looks("user/bob"), Mode.OFF)
    assert table.state().mode is Mode.OBSERVE
    pause(people.looks("user/bob"), Mode.OFF, replace=True)
    assert table.state().mode is Mode.OFF


def test_of_two_who_pause_at_once_one_is_told_that_it_changed(people: People, table: Table) -> None:
    ann, bob = people.looks("user/ann"), people.looks("user/bob")
    pause(ann, why="disks")
    with pytest.raises(RefusedError, match="at the same moment"):
        pause(bob, Mode.OFF, why="kernel")
    assert table.state().mode is Mode.OBSERVE
    assert [by for by, _ in people.orders()] == ["user/ann"]  # an order that failed left no line


def test_an_attribute_that_appeared_meanwhile_is_a_change(people: People, table: Table) -> None:
    pause(people.looks())
    late = people.looks()
    pause(people.looks(), until=NOW + HOUR)
    with pytest.raises(RefusedError, match="at the same moment"):
        late.resume()
    assert table.state().mode is Mode.OBSERVE


def test_a_pause_says_why(people: People) -> None:
    with pytest.raises(RefusedError, match="why"):
        pause(people.looks(), why="  ")


def test_an_end_that_is_no_number_lets_nothing_be_touched(table: Table, client: Any) -> None:
    put(client, "mode", mode={"S": "off"}, until={"S": "soon"})
    assert table.state().mode_at(NOW) is Mode.OFF


# -- windows


def test_windows_are_read_in_order_with_their_reasons(table: Table, people: People) -> None:
    people.looks().open_window(from_=NOW + HOUR, until=NOW + 3 * HOUR, why="kernel")
    people.looks().open_window(from_=NOW, until=NOW + HOUR, why="disks")
    assert table.state().windows == (
        Window(from_=NOW, until=NOW + HOUR, why="disks"),
        Window(from_=NOW + HOUR, until=NOW + 3 * HOUR, why="kernel"),
    )


def test_of_two_who_add_a_window_at_once_none_is_lost_unseen(table: Table, people: People) -> None:
    ann, bob = people.looks("user/ann"), people.looks("user/bob")
    ann.open_window(from_=NOW, until=NOW + HOUR, why="disks")
    with pytest.raises(RefusedError, match="at the same moment"):
        bob.open_window(from_=NOW + 9, until=NOW + HOUR, why="kernel")
    people.looks("user/bob").open_window(from_=NOW + 9, until=NOW + HOUR, why="kernel")
    assert [w.why for w in table.state().windows] == ["disks", "kernel"]


def test_a_cancelled_window_is_gone_and_the_others_stay(table: Table, people: People) -> None:
    people.looks().open_window(from_=NOW, until=NOW + HOUR, why="disks")
    people.looks().open_window(from_=NOW + 9, until=NOW + HOUR, why="kernel")
    assert "disks" in people.looks().cancel_window(NOW)
    assert [w.why for w in table.state().windows] == ["kernel"]
    with pytest.raises(RefusedError, match="no window begins"):
        people.looks().cancel_window(NOW)


def test_two_windows_do_not_begin_at_once_for_one_of_them_could_not_be_named(
    people: People,
) -> None:
    people.looks().open_window(from_=NOW, until=NOW + HOUR, why="disks")
    with pytest.raises(RefusedError, match="already"):
        people.looks().open_window(from_=NOW + 0.5, until=NOW + HOUR, why="kernel")


def test_windows_that_are_over_are_not_kept(table: Table, people: People) -> None:
    people.looks().open_window(from_=NOW, until=NOW + HOUR, why="disks")
    people.looks(now=NOW + 2 * HOUR).open_window(
        from_=NOW + 2 * HOUR, until=NOW + 3 * HOUR, why="kernel"
    )
    assert [w.why for w in table.state().windows] == ["kernel"]


def test_windows_are_limited_in_number(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambdas.people.orders.WINDOWS_MAX", 1)
    people.looks().open_window(from_=NOW, until=NOW + HOUR, why="disks")
    with pytest.raises(RefusedError, match="already"):
        people.looks().open_window(from_=NOW + 9, until=NOW + HOUR, why="kernel")


@pytest.mark.parametrize(
    "written",
    [
        "{",
        "{}",
        '"x"',
        "[1]",
        '[{"from": 1}]',
        '[{"from": "x", "until": 2, "why": "y"}]',
        '[{"from": NaN, "until": 2, "why": "y"}]',
    ],
)
def test_a_list_of_windows_that_cannot_be_read_may_have_held(
    table: Table, client: Any, people: People, written: str
) -> None:
    put(client, "windows", windows={"S": written})
    (window,) = table.state().windows
    assert window.holds(NOW)
    assert "cannot be read" in window.why
    people.looks().open_window(from_=NOW, until=NOW + HOUR, why="disks")
    assert [w.why for w in table.state().windows] == ["disks"]


# -- the breaker


def test_the_breaker_opens_once(table: Table) -> None:
    assert table.open_breaker(why="three instances never joined", now=NOW)
    assert not table.open_breaker(why="again", now=NOW + 9)
    assert table.state().breaker == Breaker(
        open=True, why="three instances never joined", opened_at=NOW
    )


def test_an_acknowledged_breaker_is_closed_and_may_open_again(table: Table, people: People) -> None:
    table.open_breaker(why="never joined", now=NOW)
    assert "never joined" in people.looks(now=NOW + 60).acknowledge("bad image")
    assert table.state().breaker == Breaker(
        open=False, why="never joined", opened_at=NOW, acknowledged_at=NOW + 60
    )
    assert table.open_breaker(why="still", now=NOW + 61)
    assert table.state().breaker == Breaker(
        open=True, why="still", opened_at=NOW + 61, acknowledged_at=NOW + 60
    )


def test_what_was_seen_before_a_person_looked_does_not_open_the_breaker_again(
    table: Table, people: People
) -> None:
    """A look that began before the acknowledgement knows nothing of it."""
    table.open_breaker(why="never joined", now=NOW)
    people.looks(now=NOW + 60).acknowledge(None)
    assert not table.open_breaker(why="never joined", now=NOW + 59)
    breaker = table.state().breaker
    assert breaker is not None
    assert not breaker.open


def test_a_breaker_that_opens_while_a_person_acknowledges_holds_stays_open(
    table: Table, people: People
) -> None:
    table.save_incident(an_incident(held="ladder"))
    ann = people.looks()
    table.open_breaker(why="never joined", now=NOW)
    with pytest.raises(RefusedError, match="at the same moment"):
        ann.acknowledge(None)
    breaker = table.state().breaker
    assert breaker is not None
    assert breaker.open


def test_holds_are_acknowledged_where_no_breaker_ever_opened(table: Table, people: People) -> None:
    table.save_incident(an_incident(held="ladder"))
    assert "begins anew with db-euw3-a" in people.looks().acknowledge(None)
    breaker = table.state().breaker
    assert breaker == Breaker(open=False, why="", opened_at=0.0, acknowledged_at=NOW)


def test_of_two_who_acknowledge_at_once_one_did(table: Table, people: People) -> None:
    table.open_breaker(why="never joined", now=NOW)
    ann, bob = people.looks("user/ann", NOW + 1), people.looks("user/bob", NOW + 2)
    ann.acknowledge(None)
    with pytest.raises(RefusedError, match="at the same moment"):
        bob.acknowledge(None)
    breaker = table.state().breaker
    assert breaker is not None
    assert breaker.acknowledged_at == NOW + 1


def test_where_nothing_is_wrong_there_is_nothing_to_acknowledge(people: People) -> None:
    with pytest.raises(RefusedError, match="nothing to acknowledge"):
        people.looks().acknowledge("because")


def test_a_breaker_in_a_state_nobody_knows_is_open(table: Table, client: Any) -> None:
    put(client, "breaker", state={"S": "ajar"})
    breaker = table.state().breaker
    assert breaker is not None
    assert breaker.open


# -- planned work


def test_a_switchover_is_read_and_is_over_when_it_is_finished(table: Table, people: People) -> None:
    people.looks().plan(PlannedKind.SWITCHOVER, to="db-euw3-a", why="zone work")
    planned = table.state().planned
    assert planned == Planned(
        plan_id="20270115T080000-switchover",
        kind=PlannedKind.SWITCHOVER,
        since=NOW,
        to="db-euw3-a",
    )
    assert table.finish_planned(planned.plan_id, state="done")
    assert table.state().planned is None
    assert not table.finish_planned(planned.plan_id, state="done")


def test_one_plan_at_a_time(table: Table, people: People) -> None:
    people.looks().plan(PlannedKind.ROLL)
    with pytest.raises(RefusedError, match=r"a roll ordered by user/ann .* is not done yet"):
        people.looks("user/bob").plan(PlannedKind.SWITCHOVER)
    planned = table.state().planned
    assert planned is not None
    assert planned.kind is PlannedKind.ROLL


def test_of_two_who_plan_at_once_one_did(people: People, table: Table) -> None:
    ann, bob = people.looks("user/ann"), people.looks("user/bob")
    ann.plan(PlannedKind.ROLL)
    with pytest.raises(RefusedError, match="at the same moment"):
        bob.plan(PlannedKind.SWITCHOVER)
    planned = table.state().planned
    assert planned is not None
    assert planned.kind is PlannedKind.ROLL


def test_a_cancelled_plan_is_no_plan_and_cannot_be_finished(table: Table, people: People) -> None:
    people.looks().plan(PlannedKind.ROLL, why="new image")
    planned = table.state().planned
    assert planned is not None
    with pytest.raises(RefusedError, match="no switchover"):
        people.looks().cancel_plan(PlannedKind.SWITCHOVER)
    people.looks().cancel_plan(PlannedKind.ROLL)
    assert table.state().planned is None
    assert not table.finish_planned(planned.plan_id, state="done")
    people.looks(now=NOW + 1).plan(PlannedKind.SWITCHOVER)
    assert not table.finish_planned(planned.plan_id, state="done")  # an order of another time


def test_a_plan_that_the_healer_finished_meanwhile_is_not_cancelled(
    table: Table, people: People, client: Any
) -> None:
    people.looks().plan(PlannedKind.ROLL)
    late = people.looks()
    planned = table.state().planned
    assert planned is not None
    table.finish_planned(planned.plan_id, state="done")
    with pytest.raises(RefusedError, match="at the same moment"):
        late.cancel_plan(PlannedKind.ROLL)
    key = {"pk": {"S": "CLUSTER"}, "sk": {"S": "planned"}}
    assert client.get_item(TableName="pgmend", Key=key)["Item"]["state"] == {"S": "done"}


def test_work_of_a_kind_nobody_knows_is_not_done(table: Table, client: Any) -> None:
    put(client, "planned", state={"S": "open"}, kind={"S": "demolish"}, plan_id={"S": "x"})
    assert table.state().planned is None


# -- who ordered what


ORDERED: dict[str, Callable[[Orders], str]] = {
    "pause": pause,
    "window": lambda o: o.open_window(from_=NOW, until=NOW + HOUR, why="disks"),
    "roll": lambda o: o.plan(PlannedKind.ROLL),
}


@pytest.mark.parametrize("name", ORDERED)
def test_every_order_leaves_a_line_that_says_who(people: People, name: str) -> None:
    sentence = ORDERED[name](people.looks())
    assert people.orders() == [("user/ann", sentence)]


# -- what an incident remembers


def test_rungs_and_the_stand_in_are_read_back_as_they_were_written(table: Table) -> None:
    incident = an_incident(rungs={"restart-service": 2, "reboot": 1}, stand_in="db-euw3-b")
    table.save_incident(incident)
    assert table.state().incidents == {"db-euw3-a": incident}
