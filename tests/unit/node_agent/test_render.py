"""Configuration as text: everything from the spec, spare slots too, and nothing that could make a second database."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from node_agent.render import app, etcd, haproxy, units
from node_agent.render import patroni as patroni_render
from tests.unit.node_agent.builders import PASSWORDS, TOKEN, example, the_spec

DATABASES = [s["name"] for s in example("spec.json")["slots"] if s["role"] == "db"]


def patroni(slot: str = "db-euw1-a", *, bootstrap: bool = False, **changes: Any) -> dict[str, Any]:
    spec = the_spec(**changes)
    text = patroni_render.configuration(spec, spec.slots[slot], PASSWORDS, bootstrap=bootstrap)
    document: dict[str, Any] = json.loads(text)
    return document


# -- Patroni


def test_only_the_first_leader_of_a_birth_can_make_a_database() -> None:
    assert "bootstrap" in patroni(bootstrap=True)
    assert "bootstrap" not in patroni()


def test_a_member_is_named_by_its_slot_and_listens_on_its_address() -> None:
    found = patroni("db-euw3-a")
    assert found["name"] == "db-euw3-a"
    assert found["scope"] == "pgmend"
    assert found["restapi"]["listen"] == "10.20.10.11:8008"
    assert found["postgresql"]["listen"] == "10.20.10.11,127.0.0.1:5432"
    assert found["postgresql"]["data_dir"].startswith("/var/lib/pgmend/postgresql/")


@pytest.mark.parametrize(
    ("slot", "nearest"),
    [
        ("db-euw1-a", ["10.10.10.11:2379", "10.20.10.11:2379"]),
        ("db-euw3-b", ["10.20.10.11:2379", "10.10.10.11:2379"]),
    ],
)
def test_every_voter_is_asked_and_the_nearest_first(slot: str, nearest: list[str]) -> None:
    assert patroni(slot)["etcd3"]["hosts"] == [*nearest, "10.30.10.41:2379"]


@pytest.mark.parametrize(
    ("durability", "mode"), [("async", False), ("zone", "quorum"), ("region", "quorum")]
)
def test_durability_decides_synchronous_mode(durability: str, mode: object) -> None:
    shared = patroni(bootstrap=True, durability=durability)["bootstrap"]["dcs"]
    assert shared["synchronous_mode"] == mode
    assert ("synchronous_node_count" in shared) is bool(mode)
    assert shared["failsafe_mode"] is False


def test_patronis_timings_are_the_specs() -> None:
    given = example("spec.json")["patroni"]
    shared = patroni(bootstrap=True)["bootstrap"]["dcs"]
    for name in ("ttl", "loop_wait", "retry_timeout", "synchronous_node_count"):
        assert shared[name] == given[name]
    assert shared["maximum_lag_on_failover"] == given["maximum_lag_on_failover_bytes"]
    assert shared["loop_wait"] + 2 * shared["retry_timeout"] <= shared["ttl"]


def test_a_lost_standby_stalls_commits_for_a_few_seconds_only() -> None:
    given = {**example("spec.json")["patroni"], "wal_sender_timeout_s": 7}
    parameters = patroni(bootstrap=True, patroni=given)["bootstrap"]["dcs"]["postgresql"][
        "parameters"
    ]
    for name in ("wal_sender_timeout", "wal_receiver_timeout", "tcp_user_timeout"):
        assert parameters[name] == "7s"


def test_no_copy_is_wiped_by_reflex_and_a_diverged_one_can_be_rewound() -> None:
    shared = patroni(bootstrap=True)["bootstrap"]["dcs"]["postgresql"]
    assert shared["use_pg_rewind"] is True
    assert shared["remove_data_directory_on_rewind_failure"] is False
    assert shared["remove_data_directory_on_diverged_timelines"] is False
    assert shared["parameters"]["wal_log_hints"] == "on"


def test_a_forgotten_replication_slot_cannot_fill_the_disk() -> None:
    parameters = patroni(bootstrap=True)["bootstrap"]["dcs"]["postgresql"]["parameters"]
    disk_gib = min(s["disk"]["size_gib"] for s in example("spec.json")["slots"] if s["disk"])
    held = int(parameters["max_slot_wal_keep_size"].removesuffix("GB"))
    assert held <= disk_gib


def rules(**changes: Any) -> list[str]:
    found: list[str] = patroni(**changes)["postgresql"]["pg_hba"]
    return found


def test_every_database_slot_may_replicate_and_rewind_spare_ones_too() -> None:
    for name in DATABASES:
        address = the_spec().slots[name]["address"]
        assert f"host replication replicator {address}/32 scram-sha-256" in rules()
        assert f"host postgres rewind {address}/32 scram-sha-256" in rules()


def test_rewind_and_rejoin_find_their_local_ways() -> None:
    assert "local replication replicator scram-sha-256" in rules()
    assert "host replication replicator 127.0.0.1/32 scram-sha-256" in rules()


def test_clients_come_from_the_clusters_networks_and_the_superuser_from_this_host_alone() -> None:
    for cidr in ("10.10.0.0/16", "10.20.0.0/16", "10.30.0.0/16"):
        assert f"host app app {cidr} scram-sha-256" in rules()
        assert f"host postgres monitor {cidr} scram-sha-256" in rules()
    named = [rule for rule in rules() if rule.split()[2] == "postgres"]
    assert named == ["local all postgres peer", "host all postgres 127.0.0.1/32 scram-sha-256"]


def test_nobody_is_let_in_without_a_password_or_from_anywhere() -> None:
    for rule in rules():
        assert rule.endswith(("scram-sha-256", " peer"))
        assert "0.0.0.0" not in rule
        assert " all all " not in rule


# -- etcd


def environment(state: str = "new") -> dict[str, str]:
    spec = the_spec()
    text = etcd.environment(
        spec.slots["db-euw1-a"],
        initial_cluster=etcd.spec_cluster(spec),
        state=state,
        token=TOKEN,
    )
    pairs = (line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: value.strip('"') for name, value in pairs}


def test_etcd_keeps_its_data_on_the_slots_disk() -> None:
    assert environment()["ETCD_DATA_DIR"] == "/var/lib/pgmend/etcd"


def test_etcd_listens_on_the_slots_address_and_for_the_agent() -> None:
    found = environment()
    assert found["ETCD_LISTEN_CLIENT_URLS"] == "http://10.10.10.11:2379,http://127.0.0.1:2379"
    assert found["ETCD_LISTEN_PEER_URLS"] == "http://10.10.10.11:2380"
    assert found["ETCD_ADVERTISE_CLIENT_URLS"] == "http://10.10.10.11:2379"


def test_a_new_cluster_starts_with_the_specs_voters_and_the_births_token() -> None:
    found = environment()
    assert found["ETCD_INITIAL_CLUSTER"] == (
        "db-euw1-a=http://10.10.10.11:2380,db-euw3-a=http://10.20.10.11:2380,"
        "witness-euc1-a=http://10.30.10.41:2380"
    )
    assert found["ETCD_INITIAL_CLUSTER_TOKEN"] == TOKEN
    assert found["ETCD_INITIAL_CLUSTER_STATE"] == "new"


def test_an_election_fits_into_patronis_patience() -> None:
    found = environment()
    heartbeat, election = (
        int(found[f"ETCD_{name}"]) for name in ("HEARTBEAT_INTERVAL", "ELECTION_TIMEOUT")
    )
    assert election >= 5 * heartbeat
    assert 2 * election < example("spec.json")["patroni"]["retry_timeout"] * 1000


# -- HAProxy


def proxy(slot: str = "haproxy-euw1-a") -> dict[str, list[str]]:
    """Lines by section."""
    text = haproxy.configuration(the_spec(), the_spec().slots[slot])
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line and not line.startswith((" ", "#")):
            name = line
            found[name] = []
        elif line.strip() and not line.startswith("#"):
            found[name].append(line.strip())
    return found


@pytest.mark.parametrize("listener", ["listen writes", "listen reads"])
def test_every_database_slot_is_a_server_from_the_start(listener: str) -> None:
    servers = [line.split()[1] for line in proxy()[listener] if line.startswith("server ")]
    assert sorted(servers) == sorted(DATABASES)


def test_servers_are_judged_by_patronis_word() -> None:
    assert "option httpchk OPTIONS /primary" in proxy()["listen writes"]
    assert any("/replica?lag=" in line for line in proxy()["listen reads"])
    for listener in ("listen writes", "listen reads"):
        servers = [line for line in proxy()[listener] if line.startswith("server ")]
        assert all("check port 8008" in line for line in servers)


def test_sessions_end_with_their_leader_and_long_reads_do_not() -> None:
    assert any("on-marked-down shutdown-sessions" in line for line in proxy()["listen writes"])
    assert not any("on-marked-down" in line for line in proxy()["listen reads"])


def test_reads_stay_near_then_go_far_then_to_the_leader() -> None:
    found = proxy("haproxy-euw3-a")["listen reads"]
    near = [line for line in found if line.startswith("server db-euw3")]
    far = [line for line in found if line.startswith("server db-euw1")]
    assert near
    assert not any("backup" in line for line in near)
    assert far
    assert all(line.endswith("backup") for line in far)
    assert "use_backend writes if { nbsrv(reads) eq 0 }" in found


def test_the_apis_port_is_left_alone() -> None:
    text = haproxy.configuration(the_spec(), the_spec().slots["haproxy-euw1-a"])
    assert sorted(re.findall(r"bind :(\d+)", text)) == ["5432", "5433"]


def test_statistics_are_on_the_contracts_socket() -> None:
    assert any(
        line.startswith("stats socket /run/haproxy/admin.sock ") for line in proxy()["global"]
    )


# -- the app and the units


def test_the_app_is_led_to_its_own_regions_proxy_first() -> None:
    spec = the_spec()
    found = json.loads(app.configuration(spec, spec.slots["app-euw3-a"], {"eu-west-3": "http://x"}))
    assert found["writers"] == ["10.20.10.21:5432", "10.10.10.21:5432"]
    assert found["readers"] == ["10.20.10.21:5433", "10.10.10.21:5433"]
    assert found["region"] == "eu-west-3"
    assert found["aws_endpoints"] == {"eu-west-3": "http://x"}


def test_no_secret_is_in_a_file_that_all_may_read() -> None:
    spec = the_spec()
    public = [
        app.configuration(spec, spec.slots["app-euw1-a"], {}),
        haproxy.configuration(spec, spec.slots["haproxy-euw1-a"]),
        *(json.dumps(environment(state)) for state in ("new", "existing")),
    ]
    assert not any(password in text for text in public for password in PASSWORDS.values())


@pytest.mark.parametrize("text", [units.ETCD, units.patroni(the_spec())])
def test_nothing_writes_before_the_disk_is_mounted_and_everything_comes_back(text: str) -> None:
    assert "Requires=pgmend-disk.service" in text
    assert "After=pgmend-disk.service" in text
    assert "Restart=always" in text
    assert "StartLimitIntervalSec=0" in text
