"""An etcd member gets room or a new seat only while the others are a healthy majority; its old data is kept."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.commands import repair_etcd
from node_agent.commands.repair_etcd import make_room
from node_agent.commands.replace_etcd_member import replace
from node_agent.errors import AgentError, HoldError, RefusedError
from node_agent.probes.etcd import CORRUPT, NOSPACE, Etcd
from node_agent.probes.http import Http
from node_agent.render.etcd import QUOTA_BYTES
from node_agent.setup.context import Setup
from node_agent.standing import ANSWER_S
from node_agent.units import Units
from tests.unit.node_agent.builders import (
    LEADER,
    Clock,
    Cluster,
    Programs,
    a_node,
    an_etcd_directory,
    the_spec,
)
from tests.unit.node_agent.conftest import Home
from tests.unit.node_agent.standing import Bench as Node

STAMP = "20260101T000000Z"


class Member:
    """This node's own etcd, as its gateway answers."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.id = cluster, cluster.member_at(name)["ID"]
        self.asked: list[str] = []
        self.refusal = ""
        self.refuses: str | None = None
        self.up, self.leading, self.well = True, False, True
        self.size, self.size_after = 900_000_000, 100_000
        self.raised_again = False

    def _do(self, what: str) -> bool:
        self.asked.append(what)
        if self.refuses is not None and what.startswith(self.refuses):
            self.refusal = "etcdserver: no"
            return False
        return True

    def status(self) -> dict[str, Any] | None:
        if not self.up:
            self.refusal = "no answer"
            return None
        header = {"member_id": self.id, "revision": "77"}
        return {"header": header, "leader": self.id if self.leading else "9", "dbSize": self.size}

    def alarms(self) -> list[tuple[str, str]] | None:
        return list(self.cluster.alarms)

    def leads(self) -> bool:
        return self.leading

    def healthy(self) -> bool:
        return self.well and (self.id, CORRUPT) not in self.cluster.alarms

    def move_leader(self, member_id: str) -> bool:
        done = self._do(f"move the lead to {member_id}")
        self.leading = self.leading and not done
        return done

    def compact(self, revision: int) -> bool:
        return self._do(f"compact to {revision}")

    def defragment(self) -> bool:
        self.size = self.size_after
        return self._do("defragment")

    def disarm(self, member_id: str, alarm: str) -> bool:
        if not self._do(f"disarm {alarm} of {member_id}"):
            return False
        if not self.raised_again:
            self.cluster.alarms = [a for a in self.cluster.alarms if a != (member_id, alarm)]
        return True


class Bench(Node):
    """A voter among three."""

    def __init__(self, home: Home, slot: str = "db-euw1-a") -> None:
        super().__init__(home, slot)
        self.cluster.keys[LEADER] = "db-euw3-a"
        self.own = Member(self.cluster, slot if slot in self.cluster.addresses else "db-euw1-a")

    def repair(self) -> str:
        others = self.cluster.voters(without=self.slot)
        return make_room(self.here, others, self.own, self.clock.deadline(repair_etcd.PATIENCE_S))  # type: ignore[arg-type]

    def untouched(self) -> bool:
        return not self.own.asked and self.nothing_was_done()


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


# -- repair-etcd


def test_a_member_is_compacted_defragmented_and_its_alarm_taken_back(bench: Bench) -> None:
    bench.cluster.alarms = [(bench.own.id, NOSPACE)]
    assert "has 100000 bytes, 900000000 before, and no alarm" in bench.repair()
    assert bench.own.asked == ["compact to 77", "defragment", f"disarm NOSPACE of {bench.own.id}"]
    assert bench.cluster.alarms == []


def test_a_member_without_an_alarm_only_gets_smaller(bench: Bench) -> None:
    bench.repair()
    assert bench.own.asked == ["compact to 77", "defragment"]


def test_another_members_alarm_is_its_own_to_take_back_but_a_strangers_is_nobodys(
    bench: Bench,
) -> None:
    other = bench.cluster.member_at("witness-euc1-a")["ID"]
    bench.cluster.alarms = [(other, NOSPACE), ("4711", NOSPACE), ("4711", CORRUPT)]
    bench.repair()
    assert bench.cluster.alarms == [(other, NOSPACE), ("4711", CORRUPT)]


def test_etcds_leader_hands_its_lead_over_first_and_not_to_the_database_leaders_host(
    bench: Bench,
) -> None:
    bench.own.leading = True
    bench.repair()
    witness = bench.cluster.member_at("witness-euc1-a")["ID"]
    assert bench.own.asked[0] == f"move the lead to {witness}"


