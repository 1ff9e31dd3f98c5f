"""`configure` in a birth: one node makes one database, whatever is cut short."""

from __future__ import annotations

import shutil
from contextlib import suppress

import pytest

from node_agent.commands.configure import Order, prepare
from node_agent.errors import AgentError, HoldError, UsageError
from node_agent.inputs import Birth, Inputs
from node_agent.setup.context import Setup
from tests.unit.node_agent.builders import (
    INITIALIZE,
    PASSWORDS,
    START,
    SYSTEM,
    TOKEN,
    Clock,
    a_birth,
    a_node,
    a_pending_birth,
    the_spec,
)
from tests.unit.node_agent.configuring import VOLUME, Bench
from tests.unit.node_agent.conftest import Home


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


def prepared(
    birth: Birth | None, *, slot: str = "db-euw1-a", asked: bool = True, ttl: int = 20
) -> Setup:
    order = Order(volume_id=VOLUME, birth=asked, etcd_token=TOKEN)
    spec = the_spec(patroni={**the_spec().patroni, "ttl": ttl})
    inputs = Inputs(spec=spec, passwords=PASSWORDS, birth=birth)
    return prepare(a_node(slot), order, inputs, Clock().deadline(1))


def test_timings_that_no_patroni_can_run_with_are_a_hold_before_anything_is_done() -> None:
    with pytest.raises(HoldError, match="ttl of 16 s leaves no time"):
        prepared(a_birth(), ttl=16)


def test_a_node_without_a_patroni_has_no_use_for_its_timings() -> None:
    assert not prepared(a_birth(), slot="witness-euc1-a", ttl=16).birthing


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


def test_a_witness_has_no_patroni_to_be_told_anything(home: Home) -> None:
    Bench(home, "witness-euc1-a").configure()
    assert (home.units / "etcd.service.d").exists()
    assert not (home.units / "patroni.service.d").exists()


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


# -- who may begin with an empty memory


OTHERS = ("db-euw3-a", "witness-euc1-a")


def begins_anew(bench: Bench) -> bool:
    """Whether etcd is started with an empty memory under the id that the birth gives it."""
    with suppress(AgentError):
        bench.configure()
    return bench.home.environment.exists() and 'STATE="new"' in bench.environment()


def test_a_voter_cut_off_from_all_others_begins_only_minutes_after_the_declaration(
    bench: Bench,
) -> None:
    bench.in_a_birth().cluster.without_answer_from(*OTHERS)
    assert begins_anew(bench)


@pytest.mark.parametrize("declared_at", [START - 700.0, START + 700.0, None], ids=str)
def test_a_voter_cut_off_in_an_old_birth_may_have_voted_and_does_not_begin(
    bench: Bench, declared_at: float | None
) -> None:
    bench.in_a_birth().cluster.without_answer_from(*OTHERS)
    bench.birth = a_pending_birth(declared_at=declared_at)
    with pytest.raises(HoldError, match="etcd was not started"):
        bench.configure()
    assert "etcd" not in bench.programs.states
    assert not bench.home.environment.exists()


def test_in_an_old_birth_it_begins_once_every_other_voters_host_answers(bench: Bench) -> None:
    bench.in_a_birth().cluster.without_answer_from(*OTHERS)
    bench.birth = a_pending_birth(declared_at=None)
    for delay, name in enumerate(OTHERS, start=5):
        bench.clock.after(delay, lambda name=name: bench.cluster.silent.discard(name))
    assert begins_anew(bench)
    assert bench.clock.now >= START + 6


def test_a_voter_that_another_knows_to_have_started_never_begins_again(bench: Bench) -> None:
    bench.in_a_birth().cluster.without_answer_from("db-euw3-a")
    for name in ("db-euw1-a", "witness-euc1-a"):
        bench.cluster.start(name)
    with pytest.raises(HoldError, match="lost its memory"):
        bench.configure()
    assert "etcd" not in bench.programs.states


def test_where_others_have_begun_and_one_is_silent_the_seat_needs_a_majority(bench: Bench) -> None:
    bench.in_a_birth().cluster.without_answer_from("db-euw3-a")
    bench.cluster.start("witness-euc1-a")
    assert not begins_anew(bench)
    assert "etcd" not in bench.programs.states


def test_a_log_that_cannot_be_read_is_a_memory_that_is_lost(bench: Bench) -> None:
    bench.in_a_birth().with_its_old_disk().cluster.without_answer_from(*OTHERS)
    (log,) = (bench.home.etcd / "member" / "wal").glob("*.wal")
    log.write_bytes(b"damaged")
    assert not begins_anew(bench)
    assert log.exists()


def test_a_birth_that_was_cut_short_before_etcd_wrote_anything_begins(bench: Bench) -> None:
    bench.in_a_birth().with_its_old_disk().cluster.without_answer_from(*OTHERS)
    shutil.rmtree(bench.home.etcd / "member" / "wal")
    assert begins_anew(bench)


def test_a_witness_cannot_read_the_birth_and_waits_for_the_others_hosts(home: Home) -> None:
    bench = Bench(home, "witness-euc1-a").in_a_birth()
    bench.birth = None
    bench.cluster.without_answer_from("db-euw3-a")
    bench.clock.after(30.0, lambda: bench.cluster.silent.discard("db-euw3-a"))
    assert begins_anew(bench)
    assert bench.clock.now >= START + 30
