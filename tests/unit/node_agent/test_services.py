"""One table says what a node runs; what the contract, the documents and the packages know of it agrees."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent import services
from node_agent.cli import SERVICES
from tests.unit.node_agent.builders import the_spec

OURS = Path(services.__file__).parent / "systemd"


@pytest.mark.parametrize(
    ("slot", "units"),
    [
        ("db-euw1-a", ("patroni", "etcd")),
        ("db-euw1-b", ("patroni",)),
        ("witness-euc1-a", ("etcd",)),
        ("haproxy-euw1-a", ("haproxy",)),
        ("app-euw1-a", ("pgmend-app",)),
    ],
)
def test_a_slot_runs_what_its_role_and_its_vote_say(slot: str, units: tuple[str, ...]) -> None:
    assert services.of_slot(the_spec(), slot) == units


def test_every_role_of_the_spec_is_in_the_table_and_no_other() -> None:
    spec = the_spec()
    assert set(services.OWN) == {slot["role"] for slot in spec.slots.values()}


def test_slots_that_have_a_disk_or_a_vote_are_of_the_roles_that_may() -> None:
    for slot in the_spec().slots.values():
        assert (slot["disk"] is not None) is (slot["role"] in services.DATA_ROLES)
        assert slot["role"] in services.DATA_ROLES or not slot["etcd_voter"]


def test_whatever_serves_others_may_be_restarted_and_is_read_for_people() -> None:
    spec = the_spec()
    for slot in spec.slots.values():
        units = set(services.of_slot(spec, slot["name"]))
        assert units <= set(SERVICES)
        assert units <= set(services.all_of(slot["role"]))


def test_our_own_units_are_those_that_are_packaged() -> None:
    assert {f"{unit}.service" for unit in (services.AGENT, services.DISK)} == {
        file.name for file in OURS.iterdir()
    }
