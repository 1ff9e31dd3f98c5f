"""Garbage in every kind of item that the healer reads: a run ends with a sentence, and leaves what depends on it alone.

The table is moto's, the rest of the world is in memory. Every scene has its control: with a good item the healer acts.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import boto3
import pytest

from lambdas.adapters.items import as_number, as_text, incident_attributes
from lambdas.adapters.table import State, Table
from lambdas.core.disturbance import is_given_up
from lambdas.core.model import Incident, Mode, Role
from lambdas.observe import observe
from lambdas.people import story
from lambdas.people.facts import Reader
from lambdas.people.orders import Orders, Person
from lambdas.run import Outcome
from tests.adapters.lambdas.desk import REGION
from tests.unit.lambdas.world import Stage, a_born_cluster

Attributes = dict[str, dict[str, Any]]
REPLICA = "db-euw3-a"
UNREAD = re.compile("(cannot|could not) be read")
HUGE, DEEP = "x" * 300_000, "[" * 100_000
WRONG: Mapping[str, dict[str, Any]] = {
    "S": {"N": "7"},
    "N": {"S": "yesterday"},
    "BOOL": {"S": "perhaps"},
}


class OnMoto(Table):
    """The hub table, where the nodes of the world report to."""

    def __init__(self, client: Any, name: str, stage: Stage) -> None:
        super().__init__(client, name)
        self._stage = stage

    def state(self) -> State:
        for slot, body in self._stage.nodes.reports.items():
            self.lies("REPORT", slot, {"body": as_text(body)})
        return super().state()

    def lies(self, pk: str, sk: str, attributes: Attributes) -> None:
        """Whatever anybody wrote there."""
        item = {"pk": as_text(pk), "sk": as_text(sk), **attributes}
        self._client.put_item(TableName=self._name, Item=item)

    def item(self, pk: str, sk: str) -> Attributes:
        key = {"pk": as_text(pk), "sk": as_text(sk)}
        found = self._client.get_item(TableName=self._name, Key=key).get("Item", {})
        return {name: value for name, value in found.items() if name not in ("pk", "sk")}


@dataclass
class Scene:
    """A cluster at its best, its hub table on moto, and what befell it a moment ago."""

    stage: Stage
    table: OnMoto

    def look(self) -> Outcome:
        """A run that has time for one look."""
        return self.stage.run(remaining_s=lambda: 0.0).go()

    def calls(self) -> list[str]:
        return self.stage.nodes.calls


@pytest.fixture(scope="module")
def born() -> Stage:
    """Being born takes a while: once for all."""
    return a_born_cluster()


@pytest.fixture
def scene(table_name: str, born: Stage) -> Scene:
    stage = copy.deepcopy(born, {id(born.spec): born.spec})  # the spec is frozen
    table = OnMoto(boto3.client("dynamodb", region_name=REGION), table_name, stage)
    birth = stage.table.birth
    assert birth is not None
    table.lies(
        "CLUSTER",
        "birth",
        {
            "state": as_text("born"),
            "first_leader": as_text(birth.first_leader),
            "etcd_token": as_text(birth.etcd_token),
        },
    )
    stage.table = cast("Any", table)
    found = Scene(stage=stage, table=table)
    found.look()
    stage.nodes.calls.clear()
    return found


# -- what befalls the cluster, so that the healer would do something


def a_host_is_lost(scene: Scene) -> None:
    scene.stage.nodes.power_loss(REPLICA)
    scene.look()
    scene.stage.nodes.sleep(8.0)


def a_node_is_to_be_configured(scene: Scene) -> None:
    machine = next(m for m in scene.stage.nodes.machines.values() if m.slot.name == REPLICA)
    machine.configured = False
    scene.stage.nodes.sleep(2.0)


def nothing(scene: Scene) -> None:
    scene.stage.nodes.may_end.update(scene.stage.spec.by_name)
    scene.stage.nodes.sleep(1.0)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of item: where it lies, a good one, and the call that depends on it."""

    pk: str
    sk: str
    good: Callable[[Scene], Attributes]
    depends: str
    befalls: Callable[[Scene], None] = a_host_is_lost
    needed: tuple[str, ...] = ()  # attributes that may not be missing
    document: str | None = None  # an attribute that is JSON
    closed_set: str | None = None  # an attribute that is one of a few words


def an_incident(scene: Scene) -> Attributes:
    now = scene.stage.now()
    incident = Incident(
        incident_id=f"20270115T080000-{REPLICA}",
        slot=REPLICA,
        diagnosis="suspected",
        opened_at=now - 60.0,
        wake="tick",
        rungs={"restart-service:pgmend-agent": 1},
    )
    return cast("Attributes", incident_attributes(incident))


