"""Faults hit whom the words say, have a way back, and refuse words that mean nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import cast

import pytest

from lab.control import MachineFault
from lab.errors import LabError, UsageError
from lab.faults.bench import Api, Bench
from lab.faults.catalogue import FAULTS, fault_named
from lab.faults.record import FaultRecord
from lab.faults.targets import Target, resolve
from tests.unit.lab_tools.fakes import FakeApi, FakeMachines, slots

LEADER = "db-euw1-a"


def bench() -> tuple[Bench, FakeMachines, FakeApi]:
    machines, api = FakeMachines(), FakeApi()
    return Bench(machines=machines, api=cast("Api", api), leader=lambda: LEADER), machines, api


def target(word: str) -> Target:
    return resolve(word, slots=slots(), leader=LEADER)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("leader", "db-euw1-a"),
        ("replica", "db-euw1-b"),
        ("witness", "witness-euc1-a"),
        ("haproxy", "haproxy-euw1-a"),
        ("app", "app-euw1-a"),
        ("haproxy-euw3-a", "haproxy-euw3-a"),
        ("region:euw3", "region:euw3"),
        ("region:eu-west-3", "region:euw3"),
        ("zone:euw1b", "zone:euw1b"),
        ("zone:eu-west-1b", "zone:euw1b"),
    ],
)
def test_a_word_means_one_target(word: str, name: str) -> None:
    assert target(word).name == name


def test_any_means_a_slot_the_fault_can_hit() -> None:
    for seed in range(20):
        found = resolve("any", slots=slots(), leader=LEADER, roles=("db",), rng=random.Random(seed))  # noqa: S311
        assert found.slot is not None
        assert found.slot.role == "db"


@pytest.mark.parametrize("word", ["nobody", "db-euw1-c", "region:mars", "zone:euw1z", ""])
def test_a_word_that_means_nothing_is_refused_with_the_words_that_do(word: str) -> None:
    with pytest.raises(UsageError, match=r"leader, replica|the regions are|the zones are"):
        target(word)


@pytest.mark.parametrize("word", ["leader", "replica"])
def test_without_a_leader_the_words_around_it_mean_nobody(word: str) -> None:
    with pytest.raises(LabError, match="no database leads now"):
        resolve(word, slots=slots(), leader=None)


def test_a_fault_of_databases_refuses_a_proxy() -> None:
    with pytest.raises(UsageError, match="hits only db"):
        resolve("haproxy-euw1-a", slots=slots(), leader=LEADER, roles=("db",))


def test_an_unknown_fault_is_refused_with_the_known_names() -> None:
    with pytest.raises(UsageError, match="power-loss, terminate, freeze"):
        fault_named("earthquake")


def test_underscores_and_dashes_mean_the_same() -> None:
    assert fault_named("power_loss") is fault_named("power-loss")


def test_power_loss_hits_the_machine_and_is_not_healed_by_hand() -> None:
    lab, machines, _ = bench()

    done = fault_named("power-loss").inject(lab, target("replica"))
    fault_named("power-loss").heal(lab, done)

    assert machines.calls == [("power_loss", "i-db-euw1-b")]


def test_a_frozen_host_is_thawed_and_only_if_it_still_exists() -> None:
    lab, machines, api = bench()
    done = fault_named("freeze").inject(lab, target("leader"))
    fault_named("freeze").heal(lab, done)
    api.gone.add("i-db-euw1-a")
    fault_named("freeze").heal(lab, done)

    assert machines.calls == [
        (MachineFault.FREEZE, "i-db-euw1-a"),
        (MachineFault.THAW, "i-db-euw1-a"),
    ]


def test_a_region_is_cut_from_both_others_and_mended_again() -> None:
    lab, machines, _ = bench()

    done = fault_named("cut-region").inject(lab, target("region:euw3"))
    fault_named("cut-region").heal(lab, done)

    assert machines.calls == [
        ("cut", "eu-west-3", "eu-west-1"),
        ("cut", "eu-west-3", "eu-central-1"),
        ("mend", "eu-west-3", "eu-west-1"),
        ("mend", "eu-west-3", "eu-central-1"),
    ]


def test_terminate_goes_through_the_api() -> None:
    lab, machines, api = bench()

    fault_named("terminate").inject(lab, target("db-euw3-a"))

    assert api.terminated == [("i-db-euw3-a", "eu-west-3")]
    assert machines.calls == []


def test_stop_service_stops_the_service_of_the_role_and_starts_it_again() -> None:
    lab, machines, _ = bench()

    done = fault_named("stop-service").inject(lab, target("witness"))
    fault_named("stop-service").heal(lab, done)

    assert machines.calls == [
        ("i-witness-euc1-a", "systemctl", "stop", "etcd"),
        ("i-witness-euc1-a", "systemctl", "start", "etcd"),
    ]


def test_a_command_that_fails_in_the_machine_is_a_sentence() -> None:
    lab, machines, _ = bench()
    machines.returncode = 1

    with pytest.raises(LabError, match="no such unit"):
        fault_named("stop-service").inject(lab, target("witness"))


def test_an_empty_slot_cannot_be_broken() -> None:
    lab, _, api = bench()
    api.gone.add("i-db-euw1-b")

    with pytest.raises(LabError, match="no running instance"):
        fault_named("power-loss").inject(lab, target("replica"))


def test_every_fault_describes_itself_and_has_a_target_that_fits() -> None:
    for fault in FAULTS.values():
        assert fault.describe
        found = resolve(fault.default_target, slots=slots(), leader=LEADER, roles=fault.roles)
        assert found.name


def test_faults_by_hand_are_undone_newest_first_by_another_process(tmp_path: Path) -> None:
    lab, machines, _ = bench()
    record = FaultRecord(tmp_path)
    for name in ("freeze", "unplug"):
        record.add(fault_named(name).inject(lab, target("replica")))

    healed = FaultRecord(tmp_path).heal_all(lab)

    assert [done.fault for done in healed] == ["freeze", "unplug"]
    assert [call[0] for call in machines.calls[2:]] == ["plug", "thaw"]
    assert FaultRecord(tmp_path).open_faults() == ()


def test_what_cannot_be_undone_on_a_machine_that_stands_is_said_and_stays_written_down(
    tmp_path: Path,
) -> None:
    lab, machines, _ = bench()
    record = FaultRecord(tmp_path)
    for word in ("witness", "haproxy"):
        record.add(fault_named("stop-service").inject(lab, target(word)))
    machines.returncode = 1

    with pytest.raises(LabError, match=r"stop-service on witness.* could not be undone"):
        record.heal_all(lab)
    assert [done.target for done in record.open_faults()] == ["witness-euc1-a", "haproxy-euw1-a"]

    machines.returncode = 0
    record.heal_all(lab)
    assert record.open_faults() == ()


def test_what_goes_while_it_is_being_undone_needs_no_way_back() -> None:
    lab, machines, api = bench()
    done = fault_named("stop-service").inject(lab, target("witness"))
    machines.returncode = 1
    api.occupants = lambda: ()  # type: ignore[method-assign]

    fault_named("stop-service").heal(lab, done)
