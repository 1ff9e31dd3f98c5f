"""`configure`, taken through births, refills, losses and crashes on a node of paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node_agent.commands.configure import Order, data_node, finish, prepare
from node_agent.disk import PROBED_BYTES, Disk, Record
from node_agent.errors import AgentError, HoldError, UsageError
from node_agent.inputs import Birth, Inputs
from node_agent.setup import front
from node_agent.setup.context import Setup
from node_agent.shell import Result
from node_agent.units import Units
from tests.unit.node_agent.builders import (
    INITIALIZE,
    PASSWORDS,
    SYSTEM,
    TOKEN,
    Clock,
    Cluster,
    Programs,
    a_birth,
    a_node,
    a_pending_birth,
    an_etcd_directory,
    the_spec,
)
from tests.unit.node_agent.conftest import Home

VOLUME = "vol-0aaaaaaaa"
XFS = Result(code=0, out="TYPE=xfs\n")


class Bench:
    """One node and the cluster around it. What a test does not say is a cluster that is well without this node."""

    def __init__(self, home: Home, slot: str = "db-euw1-a") -> None:
        self.home, self.slot = home, slot
        self.clock, self.programs = Clock(), Programs()
        self.cluster = Cluster().holding(INITIALIZE, SYSTEM).without_answer_from(slot)
        self.birth: Birth | None = a_birth()
        self.birthing = False
        self.patience_s = 60.0
        self.programs.started = self._started
        self.device = home.root / "device"
        self.device.write_bytes(bytes(PROBED_BYTES))
        self.programs.answers["blkid"] = Result(code=2, out="")
        self.programs.answers["pg_controldata"] = Result(
            code=0, out=f"Database system identifier:           {SYSTEM}\n"
        )

    def _started(self, unit: str) -> None:
        if unit == "etcd":
            self.cluster.start(self.slot)
        if unit == "patroni" and "bootstrap" in json.loads(self.home.patroni.read_text()):
            self.clock.after(3.0, lambda: self.cluster.keys.update({INITIALIZE: SYSTEM}))

    def in_a_birth(self) -> Bench:
        """The cluster is being born: no etcd, no database anywhere yet."""
        self.birth, self.birthing = a_pending_birth(), True
        self.cluster.keys.clear()
        for name in self.cluster.names():
            self.cluster.unstarted(name)
        return self

    def with_its_old_disk(self, member_id: int = 1, **record: str) -> Bench:
        """A disk that this slot has used before."""
        self.programs.answers["blkid"] = XFS
        document = {
            "version": 1,
            "volume_id": VOLUME,
            "slot": self.slot,
            "cluster": "pgmend",
            **record,
        }
        (self.home.data / "disk.json").write_text(json.dumps(document))
        an_etcd_directory(self.home.etcd, member_id)
        return self

    def setup(self) -> Setup:
        return Setup(
            node=a_node(self.slot),
            spec=the_spec(),
            passwords=PASSWORDS,
            birth=self.birth,
            birthing=self.birthing,
            etcd_token=TOKEN if self.birthing else None,
            others=self.cluster.voters(without=self.slot),
            everyone=self.cluster.voters(),
            units=Units(run=self.programs, folder=self.home.units, packaged=self.home.packaged),
            run=self.programs,
            deadline=self.clock.deadline(self.patience_s),
        )

    def configure(self) -> str:
        setup = self.setup()
        record = Record(volume_id=VOLUME, slot=self.slot, cluster="pgmend")
        disk = Disk(record, self.device, run=self.programs, mounted=lambda _d, _f: False)
        data_node(setup, disk)
        return finish(setup)

    @property
    def bootstraps(self) -> bool:
        """Whether Patroni's configuration could make a database."""
        return "bootstrap" in json.loads(self.home.patroni.read_text())

    def environment(self) -> str:
        return self.home.environment.read_text()

    def nothing_was_created(self) -> bool:
        return not (
            self.programs.said("mkfs.xfs")
            or self.programs.said("systemctl", "start")
            or self.cluster.calls
            or self.home.patroni.exists()
            or self.home.phase.exists()
        )


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


# -- the order


