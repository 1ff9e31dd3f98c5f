"""`configure`: make an idle node what its slot says. It may be run again at any time, also after a crash half-way.

It must never format a disk that is not blank, never let two nodes make a database, and never mark a node configured
that could not join.
"""

from __future__ import annotations

import json
import logging
import re
from argparse import Namespace
from dataclasses import dataclass

from node_agent import disk as disks
from node_agent import files, phase
from node_agent.disk import Disk, Record
from node_agent.errors import AgentError, HoldError, UsageError
from node_agent.inputs import Inputs, fetch
from node_agent.membership import Voters, require_majority
from node_agent.node import Node
from node_agent.render import units as drop_ins
from node_agent.services import DATA_ROLES, DISK
from node_agent.setup import etcd, front, patroni
from node_agent.setup.context import Setup
from node_agent.shell import run as run_program
from node_agent.spec import KEPT
from node_agent.units import Units
from node_agent.waiting import Deadline

PATIENCE_S = (
    250.0  # below the document's time-out, so that it is this command that says what was missing
)
DEVICE_S = 60.0
VOLUME = re.compile(r"vol-[0-9a-f]{8,17}")
TOKEN = re.compile(r"[0-9a-f]{32}")
log = logging.getLogger("pgmend.agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the document asks for."""

    volume_id: str | None
    birth: bool
    etcd_token: str | None

    @classmethod
    def parse(cls, *, role: str, volume_id: str, birth: str, etcd_token: str) -> Order:
        """Raises UsageError for what cannot be meant."""
        if (volume_id == "none") == (role in DATA_ROLES):
            raise UsageError(f"volume id {volume_id} does not fit the role {role}")
        if volume_id != "none" and not VOLUME.fullmatch(volume_id):
            raise UsageError(f"{volume_id} is no volume id")
        if birth not in {"yes", "no"}:
            raise UsageError(f"birth is yes or no, not {birth}")
        if etcd_token != "none" and not TOKEN.fullmatch(etcd_token):  # noqa: S105 - the contract's word
            raise UsageError("the etcd token is 32 hexadecimal digits or none")
        if birth == "yes" and role in DATA_ROLES and etcd_token == "none":  # noqa: S105
            raise UsageError("a birth needs its etcd token")
        return cls(
            volume_id=None if volume_id == "none" else volume_id,
            birth=birth == "yes",
            etcd_token=None if etcd_token == "none" else etcd_token,  # noqa: S105
        )


def run(node: Node, args: Namespace) -> str:
    """Compose the parts and run them."""
    order = Order.parse(
        role=node.role, volume_id=args.volume_id, birth=args.birth, etcd_token=args.etcd_token
    )
    deadline = Deadline(PATIENCE_S)
    inputs = fetch(node, deadline, birthing=order.birth)
    setup = prepare(node, order, inputs, deadline)
    if order.volume_id is not None:
        record = Record(volume_id=order.volume_id, slot=node.slot, cluster=node.cluster)
        device = disks.find(order.volume_id, deadline.within(DEVICE_S))
        data_node(setup, Disk(record, device))
    elif node.role == "haproxy":
        front.proxy(setup)
    else:
        front.app(setup)
    return finish(setup)


def prepare(node: Node, order: Order, inputs: Inputs, deadline: Deadline) -> Setup:
    """Settle whether this is a birth. The hub's word goes before the document's."""
    birth = inputs.birth
    if order.birth and node.role == "db" and birth is None:
        raise HoldError("the hub table has no birth item, so no cluster is being born")
    birthing = order.birth and (birth is None or birth.pending)
    if birthing and birth is not None and birth.etcd_token != order.etcd_token:
        raise HoldError("the document's etcd token is not the birth item's")
    if node.role == "db":
        drop_ins.watchdog_s(inputs.spec)  # timings that no Patroni here can run with
    return Setup(
        node=node,
        spec=inputs.spec,
        passwords=inputs.passwords,
        birth=birth,
        birthing=birthing,
        etcd_token=order.etcd_token,
        others=Voters.of(inputs.spec, without=node.slot),
        everyone=Voters.of(inputs.spec),
        units=Units(),
        run=run_program,
        deadline=deadline,
    )


def data_node(s: Setup, disk: Disk) -> None:
    """Disk, then etcd, then Patroni; everything that can forbid comes before anything is made."""
    voter, database = bool(s.me["etcd_voter"]), s.node.role == "db"
    if disk.blank():
        if not s.birthing:
            _require_cluster(s, voter=voter, database=database)
        disk.format()
    disk.mount()
    same_volume = disk.written_here()
    plan = etcd.decide(s, same_volume=same_volume) if voter else None
    if database and not s.birthing and (plan is None or plan.seat is not etcd.Seat.KEPT):
        patroni.require_known_cluster(s)
    if plan is not None:
        etcd.clear(s, plan)
    disk.sign()
    files.write(disks.BOOT_RECORD, disk.record.text())
    log.info("%s", disk.offer_ballast())
    s.units.enable(DISK)
    s.units.drop_in("etcd", drop_ins.ETCD)
    if database:
        s.units.drop_in("patroni", drop_ins.patroni(s.spec))
    if plan is not None:
        etcd.start(s, plan)
    if database:
        _database(s, plan)
    if plan is not None:
        etcd.vote(s, plan)


def _require_cluster(s: Setup, *, voter: bool, database: bool) -> None:
    """A blank disk is only worth formatting when there is a cluster to join."""
    if voter:
        require_majority(s.others, s.node.slot, s.deadline)
    if database:
        patroni.require_known_cluster(s)


def _database(s: Setup, plan: etcd.Plan | None) -> None:
    if s.first_leader:
        patroni.lead_birth(s)
        return
    if s.birthing:
        patroni.check_identity(s, patroni.wait_for_birth(s))
    else:
        kept = plan is not None and plan.seat is etcd.Seat.KEPT
        patroni.require_known_cluster(s, silence=AgentError if kept else HoldError)
    patroni.follow(s)


def finish(s: Setup) -> str:
    """Keep the spec for the agent, then say so."""
    changed = files.write(KEPT, json.dumps(s.spec.raw, indent=1))
    again = phase.phase() == phase.CONFIGURED
    s.units.settle()
    phase.enter(phase.CONFIGURED)
    if changed and again:
        # The agent reads the spec when its phase changes, and here it does not.
        s.units.restart("pgmend-agent")
    return f"{s.node.slot} is configured"
