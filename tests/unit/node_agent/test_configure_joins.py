"""`configure` after the birth: old disks, fresh ones, copies, and the holds that create nothing."""

from __future__ import annotations

import json

import pytest

from node_agent.errors import AgentError, HoldError
from node_agent.shell import Result
from tests.unit.node_agent.builders import (
    INITIALIZE,
    a_birth,
)
from tests.unit.node_agent.configuring import VOLUME, Bench
from tests.unit.node_agent.conftest import Home


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


# -- a refill with the old disk


def test_a_member_with_its_old_disk_keeps_its_seat_and_goes_on_at_once(bench: Bench) -> None:
    bench.with_its_old_disk().home.a_database()
    bench.configure()
    assert bench.cluster.calls == []
    assert bench.clock.now == 1000.0
    assert bench.programs.states == {"etcd": "active", "patroni": "active"}
    assert not bench.programs.said("mkfs.xfs")


def test_running_it_again_changes_nothing(bench: Bench) -> None:
    bench.with_its_old_disk().home.a_database()
    bench.configure()
    before = {p: p.read_text() for p in bench.home.etc.rglob("*") if p.is_file()}
    bench.programs.calls.clear()
    assert bench.configure() == "db-euw1-a is configured"
    assert {p: p.read_text() for p in bench.home.etc.rglob("*") if p.is_file()} == before
    assert bench.cluster.calls == []
    assert not bench.programs.said("daemon-reload")
    assert not bench.programs.said("stop")


def test_a_voter_that_the_whole_cluster_waits_for_starts_without_a_majority(bench: Bench) -> None:
    bench.with_its_old_disk().cluster.without_answer_from("db-euw3-a", "witness-euc1-a")
    bench.clock.after(20.0, lambda: bench.cluster.silent.discard("witness-euc1-a"))
    bench.configure()
    assert bench.programs.states["etcd"] == "active"
    assert bench.cluster.calls == []


def test_a_voter_left_alone_fails_and_may_be_asked_again(bench: Bench) -> None:
    bench.with_its_old_disk().cluster.without_answer_from("db-euw3-a", "witness-euc1-a")
    with pytest.raises(AgentError) as failure:
        bench.configure()
    assert failure.value.exit_code == 1
    assert not bench.home.phase.exists()


def test_a_learner_left_by_a_crash_is_promoted(bench: Bench) -> None:
    bench.with_its_old_disk()
    bench.cluster.member_at("db-euw1-a")["isLearner"] = True
    bench.configure()
    assert bench.cluster.calls == ["promote 1"]


def test_a_spare_without_a_vote_joins_without_etcd(home: Home) -> None:
    bench = Bench(home, "db-euw1-c")
    bench.configure()
    assert bench.home.enabled() == {"patroni", "pgmend-disk"}
    assert "etcd" not in bench.programs.states


def test_a_clone_that_was_cut_short_makes_room_for_a_new_one(bench: Bench) -> None:
    bench.with_its_old_disk().home.half_a_clone()
    bench.configure()
    assert bench.home.data_dir.with_name("data.unfinished").exists()
    assert not bench.home.data_dir.exists()


def test_a_clone_that_is_under_way_is_left_alone(bench: Bench) -> None:
    bench.with_its_old_disk().home.half_a_clone()
    bench.programs.states["patroni"] = "active"
    bench.configure()
    assert bench.home.data_dir.exists()


# -- a fresh disk, a copied disk, a seat that is lost


def test_a_fresh_disk_takes_the_seat_through_the_majority(bench: Bench) -> None:
    bench.cluster.catch_up_after = 3
    bench.configure()
    assert bench.cluster.calls[:2] == ["remove 1", "add http://10.10.10.11:2380"]
    assert "isLearner" not in bench.cluster.member_at("db-euw1-a")
    assert bench.programs.said("mkfs.xfs")
    assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in bench.environment()
    assert json.loads((bench.home.data / "disk.json").read_text())["volume_id"] == VOLUME
    assert json.loads(bench.home.boot_record.read_text())["volume_id"] == VOLUME


