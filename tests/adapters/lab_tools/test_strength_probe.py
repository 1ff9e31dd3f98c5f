"""The look itself, with a real server behind every database address and nobody behind the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from lab.operator import Occupant, Slot, StoredReport
from lab.strength import leader_of
from lab.strength_probe import StrengthProbe
from tests.adapters.lab_tools.conftest import Server
from tests.unit.lab_tools.fakes import FakeApi, slots


class OneHost(FakeApi):
    """Every slot lies on this computer, but only one database of them."""

    def slots(self) -> tuple[Slot, ...]:
        return tuple(
            replace(slot, address="127.0.0.1" if slot.name in self.alive else "127.0.0.9")
            for slot in slots()
        )

    alive: tuple[str, ...] = ("db-euw1-a", "haproxy-euw1-a")

    def occupants(self) -> tuple[Occupant, ...]:
        return ()

    def reports(self) -> Mapping[str, StoredReport]:
        return {}


@pytest.fixture
def probe(postgres: Server) -> StrengthProbe:
    exists = postgres.sql("SELECT 1 FROM pg_roles WHERE rolname = 'monitor'")
    if not exists:
        postgres.sql("CREATE ROLE monitor LOGIN IN ROLE pg_monitor")
    return StrengthProbe(OneHost(), port=postgres.port)


def test_a_look_tells_the_leader_the_writing_proxy_and_the_silent(probe: StrengthProbe) -> None:
    reading = probe.read()

    assert leader_of(reading) == "db-euw1-a"
    assert reading.databases["db-euw1-a"].timeline == 1
    assert not reading.databases["db-euw3-a"].answered
    assert reading.proxies_writing == {"haproxy-euw1-a"}
    assert reading.etcd_healthy == frozenset()
    assert reading.apps_ready == frozenset()
    probe.close()


def test_the_leader_can_be_asked_for_alone(probe: StrengthProbe) -> None:
    assert probe.leader() == "db-euw1-a"
    probe.close()


class OnASpare(OneHost):
    """A spare database leads, after its region had to carry more."""

    alive = ("db-euw3-b",)

    def occupants(self) -> tuple[Occupant, ...]:
        return (Occupant(instance_id="i-1", slot="db-euw3-b", state="running", checks="ok"),)


def test_a_spare_that_leads_is_found(postgres: Server, probe: StrengthProbe) -> None:
    probe.close()
    on_a_spare = StrengthProbe(OnASpare(), port=postgres.port)
    assert on_a_spare.leader() == "db-euw3-b"
    on_a_spare.close()


def test_without_a_region_its_spares_are_asked_and_itself_is_not(
    postgres: Server, probe: StrengthProbe
) -> None:
    probe.close()
    on_a_spare = StrengthProbe(OnASpare(), port=postgres.port)
    on_a_spare.without("eu-west-1")
    reading = on_a_spare.read()
    assert leader_of(reading) == "db-euw3-b"
    assert set(reading.databases) == {"db-euw3-a", "db-euw3-b", "db-euw3-c"}
    assert on_a_spare.look().without == ("eu-west-1",)
    on_a_spare.without()
    assert "db-euw1-a" in on_a_spare.read().databases
    on_a_spare.close()


def test_a_look_does_not_wait_for_copies_that_are_away(
    postgres: Server, probe: StrengthProbe
) -> None:
    postgres.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    postgres.sql("SELECT pg_reload_conf()")
    try:
        assert probe.read().proxies_writing == {"haproxy-euw1-a"}
    finally:
        postgres.sql("ALTER SYSTEM RESET synchronous_standby_names")
        postgres.sql("SELECT pg_reload_conf()")
    probe.close()