def an_action(scene: Scene) -> Attributes:
    return {
        "action_id": as_text("20270115T080000-x-1-start"),
        "kind": as_text("start"),
        "incident": as_text("20270115T080000-x"),
        "started_at": as_number(scene.stage.now() - 60.0),
        "token": as_number(1),
    }


def a_roll(scene: Scene) -> Attributes:
    return {
        "kind": as_text("roll"),
        "plan_id": as_text("p1"),
        "since": as_number(scene.stage.now()),
        "state": as_text("open"),
    }


def a_lease(_: Scene) -> Attributes:
    return {
        "owner": as_text("gone"),
        "token": as_number(3),
        "expires_at": as_number(0),
        "wake_pending": {"BOOL": False},
    }


def a_breaker(_: Scene) -> Attributes:
    return {"state": as_text("closed"), "why": as_text("x"), "acknowledged_at": as_number(9)}


def as_it_lies(pk: str, sk: str) -> Callable[[Scene], Attributes]:
    return lambda scene: scene.table.item(pk, sk)


ENDED, CONFIGURED = f"terminate {REPLICA}", f"pgmend-configure-node {REPLICA}"
KINDS: Mapping[str, Kind] = {
    "incident": Kind(
        pk="OPEN",
        sk=REPLICA,
        good=an_incident,
        depends=ENDED,
        needed=("incident", "slot", "diagnosis", "opened_at", "steps", "tries", "failures"),
        document="rungs",
    ),
    "action": Kind(
        pk="ACTION",
        sk=REPLICA,
        good=an_action,
        depends=ENDED,
        needed=("action_id", "kind", "incident", "started_at"),
    ),
    "mode": Kind(
        pk="CLUSTER",
        sk="mode",
        good=lambda _: {"mode": as_text("auto")},
        depends=ENDED,
        needed=("mode",),
        closed_set="mode",
    ),
    "windows": Kind(
        pk="CLUSTER",
        sk="windows",
        good=lambda _: {"windows": as_text("[]")},
        depends=ENDED,
        needed=("windows",),
        document="windows",
    ),
    "breaker": Kind(
        pk="CLUSTER",
        sk="breaker",
        good=a_breaker,
        depends=ENDED,
        needed=("state",),
        closed_set="state",
    ),
    "planned": Kind(
        pk="CLUSTER",
        sk="planned",
        good=a_roll,
        depends="terminate",
        befalls=nothing,
        needed=("kind", "plan_id", "since", "state"),
        closed_set="kind",
    ),
    "birth": Kind(
        pk="CLUSTER",
        sk="birth",
        good=as_it_lies("CLUSTER", "birth"),
        depends=CONFIGURED,
        befalls=a_node_is_to_be_configured,
        needed=("state",),
        closed_set="state",
    ),
    "freshness": Kind(
        pk="CLUSTER",
        sk="freshness",
        good=as_it_lies("CLUSTER", "freshness"),
        depends=ENDED,
        needed=("slots",),
        document="slots",
    ),
    "lease": Kind(
        pk="CLUSTER", sk="lease", good=a_lease, depends=ENDED, needed=("token", "expires_at")
    ),
}


Damage = Callable[[Attributes], Attributes]


def without(name: str) -> Damage:
    return lambda good: {key: value for key, value in good.items() if key != name}


def of_another_type(name: str) -> Damage:
    return lambda good: {**good, name: WRONG[next(iter(good[name]))]}


def saying(name: str, words: str) -> Damage:
    return lambda good: {**good, name: as_text(words)}


def damages(kind: Kind) -> Mapping[str, Damage]:
    """Every way in which a person, or another version, may have left this kind of item."""
    found: dict[str, Damage] = {}
    for name in kind.needed:
        found[f"no-{name}"] = without(name)
        found[f"{name}-of-another-type"] = of_another_type(name)
        if name not in (kind.document, *NUMBERS):
            found[f"huge-{name}"] = saying(name, HUGE)
    if kind.document is not None:
        for said, document in DOCUMENTS.items():
            found[f"{said}-in-{kind.document}"] = saying(kind.document, document)
    if kind.closed_set is not None:
        found["another-version"] = saying(kind.closed_set, "v2-new")
    return found


