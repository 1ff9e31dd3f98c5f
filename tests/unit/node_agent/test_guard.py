"""The guarded renewal of the leader key, against an etcd on paper: what is a lost lock, and what is not."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from node_agent.guard import leadership
from tests.unit.node_agent.etcd_on_paper import (
    LAST_PATH,
    LEADER_PATH,
    ME,
    OTHER,
    DcsError,
    Etcd,
    Leader,
    Stored,
    a_module,
)


class Member:
    """A guarded Patroni with a view of the leader key that only changes when it looks."""

    def __init__(self, etcd: Etcd, name: str = ME) -> None:
        module = a_module()
        leadership.install(module)
        self.etcd = etcd
        self.dcs: Any = module.Etcd3(etcd, name)
        self.view = Leader(None)

    @property
    def lease(self) -> str:
        return str(self.dcs._lease)

    def acquires(self) -> Member:
        """As `Ha.acquire_lock` asks for it."""
        assert self.dcs.attempt_to_acquire_leader()
        return self.looks()

    def looks(self) -> Member:
        stored = self.etcd.keys[LEADER_PATH]
        self.view = Leader(stored.lease if stored.lease != "0" else None)
        return self

    def updates(self) -> bool:
        return bool(self.dcs._update_leader(self.view))


@pytest.fixture
def etcd() -> Etcd:
    return Etcd()


@pytest.fixture
def leader(etcd: Etcd) -> Member:
    """One that has held the key for a while."""
    member = Member(etcd).acquires()
    assert member.updates()
    return member


def the_key(etcd: Etcd) -> Stored | None:
    return etcd.keys.get(LEADER_PATH)


# -- since when a lease is good


def test_a_lease_is_good_from_before_etcd_was_asked(
    leader: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keepalive takes 3 s, the question after it another 3."""
    boots_clock = [100.0]
    monkeypatch.setattr(leadership, "now", lambda: boots_clock[0])
    call = leader.etcd.call

    def slowly(method: str, fields: dict[str, Any]) -> dict[str, Any]:
        boots_clock[0] += 3.0
        return call(method, fields)

    monkeypatch.setattr(leader.etcd, "call", slowly)
    assert leader.updates()

    assert boots_clock == [106.0]
    assert leadership.Standing.of(leader.dcs).renewed_at == 100.0


