"""What nodes are given: spec, launch templates, user data, networks. OpenTofu makes no instance and no disk."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.host.rootfs import PACKAGES
from lab.ports import REGIONS
from lambdas.core.parse import spec_from_json
from tests.infra.planned import UNKNOWN, Plan, example

FIRST, SECOND, OBSERVER = REGIONS
HEALERS = {"aws_instance", "aws_ebs_volume", "aws_volume_attachment", "aws_spot_instance_request"}
EVERYWHERE = ("0.0.0.0/0", "::/0")
VOTERS = {
    "minimal": {"db-euw1-a", "db-euw3-a", "witness-euc1-a"},
    "standard": {"db-euw1-a", "db-euw1-b", "db-euw3-a", "db-euw3-b", "witness-euc1-a"},
}
ACTIVE_DBS = {
    "minimal": {"db-euw1-a", "db-euw1-b", "db-euw3-a"},
    "standard": {f"db-{r}-{letter}" for r in ("euw1", "euw3") for letter in "abc"},
}
DB_LETTERS = {"minimal": "abc", "standard": "abcd"}
ALSO_ACTIVE = {"haproxy-euw1-a", "haproxy-euw3-a", "app-euw1-a", "witness-euc1-a"}
ALSO_SPARE = {"haproxy-euw1-b", "haproxy-euw3-b", "app-euw1-b", "app-euw3-a"}
PORTS = {
    "db": {5432, 8008, 2379, 2380, 8009},
    "witness": {2379, 2380, 8009},
    "haproxy": {5432, 5433, 8009},
    "app": {8009},  # and 5000, for those who are named
}
SOME_ADDRESSES = {
    "db-euw1-a": ("10.10.10.11", "eu-west-1a"),
    "db-euw1-b": ("10.10.11.11", "eu-west-1b"),
    "db-euw1-d": ("10.10.10.12", "eu-west-1a"),
    "db-euw3-c": ("10.20.12.11", "eu-west-3c"),
    "haproxy-euw3-b": ("10.20.11.21", "eu-west-3b"),
    "app-euw1-b": ("10.10.1.31", "eu-west-1b"),
    "witness-euc1-a": ("10.30.10.41", "eu-central-1a"),
}


def shape(value: Any) -> Any:
    """A document's keys and kinds of values; every entry of a list counts."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape(inner), sort_keys=True) for inner in value})
    if value is None or isinstance(value, bool):
        return str(type(value).__name__)
    return "number" if isinstance(value, int | float) else "text"


def slots_of(plan: Plan) -> Mapping[str, Mapping[str, Any]]:
    """The spec's slots by name."""
    return {slot["name"]: slot for slot in plan.spec["slots"]}


def user_data(plan: Plan) -> Mapping[str, str]:
    """Launch template → what its instances run first."""
    return {
        template.values["name"]: base64.b64decode(template.values["user_data"]).decode()
        for template in plan.resources("aws_launch_template")
    }


# -- what is not made


def test_instances_and_their_disks_are_the_healers(plan: Plan) -> None:
    assert not {r.kind for r in plan.resources()} & HEALERS
    assert not [r for r in plan.resources() if "autoscaling" in r.kind]


def test_no_password_is_planned(plan: Plan) -> None:
    (version,) = plan.resources("aws_secretsmanager_secret_version")
    assert version.values["secret_string_wo"] is None
    assert version.values["secret_string"] is None
    assert "random_password" not in {r.kind for r in plan.resources()}


def test_every_region_has_the_same_passwords(plan: Plan) -> None:
    (secret,) = plan.resources("aws_secretsmanager_secret")
    assert secret.region == OBSERVER.name
    copied = {replica["region"] for replica in secret.values["replica"]}
    assert copied == {FIRST.name, SECOND.name}
    assert secret.values["name"] == plan.spec["secret"]


# -- the spec


