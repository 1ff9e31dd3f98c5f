"""Damage to etcd: a member without its data, and the two alarms, raised through the member's own gateway."""

from __future__ import annotations

from typing import Final

from lab.faults.base import Fault, Injected
from lab.faults.bench import Bench
from lab.operator import Occupant, Slot

# The packaged unit starts what is left, which knows of no cluster.
LOSE_DATA: Final = """
systemctl stop etcd
find /var/lib/pgmend/etcd -mindepth 1 -delete
systemctl start --no-block etcd
"""
ALARM: Final = """
import json, sys, urllib.request
def post(path, body):
    data = json.dumps(body).encode()
    request = urllib.request.Request("http://127.0.0.1:2379/v3/maintenance/" + path, data)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)
action, alarm = sys.argv[1:]
if action == "ACTIVATE":
    members = [post("status", {})["header"]["member_id"]]
else:
    raised = post("alarm", {"action": "GET"}).get("alarms", [])
    members = [row["memberID"] for row in raised if row["alarm"] == alarm]
for member in members:
    post("alarm", {"action": action, "memberID": member, "alarm": alarm})
"""


def set_alarm(bench: Bench, instance_id: str, action: str, alarm: str) -> None:
    """Raise this member's alarm, or take the alarm back for all members."""
    bench.command(instance_id, "python3", "-c", ALARM, action, alarm)


def _lose_data(bench: Bench, occupant: Occupant, _: Slot) -> None:
    bench.shell(occupant.instance_id, LOSE_DATA)


def _alarm(name: str, alarm: str, describe: str) -> Fault:
    def raise_it(bench: Bench, occupant: Occupant, _: Slot) -> None:
        set_alarm(bench, occupant.instance_id, "ACTIVATE", alarm)

    def take_back(bench: Bench, done: Injected) -> None:
        set_alarm(bench, done.instance_id or "", "DEACTIVATE", alarm)

    return Fault(
        name=name,
        describe=describe,
        default_target="witness",
        do=raise_it,
        undo=take_back,
        roles=("witness", "db"),
    )


ETCD_DATA_LOST: Final = Fault(
    name="etcd-data-lost",
    describe="the etcd member's data is gone",
    default_target="witness",
    do=_lose_data,
    roles=("witness", "db"),
)
ETCD_NOSPACE: Final = _alarm(
    "etcd-nospace", "NOSPACE", "etcd raises its alarm about space and takes no writes"
)
ETCD_CORRUPT: Final = _alarm(
    "etcd-corrupt", "CORRUPT", "etcd raises its alarm about a corrupt member and serves nobody"
)

FAULTS: Final = (ETCD_DATA_LOST, ETCD_NOSPACE, ETCD_CORRUPT)