def test_a_lease_that_is_young_enough_for_patroni_is_as_old_as_it_was(
    leader: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = leadership.Standing.of(leader.dcs).renewed_at
    monkeypatch.setattr(leadership, "now", lambda: before + 1.0)
    leader.dcs._young = True
    leader.dcs._do_refresh_lease(retry=leader.dcs._retry)

    assert leadership.Standing.of(leader.dcs).renewed_at == before


def test_a_lease_that_was_not_renewed_is_no_younger(
    leader: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = leadership.Standing.of(leader.dcs).renewed_at
    monkeypatch.setattr(leadership, "now", lambda: before + 1.0)
    leader.dcs._client.unreachable.add("/lease/keepalive")
    with pytest.raises(DcsError):
        leader.updates()

    assert leadership.Standing.of(leader.dcs).renewed_at == before


# -- the two holes


def test_a_key_that_is_gone_is_a_lost_lock_and_nothing_is_created(
    etcd: Etcd, leader: Member
) -> None:
    etcd.revoke(leader.lease)

    assert not leader.updates()
    assert the_key(etcd) is None
    assert not leader.updates()
    assert the_key(etcd) is None


def test_a_thawed_leader_finds_the_successors_lease_revoked_and_still_creates_nothing(
    etcd: Etcd, leader: Member
) -> None:
    etcd.pass_time(40)  # frozen past its ttl
    successor = Member(etcd, OTHER).acquires()
    etcd.revoke(successor.lease)

    before = leader.lease
    assert not leader.updates()
    assert leader.lease != before  # it was granted a new lease, and has no key to put under it
    assert the_key(etcd) is None


def test_a_key_deleted_while_the_lease_lives_is_a_lost_lock(etcd: Etcd, leader: Member) -> None:
    del etcd.keys[LEADER_PATH]

    assert not leader.updates()
    assert the_key(etcd) is None


def test_a_key_of_another_is_a_lost_lock_and_is_left_alone(etcd: Etcd, leader: Member) -> None:
    lease = etcd.grant(20)
    etcd.put(LEADER_PATH, OTHER, lease)

    assert not leader.updates()
    found = the_key(etcd)
    assert found is not None
    assert (found.value, found.lease) == (OTHER, lease)


def test_our_name_under_a_lease_that_is_not_ours_is_a_lost_lock(etcd: Etcd, leader: Member) -> None:
    foreign = etcd.grant(20)
    etcd.put(LEADER_PATH, ME, foreign)

    assert not leader.updates()
    assert not leader.looks().updates()
    found = the_key(etcd)
    assert found is not None
    assert found.lease == foreign


def test_our_name_without_any_lease_is_a_lost_lock(etcd: Etcd, leader: Member) -> None:
    etcd.put(LEADER_PATH, ME, "0")

    assert not leader.looks().updates()


# -- what is kept


def test_our_key_under_our_lease_is_kept_alive_without_a_write(etcd: Etcd, leader: Member) -> None:
    revision = etcd.revision
    for _ in range(5):
        etcd.pass_time(15)
        assert leader.updates()

    assert etcd.revision == revision
    assert etcd.leases[leader.lease] == etcd.now + 20


def test_the_lock_is_kept_right_after_it_was_acquired(etcd: Etcd) -> None:
    assert Member(etcd).acquires().updates()


def test_one_renewal_is_two_questions(etcd: Etcd, leader: Member) -> None:
    etcd.asked.clear()
    leader.updates()

    assert etcd.asked == ["/lease/keepalive", "/kv/txn"]


def test_the_check_answers_while_etcd_is_full(etcd: Etcd, leader: Member) -> None:
    etcd.full = True

    assert leader.updates()


def test_a_changed_ttl_moves_the_key_to_the_new_lease(etcd: Etcd, leader: Member) -> None:
    before = leader.lease
    leader.dcs._lease = None  # what `set_ttl` does

    assert leader.updates()
    found = the_key(etcd)
    assert found is not None
    assert found.lease == leader.lease != before
    assert leader.looks().updates()


def test_a_view_from_before_the_move_does_not_cost_the_lock(leader: Member) -> None:
    leader.dcs._lease = None
    assert leader.updates()

    assert leader.updates()  # it has not looked since


def test_a_move_whose_answer_was_lost_counts_at_the_second_try(etcd: Etcd, leader: Member) -> None:
    leader.dcs._lease = None
    leader.dcs._client.answer_lost = True

    assert leader.updates()
    found = the_key(etcd)
    assert found is not None
    assert found.lease == leader.lease


def test_a_restarted_patroni_takes_over_its_predecessors_key(etcd: Etcd, leader: Member) -> None:
    successor = Member(etcd).looks()

    assert successor.updates()
    found = the_key(etcd)
    assert found is not None
    assert found.lease == successor.lease != leader.lease


def test_of_two_processes_with_one_name_the_older_loses_and_never_takes_it_back(
    etcd: Etcd, leader: Member
) -> None:
    newer = Member(etcd).looks()
    assert newer.updates()

    assert not leader.updates()
    assert not leader.looks().updates()
    assert newer.looks().updates()


def test_a_restarted_patroni_does_not_take_over_what_is_gone_meanwhile(
    etcd: Etcd, leader: Member
) -> None:
    successor = Member(etcd).looks()
    etcd.revoke(leader.lease)

    assert not successor.updates()
    assert the_key(etcd) is None


# -- who held it last


def last_leader(etcd: Etcd) -> str | None:
    stored = etcd.keys.get(LAST_PATH)
    return None if stored is None else stored.value


def test_who_acquires_the_key_signs_and_the_signature_outlives_the_key(etcd: Etcd) -> None:
    member = Member(etcd).acquires()
    assert last_leader(etcd) == ME

    etcd.revoke(member.lease)
    assert last_leader(etcd) == ME
    assert Member(etcd, OTHER).acquires().updates()
    assert last_leader(etcd) == OTHER


def test_a_key_that_is_there_is_not_acquired(etcd: Etcd) -> None:
    Member(etcd).acquires()
    other = Member(etcd, OTHER)

    assert not other.dcs.attempt_to_acquire_leader()
    assert last_leader(etcd) == ME
    assert other.dcs._client.watchers_restarted == 1


def test_a_primary_takes_an_absent_key_only_if_nobody_held_it_since(
    etcd: Etcd, leader: Member, caplog: pytest.LogCaptureFixture
) -> None:
    leadership.Standing.of(leader.dcs).primary = True
    etcd.revoke(leader.lease)
    leader.dcs._do_refresh_lease(force=True, retry=leader.dcs._retry)
    assert leader.acquires().updates()

    etcd.pass_time(40)
    successor = Member(etcd, OTHER).acquires()
    etcd.revoke(successor.lease)
    leader.dcs._do_refresh_lease(force=True, retry=leader.dcs._retry)
    assert not leader.dcs.attempt_to_acquire_leader()
    assert the_key(etcd) is None
    assert "may not take the leader key" in caplog.text

    leadership.Standing.of(leader.dcs).primary = False  # it has demoted
    assert leader.dcs.attempt_to_acquire_leader()


def test_a_primary_without_any_signature_demotes_first(etcd: Etcd) -> None:
    member = Member(etcd)
    leadership.Standing.of(member.dcs).primary = True

    assert not member.dcs.attempt_to_acquire_leader()


def test_the_first_proof_signs_what_was_acquired_before_there_was_a_guard(etcd: Etcd) -> None:
    member = Member(etcd)
    etcd.put(LEADER_PATH, ME, member.lease)
    assert last_leader(etcd) is None

    assert member.looks().updates()
    assert last_leader(etcd) == ME


def test_a_proof_that_could_not_sign_is_followed_by_one_that_does(etcd: Etcd) -> None:
    member = Member(etcd)
    etcd.put(LEADER_PATH, ME, member.lease)
    member.view = Leader("1")  # from before the key was put there

    assert member.updates()
    assert last_leader(etcd) is None
    assert member.looks().updates()
    assert last_leader(etcd) == ME


def test_other_keys_are_put_as_ever(etcd: Etcd) -> None:
    client = Member(etcd).dcs._client

    client.put("/service/pgmend/initialize", "1", None, create_revision="0", retry=1)
    client.put(LEADER_PATH, ME, "77", retry=2)  # `take_leader`, at birth
    assert client.put_as_ever == [
        ("/service/pgmend/initialize", "1", None, "0", None, 1),
        (LEADER_PATH, ME, "77", None, None, 2),
    ]


# -- an etcd that does not answer


@pytest.mark.parametrize("silent", ["/lease/keepalive", "/kv/txn"])
def test_an_etcd_that_does_not_answer_is_no_lost_lock(
    etcd: Etcd, leader: Member, silent: str
) -> None:
    leader.dcs._client.unreachable = {silent}

    with pytest.raises(DcsError):
        leader.updates()
    assert the_key(etcd) is not None
    assert leader.dcs._client.watchers_restarted == 0

    leader.dcs._client.unreachable = set()
    assert leader.updates()


def test_an_etcd_that_refuses_the_move_is_what_it_is_for_patroni(
    etcd: Etcd, leader: Member
) -> None:
    leader.dcs._lease = None
    etcd.full = True

    assert not leader.updates()


def test_the_check_has_time_of_its_own_where_the_ttl_has_room(leader: Member) -> None:
    leader.dcs._retry.too_late = True

    assert leader.updates()


def test_both_steps_share_one_time_where_the_ttl_has_no_room(leader: Member) -> None:
    leader.dcs._retry.too_late = True
    leader.dcs.loop_wait, leader.dcs._retry.deadline, leader.dcs.ttl = 10, 10.0, 30

    with pytest.raises(DcsError):
        leader.updates()


# -- the question and the words


@pytest.mark.parametrize("expected", ["1", "2"])
def test_every_branch_of_the_question_waits_for_a_majority(etcd: Etcd, expected: str) -> None:
    asked = leadership.question(Member(etcd).dcs, expected=expected, lease="1", sign=False)

    for branch in ("success", "failure"):
        (operation,) = asked[branch]
        assert not any(what.get("serializable") for what in operation.values())
    assert {compare["target"] for compare in asked["compare"]} == {"VALUE", "LEASE"}


def test_a_denial_is_one_line_and_has_the_view_built_anew(
    etcd: Etcd, leader: Member, caplog: pytest.LogCaptureFixture
) -> None:
    etcd.revoke(leader.lease)
    with caplog.at_level(logging.INFO):
        leader.updates()

    (line,) = caplog.messages
    assert line.startswith(f"pgmend guard: the leader key is absent, this member ({ME}) has lease ")
    assert leader.dcs._client.watchers_restarted == 1


def test_a_denial_says_who_holds_the_key(
    etcd: Etcd, leader: Member, caplog: pytest.LogCaptureFixture
) -> None:
    lease = etcd.grant(20)
    etcd.put(LEADER_PATH, OTHER, lease)
    leader.updates()

    assert f"the leader key names {OTHER} under lease {lease}" in caplog.text


def test_a_renewal_says_nothing(leader: Member, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        leader.updates()

    assert not caplog.messages