def test_the_spec_has_the_shape_of_the_contracts_example(plan: Plan) -> None:
    spec, contract = dict(plan.spec), example("spec.json")
    assert set(spec.pop("aws_endpoints")) == {region.name for region in REGIONS}
    assert contract.pop("aws_endpoints") == {}
    assert shape(spec) == shape(contract)


def test_the_healer_can_read_the_spec(plan: Plan) -> None:
    spec = spec_from_json(json.dumps(plan.spec))
    assert spec.size == plan.size
    assert spec.regions == tuple(region.name for region in REGIONS)


def test_slots_are_the_contracts(plan: Plan) -> None:
    slots = slots_of(plan)
    dbs = {f"db-{r}-{n}" for r in ("euw1", "euw3") for n in DB_LETTERS[plan.size]}
    active = ACTIVE_DBS[plan.size] | ALSO_ACTIVE
    assert {name for name, slot in slots.items() if slot["active"]} == active
    assert set(slots) == dbs | ALSO_ACTIVE | ALSO_SPARE
    assert {name for name, slot in slots.items() if slot["etcd_voter"]} == VOTERS[plan.size]


def test_every_slot_has_the_contracts_address_and_zone(plan: Plan) -> None:
    slots = slots_of(plan)
    for name in SOME_ADDRESSES.keys() & slots.keys():
        slot = slots[name]
        assert (slot["address"], slot["zone"]) == SOME_ADDRESSES[name]
    assert len({slot["address"] for slot in slots.values()}) == len(slots)


def test_every_slot_has_an_interface_with_its_address_and_its_roles_template(plan: Plan) -> None:
    interfaces = {r.key: r.values for r in plan.resources("aws_network_interface")}
    templates = {t.values["name"] for t in plan.resources("aws_launch_template")}
    slots = slots_of(plan)
    assert interfaces.keys() == slots.keys()
    for name, slot in slots.items():
        assert interfaces[name]["private_ips"] == [slot["address"]]
        assert interfaces[name]["tags"]["pgmend:slot"] == name
        assert f"pgmend-{name.split('-')[1]}-{slot['role']}" in templates


def test_only_databases_and_the_witness_have_a_disk(plan: Plan) -> None:
    with_disk = {slot["role"] for slot in slots_of(plan).values() if slot["disk"] is not None}
    assert with_disk == {"db", "witness"}


def test_a_disk_may_grow_to_four_times_its_first_size_unless_said_otherwise(plan: Plan) -> None:
    for slot in slots_of(plan).values():
        if slot["disk"] is not None:
            assert slot["disk"]["max_gib"] == 4 * slot["disk"]["size_gib"], slot["name"]


def test_a_slots_first_instance_type_is_its_launch_templates(plan: Plan) -> None:
    templates = {t.values["name"]: t.values for t in plan.resources("aws_launch_template")}
    for name, slot in slots_of(plan).items():
        template = templates[f"pgmend-{name.split('-')[1]}-{slot['role']}"]
        assert slot["instance_types"][0] == template["instance_type"]
        assert 1 < len(slot["instance_types"]) == len(set(slot["instance_types"]))


@pytest.mark.parametrize(("size", "count"), [("minimal", 2), ("standard", 3)])
def test_an_acknowledgement_is_remote_whoever_leads(
    plans: Mapping[str, Plan], size: str, count: int
) -> None:
    assert plans[size].spec["patroni"]["synchronous_node_count"] == count


# -- launch templates and user data


def test_every_instance_must_use_metadata_v2_and_may_read_its_slot_there(plan: Plan) -> None:
    for template in plan.resources("aws_launch_template"):
        (options,) = template.values["metadata_options"]
        assert options["http_tokens"] == "required", template.address
        assert options["http_put_response_hop_limit"] == 1
        assert options["instance_metadata_tags"] == "enabled"


def test_every_root_disk_is_encrypted_and_goes_with_its_instance(plan: Plan) -> None:
    for template in plan.resources("aws_launch_template"):
        (mapping,) = template.values["block_device_mappings"]
        (disk,) = mapping["ebs"]
        assert disk["encrypted"] == disk["delete_on_termination"] == "true", template.address


