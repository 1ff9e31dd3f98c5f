"""Neither data nor a majority is lost by a step of ours."""

from __future__ import annotations

from typing import Final

from lambdas.core.model import Phase, Role
from tests.simulation.invariants.common import FOREVER, KNOWN_S, NEVER, STOPPING, YOUNG_S
from tests.simulation.things import Disk
from tests.simulation.watch import Call, CallCheck, WorldCheck
from tests.simulation.world import World

SEEN_S: Final = (
    10.0  # what has lasted as long is in somebody's report, and what ended as long ago in nobody's
)


def one_current_disk_a_slot(world: World) -> str | None:
    """A slot has one current volume, or nobody knows which one holds its data."""
    current = [d.slot.name for d in world.aws.disks.values() if d.current]
    if len(current) == len(set(current)):
        return None
    twice = sorted({s for s in current if current.count(s) > 1})
    return f"{', '.join(twice)} has two current volumes"


def one_database_is_ever_made(world: World) -> str | None:
    """A cluster is born once."""
    made = world.patroni.identities
    return f"{made} databases were made" if made > 1 else None


def etcd_keeps_its_majority(call: Call) -> str | None:
    """No step of ours takes a serving voter away that the majority needs, as far as it was known when it was read."""
    etcd, slot = call.world.etcd, call.slot
    if (
        call.kind not in STOPPING | {"replace-etcd-member"}
        or not etcd.quorum()
        or not etcd.serves(slot)
    ):
        return None
    if call.kind == "restart-service" and call.what != "etcd":
        return None
    if call.kind in ("join-replica", "reinit-replica") or etcd.enough_without(slot):
        return None
    since = max(etcd.answers_since, call.world.watch.thin_since.get(slot, FOREVER))
    if call.healer.table_read_at - since < KNOWN_S:
        return None  # it has only just come back, or become thin, and who knows that
    if _all_voters_look_dead(call) or _nobody_tells_that_it_answers(call):
        return None
    return f"etcd has no majority without {slot}"


def _all_voters_look_dead(call: Call) -> bool:
    """No other voter is heard, and EC2 calls every one impaired: only their disks on new hosts can bring etcd back."""
    read_at = call.healer.table_read_at
    others = [v.name for v in call.world.spec.voters if v.name != call.slot]
    hosts = [h for h in map(call.world.aws.occupant, others) if h and h.told_at > NEVER]
    return all(
        read_at - h.told_at > YOUNG_S and call.healer.verdicts.get(h.instance_id) is True
        for h in hosts
    )


def _nobody_tells_that_it_answers(call: Call) -> bool:
    """No voter's young word has a well member in it, and nobody whose word comes sees, or saw, who leads.

    One that is being set up says whether the unit runs, and nothing of etcd.
    """
    read_at, patroni = call.healer.table_read_at, call.world.patroni
    if _is_seen_to_lead(call):
        return False
    if read_at - patroni.stepped_down_at < SEEN_S:
        return False
    hosts = map(call.world.aws.occupant, (v.name for v in call.world.spec.voters))
    young = [h for h in hosts if h is not None and read_at - h.told_at < YOUNG_S]
    return not any(h.phase is Phase.CONFIGURED and "etcd" in h.told_well for h in young)


def _is_seen_to_lead(call: Call) -> bool:
    """Who leads has for a while, and says so, or another's young word or a proxy's does."""
    read_at, leader = call.healer.table_read_at, call.world.patroni.primary()
    if leader is None or read_at - leader.led_since <= SEEN_S:
        return False
    words = [leader.told_at, leader.named_at]
    words += [h.told_at for h in call.world.aws.sits.values() if "haproxy" in h.told_well]
    return any(read_at - at < YOUNG_S for at in words)


def commits_keep_their_majority(call: Call) -> str | None:
    """No step of ours takes a current copy away that the majority of copies needs, as far as the leader's word tells.

    A leader whose agent gets no answer from PostgreSQL names no copies, and what it said after the table was read
    was known to nobody.
    """
    host, patroni = call.host, call.world.patroni
    if host is None or call.kind not in STOPPING or patroni.enough_without(call.slot):
        return None
    if call.kind == "restart-service" and call.what != "patroni":
        return None
    since, leader = host.well.get("patroni", FOREVER), patroni.primary()
    told_at = NEVER if leader is None else call.healer.told_before.get(leader.instance_id, NEVER)
    speaks = call.healer.table_read_at - told_at < YOUNG_S
    heard = speaks and leader is not None and "patroni" in leader.told_well
    since = max(since, call.world.watch.few_since.get(call.slot, FOREVER))
    if heard and patroni.streams(host) and call.healer.table_read_at - since > KNOWN_S:
        return f"{call.slot} is a current copy and too few others are"
    return None


def the_newest_wal_is_kept(call: Call) -> str | None:
    """No disk is deleted, nor replaced or emptied while it may be the only one with what was acknowledged."""
    disk = call.world.aws.disk_of(call.slot)
    if call.kind == "delete-disk":
        return f"a disk of {call.slot} is deleted"
    if call.kind == "create-disk" and disk is not None and not disk.blank:
        return f"{call.slot} has a disk with data and gets another"
    if call.kind not in ("reinit-replica", "set-disk-aside") or disk is None:
        return None
    if call.host is not None and call.host.slot.role is not Role.DB:
        return None
    acked_at = call.world.patroni.acked_at
    if disk.database and disk.wal_at >= acked_at and not _elsewhere(call.world, disk, acked_at):
        return f"{call.slot} alone has what was acknowledged and gets a {call.kind}"
    return None


def _elsewhere(world: World, but: Disk, acked_at: float) -> bool:
    """Whether another current copy, on a host that is up, has it too."""
    copies = (h.disk for h in world.patroni.hosts() if h.up(world.now))
    return any(
        d is not None and d is not but and d.current and d.database and d.wal_at >= acked_at - 2.0
        for d in copies
    )


def a_disk_goes_to_its_own_slot(call: Call) -> str | None:
    """Data never moves under another identity."""
    if call.kind != "attach-disk":
        return None
    owner = call.world.aws.disks[call.what].slot.name
    return None if owner == call.slot else f"{owner}'s disk is given to {call.slot}"


def a_birth_is_declared_once(call: Call) -> str | None:
    """Once born, nothing may initdb."""
    marks, read_at = call.world.watch.marks, call.healer.table_read_at
    if call.kind == "declare-birth" and read_at >= marks.get("birth", FOREVER):
        return "a birth is declared where there is one"
    as_for_birth = call.kind == "configure-node" and call.what == "yes"
    if as_for_birth and read_at >= marks.get("born", FOREVER):
        return f"{call.slot} is configured as for a birth, and the cluster is born"
    return None


CALLS: tuple[CallCheck, ...] = (
    etcd_keeps_its_majority,
    commits_keep_their_majority,
    the_newest_wal_is_kept,
    a_disk_goes_to_its_own_slot,
    a_birth_is_declared_once,
)
STATES: tuple[WorldCheck, ...] = (one_current_disk_a_slot, one_database_is_ever_made)
