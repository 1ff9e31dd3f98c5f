"""What a boot mounts, and what a person is shown: bounded, whole where it can be, without a password."""

from __future__ import annotations

import json

import pytest

from node_agent.commands import diagnose
from node_agent.commands.diagnose import OUTPUT_MAX, bounded, redacted, sections
from node_agent.commands.mount import mount
from node_agent.errors import AgentError, HoldError
from node_agent.shell import Result
from tests.unit.node_agent.builders import (
    PASSWORDS,
    Programs,
    a_node,
    the_spec,
)
from tests.unit.node_agent.conftest import Home

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
