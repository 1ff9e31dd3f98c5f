"""What lies in the hub table is what the contract's table says: the items as healer, notifier and people write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from moto import mock_aws

from lambdas.act import Actor
from lambdas.adapters.notices import Notice, Notices, Teller
from lambdas.adapters.ssm import CommandState
from lambdas.adapters.table import Table
from lambdas.core.consent import PlannedKind
from lambdas.core.model import Birth, Incident, Mode, OpenAction
from lambdas.people.facts import Reader
from lambdas.people.orders import Orders, Person

if TYPE_CHECKING:
    from lambdas.adapters.notices import Bus
    from lambdas.observe import World

CONTRACT = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()
REGION = "eu-central-1"
NOW = 1_800_000_000.0
KEYS = {"pk", "sk"}
BY_OTHERS = {"REPORT"}  # written by nodes
# Written by people, by these commands or by hand: who and why may be missing.
BY_PEOPLE = {"CLUSTER mode", "CLUSTER breaker", "CLUSTER planned"}
ATTRIBUTE = re.compile(r"(\*?)`(\w+)`\*?(?: (N|BOOL))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A kind of item: attribute → DynamoDB's type, and which of them may be absent."""

    types: Mapping[str, str]
    optional: frozenset[str]


def _row(cell: str) -> Row:
    found = ATTRIBUTE.findall(cell)
    return Row(
        types={name: kind or "S" for _, name, kind in found},
        optional=frozenset(name for star, name, _ in found if star),
    )