@pytest.mark.parametrize(
    "words",
    [
        {"role": "db", "volume_id": "none"},
        {"role": "haproxy", "volume_id": VOLUME},
        {"role": "db", "volume_id": "vol-XYZ"},
        {"role": "db", "birth": "maybe"},
        {"role": "db", "etcd_token": "abc"},
        {"role": "db", "birth": "yes", "etcd_token": "none"},
        {"role": "witness", "birth": "yes", "etcd_token": "none"},
    ],
    ids=str,
)
def test_an_order_that_cannot_be_meant_is_wrong_use(words: dict[str, str]) -> None:
    given = {"volume_id": VOLUME, "birth": "no", "etcd_token": "none", **words}
    with pytest.raises(UsageError):
        Order.parse(**given)


def test_a_node_without_a_disk_needs_no_token_to_be_born() -> None:
    order = Order.parse(role="app", volume_id="none", birth="yes", etcd_token="none")
    assert (order.volume_id, order.birth, order.etcd_token) == (None, True, None)


def prepared(birth: Birth | None, *, slot: str = "db-euw1-a", asked: bool = True) -> Setup:
    order = Order(volume_id=VOLUME, birth=asked, etcd_token=TOKEN)
    inputs = Inputs(spec=the_spec(), passwords=PASSWORDS, birth=birth)
    return prepare(a_node(slot), order, inputs, Clock().deadline(1))


def test_once_the_hub_says_born_no_document_makes_it_a_birth_again() -> None:
    assert prepared(a_pending_birth()).birthing
    assert not prepared(a_birth()).birthing


def test_a_birth_that_the_hub_does_not_know_is_a_hold() -> None:
    with pytest.raises(HoldError, match="birth item"):
        prepared(None)


def test_a_witness_cannot_read_the_hub_and_takes_the_documents_word() -> None:
    assert prepared(None, slot="witness-euc1-a").birthing


def test_a_token_of_another_birth_is_a_hold() -> None:
    with pytest.raises(HoldError, match="token"):
        prepared(a_birth(state="pending", etcd_token="f" * 32))


def test_joining_does_not_need_the_hub() -> None:
    assert not prepared(None, asked=False).birthing


# -- a birth


def test_the_first_leader_makes_the_database_and_then_cannot_any_more(bench: Bench) -> None:
    bench.in_a_birth()
    for name in ("db-euw3-a", "witness-euc1-a"):
        bench.clock.after(5.0, lambda name=name: bench.cluster.start(name))
    assert bench.configure() == "db-euw1-a is configured"
    assert bench.cluster.keys[INITIALIZE] == SYSTEM
    assert not bench.bootstraps
    assert not bench.home.roles.exists()
    assert bench.home.phase.read_text().strip() == "configured"
    assert bench.home.enabled() == {"etcd", "patroni", "pgmend-disk"}


def test_a_voter_that_never_started_begins_a_new_etcd(bench: Bench) -> None:
    bench.in_a_birth()
    bench.clock.after(1.0, lambda: bench.cluster.start("witness-euc1-a"))
    bench.configure()
    assert 'ETCD_INITIAL_CLUSTER_STATE="new"' in bench.environment()
    assert f'ETCD_INITIAL_CLUSTER_TOKEN="{TOKEN}"' in bench.environment()


def test_the_others_wait_for_the_first_leader_and_never_make_a_database(home: Home) -> None:
    bench = Bench(home, "db-euw3-a").in_a_birth()
    bench.cluster.start("db-euw1-a")
    seen: list[bool] = []
    bench.clock.after(10.0, lambda: seen.append(bench.home.patroni.exists()))
    bench.clock.after(20.0, lambda: bench.cluster.keys.update({INITIALIZE: SYSTEM}))
    bench.configure()
    assert seen == [False]
    assert not bench.bootstraps
    assert bench.programs.states["patroni"] == "active"


def test_a_key_without_a_value_is_a_birth_under_way_and_is_waited_for(home: Home) -> None:
    bench = Bench(home, "db-euw3-a").in_a_birth()
    bench.cluster.start("db-euw1-a")
    bench.cluster.keys[INITIALIZE] = ""
    with pytest.raises(AgentError, match="first leader") as failure:
        bench.configure()
    assert failure.value.exit_code == 1
    assert not bench.home.patroni.exists()


def test_a_witness_does_not_wait_for_the_others(home: Home) -> None:
    bench = Bench(home, "witness-euc1-a").in_a_birth()
    bench.birth = None
    assert bench.configure() == "witness-euc1-a is configured"
    assert bench.clock.now == 1000.0
    assert bench.home.enabled() == {"etcd", "pgmend-disk"}