NUMBERS = (
    "opened_at",
    "steps",
    "tries",
    "failures",
    "started_at",
    "since",
    "token",
    "expires_at",
)
DOCUMENTS = {
    "no-json": "{",
    "number": "1",
    "list-of-numbers": "[1]",
    "words": '{"db-euw3-a": "often"}',
    "nothing": '{"db-euw3-a": null}',
    "not-a-number": '{"db-euw3-a": NaN}',
    "without-end": '{"db-euw3-a": {"instance_id": "i-1", "sequence": 1, "at": 1e400}}',
    "too-many": json.dumps({REPLICA: 10**400}),
    "depth": DEEP,
    "hugeness": HUGE,
}
CASES = [(name, damage) for name, kind in KINDS.items() for damage in damages(kind)]


def put(scene: Scene, kind: Kind, damage: Damage) -> None:
    kind.befalls(scene)
    scene.stage.nodes.calls.clear()
    good = kind.good(scene)
    assert good
    scene.table.lies(kind.pk, kind.sk, damage(good))


def touched(scene: Scene, kind: Kind) -> list[str]:
    return [call for call in scene.calls() if call.startswith(kind.depends)]


@pytest.mark.parametrize("name", KINDS)
def test_with_a_good_item_the_healer_acts(scene: Scene, name: str) -> None:
    put(scene, KINDS[name], lambda good: good)
    scene.look()
    assert touched(scene, KINDS[name])
    assert not UNREAD.search("".join(scene.stage.sentences))


@pytest.mark.parametrize(("name", "damage"), CASES, ids=["-".join(case) for case in CASES])
def test_an_item_that_cannot_be_read_stops_what_depends_on_it_and_no_run(
    scene: Scene, name: str, damage: str
) -> None:
    kind = KINDS[name]
    put(scene, kind, damages(kind)[damage])
    outcome = scene.look()
    assert touched(scene, kind) == []
    assert UNREAD.search(outcome.sentence), outcome.sentence
    assert len(outcome.sentence) < 10_000


FOR_PEOPLE = [case for case in CASES if case[1].startswith(("no-", "another-version"))]


@pytest.mark.parametrize(
    ("name", "damage"), FOR_PEOPLE, ids=["-".join(case) for case in FOR_PEOPLE]
)
def test_people_may_look_at_an_item_that_cannot_be_read(
    scene: Scene, table_name: str, name: str, damage: str
) -> None:
    kind, now = KINDS[name], scene.stage.now()
    scene.table.lies(kind.pk, kind.sk, damages(kind)[damage](kind.good(scene)))
    reader = Reader(boto3.client("dynamodb", region_name=REGION), table_name)
    facts = reader.facts()
    assert story.status(facts, reader.steps("1970"), now=now)
    safe = {"mode": facts.mode is not Mode.AUTO, "windows": facts.window_at(now) is not None}
    assert safe.get(name, True)


# -- times that have not come yet


LATER = as_number(1_900_000_000)
FROM_THE_FUTURE: Mapping[str, tuple[str, Damage]] = {
    "an incident acted": ("incident", lambda good: {**good, "last_acted_at": LATER}),
    "an incident began": ("incident", lambda good: {**good, "opened_at": LATER}),
    "an action began": ("action", lambda good: {**good, "started_at": LATER}),
    "a breaker was acknowledged": ("breaker", lambda good: {**good, "acknowledged_at": LATER}),
    "a roll was ordered": ("planned", lambda good: {**good, "since": LATER}),
    "a lease runs out": ("lease", lambda good: {**good, "expires_at": LATER}),
    "a report was seen": ("freshness", lambda good: {"slots": as_text(_all_at(good, 1.9e9))}),
}


def _all_at(good: Attributes, at: float) -> str:
    slots = json.loads(good["slots"]["S"])
    return json.dumps({slot: {**entry, "at": at} for slot, entry in slots.items()})


@pytest.mark.parametrize("what", FROM_THE_FUTURE)
def test_a_time_that_has_not_come_is_no_time(scene: Scene, what: str) -> None:
    name, damage = FROM_THE_FUTURE[what]
    put(scene, KINDS[name], damage)
    outcome = scene.look()
    assert touched(scene, KINDS[name]) == []
    assert UNREAD.search(outcome.sentence), outcome.sentence