def documented() -> Mapping[str, Row]:
    """Kind of item → its row. An item of the cluster is a kind of its own."""
    section = CONTRACT.split("## Hub table items")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    rows = {
        (f"CLUSTER {sk.strip('`')}" if pk == "`CLUSTER`" else pk.strip("`")): _row(attributes)
        for pk, sk, attributes, _ in cells
    }
    again, own = rows["OPEN"], rows["INCIDENT"]  # `INCIDENT` is written as `OPEN` and more
    types = {name: kind for name, kind in own.types.items() if name != "OPEN"}
    rows["INCIDENT"] = Row(types={**again.types, **types}, optional=again.optional | own.optional)
    return rows


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty hub table."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        found = boto3.client("dynamodb", region_name=REGION)
        found.create_table(
            TableName="pgmend",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield found


def lying(client: Any) -> Mapping[str, Mapping[str, str]]:
    """Kind of item → attribute → DynamoDB's type; of several items of a kind, all that they have."""
    found: dict[str, dict[str, str]] = {}
    for item in client.scan(TableName="pgmend")["Items"]:
        pk, sk = item["pk"]["S"], item["sk"]["S"]
        kind = f"CLUSTER {sk}" if pk == "CLUSTER" else pk
        types = {name: next(iter(v)) for name, v in item.items() if name not in KEYS}
        found[kind] = found.get(kind, {}) | types
    return found


ACTION = OpenAction(
    action_id="x-1-configure", kind="configure", incident="x", started_at=NOW, command_id="c"
)
ENDED = CommandState(status="Success", exit_code=0, output="")


def an_incident(**more: Any) -> Incident:
    known: dict[str, Any] = {
        "incident_id": "20270115T080000-db-euw3-a",
        "slot": "db-euw3-a",
        "wake": "tick",
    }
    return Incident(**known, diagnosis="gone", opened_at=NOW, **more)


def a_person(client: Any) -> Orders:
    """One who looked just now."""
    shown = Reader(client, "pgmend").facts()
    return Orders(client, "pgmend", Person(by="user/ann", now=NOW), shown)


def people_order(
    client: Any, *, begin: float = NOW, until: float | None = None, to: str | None = None
) -> None:
    """Each of their items."""
    person = a_person(client)
    person.pause(Mode.OBSERVE, until=until, why="disks", replace=True)
    person.open_window(from_=begin, until=NOW + 60, why="disks")
    person.plan(PlannedKind.SWITCHOVER, to=to, why="disks")


def people_are_told(client: Any) -> None:
    """One notice."""
    sns = SimpleNamespace(publish=lambda **_: None)
    notices = Notices(sns, client, table="pgmend", topic_arn="t", log=lambda *_: None)
    notices.tell(Notice(key="k", subject="s", body="b"), owner="r", now=NOW)


def write_the_least(client: Any) -> None:
    """Every item, with no more than it must have; people's always say who and why."""
    table = Table(client, "pgmend")
    table.take_lease(owner="a run", now=NOW, lease_s=30.0)
    table.declare_birth(Birth(state="pending", first_leader="db-euw1-a", etcd_token="0" * 32))
    table.set_closed(closed=True)
    table.save_freshness({"db-euw3-a": ["i-1", 7, NOW]})
    table.save_strength(full=False, missing=("db-euw3-a",), leader=None, sentence="s", at=NOW)
    a_command_ended(table)
    table.save_incident(an_incident())
    table.save_action("db-euw3-a", replace(ACTION, command_id=None), token=1)
    people_order(client)
    people_are_told(client)
    a_person(client).acknowledge(None)


def a_command_ended(table: Table) -> None:
    """The actor notes it, in the journal too."""
    world = SimpleNamespace(table=table, iso=lambda _: "2027-01-15T08:00:00.000Z")
    actor = Actor(cast("World", world), Teller(cast("Bus", None), lambda *_: None), token=1)
    actor.finish(ACTION, ENDED, an_incident(), now=NOW)


def write_the_most(client: Any) -> None:
    """Every item, with all that it can have."""
    table = Table(client, "pgmend")
    table.take_lease(owner="another", now=NOW - 60, lease_s=30.0)
    birth = Birth(state="pending", first_leader="db-euw1-a", etcd_token="0" * 32, declared_at=NOW)
    table.declare_birth(birth)
    write_the_least(client)
    table.take_lease(owner="another", now=NOW + 60, lease_s=30.0)
    table.declare_born(etcd_cluster_id="c", system_identifier="7")
    table.save_action("db-euw3-a", replace(ACTION, instance_id="i-1"), token=1)
    incident = an_incident(
        failing="configure",
        last_exit_code=1,
        last_acted_at=NOW,
        held="quorum",
        rungs={"reboot": 1},
        stand_in="db-euw3-b",
        found="presumed-dead",
        found_at=NOW,
    )
    table.save_incident(incident)
    table.heal_incident(incident, at=NOW, sentence="healed")
    another = replace(incident, incident_id="20270115T090000-db-euw3-b", slot="db-euw3-b")
    table.save_incident(another)
    a_person(client).cancel_plan(PlannedKind.SWITCHOVER)
    people_order(client, begin=NOW + 1, until=NOW + 60, to="db-euw3-a")
    table.open_breaker(why="never joined", now=NOW + 1)


def test_every_kind_of_item_is_in_the_contract_and_no_other(client: Any) -> None:
    write_the_least(client)
    assert lying(client).keys() == documented().keys() - BY_OTHERS


def test_every_attribute_that_must_be_there_is_there_and_no_other(client: Any) -> None:
    write_the_least(client)
    for kind, attributes in lying(client).items():
        row = documented()[kind]
        must = {name: type_ for name, type_ in row.types.items() if name not in row.optional}
        more = attributes.keys() - must.keys()
        assert attributes.items() >= must.items(), kind
        assert more <= (row.optional if kind in BY_PEOPLE else set()), kind


def test_every_attribute_that_may_be_there_can_be_there(client: Any) -> None:
    write_the_most(client)
    for kind, attributes in lying(client).items():
        assert attributes == documented()[kind].types, kind


def test_the_mode_that_a_person_writes_is_read(client: Any) -> None:
    row = documented()["CLUSTER mode"]
    (attribute,) = row.types.keys() - row.optional
    item = {"pk": {"S": "CLUSTER"}, "sk": {"S": "mode"}, attribute: {"S": "off"}}
    client.put_item(TableName="pgmend", Item=item)
    assert Table(client, "pgmend").state().mode == "off"
