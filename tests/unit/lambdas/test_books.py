"""What a run notes: incidents begun anew, holds told once, the breaker, orders that are done, disks that are kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from lambdas.adapters.notices import Bus, Teller
from lambdas.books import Books
from lambdas.core.actions import Hold
from lambdas.core.diagnose import diagnose
from lambdas.core.model import BIRTH, Incident, Volume
from lambdas.core.strength import judge
from lambdas.lifecycle import empty
from lambdas.observe import World
from tests.unit.lambdas.builders import NOW, Cluster, a_cluster, follower_of
from tests.unit.lambdas.nodes import Crash, Nodes
from tests.unit.lambdas.ports import MemoryTable, Told

REPLICA, LEADER, OTHER = "db-euw3-a", "db-euw1-a", "db-euw1-b"


class Desk:
    """Books over an empty table, and what they told."""

    def __init__(self) -> None:
        spec = a_cluster().spec
        self.table, self.told = MemoryTable(Nodes(spec)), Told()
        world = SimpleNamespace(
            table=self.table, spec=spec, iso=lambda _: "2027-01-15T08:00:00.000Z"
        )
        teller = Teller(cast("Bus", self.told), lambda *_: None)
        self.books = Books(world=cast("World", world), teller=teller, token=1, wake="tick")

    def incidents(self, cluster: Cluster) -> dict[str, Incident]:
        o = cluster.observation()
        findings = diagnose(o)
        return self.books.incidents(o, findings, judge(o, findings))

    def say(self, cluster: Cluster, *holds: Hold) -> dict[str, Incident]:
        o = cluster.observation()
        incidents = dict(o.incidents)
        self.books.say_holds(holds, incidents, o)
        return incidents


def held(rail: str, slot: str = REPLICA) -> Hold:
    return Hold(slot=slot, rail=rail, because="so")


# -- incidents


def test_what_was_tried_before_a_person_looked_counts_no_more_and_is_forgotten_once() -> None:
    desk = Desk()
    cluster = a_cluster().dead(REPLICA).breaker(is_open=False, acknowledged_s_ago=30)
    cluster.incident(REPLICA, opened_s_ago=900, rungs={"launch": 3}, tries=15, held="refills")
    anew = desk.incidents(cluster)[REPLICA]
    assert (anew.rung("launch"), anew.tries, anew.held) == (0, 0, None)
    assert desk.table.open[REPLICA] == anew
    cluster.incidents[REPLICA] = anew.climbed("launch")
    assert desk.incidents(cluster)[REPLICA].rung("launch") == 1


def test_what_began_after_a_person_looked_is_kept() -> None:
    cluster = a_cluster().dead(REPLICA).breaker(is_open=False, acknowledged_s_ago=900)
    cluster.incident(REPLICA, opened_s_ago=30, rungs={"launch": 1})
    assert Desk().incidents(cluster)[REPLICA].rung("launch") == 1


def test_a_suspicion_opens_an_incident_only_when_it_lasts() -> None:
    assert Desk().incidents(a_cluster().nobody_answered(REPLICA, for_s=100)) == {}
    long = a_cluster().nobody_answered(LEADER, for_s=400)
    assert LEADER in Desk().incidents(long)


def test_what_was_tried_counts_no_more_once_the_slot_is_only_to_be_replaced() -> None:
    desk, cluster = Desk(), a_cluster().rolled()
    before = {"join-replica": 1, "reinit": 1, "terminate": 2, "launch": 3, "switchover": 1}
    cluster.incident(REPLICA, rungs=before, tries=9, found="replica-broken", found_at=NOW - 99)
    anew = desk.incidents(cluster)[REPLICA]
    assert anew.rungs == {"switchover": 1}  # whom the two ended is another
    assert (anew.tries, anew.found, anew.found_at) == (0, "outdated", NOW)
    assert desk.table.open[REPLICA] == anew


def test_reboots_count_no_more_once_only_a_leader_is_missing() -> None:
    cluster = a_cluster().dead(LEADER).says(REPLICA, patroni=follower_of("", timeline=2))
    before = {"reboot": 1, "stop": 1, "reinit": 1}
    cluster.incident(REPLICA, rungs=before, found="disk-read-only", found_at=NOW - 99)
    anew = Desk().incidents(cluster.not_followed_by(REPLICA))[REPLICA]
    assert (anew.found, anew.rungs) == ("waits-for-leader", {"reinit": 1})


@pytest.mark.parametrize(("failing", "left"), [("configure", 0), ("start", 0), ("launch", 3)])
def test_what_an_occupant_failed_at_goes_with_it(failing: str, left: int) -> None:
    cluster = a_cluster().empty(REPLICA)
    cluster.incident(REPLICA, failing=failing, failures=3, found="terminating", found_at=NOW - 9)
    assert Desk().incidents(cluster)[REPLICA].failures == left


def test_another_illness_keeps_what_was_tried_and_has_its_own_time() -> None:
    cluster = a_cluster().broken(REPLICA)
    cluster.incident(REPLICA, rungs={"reboot": 1}, found="impaired", found_at=NOW - 99)
    anew = Desk().incidents(cluster)[REPLICA]
    assert (anew.rungs, anew.found, anew.found_at) == ({"reboot": 1}, "replica-broken", NOW)


def test_people_are_told_of_a_recovery_before_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, cluster = Desk(), a_cluster().incident(REPLICA)

    def dies(*_: object, **__: object) -> None:
        raise Crash

    monkeypatch.setattr(desk.table, "heal_incident", dies)
    with pytest.raises(Crash):
        desk.incidents(cluster)
    assert [e["slot"] for e in desk.told.of("Incident Healed")] == [REPLICA]


# -- holds


def test_a_hold_is_told_once_for_its_reason() -> None:
    desk, cluster = Desk(), a_cluster().incident(REPLICA)
    incidents = desk.say(cluster, held("quorum"))
    assert incidents[REPLICA].held == "quorum"
    cluster.incidents = incidents
    desk.say(cluster, held("quorum"))
    assert len(desk.told.of("Held")) == 1
    desk.say(cluster, held("last-copy"))
    assert len(desk.told.of("Held")) == 2


def test_a_hold_beside_the_births_own_step_opens_nothing() -> None:
    """Written as an incident, the birth's step would give every step after it the same id."""
    desk = Desk()
    passing = Incident(
        incident_id="birth-1", slot=REPLICA, diagnosis=BIRTH, opened_at=NOW, wake="tick", steps=1
    )
    incidents = {REPLICA: passing}
    desk.books.say_holds((held("region-unknown"),), incidents, a_cluster().observation())
    assert desk.table.open == {}
    assert desk.told.of("Held") == []
    assert incidents == {REPLICA: passing}