# -- the journal, reports, and slots that the cluster does not have


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"kind": as_text("restart-service"), "outcome": as_text("sent")},
        {"kind": as_text("restart-service"), "outcome": as_text("sent"), "at": as_text("soon")},
        {"kind": as_text("restart-service"), "outcome": as_text("sent"), "at": as_text("nan")},
        {"at": as_number(1_800_000_000)},
    ],
    ids=["nothing", "no-time", "a-time-in-words", "no-number", "no-kind"],
)
def test_a_line_of_the_journal_that_cannot_be_read_may_have_been_a_removal(
    scene: Scene, line: Attributes
) -> None:
    a_host_is_lost(scene)
    iso = scene.stage.run().world.iso
    for number in range(scene.stage.spec.budget.replacements_per_hour):
        key = f"{iso(scene.stage.now() - 60.0)}#x-{number}"
        scene.table.lies("JOURNAL", key, {"slot": as_text("app-euw1-a"), **line})
    outcome = scene.look()
    assert f"terminate {REPLICA}" not in scene.calls()
    assert "the budget is spent" in outcome.sentence
    assert UNREAD.search(outcome.sentence)


def test_a_line_of_the_journal_from_hours_ago_is_over_though_it_cannot_be_read(
    scene: Scene,
) -> None:
    a_host_is_lost(scene)
    iso = scene.stage.run().world.iso
    for number in range(scene.stage.spec.budget.replacements_per_hour):
        scene.table.lies("JOURNAL", f"{iso(scene.stage.now() - 7200.0)}#x-{number}", {})
    scene.look()
    assert f"terminate {REPLICA}" in scene.calls()


@pytest.mark.parametrize("body", ["", "{", DEEP, HUGE, "1" * 5000])
def test_a_report_that_cannot_be_read_is_set_aside(scene: Scene, body: str) -> None:
    set_aside(scene, body)


@pytest.mark.parametrize("claim", [{"instance_id": f"i-{HUGE}"}, {"sequence": 10**400}])
def test_a_report_that_would_not_fit_into_the_memory_is_set_aside(
    scene: Scene, claim: dict[str, Any]
) -> None:
    told = json.loads(scene.stage.nodes.reports[REPLICA])
    set_aside(scene, json.dumps({**told, **claim}))


def set_aside(scene: Scene, body: str) -> None:
    a_host_is_lost(scene)
    scene.stage.nodes.reports[REPLICA] = body
    scene.look()
    assert f"terminate {REPLICA}" not in scene.calls()
    assert "a report was set aside" in scene.stage.sentences


@pytest.mark.parametrize("pk", ["OPEN", "ACTION"])
def test_what_is_open_on_a_slot_that_the_cluster_has_no_more_is_left_alone(
    scene: Scene, pk: str
) -> None:
    a_host_is_lost(scene)
    good = an_incident(scene) if pk == "OPEN" else an_action(scene)
    scene.table.lies(pk, "db-gone-a", good)
    outcome = scene.look()
    assert f"terminate {REPLICA}" in scene.calls()
    assert "no slot of this cluster" in outcome.sentence
    assert scene.table.item(pk, "db-gone-a") == good


# -- and then


def test_a_slot_whose_past_is_not_known_is_held_once_until_a_person_acknowledges(
    scene: Scene, table_name: str
) -> None:
    put(scene, KINDS["incident"], lambda good: {**good, "rungs": as_text("{")})
    for _ in range(3):
        outcome = scene.look()
        assert any(hold.startswith("unread: ") for hold in outcome.holds)
        scene.stage.nodes.sleep(30.0)
    assert touched(scene, KINDS["incident"]) == []
    (held,) = scene.stage.told.of("Held")
    assert (held["slot"], held["rail"]) == (REPLICA, "unread")
    client = boto3.client("dynamodb", region_name=REGION)
    person = Person(by="user/ann", now=scene.stage.now())
    Orders(client, table_name, person, Reader(client, table_name).facts()).acknowledge("seen")
    scene.stage.until_full(within_s=120.0)
    assert touched(scene, KINDS["incident"])


def test_whoever_acknowledged_before_did_not_acknowledge_what_cannot_be_read(
    scene: Scene,
) -> None:
    put(scene, KINDS["incident"], lambda good: {**good, "rungs": as_text("{")})
    scene.table.lies(
        "CLUSTER",
        "breaker",
        {"state": as_text("closed"), "acknowledged_at": as_number(scene.stage.now() - 1.0)},
    )
    scene.stage.wake()
    assert touched(scene, KINDS["incident"]) == []


def test_an_incident_that_lost_its_number_of_steps_repeats_no_old_act(scene: Scene) -> None:
    """EC2 answers a client token that it knows with what it did then."""
    put(scene, KINDS["incident"], lambda good: {**good, "steps": as_text("many")})
    scene.look()
    written = scene.table.state().incidents[REPLICA]
    assert written.incident_id != f"20270115T080000-{REPLICA}"
    assert written.incident_id.endswith(REPLICA)


