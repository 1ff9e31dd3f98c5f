"""systemd is told what changed, once, and starts at boot what a role runs."""

from __future__ import annotations

import pytest

from node_agent.errors import AgentError
from node_agent.units import Units
from tests.unit.node_agent.builders import Programs
from tests.unit.node_agent.conftest import Home


def a_host(home: Home) -> tuple[Units, Programs]:
    programs = Programs()
    return Units(run=programs, folder=home.units, packaged=home.packaged), programs


def test_a_unit_is_enabled_by_its_link(home: Home) -> None:
    units, _ = a_host(home)
    units.enable("etcd")
    units.enable("etcd")
    link = home.units / "multi-user.target.wants" / "etcd.service"
    assert link.readlink() == home.packaged / "etcd.service"


def test_a_unit_of_ours_goes_before_a_packaged_one(home: Home) -> None:
    units, _ = a_host(home)
    (home.units / "pgmend-disk.service").write_text("[Unit]\n")
    units.enable("pgmend-disk")
    link = home.units / "multi-user.target.wants" / "pgmend-disk.service"
    assert link.readlink() == home.units / "pgmend-disk.service"


def test_a_link_to_elsewhere_is_set_right(home: Home) -> None:
    units, _ = a_host(home)
    wants = home.units / "multi-user.target.wants"
    wants.mkdir()
    (wants / "etcd.service").symlink_to("/dev/null")
    units.enable("etcd")
    assert (wants / "etcd.service").readlink() == home.packaged / "etcd.service"


def test_a_unit_that_is_not_installed_is_an_error(home: Home) -> None:
    units, _ = a_host(home)
    with pytest.raises(AgentError, match="no unit mongod"):
        units.enable("mongod")


def test_a_disabled_unit_stays_off_and_disabling_again_is_no_trouble(home: Home) -> None:
    units, _ = a_host(home)
    units.enable("etcd")
    units.disable("etcd")
    units.disable("etcd")
    assert home.enabled() == set()


def test_systemd_reads_its_files_again_only_when_one_changed(home: Home) -> None:
    units, programs = a_host(home)
    units.drop_in("etcd", "[Service]\nRestart=always\n")
    units.start("etcd")
    units.drop_in("etcd", "[Service]\nRestart=always\n")
    units.start("etcd")
    assert sum(call[1] == "daemon-reload" for call in programs.calls) == 1


def test_starting_asks_and_does_not_wait(home: Home) -> None:
    units, programs = a_host(home)
    units.start("patroni")
    assert programs.said("systemctl", "start", "--no-block", "patroni.service")
    assert units.state("patroni") == "active"


def test_a_failed_unit_gets_another_chance(home: Home) -> None:
    units, programs = a_host(home)
    programs.states["patroni"] = "failed"
    units.start("patroni")
    assert programs.said("reset-failed", "patroni.service")


def test_a_restart_is_waited_for_only_when_asked(home: Home) -> None:
    units, programs = a_host(home)
    units.restart("pgmend-agent")
    units.restart("haproxy", wait_s=90)
    assert programs.said("restart", "--no-block", "pgmend-agent.service")
    assert programs.said("restart", "haproxy.service")


def test_a_unit_nobody_knows_is_unknown(home: Home) -> None:
    units, programs = a_host(home)
    programs.states["patroni"] = ""
    assert units.state("patroni") == "unknown"
