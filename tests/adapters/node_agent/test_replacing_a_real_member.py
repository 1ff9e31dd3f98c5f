"""A voter's seat taken anew through the two others, with the real etcd and the configuration that is rendered."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent.commands.replace_etcd_member import replace
from node_agent.errors import RefusedError
from node_agent.membership import Voters, client_address, peer_url
from node_agent.probes.etcd import CORRUPT, Etcd
from node_agent.probes.http import Http
from node_agent.render import etcd as render
from node_agent.setup.context import Setup
from node_agent.spec import Spec
from node_agent.units import Units
from node_agent.waiting import Deadline
from tests.adapters.node_agent.conftest import Debian
from tests.unit.node_agent.builders import Programs, a_node, example
from tests.unit.node_agent.conftest import Home, home

__all__ = ["home"]
ME = "db-euw1-a"
OTHERS = ("db-euw3-a", "witness-euc1-a")


def on_loopback() -> Spec:
    """The example's voters on addresses of this computer's own, and of this process: tests run side by side."""
    pid = os.getpid()
    raw = example("spec.json")
    for number, slot in enumerate(raw["slots"], start=11):
        slot["address"] = f"127.{77 + pid // 256 % 100}.{pid % 256}.{number}"
    return Spec(raw)


class Voting(Units):
    """Three voters; `etcd` is the unit of this node's own."""

    def __init__(self, debian: Debian, home: Home) -> None:
        super().__init__(run=Programs(), folder=home.units, packaged=home.packaged)
        self.spec, self.home, self._debian = on_loopback(), home, debian
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.https: list[Http] = []
        self.own = self._end(ME)
        for name in (ME, *OTHERS):
            text = render.environment(
                self.spec.slots[name],
                initial_cluster=render.spec_cluster(self.spec),
                state=render.NEW,
                token="0" * 32,
            )
            self.run_etcd(name, text)
        self.enable("etcd")
        self.wait(ME, *OTHERS)

    def _end(self, name: str) -> Etcd:
        self.https.append(Http(2.0))
        slot = self.spec.slots[name]
        return Etcd(self.https[-1], f"http://{client_address(slot)}", peer_url(slot))

    def folder(self, name: str) -> Path:
        return self.home.etcd if name == ME else self.home.root / f"etcd-{name}"

    def run_etcd(self, name: str, environment: str) -> None:
        """As systemd would, but for the loopback address, which three of one host cannot share."""
        values = dict(word.split("=", 1) for word in shlex.split(environment, comments=True))
        values["ETCD_DATA_DIR"] = str(self.folder(name))
        values["ETCD_LISTEN_CLIENT_URLS"] = values["ETCD_ADVERTISE_CLIENT_URLS"]
        values["ETCD_UNSAFE_NO_FSYNC"] = "true"
        self.folder(name).mkdir(mode=0o700, exist_ok=True)
        with (self.home.root / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self._debian.command("etcd"),
                env={"PATH": os.environ["PATH"], **values},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self, unit: str) -> None:
        assert unit == "etcd"
        self.run_etcd(ME, self.home.environment.read_text())

    def stop(self, unit: str, *, timeout_s: float = 90.0) -> None:
        assert unit == "etcd"
        self.kill(ME)
        assert timeout_s > 0

    def kill(self, name: str) -> None:
        process = self.running.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()

    def wait(self, *names: str) -> None:
        ends = [self._end(name) for name in names]
        assert Deadline(30).until(lambda: all(end.healthy() for end in ends)), "etcd is not up"

    def replace(self, stamp: str) -> str:
        others = Voters({name: self._end(name) for name in OTHERS})
        setup = Setup(
            node=a_node(ME),
            spec=self.spec,
            passwords={},
            birth=None,
            birthing=False,
            etcd_token=None,
            others=others,
            everyone=others,
            units=self,
            run=Programs(),
            deadline=Deadline(60),
        )
        return replace(setup, self.own, stamp)

    def members(self) -> dict[str, dict[str, Any]]:
        return {str(m.get("name")): m for m in self._end(OTHERS[0]).members() or []}

    def close(self) -> None:
        for name in list(self.running):
            self.kill(name)
        for http in self.https:
            http.close()


@pytest.fixture
def voting(debian: Debian, home: Home) -> Iterator[Voting]:
    found = Voting(debian, home)
    yield found
    found.close()


def test_a_voter_that_lost_its_data_votes_again_under_a_new_id(voting: Voting) -> None:
    before = voting.members()[ME]["ID"]
    voting.kill(ME)
    shutil.rmtree(voting.home.etcd)
    voting.home.etcd.mkdir()
    assert "is replaced" in voting.replace("1")
    voting.wait(ME)
    mine = voting.members()[ME]
    assert mine["ID"] != before
    assert not mine.get("isLearner")
    assert len(voting.members()) == 3
    assert "is well" in voting.replace("2")
    assert not voting.home.etcd.with_name("etcd.replaced-2").exists()


def test_a_corrupt_voter_is_replaced_while_it_runs_and_its_data_is_kept(voting: Voting) -> None:
    alarm = {"action": "ACTIVATE", "memberID": voting.own.own_id(), "alarm": CORRUPT}
    assert voting.own._post("maintenance/alarm", alarm) is not None
    kept = voting.home.etcd.with_name("etcd.replaced-1")
    assert str(kept) in voting.replace("1")
    voting.wait(ME, *OTHERS)
    assert voting.own.alarms() == []
    assert list((kept / "member" / "wal").glob("*.wal"))


def test_without_the_others_nothing_is_replaced(voting: Voting) -> None:
    voting.kill(ME)
    voting.kill(OTHERS[0])
    with pytest.raises(RefusedError, match=r"majority|answers"):
        voting.replace("1")
    assert (voting.home.etcd / "member").exists()