def test_a_leader_that_cannot_hand_over_is_left_alone(bench: Bench) -> None:
    bench.own.leading, bench.own.refuses = True, "move"
    with pytest.raises(AgentError, match="not handed over: etcdserver: no"):
        bench.repair()
    assert len(bench.own.asked) == 1


@pytest.mark.parametrize("gone", ["db-euw3-a", "witness-euc1-a"])
def test_a_member_that_the_majority_needs_is_not_held_up(bench: Bench, gone: str) -> None:
    bench.cluster.without_answer_from(gone)
    with pytest.raises(RefusedError, match="majority"):
        bench.repair()
    assert bench.untouched()


def test_a_corrupt_member_needs_more_than_room(bench: Bench) -> None:
    bench.cluster.alarms = [(bench.own.id, CORRUPT), (bench.own.id, NOSPACE)]
    with pytest.raises(RefusedError, match="corrupt"):
        bench.repair()
    assert bench.untouched()


def test_a_member_that_does_not_answer_is_refused(bench: Bench) -> None:
    bench.own.up = False
    with pytest.raises(RefusedError, match="no answer"):
        bench.repair()
    assert bench.untouched()


def test_a_node_without_a_vote_has_nothing_to_repair(home: Home) -> None:
    bench = Bench(home, "db-euw1-b")
    with pytest.raises(RefusedError, match="no etcd voter"):
        bench.repair()
    assert bench.untouched()


@pytest.mark.parametrize("step", ["compact", "defragment", "disarm"])
def test_a_step_that_etcd_refuses_is_a_failure_in_its_words(bench: Bench, step: str) -> None:
    bench.cluster.alarms = [(bench.own.id, NOSPACE)]
    bench.own.refuses = step
    with pytest.raises(AgentError, match="etcdserver: no") as failure:
        bench.repair()
    assert failure.value.exit_code == 1


def test_a_member_whose_bytes_are_all_in_use_is_a_persons_and_keeps_its_alarm(
    bench: Bench,
) -> None:
    bench.cluster.alarms = [(bench.own.id, NOSPACE)]
    bench.own.size_after = QUOTA_BYTES
    with pytest.raises(HoldError, match="all in use"):
        bench.repair()
    assert bench.cluster.alarms == [(bench.own.id, NOSPACE)]


def test_an_alarm_that_is_raised_again_is_a_failure(bench: Bench) -> None:
    bench.cluster.alarms = [(bench.own.id, NOSPACE)]
    bench.own.raised_again = True
    with pytest.raises(AgentError, match="raised again"):
        bench.repair()


