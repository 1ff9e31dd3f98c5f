"""A voter's seat: changed only through a healthy majority, one change at a time, the old one out first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.errors import AgentError, HoldError
from node_agent.membership import (
    Member,
    Voters,
    holds_seat,
    initial_cluster,
    may_lose,
    peer_url,
    promote,
    require_majority,
    take_seat,
)
from tests.unit.node_agent.builders import INITIALIZE, SYSTEM, Clock, Cluster, the_spec

ME, OTHER, WITNESS = "db-euw1-a", "db-euw3-a", "witness-euc1-a"
URL = "http://10.10.10.11:2380"


def members_of(cluster: Cluster) -> list[Member]:
    return [Member.parse(raw) for raw in cluster.members]


# -- asking


def test_a_dead_voter_does_not_hide_what_another_knows() -> None:
    cluster = Cluster().without_answer_from(ME).holding(INITIALIZE, SYSTEM)
    assert cluster.voters().value(INITIALIZE) == (True, SYSTEM)
    assert cluster.voters().healthy() == (OTHER, WITNESS)


def test_without_a_majority_nobody_answers_for_a_key() -> None:
    cluster = Cluster().without_answer_from(ME, OTHER).holding(INITIALIZE, SYSTEM)
    assert cluster.voters().value(INITIALIZE) == (False, None)
    assert cluster.voters().members() is None


def test_a_key_that_is_not_there_is_an_answer() -> None:
    assert Cluster().voters().value(INITIALIZE) == (True, None)


def test_a_member_is_read_from_what_the_gateway_leaves_out() -> None:
    raw = {"ID": "11408666078021883693", "peerURLs": ["http://10.0.0.1:2380"], "isLearner": True}
    member = Member.parse(raw)
    assert (member.id, member.name, member.client_urls) == ("11408666078021883693", None, ())
    assert member.learner


@given(
    st.dictionaries(
        st.sampled_from(["ID", "name", "isLearner"]), st.none() | st.text() | st.integers()
    )
)
def test_no_member_breaks_the_reader(raw: dict[str, object]) -> None:
    assert isinstance(Member.parse(raw), Member)


# -- may this member go?


@pytest.mark.parametrize(
    ("silent", "allowed"),
    [((), True), ((OTHER,), False), ((WITNESS,), False), ((OTHER, WITNESS), False)],
)
def test_a_member_of_three_may_only_go_while_both_others_are_well(
    silent: tuple[str, ...], *, allowed: bool
) -> None:
    cluster = Cluster().without_answer_from(*silent)
    healthy = [name for name in cluster.addresses if name not in silent]
    assert (may_lose(members_of(cluster), healthy, ME) is None) is allowed


def test_a_learner_is_no_help_to_a_majority() -> None:
    cluster = Cluster()
    cluster.member_at(WITNESS)["isLearner"] = True
    assert may_lose(members_of(cluster), [OTHER, WITNESS], ME) is not None


def test_waiting_for_a_majority_ends_when_it_comes() -> None:
    clock, cluster = Clock(), Cluster().without_answer_from(ME, OTHER)
    clock.after(10.0, lambda: cluster.silent.discard(OTHER))
    members = require_majority(cluster.voters(without=ME), ME, clock.deadline(60))
    assert [m.name for m in members] == [ME, OTHER, WITNESS]


def test_no_majority_is_a_hold_and_changes_nothing() -> None:
    cluster = Cluster().without_answer_from(ME, OTHER)
    with pytest.raises(HoldError, match="nothing was changed"):
        require_majority(cluster.voters(without=ME), ME, Clock().deadline(30))
    assert cluster.calls == []


# -- the seat


def test_the_old_member_goes_before_the_new_one_comes() -> None:
    cluster = Cluster().without_answer_from(ME)
    after = take_seat(
        cluster.voters(without=ME), ME, URL, members_of(cluster), Clock().deadline(30)
    )
    assert cluster.calls == ["remove 1", f"add {URL}"]
    assert [m.learner for m in after if URL in m.peer_urls] == [True]


def test_a_seat_nobody_holds_is_only_added() -> None:
    cluster = Cluster(OTHER, WITNESS)
    take_seat(cluster.voters(without=ME), ME, URL, members_of(cluster), Clock().deadline(30))
    assert cluster.calls == [f"add {URL}"]


def test_a_learner_left_by_a_crash_is_replaced_and_not_doubled() -> None:
    cluster = Cluster(OTHER, WITNESS)
    cluster.members.append({"ID": "50", "peerURLs": [URL], "isLearner": True})
    take_seat(cluster.voters(without=ME), ME, URL, members_of(cluster), Clock().deadline(30))
    assert cluster.calls == ["remove 50", f"add {URL}"]
    assert sum(URL in m["peerURLs"] for m in cluster.members) == 1


def test_a_refused_change_is_asked_for_again() -> None:
    cluster = Cluster(OTHER, WITNESS)
    cluster.refusals = ["etcdserver: too many learner members in cluster"] * 3
    take_seat(cluster.voters(without=ME), ME, URL, members_of(cluster), Clock().deadline(30))
    assert any(URL in m["peerURLs"] for m in cluster.members)


def test_a_change_that_stays_refused_is_an_error_in_etcds_words() -> None:
    cluster = Cluster(OTHER, WITNESS)
    cluster.refusals = ["etcdserver: unhealthy cluster"] * 10_000
    with pytest.raises(AgentError, match="unhealthy cluster"):
        take_seat(cluster.voters(without=ME), ME, URL, members_of(cluster), Clock().deadline(5))


def test_a_member_that_is_gone_already_counts_as_removed() -> None:
    cluster = Cluster(OTHER, WITNESS)
    gone = Member(id="1", name=ME, peer_urls=(URL,), client_urls=(), learner=False)
    take_seat(
        cluster.voters(without=ME), ME, URL, [gone, *members_of(cluster)], Clock().deadline(30)
    )
    assert cluster.calls[-1] == f"add {URL}"


def test_a_learner_votes_once_it_has_caught_up() -> None:
    clock, cluster = Clock(), Cluster(OTHER, WITNESS)
    cluster.members.append({"ID": "99", "peerURLs": [URL], "isLearner": True})
    cluster.catch_up_after = 4
    promote(cluster.voters(without=ME), URL, clock.deadline(60))
    assert "isLearner" not in cluster.member_at(ME)
    assert clock.now > 1000.0


def test_a_member_that_votes_is_not_promoted_again() -> None:
    cluster = Cluster()
    promote(cluster.voters(without=ME), URL, Clock().deadline(5))
    assert cluster.calls == []


def test_a_learner_that_never_catches_up_is_an_error() -> None:
    cluster = Cluster(OTHER, WITNESS)
    cluster.members.append({"ID": "99", "peerURLs": [URL], "isLearner": True})
    cluster.catch_up_after = 10_000
    with pytest.raises(AgentError, match="learner"):
        promote(cluster.voters(without=ME), URL, Clock().deadline(5))


def test_a_directory_holds_its_seat_only_under_its_own_id_and_address() -> None:
    members = members_of(Cluster())
    assert holds_seat(members, URL, "1")
    assert not holds_seat(members, URL, "2")
    assert not holds_seat(members, "http://10.10.10.99:2380", "1")


def known(cluster: Cluster) -> tuple[set[str | None], bool]:
    started, all_answered = cluster.voters(without=ME).started()
    return {member.name for member in started}, all_answered


def test_who_has_started_is_known_to_any_other_without_a_majority() -> None:
    assert known(Cluster()) == ({ME, OTHER, WITNESS}, True)
    assert known(Cluster().unstarted(ME)) == ({OTHER, WITNESS}, True)
    assert known(Cluster().without_answer_from(ME, OTHER)) == ({ME, OTHER, WITNESS}, False)


def test_a_host_without_etcd_answers_and_one_that_is_silent_does_not() -> None:
    assert known(Cluster().unstarted(ME).unstarted(OTHER).unstarted(WITNESS)) == (set(), True)
    assert known(Cluster().without_answer_from(OTHER, WITNESS)) == (set(), False)


def test_the_members_of_a_joining_voter_are_named_even_before_they_start() -> None:
    cluster = Cluster(OTHER, WITNESS)
    cluster.members.append({"ID": "99", "peerURLs": [URL], "isLearner": True})
    del cluster.members[1]["name"]
    names = {peer_url(voter): voter["name"] for voter in the_spec().voters}
    text = initial_cluster(members_of(cluster), ME, URL, names)
    assert text == (
        "db-euw1-a=http://10.10.10.11:2380,db-euw3-a=http://10.20.10.11:2380,"
        "witness-euc1-a=http://10.30.10.41:2380"
    )


def test_the_specs_voters_are_asked_at_their_client_port() -> None:
    voters = Voters.of(the_spec(), without=ME)
    assert sorted(voters._endpoints) == [OTHER, WITNESS]
