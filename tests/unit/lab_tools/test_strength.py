"""Full strength means everything at once, and every missing piece is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.operator import Occupant, StoredReport
from lab.strength import Copy, Database, Reading, judge
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
