"""`configure`: its secrets, the proxies and the app, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node_agent.commands.configure import finish
from node_agent.errors import AgentError
from node_agent.inputs import Inputs
from node_agent.setup import front
from tests.unit.node_agent.builders import (
    PASSWORDS,
    the_spec,
)
from tests.unit.node_agent.configuring import Bench
from tests.unit.node_agent.conftest import Home


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


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
