"""Full strength means everything at once, and every missing piece is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.operator import Occupant, StoredReport
from lab.strength import Copy, Database, Reading, judge, strays, wanted_of
from lab.strength_probe import Freshness
from tests.unit.lab_tools.fakes import a_full_reading, slots

FULL = a_full_reading()
LEADER = FULL.databases["db-euw1-a"]


def occupants(**changes: str) -> tuple[Occupant, ...]:
    return tuple(
        replace(item, **changes) if item.slot == "db-euw1-b" else item for item in FULL.occupants
    )


def copies(**changes: object) -> dict[str, Database]:
    changed = tuple(
        replace(copy, **changes) if copy.name == "db-euw3-a" else copy  # type: ignore[arg-type]
        for copy in LEADER.copies
    )
    return {**FULL.databases, "db-euw1-a": replace(LEADER, copies=changed)}


def without_copy(name: str) -> dict[str, Database]:
    left = tuple(copy for copy in LEADER.copies if copy.name != name)
    return {**FULL.databases, "db-euw1-a": replace(LEADER, copies=left)}


def report(**changes: object) -> dict[str, StoredReport]:
    changed = replace(FULL.reports["db-euw1-b"], **changes)  # type: ignore[arg-type]
    return {**FULL.reports, "db-euw1-b": changed}


def test_everything_in_place_is_full_strength() -> None:
    strength = judge(slots(), FULL)

    assert strength.full
    assert strength.sentence == "full strength, db-euw1-a leads"


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        pytest.param(
            replace(FULL, occupants=FULL.occupants[1:]), "db-euw1-a is empty", id="empty slot"
        ),
        pytest.param(
            replace(FULL, occupants=occupants(state="shutting-down")),
            "db-euw1-b is shutting-down",
            id="on its way out",
        ),
        pytest.param(
            replace(FULL, occupants=occupants(checks="impaired")),
            "db-euw1-b fails its status checks",
            id="impaired",
        ),
        pytest.param(
            replace(FULL, reports=report(instance_id="i-before")),
            "db-euw1-b has not reported",
            id="report of the one before",
        ),
        pytest.param(
            replace(FULL, reports=report(body={"phase": "idle"})),
            "db-euw1-b is not configured",
            id="idle",
        ),
        pytest.param(
            replace(FULL, report_age_s={**FULL.report_age_s, "db-euw1-b": 60.0}),
            "the report of db-euw1-b is not fresh",
            id="old report",
        ),
        pytest.param(
            replace(FULL, report_age_s={}),
            "the report of db-euw1-a is not fresh",
            id="freshness unknown",
        ),
        pytest.param(
            replace(FULL, databases=copies(lag_bytes=5 * 1024 * 1024)),
            "db-euw3-a lags 5 MiB",
            id="lag",
        ),
        pytest.param(
            replace(FULL, databases=copies(lag_bytes=None)),
            "the lag of db-euw3-a is not known",
            id="lag unknown",
        ),
        pytest.param(
            replace(FULL, databases=copies(state="catchup")),
            "db-euw3-a does not stream",
            id="catching up",
        ),
        pytest.param(
            replace(FULL, databases=copies(reply_age_s=30.0)),
            "db-euw3-a has not confirmed anything lately",
            id="stale entry",
        ),
        pytest.param(
            replace(FULL, databases=without_copy("db-euw3-a")),
            "db-euw3-a does not stream",
            id="no entry",
        ),
        pytest.param(
            replace(FULL, databases={k: v for k, v in FULL.databases.items() if k != "db-euw3-a"}),
            "db-euw3-a does not answer",
            id="streams but does not answer",
        ),
        pytest.param(replace(FULL, databases={}), "no database leads", id="nobody leads"),
        pytest.param(
            replace(
                FULL,
                databases={
                    **FULL.databases,
                    "db-euw3-a": Database(answered=True, in_recovery=False),
                },
            ),
            "db-euw1-a and db-euw3-a both lead",
            id="two lead",
        ),
        pytest.param(
            replace(FULL, etcd_healthy=frozenset()),
            "etcd on witness-euc1-a is not healthy",
            id="etcd",
        ),
        pytest.param(
            replace(FULL, proxies_writing=frozenset()),
            "haproxy-euw3-a does not take writes",
            id="proxy",
        ),
        pytest.param(replace(FULL, apps_ready=frozenset()), "app-euw1-a is not ready", id="app"),
    ],
)
def test_what_is_missing_is_said(reading: Reading, words: str) -> None:
    strength = judge(slots(), reading)

    assert not strength.full
    assert words in strength.missing


def test_a_reading_of_nothing_is_never_full() -> None:
    assert not judge(slots(), Reading()).full


def test_a_spare_slot_is_not_missed() -> None:
    assert not any("-c " in words for words in judge(slots(), Reading()).missing)


def test_an_extra_copy_beyond_the_active_ones_does_no_harm() -> None:
    extra = Copy(name="db-euw3-b", state="startup", lag_bytes=None, reply_age_s=None)
    databases = {**FULL.databases, "db-euw1-a": replace(LEADER, copies=(*LEADER.copies, extra))}

    assert judge(slots(), replace(FULL, databases=databases)).full


def test_a_report_is_fresh_only_once_its_sequence_has_risen() -> None:
    now = [100.0]
    freshness = Freshness(lambda: now[0])
    first = {"db-euw1-b": replace(FULL.reports["db-euw1-b"], sequence=7)}
    later = {"db-euw1-b": replace(FULL.reports["db-euw1-b"], sequence=8)}

    assert freshness.ages_s(first) == {}
    now[0] = 103.0
    assert freshness.ages_s(later) == {"db-euw1-b": 0.0}
    now[0] = 110.0
    assert freshness.ages_s(later) == {"db-euw1-b": 7.0}


# -- without a region

IRELAND, PARIS, FRANKFURT = "eu-west-1", "eu-west-3", "eu-central-1"
# Ireland is lost, and Paris carries its part: three copies, two proxies, the app, three etcd members.
CARRYING = {"db-euw3-a", "db-euw3-b", "db-euw3-c", "haproxy-euw3-a", "haproxy-euw3-b", "app-euw3-a"}
SEATS = frozenset({"db-euw3-a", "db-euw3-b", "witness-euc1-a"})


def a_reading_of(filled: set[str], leader: str, seats: frozenset[str]) -> Reading:
    """Just these slots, all well."""
    databases = sorted(name for name in filled if name.startswith("db-"))
    copies = tuple(
        Copy(name=name, state="streaming", lag_bytes=0, reply_age_s=0.1)
        for name in databases
        if name != leader
    )
    return Reading(
        occupants=tuple(
            Occupant(instance_id=f"i-{name}", slot=name, state="running", checks="ok")
            for name in sorted(filled)
        ),
        reports={
            name: StoredReport(
                slot=name, instance_id=f"i-{name}", sequence=7, body={"phase": "configured"}
            )
            for name in filled
        },
        report_age_s=dict.fromkeys(filled, 2.0),
        databases={
            name: Database(
                answered=True,
                in_recovery=name != leader,
                timeline=2,
                copies=copies if name == leader else (),
            )
            for name in databases
        },
        etcd_healthy=seats,
        proxies_writing=frozenset(name for name in filled if name.startswith("haproxy-")),
        apps_ready=frozenset(name for name in filled if name.startswith("app-")),
    )


CARRIED = a_reading_of(CARRYING | {"witness-euc1-a"}, "db-euw3-a", SEATS)


def test_one_region_that_carries_everything_is_full_strength_and_says_without_which() -> None:
    strength = judge(slots(), CARRIED, {IRELAND})

    assert strength.missing == ()
    assert strength.without == (IRELAND,)
    assert strength.sentence == "full strength without eu-west-1, db-euw3-a leads"


def test_the_same_is_far_from_full_while_no_region_is_lost() -> None:
    assert "db-euw1-a is empty" in judge(slots(), CARRIED).missing


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("db-euw3-c", "db-euw3-c is empty"),
        ("haproxy-euw3-b", "haproxy-euw3-b is empty"),
        ("app-euw3-a", "app-euw3-a is empty"),
        ("witness-euc1-a", "witness-euc1-a is empty"),
    ],
)
def test_each_spare_that_carries_is_wanted(gone: str, words: str) -> None:
    filled = (CARRYING | {"witness-euc1-a"}) - {gone}
    reading = a_reading_of(filled, "db-euw3-a", SEATS)
    assert words in judge(slots(), reading, {IRELAND}).missing


def test_a_stand_in_has_to_stream_like_any_copy() -> None:
    leader = replace(CARRIED.databases["db-euw3-a"], copies=())
    reading = replace(CARRIED, databases={**CARRIED.databases, "db-euw3-a": leader})
    missing = judge(slots(), reading, {IRELAND}).missing
    assert "db-euw3-b does not stream" in missing
    assert "db-euw3-c does not stream" in missing


def test_seats_are_counted_whoever_holds_them() -> None:
    others = frozenset({"db-euw3-a", "db-euw3-c", "witness-euc1-a"})
    assert judge(slots(), replace(CARRIED, etcd_healthy=others), {IRELAND}).full
    fewer = replace(CARRIED, etcd_healthy=SEATS - {"db-euw3-b"})
    assert judge(slots(), fewer, {IRELAND}).missing == ("etcd has 2 healthy members of 3",)


def test_a_member_in_the_lost_region_is_no_seat() -> None:
    cut_off = replace(CARRIED, etcd_healthy=(SEATS - {"db-euw3-b"}) | {"db-euw1-a"})
    assert "etcd has 2 healthy members of 3" in judge(slots(), cut_off, {IRELAND}).missing


def test_a_lost_leader_that_still_says_it_leads_is_two_that_lead() -> None:
    old = Database(answered=True, in_recovery=False)
    reading = replace(CARRIED, databases={**CARRIED.databases, "db-euw1-a": old})
    assert "db-euw1-a and db-euw3-a both lead" in judge(slots(), reading, {IRELAND}).missing


@pytest.mark.parametrize(
    ("lost", "wanted"),
    [
        pytest.param(
            set(),
            {slot.name for slot in slots() if slot.active},
            id="nothing is lost",
        ),
        pytest.param(
            {IRELAND},
            CARRYING | {"witness-euc1-a"},
            id="the region of the app",
        ),
        pytest.param(
            {PARIS},
            {
                *("db-euw1-a", "db-euw1-b", "db-euw1-c", "haproxy-euw1-a", "haproxy-euw1-b"),
                *("app-euw1-a", "witness-euc1-a"),
            },
            id="the other region",
        ),
        pytest.param(
            {FRANKFURT},
            {slot.name for slot in slots() if slot.active} - {"witness-euc1-a"},
            id="the observer",
        ),
    ],
)
def test_what_has_to_be_filled_follows_from_what_is_lost(lost: set[str], wanted: set[str]) -> None:
    assert {slot.name for slot in wanted_of(slots(), lost)} == wanted


def test_without_the_observer_nobody_can_report_and_its_vote_is_not_missed() -> None:
    witness = "witness-euc1-a"
    reading = replace(
        FULL,
        occupants=tuple(item for item in FULL.occupants if item.slot != witness),
        report_age_s=dict.fromkeys(FULL.report_age_s, 600.0),
        etcd_healthy=FULL.etcd_healthy - {witness},
    )
    assert judge(slots(), reading, {FRANKFURT}).full
    fewer = replace(reading, etcd_healthy=reading.etcd_healthy - {"db-euw3-a"})
    assert judge(slots(), fewer, {FRANKFURT}).missing == ("etcd on db-euw3-a is not healthy",)
    assert not judge(slots(), reading).full


def test_a_spare_that_is_filled_is_a_stray_and_no_weakness() -> None:
    extra = Occupant(instance_id="i-extra", slot="db-euw3-b", state="running", checks="ok")
    reading = replace(FULL, occupants=(*FULL.occupants, extra))
    assert judge(slots(), reading).full
    assert strays(slots(), reading) == ("db-euw3-b",)
    assert strays(slots(), FULL) == ()
