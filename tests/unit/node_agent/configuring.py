"""A node that is about to be configured, on paper, and the cluster around it."""

from __future__ import annotations

import json

from node_agent.commands.configure import data_node, finish
from node_agent.disk import PROBED_BYTES, Disk, Record
from node_agent.inputs import Birth
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
            now=self.clock,
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