def test_others_are_healed_while_a_slot_whose_past_is_not_known_waits(scene: Scene) -> None:
    put(scene, KINDS["incident"], lambda good: {**good, "rungs": as_text("{")})
    scene.stage.lose("haproxy-euw1-a")
    scene.stage.wake()
    assert touched(scene, KINDS["incident"]) == []
    assert "launch haproxy-euw1-a" in scene.calls()


def test_an_incident_that_cannot_be_read_is_over_where_all_is_well(scene: Scene) -> None:
    scene.stage.nodes.sleep(1.0)
    scene.table.lies("OPEN", REPLICA, {"rungs": as_text("{")})
    outcome = scene.stage.wake()
    assert outcome.full_strength
    assert scene.table.state().incidents == {}
    assert scene.calls() == []


def test_who_lives_speaks_again_and_who_is_dead_is_replaced_after_the_memory_was_lost(
    scene: Scene,
) -> None:
    put(scene, KINDS["freshness"], lambda _: {"slots": as_text("{")})
    scene.stage.until_full(within_s=120.0)
    opened = {event["slot"] for event in scene.stage.told.of("Incident Opened")}
    assert opened == {REPLICA}
    assert touched(scene, KINDS["freshness"])


def test_while_all_live_a_lost_memory_opens_nothing(scene: Scene) -> None:
    scene.table.lies("CLUSTER", "freshness", {"slots": as_text("{")})
    assert scene.stage.wake().full_strength
    assert scene.stage.told.of("Incident Opened") == []
    assert scene.calls() == []


def test_a_leader_that_died_before_the_memory_was_lost_may_still_lead(scene: Scene) -> None:
    """Nobody else leads yet: of a database that may have led last, nothing is ended."""
    leader = scene.stage.nodes.leader
    assert leader is not None
    scene.table.lies("CLUSTER", "freshness", {"slots": as_text("{")})
    scene.look()
    memory = json.loads(scene.table.item("CLUSTER", "freshness")["slots"]["S"])
    led = {slot for slot, entry in memory.items() if entry.get("led_at")}
    databases = {s.name for s in scene.stage.spec.slots if s.role is Role.DB and s.active}
    assert led == databases
    scene.stage.nodes.sleep(2.0)
    scene.look()
    memory = json.loads(scene.table.item("CLUSTER", "freshness")["slots"]["S"])
    assert {slot for slot, entry in memory.items() if entry.get("led_at")} == {leader}


def test_a_lease_that_cannot_be_read_runs_out_by_itself(scene: Scene) -> None:
    put(scene, KINDS["lease"], lambda good: {**good, "token": as_text("x")})
    scene.look()
    scene.stage.nodes.sleep(scene.stage.spec.timings.lease_s / 2)
    assert "another run holds the lease" in scene.look().sentence
    scene.stage.nodes.sleep(scene.stage.spec.timings.lease_s)
    scene.stage.until_full(within_s=120.0)
    assert touched(scene, KINDS["lease"])


def test_what_cannot_be_read_is_counted(scene: Scene) -> None:
    scene.table.lies("CLUSTER", "mode", {"mode": as_text("v2-new")})
    scene.table.lies("CLUSTER", "breaker", {"state": as_text("v2-new")})
    scene.stage.nodes.sleep(20.0)
    scene.look()
    assert scene.stage.told.metrics[-1]["ItemsUnread", None] == 2.0
    assert scene.stage.sentences.count("an item of the hub table was set aside") == 2


def test_what_is_assumed_of_an_unknown_past_is_not_told_as_tried(
    scene: Scene, table_name: str
) -> None:
    put(scene, KINDS["incident"], lambda good: {**good, "rungs": as_text("{")})
    scene.look()
    reader = Reader(boto3.client("dynamodb", region_name=REGION), table_name)
    status = story.status(reader.facts(), reader.steps("1970"), now=scene.stage.now())
    assert "tried: what-cannot-be-read 1x\n" in status
    assert "HELD by unread" in status
    assert "could not be read: rungs cannot be read" in status


def test_another_copy_is_not_given_up_while_one_that_may_be_is_not_back(scene: Scene) -> None:
    put(scene, KINDS["incident"], lambda good: {**good, "rungs": as_text("{")})
    with ThreadPoolExecutor(4) as pool:
        look = observe(scene.stage.run().world, now=scene.stage.now(), pool=pool)
    assert is_given_up(REPLICA, look.observation)
