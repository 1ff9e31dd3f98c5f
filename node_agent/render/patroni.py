"""/etc/patroni/config.yml, as JSON, which is YAML. Only the first leader of a birth gets a `bootstrap` section: without
one, Patroni never makes a new database, whatever it finds or does not find in etcd.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from node_agent.database import BIN_DIR, DATA_DIR
from node_agent.membership import client_address
from node_agent.spec import Spec

CONFIG_FILE = "/etc/patroni/config.yml"
NAMESPACE = "/service/"
REST_PORT, POSTGRES_PORT = 8008, 5432
SUPERUSER, REPLICATION, REWIND, MONITOR, APP = (
    "postgres",
    "replicator",
    "rewind",
    "monitor",
    "app",
)
PRIMARY_START_S = (
    10  # PostgreSQL that crashed is started in place within this, or another member leads
)
PG_CTL_S = 30
POST_BOOTSTRAP = "/opt/pgmend/bin/pgmend-node post-bootstrap"
PARAMETERS: Mapping[str, Any] = {
    "max_connections": 200,
    "max_worker_processes": 8,
    "max_wal_senders": 20,
    "max_replication_slots": 20,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
    "wal_level": "replica",
    "wal_log_hints": "on",
    "wal_compression": "on",
    "wal_keep_size": "256MB",
    "max_slot_wal_keep_size": "4GB",
    "min_wal_size": "160MB",
    "max_wal_size": "1GB",
    "hot_standby": "on",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "1s",
    "password_encryption": "scram-sha-256",
    "track_commit_timestamp": "off",
}


def initialize_key(spec: Spec) -> str:
    """The key whose value is the one system identifier this cluster may have."""
    return f"{NAMESPACE}{spec.raw['cluster']}/initialize"


def leader_key(spec: Spec) -> str:
    """The key whose value names who leads."""
    return f"{NAMESPACE}{spec.raw['cluster']}/leader"


def configuration(
    spec: Spec, slot: Mapping[str, Any], passwords: Mapping[str, str], *, bootstrap: bool
) -> str:
    """The whole file."""
    rest = f"{slot['address']}:{REST_PORT}"
    content: dict[str, Any] = {
        "scope": spec.raw["cluster"],
        "namespace": NAMESPACE,
        "name": slot["name"],
        "log": {"level": "INFO", "format": "%(levelname)s: %(message)s"},
        "restapi": {
            "listen": rest,
            "connect_address": rest,
            "allowlist": sorted(f"{peer['address']}/32" for peer in spec.of_role("db")),
        },
        "etcd3": {"hosts": _etcd_hosts(spec, slot), "protocol": "http"},
        # It would reboot the host; systemd's restarts Patroni, and the fence ends PostgreSQL (docs/patroni-guard.md).
        "watchdog": {"mode": "off"},
        "postgresql": _postgresql(spec, slot, passwords),
    }
    if bootstrap:
        content["bootstrap"] = {
            "dcs": dynamic(spec),
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
            "post_bootstrap": POST_BOOTSTRAP,
        }
    return json.dumps(content, indent=2) + "\n"


def dynamic(spec: Spec) -> dict[str, Any]:
    """What all members share through etcd, written once, at birth."""
    given = spec.patroni
    synchronous = spec.raw["durability"] != "async"
    wal_timeout_s = int(given["wal_sender_timeout_s"])
    content: dict[str, Any] = {
        "ttl": given["ttl"],
        "loop_wait": given["loop_wait"],
        "retry_timeout": given["retry_timeout"],
        "maximum_lag_on_failover": given["maximum_lag_on_failover_bytes"],
        "check_timeline": True,
        "failsafe_mode": False,
        "primary_start_timeout": PRIMARY_START_S,
        "synchronous_mode": "quorum" if synchronous else False,
        "synchronous_mode_strict": False,
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            # A diverged copy is rewound or kept for a person; wiping it is a decision, not a reflex.
            "remove_data_directory_on_rewind_failure": False,
            "remove_data_directory_on_diverged_timelines": False,
            "parameters": {**PARAMETERS, **_timeouts(wal_timeout_s)},
        },
    }
    if synchronous:
        content["synchronous_node_count"] = given["synchronous_node_count"]
    return content


def _timeouts(seconds: int) -> dict[str, str]:
    """A lost standby looks alive until these run out, and commits wait for it."""
    return {
        "wal_sender_timeout": f"{seconds}s",
        "wal_receiver_timeout": f"{seconds}s",
        "tcp_user_timeout": f"{seconds}s",
        "tcp_keepalives_idle": "2s",
        "tcp_keepalives_interval": "1s",
        "tcp_keepalives_count": "3",
    }


def _postgresql(
    spec: Spec, slot: Mapping[str, Any], passwords: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "listen": f"{slot['address']},127.0.0.1:{POSTGRES_PORT}",
        "connect_address": f"{slot['address']}:{POSTGRES_PORT}",
        "data_dir": str(DATA_DIR),
        "bin_dir": str(BIN_DIR),
        "pgpass": "/var/lib/postgresql/patroni.pgpass",
        "use_unix_socket": True,
        "pg_ctl_timeout": PG_CTL_S,
        "create_replica_methods": ["basebackup"],
        "basebackup": [{"checkpoint": "fast"}],
        "authentication": {
            "superuser": {"username": SUPERUSER, "password": passwords["superuser"]},
            "replication": {"username": REPLICATION, "password": passwords["replication"]},
            "rewind": {"username": REWIND, "password": passwords["rewind"]},
        },
        "parameters": {
            "unix_socket_directories": "/var/run/postgresql",
            "logging_collector": "off",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "recovery_init_sync_method": "syncfs",  # one call instead of one a file after a crash
        },
        "pg_hba": host_rules(spec),
    }


def host_rules(spec: Spec) -> list[str]:
    """pg_hba: copies among themselves, clients from the cluster's networks, the superuser from this host alone."""
    databases = [f"{peer['address']}/32" for peer in spec.of_role("db")]
    networks = [str(region["cidr"]) for region in spec.raw["regions"]]
    scram = "scram-sha-256"
    return [
        f"local all {SUPERUSER} peer",
        f"local replication {REPLICATION} {scram}",
        f"host all {SUPERUSER} 127.0.0.1/32 {scram}",
        *(f"host replication {REPLICATION} {at} {scram}" for at in ["127.0.0.1/32", *databases]),
        *(f"host postgres {REWIND} {at} {scram}" for at in ["127.0.0.1/32", *databases]),
        *(f"host postgres {MONITOR} {at} {scram}" for at in ["127.0.0.1/32", *networks]),
        *(f"host {APP} {APP} {at} {scram}" for at in ["127.0.0.1/32", *networks]),
    ]


def _etcd_hosts(spec: Spec, slot: Mapping[str, Any]) -> list[str]:
    """Every voter, the nearest first."""

    def distance(voter: Mapping[str, Any]) -> tuple[bool, bool, str]:
        elsewhere = bool(voter["region"] != slot["region"])
        return bool(voter["name"] != slot["name"]), elsewhere, str(voter["name"])

    return [client_address(voter) for voter in sorted(spec.voters, key=distance)]
