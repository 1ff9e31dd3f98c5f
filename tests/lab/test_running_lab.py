"""On a lab at full strength: what people do with it, what must not disturb it, and how it ends.

Run by `tools/smoke.sh` after its fault has healed. The tests build on one another in the order of this file: the later
ones take the cluster apart.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab import deploy
from lab.host import cgroups
from lab.host.paths import Paths
from lab.operator import CLUSTER, ENDPOINT, HUB_REGION, make_client
from lab.ports import OPERATOR_KEY
from tests.lab.running import TheLab, eventually, the_running_lab

ROOT = Path(__file__).resolve().parents[2]
AWS = str(Path(sys.executable).with_name("aws"))
KEYS = {"AWS_ACCESS_KEY_ID": OPERATOR_KEY, "AWS_SECRET_ACCESS_KEY": OPERATOR_KEY}
pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
lab = the_running_lab


# -- what people do with it


def test_the_stock_aws_command_lists_the_instances(lab: TheLab) -> None:
    env = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": ENDPOINT}
    query = "Reservations[].Instances[].InstanceId"
    words = [AWS, "--region", "eu-west-1", "ec2", "describe-instances", "--query", query]
    listed = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout
    occupant = lab.bench.occupant_of("haproxy-euw1-a")
    assert occupant.instance_id in json.loads(listed)


@pytest.mark.parametrize("proxy", ["haproxy-euw1-a", "haproxy-euw3-a"])
def test_postgres_clients_reach_the_primary_through_either_proxy(lab: TheLab, proxy: str) -> None:
    password = lab.api.passwords()["app"]
    for port, in_recovery in ((5432, False), (5433, True)):
        with psycopg.connect(
            host=lab.address(proxy), port=port, user="app", dbname="app", password=password
        ) as connection:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (in_recovery,)


def test_patronictl_works_inside_a_node(lab: TheLab) -> None:
    listed = json.loads(
        lab.shell(lab.leader(), "patronictl -c /etc/patroni/config.yml list -f json")
    )
    assert {row["Member"] for row in listed} == {"db-euw1-a", "db-euw1-b", "db-euw3-a"}


def test_a_document_sent_by_hand_does_what_it_says(lab: TheLab) -> None:
    ssm = make_client("ssm", "eu-west-1")
    instance_id = lab.bench.occupant_of("haproxy-euw1-a").instance_id
    sent = ssm.send_command(
        DocumentName="pgmend-collect-diagnostics",
        Targets=[{"Key": "tag:pgmend:slot", "Values": ["haproxy-euw1-a"]}],
        Parameters={"Slot": ["haproxy-euw1-a"]},
    )
    asked = {"CommandId": sent["Command"]["CommandId"], "InstanceId": instance_id}
    eventually(
        lambda: ssm.get_command_invocation(**asked)["Status"] == "Success", "the document ends"
    )
    output = ssm.get_command_invocation(**asked)["StandardOutputContent"]
    assert json.loads(output.strip().splitlines()[-1])["ok"] is True


def test_a_document_for_another_slot_is_refused(lab: TheLab) -> None:
    ssm = make_client("ssm", "eu-west-1")
    instance_id = lab.bench.occupant_of("haproxy-euw1-a").instance_id
    parameters = {"Slot": ["db-euw1-a"], "Service": ["haproxy"]}
    sent = ssm.send_command(
        DocumentName="pgmend-restart-service", InstanceIds=[instance_id], Parameters=parameters
    )
    asked = {"CommandId": sent["Command"]["CommandId"], "InstanceId": instance_id}
    eventually(
        lambda: ssm.get_command_invocation(**asked)["Status"] == "Failed", "the document ends"
    )
    found = ssm.get_command_invocation(**asked)
    assert found["ResponseCode"] in (2, 10)
    assert json.loads(found["StandardOutputContent"].strip().splitlines()[-1])["ok"] is False


# -- what must not disturb it


def test_a_malformed_event_ends_in_the_dead_letter_queue_and_harms_nothing(lab: TheLab) -> None:
    sqs = make_client("sqs", HUB_REGION)
    url = sqs.get_queue_url(QueueName=f"{CLUSTER}-dead")["QueueUrl"]
    before = lab.api.occupants()
    make_client("lambda", HUB_REGION).invoke(
        FunctionName=f"{CLUSTER}-healer", InvocationType="Event", Payload=b'{"source": "nobody"}'
    )
    kept: list[Any] = []

    def arrived() -> bool:
        kept.extend(sqs.receive_message(QueueUrl=url).get("Messages", []))
        return any("nobody" in message["Body"] for message in kept)

    eventually(arrived, "the event is kept for a person")
    assert lab.api.occupants() == before
    lab.heals(within_s=15)


def test_a_node_without_its_document_stays_idle(lab: TheLab) -> None:
    lab.mode("off")
    try:
        slot = next(s for s in lab.api.spec()["slots"] if s["name"] == "haproxy-euw1-b")
        launch_by_hand(slot)
        eventually(lambda: slot["name"] in lab.api.reports(), "the agent reports")
        assert lab.api.reports()[slot["name"]].body["phase"] == "idle"
        units = "for u in haproxy patroni etcd pgmend-app; do systemctl is-active $u; done"
        assert set(lab.shell(slot["name"], units).split()) == {"inactive"}
        assert lab.shell(slot["name"], "test -e /etc/pgmend/spec.json || echo none") == "none"
        lab.api.terminate(lab.bench.occupant_of(slot["name"]).instance_id, slot["region"])
        eventually(lambda: not lab.in_slot(slot["name"]), "the spare is closed again")
    finally:
        lab.mode("auto")


def launch_by_hand(slot: dict[str, Any]) -> None:
    tags = {
        f"pgmend:{name}": value
        for name, value in (("cluster", CLUSTER), ("slot", slot["name"]), ("role", slot["role"]))
    }
    make_client("ec2", slot["region"]).run_instances(
        MinCount=1,
        MaxCount=1,
        LaunchTemplate={"LaunchTemplateId": slot["launch_template_id"]},
        NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": slot["interface_id"]}],
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
        ],
    )


def test_a_healer_killed_half_way_is_continued_by_the_next(lab: TheLab) -> None:
    lab.heals()
    victim = lab.bench.occupant_of("app-euw1-a")
    lab.api.terminate(victim.instance_id, "eu-west-1")
    eventually(
        lambda: any(o.instance_id != victim.instance_id for o in lab.in_slot("app-euw1-a")),
        "a new occupant is launched",
    )
    assert kill_healers() > 0
    lab.heals()
    running = [o for o in lab.in_slot("app-euw1-a") if o.state == "running"]
    assert len(running) == 1


def kill_healers() -> int:
    """End every process of the healer function, as a crash would."""
    killed = 0
    for pid in cgroups.pids():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"awslambdaric" in command and b"lambdas.handlers.healer" in command:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


# -- how it ends


def test_blank_disks_under_the_birth_mark_are_a_hold_with_nothing_created(lab: TheLab) -> None:
    """The cluster is born once: whatever is lost afterwards, nobody may make a new one in its place."""
    lab.heals()
    lab.mode("off")
    slots = [s for s in lab.api.slots() if s.active and s.role in ("db", "witness")]
    for slot in slots:
        lab.api.terminate(lab.bench.occupant_of(slot.name).instance_id, slot.region)
    eventually(lambda: not any(lab.in_slot(s.name) for s in slots), "their hosts are gone")
    for disk in (Paths.from_env().state / "disks").glob("*.img"):
        size = str(disk.stat().st_size)
        subprocess.run(["fallocate", "--punch-hole", "--length", size, str(disk)], check=True)
    lab.mode("auto")
    lab.api.look()
    held = {slot.name for slot in slots if slot.etcd_voter}

    def all_held() -> bool:
        return held <= {
            i["slot"] for i in lab.api.incidents() if i.get("diagnosis") and is_held(lab, i)
        }

    def all_run() -> bool:
        return all([o.state for o in lab.in_slot(s.name)] == ["running"] for s in slots)

    eventually(all_held, "every voter is held", within_s=180)
    # The last slot may still be launching (so many at once), or be on its way to another host.
    eventually(all_run, "every slot has a host again", within_s=180)
    for slot in slots:
        assert (
            lab.shell(
                slot.name,
                "ls -A /var/lib/pgmend/etcd /var/lib/pgmend/postgresql 2>/dev/null | grep -v :",
            )
            == ""
        )
        assert lab.shell(slot.name, "pgrep -x postgres || echo none") == "none"


def is_held(lab: TheLab, incident: Any) -> bool:
    key = {"pk": {"S": "OPEN"}, "sk": {"S": incident["slot"]}}
    found = lab.table.get_item(TableName=CLUSTER, Key=key, ConsistentRead=True).get("Item", {})
    return bool(found.get("held", {}).get("S") == "needs-person")


def test_destroy_empties_the_slots_and_leaves_nothing(lab: TheLab) -> None:
    started = lab.control.status()
    deploy.destroy(size=started.size, durability=started.durability, clock=started.clock)
    assert lab.api.occupants() == ()
    for region in ("eu-west-1", "eu-west-3", HUB_REGION):
        ec2 = make_client("ec2", region)
        assert (
            ec2.describe_volumes(Filters=[{"Name": "tag:pgmend:cluster", "Values": [CLUSTER]}])[
                "Volumes"
            ]
            == []
        )
        assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    assert make_client("lambda", HUB_REGION).list_functions()["Functions"] == []
    assert lab.control.machines() == ()
