"""What documents ask of a configured node: a living leader is never touched, unknown is never taken for safe."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from node_agent.commands import diagnose
from node_agent.commands.diagnose import OUTPUT_MAX, bounded, redacted, sections
from node_agent.commands.join import follow_again
from node_agent.commands.leave import go
from node_agent.commands.mount import mount
from node_agent.commands.reinit import make_anew
from node_agent.commands.restart import again
from node_agent.errors import AgentError, HoldError, RefusedError
from node_agent.phase import CONFIGURED, enter, phase
from node_agent.probes.http import Http
from node_agent.shell import Result
from node_agent.standing import Here
from node_agent.units import Units
from tests.unit.node_agent.builders import (
    LEADER,
    PASSWORDS,
    Clock,
    Cluster,
    Programs,
    a_node,
    the_spec,
)
from tests.unit.node_agent.conftest import Home


class Patroni(Http):
    """Patroni's REST API and etcd's health on one node."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.role: str | None = "replica"
        self.state, self.paused, self.up = "running", False, True
        self.started_at = "2026-01-01 00:00:00"
        self.refuses: str | None = None
        self.etcd_healthy = True
        self.name = "db-euw1-b"
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.on_post: Callable[[], None] = lambda: None

    def get(self, url: str) -> tuple[int, Any] | None:
        if url.endswith("/health"):
            return (200, {"health": "true"}) if self.etcd_healthy else None
        if not self.up:
            return None
        if url.endswith("/cluster"):
            mine = {"name": self.name, "role": "replica", "state": self.state, "lag": 0}
            return 200, {"members": [mine], **({"pause": True} if self.paused else {})}
        return 200, {
            "state": self.state,
            "role": self.role,
            "postmaster_start_time": self.started_at,
        }

    def post(self, url: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        self.posts.append((url, body))
        if not self.up:
            return None
        if self.refuses is not None:
            return 503, None
        self.on_post()
        return 200, None


class Bench:
    """A configured node, a leader elsewhere."""

    def __init__(self, home: Home, slot: str = "db-euw1-b") -> None:
        self.home, self.slot = home, slot
        self.clock, self.programs, self.patroni = Clock(), Programs(), Patroni()
        self.cluster = Cluster().holding(LEADER, "db-euw3-a")
        self.in_recovery: bool | None = True
        self.units = Units(run=self.programs, folder=home.units, packaged=home.packaged)
        self.programs.states.update({"patroni": "active", "etcd": "active"})
        self.patroni.name = slot
        enter(CONFIGURED)

    def leading(self) -> Bench:
        self.patroni.role = "primary"
        self.cluster.keys[LEADER] = self.slot
        return self

    @property
    def here(self) -> Here:
        return Here(
            a_node(self.slot),
            the_spec(),
            http=self.patroni,
            voters=self.cluster.voters(),
            in_recovery=lambda: self.in_recovery,
        )

    def streams_once_patroni_is_started(self) -> Bench:
        self.programs.started = lambda _unit: self._streams()
        return self

    def _streams(self) -> None:
        self.patroni.up, self.patroni.state = True, "streaming"

    def join(self) -> str:
        return follow_again(self.here, self.units, self.clock.deadline(210))

    def reinit(self) -> str:
        return make_anew(self.here, self.clock.deadline(570))

    def leave(self) -> str:
        others = self.cluster.voters(without=self.slot)
        return go(self.here, others, self.units, self.clock.deadline(30))

    def restart(self, service: str) -> str:
        return again(self.here, self.cluster.voters(without=self.slot), service, self.units)

    def nothing_was_done(self) -> bool:
        verbs = {call[1] for call in self.programs.calls if call[0] == "systemctl"}
        return verbs <= {"show"} and not self.patroni.posts and not self.cluster.calls


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


# -- who counts as the leader


TOUCHES: dict[str, Callable[[Bench], str]] = {
    "join": Bench.join,
    "reinit": Bench.reinit,
    "leave": Bench.leave,
    "restart patroni": lambda bench: bench.restart("patroni"),
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_a_leader_by_patronis_word_is_never_touched(
    bench: Bench, touch: Callable[[Bench], str]
) -> None:
    bench.patroni.role = "primary"
    with pytest.raises(RefusedError, match="living leader"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_a_leader_by_etcds_key_is_never_touched_even_when_patroni_is_silent(
    bench: Bench, touch: Callable[[Bench], str]
) -> None:
    bench.cluster.keys[LEADER] = bench.slot
    bench.patroni.up = False
    with pytest.raises(RefusedError, match="leader key"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_a_server_that_takes_writes_while_nobody_else_is_known_to_lead_counts_as_leader(
    bench: Bench, touch: Callable[[Bench], str]
) -> None:
    bench.cluster.without_answer_from("db-euw1-a", "db-euw3-a")
    bench.patroni.up, bench.in_recovery = False, False
    with pytest.raises(RefusedError, match="takes writes"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", [Bench.join, Bench.reinit, Bench.leave])
def test_without_a_majority_nobody_knows_who_leads_and_nothing_is_done(
    bench: Bench, touch: Callable[[Bench], str]
) -> None:
    bench.cluster.without_answer_from("db-euw1-a", "db-euw3-a")
    with pytest.raises(RefusedError, match="no majority"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", [Bench.join, Bench.reinit, Bench.leave])
def test_without_a_leader_there_is_nobody_to_follow(
    bench: Bench, touch: Callable[[Bench], str]
) -> None:
    bench.cluster.keys.clear()
    with pytest.raises(RefusedError, match="no leader to follow"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", [Bench.join, Bench.reinit, Bench.leave])
def test_a_paused_cluster_is_a_persons(bench: Bench, touch: Callable[[Bench], str]) -> None:
    bench.patroni.paused = True
    with pytest.raises(RefusedError, match="paused"):
        touch(bench)
    assert bench.nothing_was_done()


@pytest.mark.parametrize("touch", [Bench.join, Bench.reinit])
def test_a_node_without_a_database_has_nothing_to_join(
    home: Home, touch: Callable[[Bench], str]
) -> None:
    bench = Bench(home, "witness-euc1-a")
    with pytest.raises(RefusedError, match="no database"):
        touch(bench)


def test_a_node_that_no_document_configured_refuses(home: Home) -> None:
    assert not home.spec.exists()
    with pytest.raises(RefusedError, match="not configured"):
        Here.configured(a_node())


def test_a_node_that_left_refuses_until_it_is_configured_again(home: Home) -> None:
    home.spec.write_text(json.dumps(the_spec().raw))
    enter("left")
    with pytest.raises(RefusedError, match="not configured"):
        Here.configured(a_node())
    enter(CONFIGURED)
    assert Here.configured(a_node()).address == "10.10.10.11"


# -- join


def test_a_copy_that_streams_is_left_alone(bench: Bench) -> None:
    bench.patroni.state = "streaming"
    assert "streams already" in bench.join()
    assert bench.nothing_was_done()


def test_a_copy_that_does_not_follow_is_restarted_and_waited_for(bench: Bench) -> None:
    bench.streams_once_patroni_is_started()
    assert bench.join() == "db-euw1-b follows db-euw3-a again"
    assert bench.programs.said("stop", "patroni.service")


def test_a_copy_whose_patroni_is_stopped_is_started(bench: Bench) -> None:
    bench.streams_once_patroni_is_started()
    bench.patroni.up, bench.programs.states["patroni"] = False, "inactive"
    bench.join()
    assert not bench.programs.said("stop", "patroni.service")


def test_an_old_primary_with_another_leader_elsewhere_is_joined(bench: Bench) -> None:
    bench.streams_once_patroni_is_started()
    bench.patroni.up, bench.in_recovery = False, False
    assert "follows" in bench.join()


def test_a_clone_under_way_is_left_alone(bench: Bench) -> None:
    bench.patroni.state = "creating replica"
    with pytest.raises(RefusedError, match="cloned"):
        bench.join()
    assert bench.nothing_was_done()


def test_a_copy_that_is_starting_gets_its_time_first(bench: Bench) -> None:
    bench.patroni.state = "starting"
    bench.clock.after(10.0, lambda: setattr(bench.patroni, "state", "streaming"))
    assert "only needed time" in bench.join()
    assert bench.nothing_was_done()


def test_a_copy_that_starts_for_ever_is_restarted(bench: Bench) -> None:
    bench.streams_once_patroni_is_started()
    bench.patroni.state = "starting"
    bench.join()
    assert bench.programs.said("stop", "patroni.service")


def test_a_clone_that_was_cut_short_is_cleared_before_the_start(bench: Bench) -> None:
    bench.streams_once_patroni_is_started().home.half_a_clone()
    bench.join()
    assert not bench.home.data_dir.exists()


def test_a_copy_that_does_not_stream_in_time_is_a_failure_that_says_so(bench: Bench) -> None:
    with pytest.raises(AgentError, match="does not stream yet: Patroni here is running") as failure:
        bench.join()
    assert failure.value.exit_code == 1


def test_a_copy_promoted_meanwhile_is_not_stopped(bench: Bench) -> None:
    bench.patroni.state = "starting"
    bench.clock.after(15.0, bench.leading)
    with pytest.raises(RefusedError, match="leads"):
        bench.join()
    assert not bench.programs.said("stop")


# -- reinit


def test_a_copy_is_made_anew_and_waited_for(bench: Bench) -> None:
    def begin() -> None:
        bench.patroni.state = "creating replica"
        bench.clock.after(30.0, finish)

    def finish() -> None:
        bench.patroni.state, bench.patroni.started_at = "streaming", "2026-01-01 00:01:00"

    bench.patroni.state, bench.patroni.on_post = "streaming", begin
    assert bench.reinit() == "db-euw1-b was made anew from db-euw3-a"
    assert bench.patroni.posts == [("http://10.10.11.11:8008/reinitialize", {"force": True})]
    assert bench.clock.now >= 1030.0


def test_a_copy_that_still_streams_as_before_was_not_made_anew(bench: Bench) -> None:
    bench.patroni.state = "streaming"
    with pytest.raises(AgentError, match="being made anew"):
        bench.reinit()


def test_patronis_refusal_is_a_refusal(bench: Bench) -> None:
    bench.patroni.refuses = "reinitialize already in progress"
    with pytest.raises(RefusedError, match="refused"):
        bench.reinit()


# -- leave


def test_a_copy_leaves_and_stays_off(bench: Bench) -> None:
    bench.units.enable("patroni")
    assert bench.leave() == "db-euw1-b has left the cluster"
    assert bench.programs.states["patroni"] == "inactive"
    assert bench.home.enabled() == set()
    assert phase() == "left"


def test_a_voter_gives_up_its_seat(home: Home) -> None:
    bench = Bench(home, "db-euw3-a")
    bench.cluster.keys[LEADER] = "db-euw1-a"
    bench.leave()
    assert bench.cluster.calls == ["remove 2"]
    assert bench.programs.states["etcd"] == "inactive"


@pytest.mark.parametrize("slot", ["db-euw3-a", "witness-euc1-a"])
def test_a_voter_that_the_majority_needs_stays(home: Home, slot: str) -> None:
    bench = Bench(home, slot)
    bench.cluster.keys[LEADER] = "db-euw1-b"
    bench.cluster.without_answer_from("db-euw1-a")
    with pytest.raises(RefusedError, match="majority"):
        bench.leave()
    assert bench.nothing_was_done()
    assert phase() == "configured"


@pytest.mark.parametrize(
    ("slot", "unit"), [("haproxy-euw1-a", "haproxy"), ("app-euw1-a", "pgmend-app")]
)
def test_a_front_node_leaves_by_stopping(home: Home, slot: str, unit: str) -> None:
    bench = Bench(home, slot)
    bench.programs.states[unit] = "active"
    bench.leave()
    assert bench.programs.states[unit] == "inactive"
    assert bench.cluster.calls == []


# -- restart


def test_a_followers_patroni_is_restarted(bench: Bench) -> None:
    assert bench.restart("patroni") == "patroni is active again"


def test_a_leaders_patroni_that_is_down_may_be_started(bench: Bench) -> None:
    bench.leading().programs.states["patroni"] = "failed"
    assert bench.restart("patroni") == "patroni is active again"


def test_a_leaders_healthy_etcd_is_not_restarted(home: Home) -> None:
    bench = Bench(home, "db-euw1-a").leading()
    with pytest.raises(RefusedError, match="living leader"):
        bench.restart("etcd")
    assert bench.nothing_was_done()


def test_an_etcd_that_serves_nobody_is_restarted_wherever_it_is(home: Home) -> None:
    bench = Bench(home, "db-euw1-a").leading()
    bench.patroni.etcd_healthy = False
    assert bench.restart("etcd") == "etcd is active again"


def test_an_etcd_that_the_majority_needs_is_not_restarted(home: Home) -> None:
    bench = Bench(home, "witness-euc1-a")
    bench.cluster.without_answer_from("db-euw1-a")
    with pytest.raises(RefusedError, match="not restarted"):
        bench.restart("etcd")


@pytest.mark.parametrize(
    ("slot", "service"),
    [("db-euw1-b", "etcd"), ("db-euw1-b", "haproxy"), ("witness-euc1-a", "patroni")],
)
def test_a_service_the_node_does_not_run_is_refused(home: Home, slot: str, service: str) -> None:
    bench = Bench(home, slot)
    with pytest.raises(RefusedError, match=f"does not run {service}"):
        bench.restart(service)


def test_a_service_that_does_not_come_back_is_a_failure(home: Home) -> None:
    bench = Bench(home, "haproxy-euw1-a")
    bench.programs.started = lambda unit: bench.programs.states.update({unit: "failed"})
    with pytest.raises(AgentError, match="haproxy was restarted and is failed"):
        bench.restart("haproxy")


# -- mount


def test_a_node_that_was_never_configured_mounts_nothing(home: Home) -> None:
    assert "no disk" in mount(home.boot_record)


def test_a_boot_record_that_cannot_be_read_is_a_hold(home: Home) -> None:
    home.boot_record.write_text("{}")
    with pytest.raises(HoldError):
        mount(home.boot_record)


# -- diagnose


def test_a_diagnosis_shows_every_part_of_a_database_node(home: Home) -> None:
    home.spec.write_text(json.dumps(the_spec().raw))
    programs = Programs()
    programs.answers["journalctl"] = Result(code=0, out="a line\n")
    spec = {**the_spec().raw}
    for slot in spec["slots"]:
        slot["address"] = "127.0.0.7"  # nobody listens there
    home.spec.write_text(json.dumps(spec))
    titles = [title for title, _ in sections(a_node(), programs)]
    assert titles == [
        *("node", "units", "disk", "patroni", "etcd"),
        *("log of patroni", "log of etcd", "log of pgmend-disk", "log of pgmend-agent"),
    ]


def test_a_diagnosis_of_an_idle_node_has_no_services(home: Home) -> None:
    assert not home.spec.exists()
    titles = [title for title, _ in sections(a_node("app-euw1-a"), Programs())]
    assert titles == ["node", "units", "log of pgmend-app", "log of pgmend-agent"]


def test_a_program_that_fails_does_not_end_the_diagnosis(home: Home) -> None:
    assert home.root.exists()
    programs = Programs()
    programs.answers["journalctl"] = AgentError("journalctl could not be run")
    found = dict(sections(a_node("app-euw1-a"), programs))
    assert found["log of pgmend-app"] == "journalctl could not be run\n"


def test_a_diagnosis_fits_into_what_ssm_keeps_and_shows_the_newest_lines() -> None:
    log = "".join(f"{number} {'x' * 100}\n" for number in range(2000))
    text = bounded([("node", "short"), ("log of etcd", log), ("log of patroni", log)])
    assert len(text) <= OUTPUT_MAX
    assert text.startswith("== node\nshort\n")
    assert text.count("1999 xxx") == 2
    assert all(line.startswith(("==", "short", "1")) for line in text.splitlines())


def test_a_short_diagnosis_is_whole() -> None:
    assert bounded([("node", "a"), ("log of etcd", "b\nc")]) == "== node\na\n== log of etcd\nb\nc\n"


def test_no_password_is_printed(home: Home) -> None:
    home.patroni.parent.mkdir()
    home.patroni.write_text(json.dumps({"a": {"password": PASSWORDS["superuser"]}}))
    home.monitor.write_text(json.dumps({"monitor": PASSWORDS["monitor"]}))
    home.roles.write_text(json.dumps({"app": PASSWORDS["app"]}))
    words = diagnose.secrets()
    assert sorted(words) == sorted(PASSWORDS[role] for role in ("superuser", "monitor", "app"))
    shown = redacted([("log of patroni", f"password={PASSWORDS['superuser']} user=x")], words)
    assert shown == [("log of patroni", "password=(hidden) user=x")]