def test_a_birth_that_was_cut_short_starts_over_and_keeps_what_it_finds(bench: Bench) -> None:
    bench.in_a_birth().with_its_old_disk()
    for name in ("db-euw3-a", "witness-euc1-a"):
        bench.cluster.start(name)
    bench.cluster.keys[INITIALIZE] = ""
    bench.home.a_database()
    bench.configure()
    assert f"delete {INITIALIZE}" in bench.cluster.calls
    assert bench.home.data_dir.with_name("data.interrupted").exists()
    assert bench.cluster.keys[INITIALIZE] == SYSTEM


def test_a_database_without_a_key_is_never_started_over(bench: Bench) -> None:
    bench.in_a_birth().with_its_old_disk()
    for name in ("db-euw3-a", "witness-euc1-a"):
        bench.cluster.start(name)
    bench.home.a_database()
    with pytest.raises(HoldError, match="no initialize key"):
        bench.configure()
    assert bench.home.data_dir.exists()
    assert not bench.home.patroni.exists()


def test_a_first_leader_that_lost_its_disk_joins_what_it_began(bench: Bench) -> None:
    bench.birth, bench.birthing = a_pending_birth(), True
    bench.configure()
    assert bench.cluster.calls[:2] == ["remove 1", "add http://10.10.10.11:2380"]
    assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in bench.environment()
    assert not bench.bootstraps


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


def test_joining_without_the_hub_trusts_etcds_key(home: Home) -> None:
    bench = Bench(home, "db-euw1-c")
    bench.birth = None
    assert bench.configure() == "db-euw1-c is configured"


# -- secrets


def test_passwords_are_readable_by_those_who_need_them_alone(bench: Bench) -> None:
    bench.configure()
    for file in (bench.home.patroni, bench.home.monitor):
        assert file.stat().st_mode & 0o077 == 0
    assert json.loads(bench.home.monitor.read_text()) == {"monitor": PASSWORDS["monitor"]}
    shown = [repr(bench.setup()), repr(Inputs(spec=the_spec(), passwords=PASSWORDS, birth=None))]
    assert not any(password in text for text in shown for password in PASSWORDS.values())


# -- the front


def test_a_proxy_is_checked_before_it_is_started(home: Home) -> None:
    bench = Bench(home, "haproxy-euw1-a")
    front.proxy(bench.setup())
    checked = [n for n, call in enumerate(bench.programs.calls) if call[:2] == ["haproxy", "-c"]]
    started = [n for n, call in enumerate(bench.programs.calls) if "start" in call]
    assert checked
    assert started
    assert checked[0] < started[0]
    assert bench.home.enabled() == {"haproxy"}


def test_a_broken_proxy_configuration_replaces_nothing(home: Home) -> None:
    bench = Bench(home, "haproxy-euw1-a")
    home.haproxy.write_text("the old one")
    bench.programs.answers["haproxy"] = AgentError("haproxy: unknown keyword")
    with pytest.raises(AgentError, match="unknown keyword"):
        front.proxy(bench.setup())
    assert home.haproxy.read_text() == "the old one"


def test_a_proxy_that_runs_is_reloaded_only_when_something_changed(home: Home) -> None:
    bench = Bench(home, "haproxy-euw1-a")
    front.proxy(bench.setup())
    bench.programs.calls.clear()
    front.proxy(bench.setup())
    assert not bench.programs.said("reload")
    home.haproxy.write_text("the old one")
    front.proxy(bench.setup())
    assert bench.programs.said("reload", "--no-block", "haproxy.service")


def test_an_app_is_started_with_its_configuration(home: Home) -> None:
    bench = Bench(home, "app-euw1-a")
    front.app(bench.setup())
    assert json.loads(home.app.read_text())["cluster"] == "pgmend"
    assert home.app.stat().st_mode & 0o777 == 0o644
    assert bench.programs.states["pgmend-app"] == "active"


# -- the end


def test_the_agent_is_told_of_a_new_spec_when_its_phase_does_not_change(home: Home) -> None:
    bench = Bench(home, "haproxy-euw1-a")
    finish(bench.setup())
    assert not bench.programs.said("pgmend-agent")
    home.spec.write_text("{}")
    finish(bench.setup())
    assert bench.programs.said("restart", "--no-block", "pgmend-agent.service")


def test_the_kept_spec_is_the_one_that_was_used(home: Home) -> None:
    bench = Bench(home, "haproxy-euw1-a")
    finish(bench.setup())
    kept: dict[str, Any] = json.loads(Path(home.spec).read_text())
    assert kept == the_spec().raw