def test_user_data_passes_shellcheck(plan: Plan, tmp_path: Path) -> None:
    files = []
    for name, text in user_data(plan).items():
        files.append(tmp_path / f"{name}.sh")
        files[-1].write_text(text)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = subprocess.run(
        [str(shellcheck), *map(str, files)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


def test_user_data_writes_the_contracts_node_file_and_no_secret(plan: Plan) -> None:
    names = {"version", "cluster", "region", "hub_region", "bucket", "table", "aws_endpoints"}
    regions = {region.short: region.name for region in REGIONS}
    for name, text in user_data(plan).items():
        node = json.loads(text.split("node.json <<'JSON'\n")[1].split("\nJSON\n")[0])
        assert node.keys() == names
        assert node["region"] == regions[name.split("-")[1]]
        assert node["hub_region"] == OBSERVER.name
        assert node["bucket"] == f"pgmend-123456789012-{node['region']}"
        assert "password" not in text.lower()


def test_user_data_installs_what_it_calls_and_no_lab_node_lacks_any_of_it(plan: Plan) -> None:
    for name, text in user_data(plan).items():
        wanted = re.findall(r"for package in (.+); do", text)[0].split()
        assert {"ca-certificates", "curl", "python3-boto3"} <= set(wanted), name
        assert set(wanted) <= set(PACKAGES), name
        assert text.index("for package in") < text.index("curl -fsS"), name


HELD = {
    "db": {"patroni", "postgresql-17", "etcd-server"},
    "witness": {"etcd-server"},
    "haproxy": {"haproxy"},
    "app": set(),
}
ON_A_BARE_HOST = {
    "dpkg-query": 'test -e "installed/${@: -1}" && echo installed',
    "apt-get": 'for word in "$@"; do touch "installed/$word" "installed/${word/%postgresql/postgresql-17}"; done',
    "apt-mark": 'echo "$@" >>marked',
    "systemctl": "true",
}


def test_user_data_keeps_apt_from_replacing_what_serves(plan: Plan, tmp_path: Path) -> None:
    """The part that installs, on a host that has nothing yet, and again on one that has it all."""
    for name, text in user_data(plan).items():
        host = tmp_path / name
        (host / "bin").mkdir(parents=True)
        (host / "installed").mkdir()
        for program, script in ON_A_BARE_HOST.items():
            (host / "bin" / program).write_text(f"#!/bin/bash\n{script}\n")
            (host / "bin" / program).chmod(0o755)
        part = text[text.index("installed() {") : text.index("if ! systemctl cat")]
        for _ in range(2):
            subprocess.run(
                ["/bin/bash", "-euo", "pipefail", "-c", part],
                cwd=host,
                env={"PATH": f"{host}/bin:/usr/bin:/bin"},
                check=True,
            )
        marked = (host / "marked").read_text().splitlines() if (host / "marked").exists() else []
        held = HELD[name.split("-")[2]]
        assert [set(line.split()) for line in marked] == [{"hold", *held}] * 2 * bool(held), name


def test_user_data_gives_mirrors_and_locks_more_than_one_chance(plan: Plan, tmp_path: Path) -> None:
    """A host whose first four `apt-get update` fail, as they do while another apt holds the lists."""
    for name, text in user_data(plan).items():
        config = text.split("/etc/apt/apt.conf.d/90pgmend <<'APT'\n")[1].split("\nAPT\n")[0]
        assert config.splitlines() == ['Acquire::Retries "5";', 'DPkg::Lock::Timeout "120";'], name
        assert text.index("90pgmend") < text.index("apt-get"), name
        assert "dpkg -i" not in text, name  # it waits for no lock
        (download,) = [line for line in text.splitlines() if line.strip().startswith("curl ")]
        assert " --retry 5 --retry-all-errors " in download, name
        host = tmp_path / name
        (host / "bin").mkdir(parents=True)
        apt = 'echo "$1" >>asked; if [ "$1" = update ]; then test "$(grep -c update asked)" = 5; fi'
        programs = {"dpkg-query": "true", "apt-get": apt, "systemctl": "true", "sleep": "true"}
        for program, script in programs.items():
            (host / "bin" / program).write_text(f"#!/bin/bash\n{script}\n")
            (host / "bin" / program).chmod(0o755)
        part = text[text.index("installed() {") : text.index("held=()")]
        subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", part],
            cwd=host,
            env={"PATH": f"{host}/bin:/usr/bin:/bin"},
            check=True,
        )
        assert (host / "asked").read_text().split() == ["update"] * 5 + ["install"], name


def test_user_data_lets_no_upgrade_restart_anything(plan: Plan) -> None:
    for name, text in user_data(plan).items():
        path = "/etc/needrestart/conf.d/pgmend.conf"
        assert f"cat >{path} <<'PERL'\n$nrconf{{restart}} = 'l';" in text, name
        assert text.index(path) < text.index("apt-get"), name


def test_user_data_fits_into_ec2s_limit(plan: Plan) -> None:
    for name, text in user_data(plan).items():
        assert len(text.encode()) <= 16 * 1024, name


# -- networks


def test_nobody_outside_may_come_in_unless_asked_for(plan: Plan) -> None:
    slots = {f"{slot['address']}/32" for slot in slots_of(plan).values()}
    for rule in plan.resources("aws_security_group_rule"):
        if rule.values["type"] == "ingress":
            assert set(rule.values["cidr_blocks"] or ()) <= slots, rule.address
            assert rule.values["protocol"] == "tcp"
            assert rule.values["from_port"] == rule.values["to_port"]


def test_the_contracts_ports_are_open_and_no_others(plan: Plan) -> None:
    found: dict[str, set[int]] = {}
    for rule in plan.resources("aws_security_group_rule"):
        if rule.values["type"] == "ingress":
            role = re.split("[-/]", rule.key)[0]
            found.setdefault(role, set()).add(rule.values["from_port"])
    assert found == PORTS


def test_every_slot_may_ask_every_other_whether_it_lives(plan: Plan) -> None:
    slots = slots_of(plan).values()
    for rule in plan.resources("aws_security_group_rule"):
        if rule.values["from_port"] == 8009 and rule.values["cidr_blocks"] not in (None, UNKNOWN):
            elsewhere = {f"{s['address']}/32" for s in slots if s["region"] != rule.region}
            assert set(rule.values["cidr_blocks"]) == elsewhere, rule.address


def test_everything_in_a_public_subnet_has_an_address_of_its_own_to_get_out(plan: Plan) -> None:
    apps = {name for name, slot in slots_of(plan).items() if slot["role"] == "app"}
    assert {r.key for r in plan.resources("aws_eip")} == {"nat"} | apps


def test_ranges_of_the_regions_do_not_overlap(plan: Plan) -> None:
    ranges = [ipaddress.ip_network(v.values["cidr_block"]) for v in plan.resources("aws_vpc")]
    assert len(ranges) == 3
    assert not any(a.overlaps(b) for n, a in enumerate(ranges) for b in ranges[n + 1 :])


def test_no_bucket_is_public(plan: Plan) -> None:
    blocks = plan.resources("aws_s3_bucket_public_access_block")
    assert len(blocks) == len(plan.resources("aws_s3_bucket")) == 3
    switches = ("block_public_acls", "block_public_policy", "ignore_public_acls")
    for block in blocks:
        assert all(block.values[name] for name in (*switches, "restrict_public_buckets"))


def test_everything_that_can_be_tagged_carries_the_clusters_tag(plan: Plan) -> None:
    for resource in plan.resources():
        tags = resource.values.get("tags_all")
        if tags is not None and tags != UNKNOWN:
            assert tags["pgmend:cluster"] == "pgmend", resource.address