def test_a_hold_is_journaled_and_says_which_rail_and_since_which_look_of_a_person() -> None:
    desk, cluster = Desk(), a_cluster().incident(REPLICA, rungs={"acknowledged": 7})
    desk.say(cluster, held("quorum"))
    (told,) = desk.told.of("Held")
    assert (told["rail"], told["acknowledged"]) == ("quorum", 7)
    ((_, entry),) = desk.table.entries
    assert (entry["kind"], entry["slot"], entry["sentence"]) == ("hold", REPLICA, told["sentence"])
    desk.say(a_cluster().incident(OTHER), held("quorum", OTHER))
    assert "acknowledged" not in desk.told.of("Held")[-1]


def test_an_open_breaker_is_told_by_every_run_once_with_when_it_opened() -> None:
    desk, cluster = Desk(), a_cluster().breaker(is_open=True)
    desk.say(cluster)
    desk.say(cluster)
    (told,) = desk.told.of("Breaker Opened")
    assert (told["opened_at"], told["incident"]) == (NOW - 600, None)
    desk.say(a_cluster().breaker(is_open=False))
    assert len(desk.told.of("Breaker Opened")) == 1


def test_what_spends_a_budget_opens_the_breaker_and_is_told_as_that() -> None:
    desk = Desk()
    cluster = a_cluster().incident(REPLICA, rungs={"reboot": 1}).incident(OTHER)
    incidents = desk.say(cluster, held("removal-budget"), held("removal-budget", OTHER))
    (told,) = desk.told.of("Breaker Opened")
    assert "reboot 1x" in told["sentence"]
    assert (told["slot"], told["incident"], told["opened_at"]) == (None, None, NOW)
    assert [e["slot"] for e in desk.told.of("Held")] == [OTHER]
    assert desk.table.breaker is not None
    cluster.incidents = incidents
    cluster.extra["breaker"] = desk.table.breaker
    desk.say(cluster, held("breaker"), held("breaker", OTHER))
    assert len(desk.told.of("Held")) == 1  # both were told why before


def test_who_is_only_held_by_the_breaker_is_told_too() -> None:
    desk = Desk()
    desk.say(a_cluster().breaker(is_open=True).incident(REPLICA), held("breaker"))
    assert [e["slot"] for e in desk.told.of("Held")] == [REPLICA]


# -- orders


def finished(cluster: Cluster) -> list[tuple[str, str]]:
    desk, o = Desk(), cluster.observation()
    desk.books.finish_planned(o, judge(o, diagnose(o)))
    return desk.table.finished


def test_a_switchover_is_done_when_its_copy_leads() -> None:
    assert finished(a_cluster().to_lead(LEADER)) == [("p", "done")]
    assert finished(a_cluster().to_lead(OTHER)) == []
    assert finished(a_cluster().to_lead(None)) == []


def test_a_roll_is_done_when_nobody_is_older_and_all_are_well() -> None:
    cluster = a_cluster().rolled()
    for slot in cluster.instances:
        cluster.launched(slot, ago_s=10)
    assert finished(cluster) == [("p", "done")]
    assert finished(cluster.service(REPLICA, "patroni", "failed")) == []
    assert finished(a_cluster().rolled()) == []


def test_nothing_is_done_for_sure_while_a_region_does_not_answer() -> None:
    assert finished(a_cluster().to_lead(LEADER).region_unknown("eu-west-3")) == []


# -- the end


def test_a_destroy_deletes_current_disks_and_keeps_what_was_set_aside() -> None:
    deleted: list[str] = []
    known: dict[str, Any] = {"slot": REPLICA, "state": "available", "attached_to": None}
    volumes = (
        Volume(volume_id="vol-now", attachment_state=None, **known),
        Volume(volume_id="vol-kept", attachment_state=None, set_aside=True, **known),
    )
    ec2 = SimpleNamespace(
        instances=tuple, volumes=lambda **_: volumes, delete_volume=deleted.append
    )
    forget = SimpleNamespace(set_closed=lambda **_: None, forget_birth=lambda: None)
    world = SimpleNamespace(ec2={"eu-west-3": ec2}, table=forget)
    clock = SimpleNamespace(now=lambda: NOW, sleep=lambda _: None)
    answer = empty(
        cast("World", world), clock=clock, remaining_s=lambda: 900.0, final_snapshot=False
    )
    assert deleted == ["vol-now"] == answer["deleted"]