class Asked(Http):
    """Notes which calls it makes."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.paths: list[str] = []

    def post(self, url: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        self.paths.append(url.rpartition("/")[2])
        return 200, body


def test_only_what_etcd_works_at_is_waited_for_long() -> None:
    quick, patient = Asked(), Asked()
    own = Etcd(quick, patient=patient)
    own.status()
    own.alarms()
    own.compact(7)
    own.defragment()
    own.disarm("1", NOSPACE)
    assert patient.paths == ["compaction", "defragment"]
    assert quick.paths == ["status", "alarm", "alarm"]


def test_all_steps_of_a_repair_fit_into_its_patience() -> None:
    said_s = 10 * ANSWER_S  # looks, who leads, who is well
    steps_s = repair_etcd.HAND_OVER_S + 2 * repair_etcd.WORK_S + repair_etcd.GONE_S
    assert said_s + steps_s <= repair_etcd.PATIENCE_S


# -- replace-etcd-member


class Seat:
    """A voter whose etcd does not serve any more, among others that do."""

    def __init__(self, home: Home, slot: str = "db-euw1-a") -> None:
        self.home, self.slot = home, slot
        self.clock, self.programs, self.cluster = Clock(), Programs(), Cluster()
        self.own = Member(self.cluster, slot if slot in self.cluster.addresses else "db-euw1-a")
        self.own.well = False
        if slot in self.cluster.addresses:
            self.cluster.without_answer_from(slot)
        self.units = Units(run=self.programs, folder=home.units, packaged=home.packaged)
        self.programs.states["etcd"] = "active"
        self.units.enable("etcd")
        self.programs.started = lambda _unit: self.cluster.start(slot)
        an_etcd_directory(home.etcd, 1)

    def replace(self) -> str:
        setup = Setup(
            node=a_node(self.slot),
            spec=the_spec(),
            passwords={},
            birth=None,
            birthing=False,
            etcd_token=None,
            others=self.cluster.voters(without=self.slot),
            everyone=self.cluster.voters(),
            units=self.units,
            run=self.programs,
            deadline=self.clock.deadline(230),
            now=self.clock,
        )
        return replace(setup, self.own, STAMP)

    @property
    def kept(self) -> Any:
        return self.home.etcd.with_name(f"etcd.replaced-{STAMP}")

    def untouched(self) -> bool:
        return not self.cluster.calls and self.programs.calls == [] and self.home.etcd.exists()


URL = "http://10.10.10.11:2380"


def test_a_voter_gets_a_new_seat_and_its_old_directory_is_kept(home: Home) -> None:
    seat = Seat(home)
    seat.cluster.alarms = [(seat.own.id, CORRUPT)]
    words = seat.replace()
    assert seat.cluster.calls == [
        f"remove {seat.own.id}",
        f"disarm CORRUPT of {seat.own.id}",
        f"add {URL}",
        "promote 99",
    ]
    assert str(seat.kept) in words
    assert list((seat.kept / "member" / "wal").iterdir())
    assert list(home.etcd.iterdir()) == []
    assert seat.programs.states["etcd"] == "active"
    assert "etcd" in home.enabled()
    text = home.environment.read_text()
    assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in text
    assert f"db-euw1-a={URL}" in text


def test_a_voter_whose_directory_is_gone_gets_its_seat_too(home: Home) -> None:
    seat = Seat(home)
    for path in sorted(home.etcd.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    home.etcd.rmdir()
    assert "there was no old directory" in seat.replace()


def test_a_learner_takes_its_time_to_catch_up(home: Home) -> None:
    seat = Seat(home)
    seat.cluster.catch_up_after = 3
    seat.replace()
    assert "isLearner" not in seat.cluster.member_at("db-euw1-a")


def test_etcd_does_not_start_at_a_boot_while_its_seat_is_between_two_members(home: Home) -> None:
    seat = Seat(home)
    seat.cluster.refusals = []
    original = seat.programs._systemctl

    def stop_is_where_it_ends(words: list[str]) -> Any:
        found = original(words)
        if words[0] == "stop":
            raise AgentError("the host lost its power")
        return found

    seat.programs._systemctl = stop_is_where_it_ends  # type: ignore[method-assign]
    with pytest.raises(AgentError, match="power"):
        seat.replace()
    assert "etcd" not in home.enabled()
    seat.programs._systemctl = original  # type: ignore[method-assign]
    assert "is replaced" in seat.replace()
    assert "etcd" in home.enabled()
    assert seat.kept.exists()


def test_a_learner_that_a_crash_left_is_only_promoted(home: Home) -> None:
    seat = Seat(home)
    seat.replace()
    seat.own.well = True
    seat.cluster.member_at("db-euw1-a")["isLearner"] = True
    before = list(seat.cluster.calls)
    assert "only had to be promoted" in seat.replace()
    assert seat.cluster.calls == [*before, "promote 99"]


def test_a_member_that_is_well_is_left_alone(home: Home) -> None:
    seat = Seat(home)
    seat.own.well = True
    assert "is well; nothing was done" in seat.replace()
    assert seat.untouched()


def test_a_member_that_was_only_slow_to_answer_keeps_its_seat(home: Home) -> None:
    seat = Seat(home)
    seat.clock.after(3.0, lambda: setattr(seat.own, "well", True))
    assert "is well; nothing was done" in seat.replace()
    assert seat.untouched()


def test_etcds_leader_that_is_well_is_refused(home: Home) -> None:
    seat = Seat(home)
    seat.own.well = seat.own.leading = True
    with pytest.raises(RefusedError, match="leads etcd"):
        seat.replace()
    assert seat.untouched()


@pytest.mark.parametrize("gone", ["db-euw3-a", "witness-euc1-a"])
def test_below_a_majority_nobodys_seat_is_touched(home: Home, gone: str) -> None:
    seat = Seat(home)
    seat.cluster.without_answer_from(gone)
    with pytest.raises(RefusedError, match=r"majority|no etcd voter answers"):
        seat.replace()
    assert seat.untouched()


def test_a_node_without_a_vote_has_no_seat(home: Home) -> None:
    seat = Seat(home, "db-euw1-b")
    with pytest.raises(RefusedError, match="no etcd voter"):
        seat.replace()
    assert not seat.cluster.calls


def test_a_removal_that_etcd_refuses_leaves_etcd_running_and_its_data_in_place(home: Home) -> None:
    seat = Seat(home)
    seat.cluster.refusals = ["etcdserver: unhealthy cluster"] * 1000
    with pytest.raises(AgentError, match="unhealthy cluster"):
        seat.replace()
    assert seat.programs.states["etcd"] == "active"
    assert "etcd" in home.enabled()
    assert home.etcd.exists()
    assert not seat.kept.exists()