def test_an_etcd_directory_on_a_copied_disk_is_removed_and_the_data_stays(bench: Bench) -> None:
    bench.with_its_old_disk(volume_id="vol-0bbbbbbbb").home.a_database()
    bench.configure()
    assert not (bench.home.etcd / "member").exists()
    assert bench.cluster.calls[0] == "remove 1"
    assert (bench.home.data_dir / "global" / "pg_control").exists()
    assert json.loads((bench.home.data / "disk.json").read_text())["volume_id"] == VOLUME


def test_a_directory_whose_member_was_removed_is_removed_too(bench: Bench) -> None:
    bench.with_its_old_disk(member_id=77)
    bench.configure()
    assert bench.cluster.calls[:2] == ["remove 1", "add http://10.10.10.11:2380"]
    assert not (bench.home.etcd / "member").exists()


def test_a_copied_directory_is_kept_until_a_majority_is_seen(bench: Bench) -> None:
    bench.with_its_old_disk(volume_id="vol-0bbbbbbbb")
    bench.cluster.without_answer_from("witness-euc1-a")
    with pytest.raises(HoldError, match="majority"):
        bench.configure()
    assert (bench.home.etcd / "member").exists()
    assert bench.nothing_was_created()


# -- holds: nothing is created


@pytest.mark.parametrize("slot", ["db-euw1-a", "db-euw1-c", "witness-euc1-a"])
def test_no_majority_is_a_hold_and_the_blank_disk_stays_blank(home: Home, slot: str) -> None:
    bench = Bench(home, slot)
    bench.cluster.without_answer_from("db-euw1-a", "db-euw3-a", "witness-euc1-a")
    with pytest.raises(HoldError, match="majority"):
        bench.configure()
    assert bench.nothing_was_created()


@pytest.mark.parametrize("value", [None, ""], ids=["no key", "empty key"])
@pytest.mark.parametrize("slot", ["db-euw1-a", "db-euw1-c"])
def test_an_empty_cluster_key_is_a_hold(home: Home, slot: str, value: str | None) -> None:
    bench = Bench(home, slot)
    bench.cluster.keys = {} if value is None else {INITIALIZE: value}
    with pytest.raises(HoldError, match="does not know this cluster"):
        bench.configure()
    assert bench.nothing_was_created()


def test_a_key_that_is_not_the_hubs_is_a_hold(home: Home) -> None:
    bench = Bench(home, "db-euw1-c")
    bench.birth = a_birth(system_identifier="1234")
    with pytest.raises(HoldError, match="hub's birth item says 1234"):
        bench.configure()
    assert bench.nothing_was_created()


def test_another_database_on_the_disk_is_a_hold(home: Home) -> None:
    bench = Bench(home, "db-euw1-c").with_its_old_disk()
    bench.home.a_database()
    bench.programs.answers["pg_controldata"] = Result(
        code=0, out="Database system identifier: 1234\n"
    )
    with pytest.raises(HoldError, match="holds database 1234"):
        bench.configure()
    assert bench.nothing_was_created()


def test_a_copied_disk_with_another_database_costs_no_member_its_seat(bench: Bench) -> None:
    bench.with_its_old_disk(volume_id="vol-0bbbbbbbb").home.a_database()
    bench.programs.answers["pg_controldata"] = Result(
        code=0, out="Database system identifier: 1234\n"
    )
    with pytest.raises(HoldError, match="holds database 1234"):
        bench.configure()
    assert bench.nothing_was_created()
    assert (bench.home.etcd / "member").exists()


def test_joining_without_the_hub_trusts_etcds_key(home: Home) -> None:
    bench = Bench(home, "db-euw1-c")
    bench.birth = None
    assert bench.configure() == "db-euw1-c is configured"
