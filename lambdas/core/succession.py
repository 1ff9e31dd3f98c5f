"""Who could lead next, so that the leader's host can be worked on. Pure. Patroni has the last word."""

from __future__ import annotations

from lambdas.core.consent import PlannedKind
from lambdas.core.model import Observation, Report, Role, Slot, Standby
from lambdas.core.rules.databases import LAG_BYTES_MAX
from lambdas.core.rules.disks import FULL
from lambdas.core.stand_in import is_relieved


def successors(o: Observation, *, lasting: bool = False) -> tuple[str, ...]:
    """Copies that are well and follow the leader closely, the best first; `lasting`: none that has to go soon, too."""
    leader = o.leader
    report = None if leader is None else o.fresh(leader)
    if leader is None or report is None or report.postgres is None:
        return ()
    rows = {row.name: row for row in report.postgres.replication}
    region = o.spec.by_name[leader].region
    able = [
        slot
        for slot in o.spec.slots
        if slot.role is Role.DB and slot.name != leader and _able(slot, rows.get(slot.name), o)
    ]
    ranked = sorted(
        able,
        key=lambda slot: (
            _to_be_replaced(slot, o),
            slot.region != region,
            rows[slot.name].lag_bytes or 0,
            slot.name,
        ),
    )
    return tuple(s.name for s in ranked if not (lasting and _to_be_replaced(s, o)))


def _able(slot: Slot, row: Standby | None, o: Observation) -> bool:
    """It follows closely, by the leader's word, and neither its node nor EC2 says anything against it."""
    follows = row is not None and row.state == "streaming" and row.lag_bytes is not None
    if row is None or not follows or (row.lag_bytes or 0) > LAG_BYTES_MAX:
        return False
    report, occupant = o.fresh(slot.name), o.occupant(slot.name)
    if report is None or occupant is None or occupant.impaired is True or occupant.hands_off:
        return False
    if any(volume.volume_id == report.volume_id for volume in o.set_aside):
        return False
    if occupant.disk_impaired is True or slot.name in o.stalled_disks:
        return False
    return _sound(report)


def _sound(report: Report) -> bool:
    patroni, postgres, disk = report.patroni, report.postgres, report.disk
    if patroni is None or patroni.up is not True or postgres is None or postgres.up is not True:
        return False
    if postgres.checksum_failures:
        return False
    if disk is None:
        return True
    used = disk.used_bytes / disk.size_bytes if disk.size_bytes and disk.used_bytes else 0.0
    refuses = disk.read_only is True or disk.writable is False or disk.mounted is False
    return not refuses and used < FULL


def _to_be_replaced(slot: Slot, o: Observation) -> bool:
    """Whether its own host goes soon: who leads there would have to hand over again."""
    occupant, planned = o.occupant(slot.name), o.planned
    if occupant is None:
        return True
    rolled = planned is not None and planned.kind is PlannedKind.ROLL
    if is_relieved(slot.name, o):
        return True
    old = rolled and planned is not None and occupant.made_at < planned.since
    return old or bool(occupant.events)
